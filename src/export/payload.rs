//! A batch as it goes on the wire: in the protocol's form, compressed. Made once, sent as often as need be.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::GzEncoder;

use super::error::SendError;
use super::{Batch, Signal, json};
use crate::config::{Compression, Protocol};

/// The body of a request; for gRPC its one message.
#[derive(Debug, Clone)]
pub(super) struct Payload(pub(super) Bytes);

impl Payload {
    pub(super) fn new(
        batch: &Batch,
        signal: Signal,
        protocol: Protocol,
        compression: Compression,
    ) -> Result<Self, SendError> {
        if batch.bytes.len() > MAX_REQUEST {
            return Err(SendError::RequestTooLong(MAX_REQUEST));
        }
        let bytes = match protocol {
            Protocol::Grpc | Protocol::HttpProtobuf => batch.bytes.clone(),
            Protocol::HttpJson => {
                let text = json::encode(signal, &batch.bytes);
                Bytes::from(text.map_err(|error| SendError::Encode(error.to_string()))?)
            }
        };
        let packed = match compression {
            Compression::None => return Ok(Self(bytes)),
            Compression::Gzip => gzip(&bytes),
            Compression::Zstd => zstd::bulk::compress(&bytes, ZSTD_LEVEL),
        };
        packed.map(|packed| Self(packed.into())).map_err(|error| SendError::Encode(error.to_string()))
    }
}

/// What names a compression in `Content-Encoding` and `grpc-encoding`.
pub(super) fn encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Bytes: the bound on a request that the OTLP specification names.
pub(super) const MAX_REQUEST: usize = 64 * 1024 * 1024;
/// The fastest of the usual ones: attributes repeat so much that more effort saves little.
const ZSTD_LEVEL: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn packed(bytes: &[u8], compression: Compression) -> Bytes {
        let batch = Batch { bytes: Bytes::copy_from_slice(bytes), items: 1 };
        Payload::new(&batch, Signal::Traces, Protocol::HttpProtobuf, compression).unwrap().0
    }

    proptest! {
        #[test]
        fn what_is_packed_can_be_unpacked(bytes: Vec<u8>) {
            prop_assert_eq!(&packed(&bytes, Compression::None)[..], &bytes[..]);
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&packed(&bytes, Compression::Gzip)[..]).read_to_end(&mut plain).unwrap();
            prop_assert_eq!(&plain, &bytes);
            prop_assert_eq!(zstd::decode_all(&packed(&bytes, Compression::Zstd)[..]).unwrap(), bytes);
        }
    }

    #[test]
    fn batch_beyond_its_bound_is_not_sent() {
        let batch = Batch { bytes: vec![0; MAX_REQUEST + 1].into(), items: 1 };
        let payload = Payload::new(&batch, Signal::Traces, Protocol::Grpc, Compression::None);
        assert!(matches!(payload, Err(SendError::RequestTooLong(_))));
    }

    #[test]
    fn bytes_that_have_no_json_are_an_error() {
        let batch = Batch { bytes: Bytes::from_static(b"\xff"), items: 1 };
        let payload = Payload::new(&batch, Signal::Logs, Protocol::HttpJson, Compression::None);
        assert!(matches!(payload, Err(SendError::Encode(_))));
    }
}
