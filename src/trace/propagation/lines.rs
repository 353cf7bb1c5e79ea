//! The headers of every format but W3C's, found in one walk through a request's.

use crate::trace::headers::Block;

/// One header of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Line<'a> {
    /// There is none.
    #[default]
    Absent,
    /// There is one; without space around it.
    One(&'a [u8]),
    /// There are several: nobody can tell which one counts.
    Several,
}

impl<'a> Line<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = if *self == Self::Absent { Self::One(value.trim_ascii()) } else { Self::Several };
    }
}

/// What a request has of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines<'a> {
    /// `b3`
    pub b3: Line<'a>,
    /// `X-B3-TraceId`
    pub b3_trace_id: Line<'a>,
    /// `X-B3-SpanId`
    pub b3_span_id: Line<'a>,
    /// `X-B3-Sampled`
    pub b3_sampled: Line<'a>,
    /// `X-B3-Flags`
    pub b3_flags: Line<'a>,
    /// `uber-trace-id`
    pub jaeger: Line<'a>,
    /// `X-Amzn-Trace-Id`
    pub xray: Line<'a>,
}

impl<'a> Lines<'a> {
    /// Reads a request's headers.
    pub fn read(headers: &Block<'a>) -> Self {
        let mut lines = Self::default();
        let mut headers = headers.iter();
        while let Some((name, value)) = headers.next_of(b"bux") {
            if let Some(line) = lines.named(name) {
                line.add(value);
            }
        }
        lines
    }

    fn named(&mut self, name: &[u8]) -> Option<&mut Line<'a>> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is(b"b3") => Some(&mut self.b3),
            10 if is(b"x-b3-flags") => Some(&mut self.b3_flags),
            11 if is(b"x-b3-spanid") => Some(&mut self.b3_span_id),
            12 if is(b"x-b3-traceid") => Some(&mut self.b3_trace_id),
            12 if is(b"x-b3-sampled") => Some(&mut self.b3_sampled),
            13 if is(b"uber-trace-id") => Some(&mut self.jaeger),
            15 if is(b"x-amzn-trace-id") => Some(&mut self.xray),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::headers::write_block;

    #[test]
    fn names_have_no_case_and_two_lines_are_several() {
        let block = write_block(&[(b"B3", b" 0 "), (b"X-B3-TraceID", b"1"), (b"x-b3-traceid", b"2"), (b"x", b"3")]);
        let lines = Lines::read(&Block::Text(&block));
        let expected = Lines { b3: Line::One(b"0"), b3_trace_id: Line::Several, ..Lines::default() };
        assert_eq!(lines, expected);
    }
}
