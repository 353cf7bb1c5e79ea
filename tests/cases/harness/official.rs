//! The receiver against OpenTelemetry's own exporter.

use haproxy_vitals_tests::{OtlpReceiver, SOON};
use opentelemetry::trace::{SpanKind, Tracer, TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

#[test]
fn the_receiver_takes_what_the_official_exporter_sends() {
    let receiver = OtlpReceiver::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(receiver.grpc_endpoint()).build().unwrap();
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("official").build())
        .with_batch_exporter(exporter)
        .build();
    let tracer = provider.tracer("cases");
    drop(tracer.span_builder("one").with_kind(SpanKind::Server).start(&tracer));
    provider.force_flush().unwrap();
    let spans = receiver.wait_spans(1, SOON);
    assert_eq!((spans[0].name.as_str(), spans[0].resource.str("service.name")), ("one", Some("official")));
    receiver.assert_clean();
    provider.shutdown().unwrap();
}
