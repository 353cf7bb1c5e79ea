//! What the same two spans cost through `opentelemetry_sdk` and the conversion that `opentelemetry-otlp` uses: the figure
//! that decided against it for spans. The argument, if any, is the number of requests.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program that measures")]

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use prost::Message;

/// Keeps finished spans for the next batch.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Kept {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().expect("one thread").push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn main() {
    let requests: u32 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_000);
    let kept = Kept::default();
    let resource = Resource::builder().with_service_name("edge").build();
    let provider =
        SdkTracerProvider::builder().with_resource(resource.clone()).with_span_processor(kept.clone()).build();
    let tracer = provider.tracer("haproxy-vitals");
    let (mut bytes, begun) = (0, Instant::now());
    for _ in 0..requests {
        let server = tracer
            .span_builder("GET")
            .with_kind(SpanKind::Server)
            .with_start_time(SystemTime::now())
            .with_attributes(attributes(&SERVER))
            .start(&tracer);
        let context = Context::new().with_span(server);
        let client = tracer
            .span_builder("GET")
            .with_kind(SpanKind::Client)
            .with_start_time(SystemTime::now())
            .with_attributes(attributes(&CLIENT))
            .start_with_context(&tracer, &context);
        drop(client);
        drop(context);
        let mut spans = kept.0.lock().expect("one thread");
        if spans.len() >= 512 {
            let resource_spans = group_spans_by_resource_and_scope(std::mem::take(&mut *spans), &(&resource).into());
            bytes += black_box(ExportTraceServiceRequest { resource_spans }.encode_to_vec()).len();
        }
    }
    let nanos = begun.elapsed().as_nanos();
    println!("{} ns per request, two spans; {bytes} bytes", nanos / u128::from(requests));
}

fn attributes(pairs: &[(&'static str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue::new(*key, (*value).to_owned())).collect()
}

const SERVER: [(&str, &str); 22] = [
    ("http.request.method", "GET"),
    ("http.response.status_code", "200"),
    ("url.path", "/cart/items"),
    ("url.query", "id=7&sort=asc"),
    ("url.scheme", "https"),
    ("server.address", "shop.example.com"),
    ("server.port", "443"),
    ("client.address", "192.0.2.9"),
    ("network.peer.address", "192.0.2.9"),
    ("network.peer.port", "51234"),
    ("network.protocol.version", "1.1"),
    ("tls.protocol.name", "tls"),
    ("tls.protocol.version", "1.3"),
    ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("haproxy.frontend.name", "www"),
    ("haproxy.backend.name", "api"),
    ("haproxy.server.name", "api1"),
    ("haproxy.termination_state", "--"),
    ("haproxy.timer.request_headers", "1"),
    ("haproxy.timer.queue", "2"),
    ("haproxy.timer.connect", "3"),
    ("haproxy.timer.response_headers", "25"),
];

const CLIENT: [(&str, &str); 10] = [
    ("http.request.method", "GET"),
    ("http.response.status_code", "200"),
    ("url.full", "http://shop.example.com/cart/items?id=7&sort=asc"),
    ("server.address", "shop.example.com"),
    ("server.port", "8080"),
    ("network.peer.address", "10.0.0.7"),
    ("network.peer.port", "8080"),
    ("network.protocol.version", "1.1"),
    ("haproxy.backend.name", "api"),
    ("haproxy.server.name", "api1"),
];
