//! What goes around a batch of spans, log records or metrics: OTLP's `Export…ServiceRequest`, encoded once but for the items.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use prost::encoding::{self, WireType};

use crate::resource::Resource;

/// The semantic conventions that the spans follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// The instrumentation scope's name.
pub const SCOPE: &str = "haproxy-vitals";

/// Everything of an export request that does not change from batch to batch.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// `ResourceSpans.resource`.
    resource: Vec<u8>,
    /// `ScopeSpans.scope`.
    scope: Vec<u8>,
    /// `schema_url` of `ScopeSpans`, and of `ResourceSpans`: both have number 3.
    schema: Vec<u8>,
}

impl Envelope {
    /// Describes the process by `resource`.
    pub fn new(resource: &Resource) -> Self {
        Self { resource: encode_resource(resource), scope: encode_scope(), schema: encode_schema() }
    }

    /// A batch to append encoded `ScopeSpans.spans` entries to, with room before them for what [`Self::close`] puts there.
    /// `len`: bytes that will probably be appended.
    pub fn open(&self, len: usize) -> Vec<u8> {
        let mut batch =
            Vec::with_capacity(HEADROOM + len + self.scope.len() + self.resource.len() + 2 * self.schema.len());
        batch.resize(HEADROOM, 0);
        batch
    }

    /// One request of a batch that [`Self::open`] began. Nothing is copied: scope and resource follow the spans, as protobuf lets
    /// them.
    pub fn close(&self, mut batch: Vec<u8>) -> Bytes {
        batch.extend_from_slice(&self.scope);
        batch.extend_from_slice(&self.schema);
        let scope_spans = batch.len() - HEADROOM;
        batch.extend_from_slice(&self.resource);
        batch.extend_from_slice(&self.schema);
        let resource_spans = batch.len() - HEADROOM + prefix_len(scope_spans);
        let mut front = Vec::with_capacity(HEADROOM);
        prefix(&mut front, RESOURCE_SPANS, resource_spans);
        prefix(&mut front, SCOPE_SPANS, scope_spans);
        let start = HEADROOM.saturating_sub(front.len());
        if let Some(room) = batch.get_mut(start..HEADROOM) {
            room.copy_from_slice(&front);
        }
        Bytes::from(batch).slice(start..)
    }

    /// One request around `items`: encoded `spans`, `log_records` or `metrics` entries.
    pub fn wrap(&self, items: &[u8]) -> Bytes {
        let mut batch = self.open(items.len());
        batch.extend_from_slice(items);
        self.close(batch)
    }
}

/// Bytes before the items of a batch: two tags, and two lengths of at most ten bytes.
pub const HEADROOM: usize = 22;

fn encode_resource(resource: &Resource) -> Vec<u8> {
    let mut out = Vec::new();
    encoding::bytes::encode(RESOURCE, &resource.encode(), &mut out);
    out
}

fn encode_scope() -> Vec<u8> {
    let scope =
        InstrumentationScope { name: SCOPE.to_owned(), version: crate::VERSION.to_owned(), ..Default::default() };
    let mut out = Vec::new();
    encoding::message::encode(SCOPE_SPANS_SCOPE, &scope, &mut out);
    out
}

fn encode_schema() -> Vec<u8> {
    let mut out = Vec::new();
    encoding::string::encode(SCHEMA, &SCHEMA_URL.to_owned(), &mut out);
    out
}

/// A message's tag and length.
fn prefix(out: &mut Vec<u8>, field: u32, len: usize) {
    encoding::encode_key(field, WireType::LengthDelimited, out);
    encoding::encode_varint(len as u64, out);
}

/// Bytes of a message's tag and length.
const fn prefix_len(len: usize) -> usize {
    1 + encoding::encoded_len_varint(len as u64)
}

// opentelemetry/proto/collector/trace/v1, trace/v1, common/v1.
const RESOURCE_SPANS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_SPANS: u32 = 2;
const SCOPE_SPANS_SCOPE: u32 = 1;
const SCHEMA: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServiceConfig;
    use crate::resource::Value;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
    use prost::Message;

    #[test]
    fn a_batch_is_wrapped_in_resource_scope_and_schema() {
        let attributes = vec![("k".to_owned(), "n".repeat(200))];
        let service = ServiceConfig { name: "edge".to_owned(), attributes, ..ServiceConfig::default() };
        let resource = Resource::new(&service, vec![("process.pid", Value::Integer(1))]);
        let envelope = Envelope::new(&resource);
        for count in [0, 1, 40, 4000] {
            let spans: Vec<_> = (0..count).map(|_| Span { name: "GET".to_owned(), ..Span::default() }).collect();
            let body = ScopeSpans { spans: spans.clone(), ..ScopeSpans::default() }.encode_to_vec();
            let bytes = envelope.wrap(&body);
            let request = ExportTraceServiceRequest::decode(bytes.as_ref()).unwrap();
            // The resource stands after the spans, so that they need not be moved.
            assert_eq!(request.encoded_len(), bytes.len(), "nothing is unknown to the schema");
            let resource_spans = &request.resource_spans[0];
            let scope_spans = &resource_spans.scope_spans[0];
            let scope = scope_spans.scope.as_ref().unwrap();
            assert_eq!((scope.name.as_str(), scope.version.as_str()), (SCOPE, crate::VERSION));
            assert_eq!((resource_spans.schema_url.as_str(), scope_spans.schema_url.as_str()), (SCHEMA_URL, SCHEMA_URL));
            assert_eq!(scope_spans.spans, spans);
            assert_eq!(resource_spans.resource, Some(resource.to_proto()));
        }
    }
}
