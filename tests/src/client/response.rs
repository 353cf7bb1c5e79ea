//! Responses of HTTP/1.1, read from as many bytes as there are.

use std::io::{Error, ErrorKind, Result};

/// A complete response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The final status.
    pub status: u16,
    /// Headers in order, names as they came.
    pub headers: Vec<(String, String)>,
    /// The body, without chunking.
    pub body: Vec<u8>,
    /// The statuses that came before the final one, such as 103. After 101 nothing else comes: that one is final.
    pub informational: Vec<u16>,
}

impl Response {
    /// The first value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first response in `bytes` and its length; `None` when it is not complete yet. `closed` says that no more will come.
    pub(super) fn parse(bytes: &[u8], closed: bool, head_only: bool) -> Result<Option<(Self, usize)>> {
        let mut informational = Vec::new();
        let mut used = 0;
        loop {
            let Some((mut response, head)) = Self::parse_head(&bytes[used..])? else { return Ok(None) };
            used += head;
            if (100..200).contains(&response.status) && response.status != 101 {
                informational.push(response.status);
                continue;
            }
            response.informational = informational;
            let Some(length) = response.parse_body(&bytes[used..], closed, head_only)? else { return Ok(None) };
            return Ok(Some((response, used + length)));
        }
    }

    fn parse_head(bytes: &[u8]) -> Result<Option<(Self, usize)>> {
        const START: &[u8] = b"HTTP/1.";
        const END: &[u8] = b"\r\n\r\n";
        if !bytes.starts_with(&START[..START.len().min(bytes.len())]) {
            return Err(invalid("not HTTP/1"));
        }
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else { return Ok(None) };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.map(|line| line.split_once(':').map(|(k, v)| (k.to_owned(), v.trim().to_owned())));
        let headers = headers.collect::<Option<Vec<_>>>().ok_or_else(|| invalid("a header without a colon"))?;
        let response = Self { status: status.ok_or_else(|| invalid("no status"))?, headers, ..Self::default() };
        Ok(Some((response, end + END.len())))
    }

    /// Fills in the body and returns how many bytes it took.
    fn parse_body(&mut self, bytes: &[u8], closed: bool, head_only: bool) -> Result<Option<usize>> {
        if head_only || matches!(self.status, 101 | 204 | 304) {
            return Ok(Some(0));
        }
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return self.parse_chunks(bytes);
        }
        let length = match self.header("content-length") {
            Some(value) => value.parse().map_err(|_| invalid("content-length is no number"))?,
            None if closed => bytes.len(),
            None => return Ok(None),
        };
        Ok(bytes.get(..length).map(|body| {
            self.body = body.to_vec();
            length
        }))
    }

    fn parse_chunks(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let mut rest = Lines { bytes, used: 0 };
        let mut body = Vec::new();
        loop {
            let Some(line) = rest.line() else { return Ok(None) };
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk without a size"))?;
            if size == 0 {
                break;
            }
            let Some(chunk) = rest.take(size) else { return Ok(None) };
            body.extend_from_slice(chunk);
            if rest.line().is_none() {
                return Ok(None);
            }
        }
        loop {
            match rest.line() {
                None => return Ok(None),
                Some(trailer) if trailer.is_empty() => break,
                Some(_) => {}
            }
        }
        self.body = body;
        Ok(Some(rest.used))
    }
}

struct Lines<'a> {
    bytes: &'a [u8],
    used: usize,
}

impl<'a> Lines<'a> {
    /// The next line, without its end.
    fn line(&mut self) -> Option<String> {
        let rest = &self.bytes[self.used..];
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        self.used += end + 2;
        Some(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.used..self.used + count)?;
        self.used += count;
        Some(part)
    }
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8], closed: bool) -> Option<(Response, usize)> {
        Response::parse(bytes, closed, false).unwrap()
    }

    #[test]
    fn informational_responses_precede_the_final_one() {
        let bytes = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP";
        let (response, length) = parse(bytes, false).unwrap();
        assert_eq!((response.status, response.informational, response.body), (200, vec![103], b"ok".to_vec()));
        assert_eq!(length, bytes.len() - 4);
    }

    #[test]
    fn chunks_are_joined_and_trailers_skipped() {
        let bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nt: 1\r\n\r\n";
        assert_eq!(parse(bytes, false).unwrap().0.text(), "abcd");
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut], false), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        let bytes = b"HTTP/1.0 200 OK\r\n\r\nall";
        assert_eq!(parse(bytes, false), None);
        assert_eq!(parse(bytes, true).unwrap().0.text(), "all");
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(Response::parse(b"HTTX", false, false).is_err());
        assert_eq!(parse(b"HTT", false), None);
    }
}
