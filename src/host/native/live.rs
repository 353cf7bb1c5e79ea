//! What is kept of one request, from its start to its end: it hangs on HAProxy's own filter instance.

use std::cell::RefCell;

use crate::trace::hot::{Begun, Hot};
use crate::trace::record::Writer;

/// One request, or one connection in TCP mode, that is under way.
#[derive(Debug)]
pub(in super::super) struct Live {
    /// What its end completes; empty where its end is not wanted.
    pub(super) record: Writer,
    /// What was decided, and what the server was told.
    pub(super) begun: Begun,
    /// A connection in TCP mode.
    pub(super) is_connection: bool,
    /// It is gRPC's: its status may come in trailers.
    pub(super) is_rpc: bool,
    /// The client was told of its trace.
    pub(super) is_told: bool,
    /// When it passed each step. Unix time, nanoseconds; 0: it did not.
    pub(super) stamps: Stamps,
}

/// When a request passed each step. Unix time, nanoseconds; 0: it did not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stamps {
    pub(super) left: u64,
    pub(super) connected: u64,
    pub(super) answered: u64,
    pub(super) forwarded: u64,
}

impl Live {
    /// An empty one: one that an earlier request has left, if there is one.
    pub(super) fn take() -> Box<Self> {
        let spare = SPARE.with(|spare| spare.try_borrow_mut().ok().and_then(|mut spare| spare.pop()));
        spare.unwrap_or_else(|| {
            Box::new(Self {
                record: Writer::new(),
                begun: Hot::detached_request(),
                is_connection: false,
                is_rpc: false,
                is_told: false,
                stamps: Stamps::default(),
            })
        })
    }

    /// Makes it ready for a request that has begun.
    pub(super) fn reset(&mut self, begun: Begun) {
        self.begun = begun;
        self.is_connection = false;
        self.is_rpc = false;
        self.is_told = false;
        self.stamps = Stamps::default();
    }

    /// Leaves it to a later request of this thread.
    pub(super) fn give_back(mut self: Box<Self>) {
        self.record.shrink();
        SPARE.with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < MOST_SPARE
            {
                spare.push(self);
            }
        });
    }
}

/// Requests whose memory a thread keeps for later ones: some 100 KiB.
const MOST_SPARE: usize = 64;

thread_local! {
    #[expect(clippy::vec_box, reason = "the boxes themselves hang on HAProxy's filters")]
    static SPARE: RefCell<Vec<Box<Live>>> = const { RefCell::new(Vec::new()) };
}
