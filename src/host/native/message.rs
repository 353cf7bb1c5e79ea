//! A channel's HTX message: its bytes, and its headers by HAProxy's own functions.
#![expect(unsafe_code, reason = "reads and changes HAProxy's buffer")]

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{self, NonNull};

use crate::trace::htx::{Layout, is_message};

use super::abi::{Buffer, Channel, HeaderContext, Ist};
use super::{Engine, faults, fence};

/// The message in a channel, while a callback runs. Values that were read before are gone once it is asked for.
pub(in super::super) struct Message<'m> {
    area: NonNull<u8>,
    size: usize,
    engine: &'static Engine,
    held: PhantomData<&'m mut u8>,
}

impl Message<'_> {
    /// `None` where the channel holds none.
    ///
    /// # Safety
    ///
    /// `channel` must be of a stream in HTX that a callback runs for, and nothing else may use its buffer during `'m`.
    pub(super) unsafe fn of(channel: *mut Channel, engine: &'static Engine) -> Option<Self> {
        // SAFETY: the caller promises the channel.
        let Buffer { size, area, data, head } = unsafe { (&raw const (*channel).buf).read() };
        if size == 0 || data == 0 {
            return None;
        }
        // HAProxy's mark for a buffer that it waits for is an address that nothing has.
        let area = NonNull::new(area).filter(|area| area.addr().get() > 1)?;
        let message = Self { area, size, engine, held: PhantomData };
        let fits = head <= size && data <= size && isize::try_from(size).is_ok() && !faults::breaks("buffer");
        // The blocks are asked for their own size.
        if !fits || !is_message(message.bytes(), engine.layout.htx) {
            fence::broken("a channel's buffer holds no HTX message");
            return None;
        }
        Some(message)
    }

    /// All of the buffer: HTX's own fields, then contents, then from the end on the index of the blocks.
    pub(in super::super) fn bytes(&self) -> &[u8] {
        // SAFETY: HAProxy's buffer, which nothing else changes during `'m`.
        unsafe { std::slice::from_raw_parts(self.area.as_ptr(), self.size) }
    }

    /// Where `bytes` have what.
    pub(in super::super) fn layout(&self) -> Layout {
        self.engine.layout.htx
    }

    /// Writes over contents, in place. `false`: the range is not within them.
    pub(in super::super) fn overwrite(&mut self, range: Range<usize>, text: &[u8]) -> bool {
        let within = range.start >= self.engine.layout.htx.contents && range.end <= self.size;
        if !within || range.end.checked_sub(range.start) != Some(text.len()) {
            return false;
        }
        // SAFETY: within the buffer, of which `self` is the only user.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), self.area.as_ptr().add(range.start), text.len()) };
        true
    }

    /// Makes it the only header of its name. `false`: no room, the header may be missing or as it was.
    pub(in super::super) fn set_header(&mut self, name: &[u8], value: &[u8]) -> bool {
        let mut context = EMPTY;
        if !self.find(name, &mut context) {
            return self.add_header(name, value);
        }
        // SAFETY: HAProxy's function, with the place that it found.
        let replaced = unsafe {
            (self.engine.symbols.http_replace_header_value)(self.area.as_ptr(), &raw mut context, Ist::of(value), 0)
        };
        if replaced == 0 {
            return false;
        }
        self.remove_from(name, context);
        true
    }

    /// Adds a header, beside others of its name. `false`: no room.
    pub(in super::super) fn add_header(&mut self, name: &[u8], value: &[u8]) -> bool {
        // SAFETY: HAProxy's function; it copies both.
        unsafe { (self.engine.symbols.http_add_header)(self.area.as_ptr(), Ist::of(name), Ist::of(value), 0) != 0 }
    }

    /// Removes all headers of the name. `false`: there was none.
    pub(in super::super) fn remove_header(&mut self, name: &[u8]) -> bool {
        self.remove_from(name, EMPTY)
    }

    /// Removes what comes after the place.
    fn remove_from(&mut self, name: &[u8], mut context: HeaderContext) -> bool {
        let mut removed = false;
        while self.find(name, &mut context) {
            // SAFETY: HAProxy's function, with the place that it found.
            if unsafe { (self.engine.symbols.http_remove_header)(self.area.as_ptr(), &raw mut context) } == 0 {
                break;
            }
            removed = true;
        }
        removed
    }

    /// The next one, as a whole: commas do not part it.
    fn find(&mut self, name: &[u8], context: &mut HeaderContext) -> bool {
        // SAFETY: HAProxy's function; the place is empty, or its own of this message.
        unsafe { (self.engine.symbols.http_find_header)(self.area.as_ptr(), Ist::of(name), context, 1) != 0 }
    }
}

const EMPTY: HeaderContext =
    HeaderContext { block: ptr::null_mut(), value: Ist { start: ptr::null(), len: 0 }, blanks: [0; 2] };
