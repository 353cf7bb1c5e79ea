//! The fields of a record: a tag, a length, a value. They follow the head in any order.

/// What a field holds. One byte in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// [`Numbers`](super::Numbers): there once when the request has ended.
    Numbers = 1,
    /// The request's method.
    Method,
    /// Its target, in any of the four forms of RFC 9112, 3.2.
    Target,
    /// Its version, without `HTTP/`.
    Version,
    /// `Host`, or HTTP/2's `:authority`.
    Host,
    /// `User-Agent`.
    UserAgent,
    /// The caller's `tracestate`, as the spans keep it.
    TraceState,
    /// `Upgrade`.
    Upgrade,
    /// The caller that is linked to instead of continued: trace id (16 bytes), span id (8), flags (1).
    Link,
    /// Empty: the request is gRPC's, by its content type.
    Rpc,
    /// Every hop of `X-Forwarded-For` or `Forwarded` that finds room, the nearest last.
    ForwardedFor,
    /// The last of `X-Forwarded-Proto`.
    ForwardedProto,
    /// The last of `X-Forwarded-Host`.
    ForwardedHost,
    /// A request header that the settings ask for: its place in
    /// [`HeaderCapture`](crate::trace::wanted::Wanted), from 1, and its value.
    Header,
    /// The request's `Content-Length`, where body sizes are measured.
    ContentLength,
    /// Under which method and scheme the request is active: see
    /// [`class`](crate::trace::metrics::active::class).
    Active,
    /// An attribute that a rule puts on the span: kind (1 byte), length of its name (1), name, value.
    Attribute,
    /// The frontend's name.
    Frontend,
    /// The backend's name.
    Backend,
    /// The chosen server's name, or an applet's in angle brackets.
    Server,
    /// The server's address: 4 or 16 bytes.
    ServerAddress,
    /// The client's address: 4 or 16 bytes.
    ClientAddress,
    /// The address that the client connected to: 4 or 16 bytes. Of a connection in TCP mode.
    LocalAddress,
    /// The version of the client's TLS, for example `TLSv1.3`.
    Tls,
    /// The cipher of the client's TLS. Of a connection in TCP mode.
    Cipher,
    /// The name that the client asked for in TLS. Of a connection in TCP mode.
    ServerName,
    /// The protocol that TLS agreed on. Of a connection in TCP mode.
    NextProtocol,
    /// A value that the settings ask for: its place in
    /// [`Plan::gathered`](crate::trace::plan::Plan::gathered), and the value.
    Gathered,
    /// The method that was sent to the server, where it differs.
    SentMethod,
    /// The target that was sent to the server, where it differs.
    SentTarget,
    /// The `Host` that was sent to the server, where it differs.
    SentHost,
    /// gRPC's status, from the response's headers or trailers.
    RpcStatus,
}

impl Field {
    /// All, in the order of their bytes, which begin with 1.
    const ALL: [Self; 32] = [
        Self::Numbers,
        Self::Method,
        Self::Target,
        Self::Version,
        Self::Host,
        Self::UserAgent,
        Self::TraceState,
        Self::Upgrade,
        Self::Link,
        Self::Rpc,
        Self::ForwardedFor,
        Self::ForwardedProto,
        Self::ForwardedHost,
        Self::Header,
        Self::ContentLength,
        Self::Active,
        Self::Attribute,
        Self::Frontend,
        Self::Backend,
        Self::Server,
        Self::ServerAddress,
        Self::ClientAddress,
        Self::LocalAddress,
        Self::Tls,
        Self::Cipher,
        Self::ServerName,
        Self::NextProtocol,
        Self::Gathered,
        Self::SentMethod,
        Self::SentTarget,
        Self::SentHost,
        Self::RpcStatus,
    ];

    /// The field of a byte.
    #[inline]
    pub(super) fn of_tag(tag: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tag.checked_sub(1)?)).copied()
    }

    /// Bytes kept of this field: a longer value is cut.
    pub const fn max_len(self) -> usize {
        match self {
            Self::Numbers => super::numbers::LEN,
            // Longer than any registered method; HTTP/2, HTTP/3.
            Self::Method | Self::SentMethod => 64,
            Self::Version | Self::ForwardedProto | Self::ServerAddress | Self::ClientAddress | Self::LocalAddress => 16,
            // HAProxy's own bound on what it keeps of a request line, tune.http.logurilen.
            Self::Target | Self::SentTarget => 1024,
            // The longest DNS name, a port, and room for IPv6 literals.
            Self::Host | Self::SentHost | Self::ForwardedHost | Self::ServerName => 264,
            Self::UserAgent => 512,
            Self::TraceState => MAX_TRACESTATE,
            Self::Link => 25,
            // Registered tokens are short; RFC 6455's is `websocket`.
            Self::Upgrade | Self::Tls | Self::RpcStatus => 32,
            Self::Rpc => 0,
            Self::ForwardedFor => MAX_FORWARDED,
            Self::Header => 1 + MAX_HEADER_VALUE,
            Self::ContentLength => 18,
            Self::Active => 1,
            Self::Attribute => 2 + MAX_ATTRIBUTE_NAME + MAX_ATTRIBUTE_VALUE,
            Self::Frontend | Self::Backend | Self::Server | Self::Cipher | Self::NextProtocol => 255,
            Self::Gathered => 1 + MAX_VALUE,
        }
    }
}

/// Goes through fields. Broken bytes end the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next tag and value.
    #[inline]
    pub(super) fn next_field(&mut self) -> Option<(u8, &'a [u8])> {
        let ([tag, low, high], after) = self.0.split_first_chunk::<FRAME>()?;
        let (value, after) = after.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))?;
        self.0 = after;
        Some((*tag, value))
    }

    /// The values of one kind, in order.
    pub(super) fn of(mut self, field: Field) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        std::iter::from_fn(move || {
            loop {
                let (tag, value) = self.next_field()?;
                if tag == field as u8 {
                    return Some(value);
                }
            }
        })
    }
}

/// Bytes before a field's value: tag and length.
pub(super) const FRAME: usize = 3;

/// Bytes of the longest `tracestate` that is kept. W3C Trace Context level 2, 3.3.1.5 asks for at least 512.
pub const MAX_TRACESTATE: usize = 512;

/// Bytes kept of the hops in a forwarding header.
pub const MAX_FORWARDED: usize = 512;

/// Bytes kept of a header's value that becomes an attribute.
pub const MAX_HEADER_VALUE: usize = 512;

/// Bytes of the longest attribute name that a rule may give.
pub(super) const MAX_ATTRIBUTE_NAME: usize = 255;

/// Bytes kept of an attribute's text.
pub(super) const MAX_ATTRIBUTE_VALUE: usize = 512;

/// Bytes of one value that the settings ask for.
pub const MAX_VALUE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_byte() {
        for (place, field) in (1_u8..).zip(Field::ALL) {
            assert_eq!((field as u8, Field::of_tag(place)), (place, Some(field)));
        }
        assert_eq!((Field::of_tag(0), Field::of_tag(255)), (None, None));
    }
}
