//! What a request's headers say about its trace.

use crate::trace::headers::Block;
use crate::trace::picked::Picked;
use crate::trace::w3c::{Traceparent, Tracestate, read_tracestate};

/// What a request's headers say about its trace. Small: it is made for every request.
#[derive(Debug, Default)]
pub struct Seen {
    /// The context to continue. Absent: a trace starts here.
    pub parent: Option<Traceparent>,
    /// Where there is more to say than W3C Trace Context of a trusted caller does.
    pub more: Option<Box<More>>,
}

/// What only some settings can make of a request's headers.
#[derive(Debug, Default)]
pub struct More {
    /// The caller that is linked to instead of continued.
    pub link: Option<Traceparent>,
    /// Whose decision the sampler sees.
    pub decision: CallerDecision,
    /// The caller's debug flag.
    pub debug: bool,
    /// Whose the list in `tracestate` is.
    pub tracestate: ListOwner,
    /// The caller's baggage is not ours to keep.
    pub untrusted: bool,
}

/// What the caller decided, as samplers see it.
#[derive(Debug, Default)]
pub enum CallerDecision {
    /// What the flags of [`Seen::parent`] say; nobody decided where there is none.
    #[default]
    OfParent,
    /// There is a parent, which left the decision to us.
    Open,
    /// There is no parent, but a decision: in the flags of this one, which is no span.
    Alone(Traceparent),
}

/// Whose the list in `tracestate` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListOwner {
    /// That of [`Seen::parent`]; nobody's where there is none.
    #[default]
    Parent,
    /// Nobody's: [`Seen::parent`] comes from another format.
    Nobody,
    /// Somebody else's: W3C Trace Context is not among the formats, and the list goes on as it came.
    Other,
}

impl Seen {
    /// Reads W3C Trace Context. Hot path. Several lines of `traceparent` are no valid header: nothing says which one counts.
    pub fn of(picked: &Picked<'_>) -> Self {
        let parent = if picked.traceparent_lines == 1 { Traceparent::parse(picked.traceparent) } else { None };
        Self { parent, more: None }
    }

    /// The parent as samplers see it: with a decision, or not at all.
    pub fn decided(&self) -> Option<&Traceparent> {
        match self.more.as_ref().map(|more| &more.decision) {
            None | Some(CallerDecision::OfParent) => self.parent.as_ref(),
            Some(CallerDecision::Open) => None,
            Some(CallerDecision::Alone(decision)) => Some(decision),
        }
    }

    /// See [`More::link`].
    pub fn link(&self) -> Option<&Traceparent> {
        self.more.as_ref().and_then(|more| more.link.as_ref())
    }

    /// See [`More::debug`].
    pub fn is_debug(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.debug)
    }

    /// See [`More::untrusted`].
    pub fn is_untrusted(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.untrusted)
    }

    /// Reads the `tracestate` lines of `headers` into `list`: see [`read_tracestate`]. Without a valid caller nothing of them
    /// counts.
    pub fn tracestate(&self, headers: &Block<'_>, picked: &Picked<'_>, list: &mut Vec<u8>) -> Tracestate {
        list.clear();
        let owner = self.more.as_ref().map_or(ListOwner::Parent, |more| more.tracestate);
        if picked.tracestate_lines == 0 || owner == ListOwner::Other {
            return Tracestate::Absent;
        }
        if self.parent.is_none() || owner == ListOwner::Nobody {
            return Tracestate::Void;
        }
        let read = if picked.tracestate_lines == 1 {
            read_tracestate(std::iter::once(picked.tracestate), list)
        } else {
            let lines = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"tracestate"));
            read_tracestate(lines.map(|(_, value)| value), list)
        };
        if read == Tracestate::Void {
            list.clear();
        }
        read
    }
}
