//! The stream that a callback runs for.
#![expect(unsafe_code, reason = "hands HAProxy's stream to its own functions")]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::Engine;
use super::abi::{self, Buffer, Channel, FINAL, IS_HTX, OF_RESPONSE, Sample, SampleValue, kind};
use super::fetch::{self, Expression, Fetch, Owner, Value};
use super::message::Message;

/// A stream, while a callback of HAProxy's runs for it.
pub(in super::super) struct Stream<'s> {
    raw: NonNull<abi::Stream>,
    channel: *mut Channel,
    options: u32,
    engine: &'static Engine,
    /// What fetches fill, one after the other.
    sample: MaybeUninit<Sample>,
    /// The sample says whose values are asked for.
    is_ready: bool,
    held: PhantomData<&'s mut abi::Stream>,
}

/// What a callback is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The request's channel.
    Request(*mut Channel),
    /// The response's channel.
    Response(*mut Channel),
    /// Neither: the stream begins or is over.
    Neither,
}

impl Stream<'_> {
    /// # Safety
    ///
    /// `raw` must be the stream that HAProxy's callback was called for, on this thread, and the side's channel of it.
    pub(super) unsafe fn new(raw: NonNull<abi::Stream>, side: Side, engine: &'static Engine) -> Self {
        let (channel, options) = match side {
            Side::Request(channel) => (channel, FINAL),
            Side::Response(channel) => (channel, OF_RESPONSE | FINAL),
            Side::Neither => (ptr::null_mut(), OF_RESPONSE | FINAL),
        };
        Self { raw, channel, options, engine, sample: MaybeUninit::uninit(), is_ready: false, held: PhantomData }
    }

    /// It carries HTTP now. One in TCP mode can become one that does.
    pub(in super::super) fn is_http(&self) -> bool {
        // SAFETY: the stream is alive.
        unsafe { (&raw const (*self.raw.as_ptr()).flags).read() & IS_HTX != 0 }
    }

    /// The message that the callback is about; `None` where there is none, as in TCP mode.
    pub(in super::super) fn message(&mut self) -> Option<Message<'_>> {
        if self.channel.is_null() || !self.is_http() {
            return None;
        }
        // SAFETY: the stream's channel, and `self` is borrowed as long as the message.
        unsafe { Message::of(self.channel, self.engine) }
    }

    /// A fetch's value for this stream.
    pub(in super::super) fn value(&mut self, fetch: &Fetch) -> Option<Value<'_>> {
        if self.is_ready {
            // SAFETY: it was filled before; a fetch expects nothing of another's.
            unsafe { fetch::empty(self.sample.as_mut_ptr()) };
        } else {
            self.owner()?.sample(&mut self.sample);
            self.is_ready = true;
        }
        // SAFETY: the stream is alive, on its thread, and `self` is borrowed as long as the value.
        unsafe { fetch.fill(self.sample.as_mut_ptr()) }
    }

    /// An expression's value for this stream.
    pub(in super::super) fn evaluate(&mut self, expression: Expression) -> Option<Value<'_>> {
        // SAFETY: as above.
        unsafe { expression.call(self.engine, &self.owner()?) }
    }

    /// Sets a variable by its name with scope: `txn.otel.trace_id`. `false`: HAProxy refuses the name, or has no room.
    pub(in super::super) fn set_variable(&mut self, name: &str, value: Value<'_>) -> bool {
        let Some(owner) = self.owner() else { return false };
        let mut room = MaybeUninit::uninit();
        let sample: *mut Sample = owner.sample(&mut room);
        let text = |text: &[u8]| SampleValue {
            text: Buffer { size: text.len(), area: text.as_ptr().cast_mut(), data: text.len(), head: 0 },
        };
        let (kind, value) = match value {
            Value::Int(number) => (kind::SINT, SampleValue { sint: number }),
            Value::Bool(truth) => (kind::BOOL, SampleValue { sint: i64::from(truth) }),
            Value::Text(bytes) => (kind::STR, text(bytes)),
            Value::Bin(bytes) => (kind::BIN, text(bytes)),
            Value::V4(address) => (kind::IPV4, SampleValue { ipv4: address }),
            Value::V6(address) => (kind::IPV6, SampleValue { ipv6: address }),
        };
        // SAFETY: the sample is filled, and HAProxy copies what it keeps of it and of the name.
        unsafe {
            (&raw mut (*sample).kind).write(kind);
            (&raw mut (*sample).value).write(value);
            (self.engine.symbols.vars_set_by_name)(name.as_ptr().cast(), name.len(), sample) != 0
        }
    }

    fn owner(&self) -> Option<Owner> {
        // SAFETY: the stream is alive, and so is its session; a session has a frontend.
        unsafe {
            let sess = (&raw const (*self.raw.as_ptr()).sess).read();
            let px = (&raw const (*NonNull::new(sess)?.as_ptr()).fe).read();
            Some(Owner { px, sess, strm: self.raw.as_ptr(), opt: self.options })
        }
    }
}
