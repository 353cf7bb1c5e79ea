//! What a section has of ours: a `filter` line, or what stands in for one.

/// One filter of one proxy. Lives as long as the process.
#[derive(Debug)]
#[repr(C)]
pub(in super::super) struct Line {
    /// First, so that a pointer to something else is noticed.
    mark: u64,
    /// How it came about.
    pub(in super::super) mode: Mode,
    /// `client-span=on`, the default: the leg to the server has a span of its own.
    pub(in super::super) client_span: bool,
    /// The section's name.
    pub(in super::super) name: Box<str>,
}

/// Why a filter is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Mode {
    /// `filter lua.otel` is written.
    Filter,
    /// Nothing is written: every request of the section is meant.
    Zero,
    /// There are actions of ours: they decide.
    Actions,
}

impl Line {
    pub(super) fn new(mode: Mode, client_span: bool, name: Box<str>) -> Self {
        Self { mark: MARK, mode, client_span, name }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.mark == MARK
    }
}

/// What the configuration has, when a section of it ends.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Section<'a> {
    /// Its name.
    pub(in super::super) name: &'a str,
    /// Its first word.
    pub(in super::super) kind: Kind,
    /// `filter lua.otel` is written in it.
    pub(in super::super) has_filter: bool,
    /// `lua.otel_start` is written in it, or in a `defaults` section before it.
    pub(in super::super) has_actions: bool,
}

/// A section's first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// `frontend`.
    Frontend,
    /// `listen`.
    Listen,
    /// `backend`.
    Backend,
}

const MARK: u64 = 0x6f74_656c_2e6c_696e;
