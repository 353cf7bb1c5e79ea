use super::*;
use crate::config::ServiceConfig;
use crate::export::Kept;
use crate::resource::Resource;
use crate::trace::record::Field;
use crate::trace::record::sample::{Sample, any_sample};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use prost::Message;

const END: u64 = 1_700_000_000_250_000_000;

fn batch(config: &LogsConfig) -> (LogBatch, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    let envelope = Envelope::new(&Resource::new(
        &ServiceConfig { name: "edge".to_owned(), ..ServiceConfig::default() },
        Vec::new(),
    ));
    (LogBatch::new(config, Arc::default(), envelope, Arc::clone(&kept) as Arc<dyn Outlet>), kept)
}

fn records(kept: &Kept) -> Vec<LogRecord> {
    let mut all = Vec::new();
    for (bytes, items) in kept.take() {
        let message = ExportLogsServiceRequest::decode(bytes.as_ref()).unwrap();
        assert_eq!(message.encode_to_vec().len(), bytes.len(), "nothing is unknown to the schema");
        let scope = &message.resource_logs[0].scope_logs[0];
        assert_eq!(
            (scope.scope.as_ref().unwrap().name.as_str(), scope.log_records.len() as u64),
            ("haproxy-vitals", items)
        );
        all.extend(scope.log_records.iter().cloned());
    }
    all
}

fn one(config: &LogsConfig, payload: &[u8]) -> LogRecord {
    let (mut batch, kept) = batch(config);
    batch.add(&Record::parse(payload, END).unwrap());
    assert!(kept.take().is_empty(), "a batch waits for its age");
    batch.tick(true);
    records(&kept).pop().unwrap()
}

fn body(record: &LogRecord) -> String {
    match record.body.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn attribute(record: &LogRecord, key: &str) -> Option<String> {
    let found = record.attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_request_is_a_record_with_its_trace_and_a_line() {
    let record = one(&LogsConfig::default(), &Sample::default().payload());
    assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
    assert_eq!((record.event_name.as_str(), record.time_unix_nano, record.flags), ("haproxy.request", END, 3));
    assert_eq!(record.trace_id, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes());
    assert_eq!(record.span_id, [0x11; 8]);
    assert!(record.observed_time_unix_nano > END);
    let line = "192.0.2.9:51234 www api/api1 1/2/3/25/250 200 -- \"GET /cart/items?id=7&sort=asc HTTP/1.1\"";
    assert_eq!(body(&record), line);
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/cart/items"),
        ("url.query", "id=7&sort=asc"),
        ("url.scheme", "https"),
        ("server.address", "shop.example"),
        ("client.address", "192.0.2.9"),
        ("haproxy.server.name", "api1"),
    ] {
        assert_eq!(attribute(&record, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(&record, "error.type"), None);
}

#[test]
fn severity_follows_what_the_client_got_and_secrets_are_redacted() {
    for (status, state, severity, error) in
        [(404, "--", "WARN", None), (503, "SC", "ERROR", Some("503")), (200, "SD", "ERROR", Some("server_abort"))]
    {
        let record = one(&LogsConfig::default(), &Sample::ended(state).status(status).payload());
        assert_eq!((record.severity_text.as_str(), attribute(&record, "error.type").as_deref()), (severity, error));
    }
    let record = one(&LogsConfig::default(), &Sample::default().line(b"GET /a?sig=abc HTTP/1.1").payload());
    assert!(body(&record).contains("\"GET /a?sig=REDACTED HTTP/1.1\""), "{}", body(&record));
    assert_eq!(attribute(&record, "url.query").as_deref(), Some("sig=REDACTED"));
}

#[test]
fn a_request_without_a_response_is_a_record_too() {
    let sample = Sample::bare().state("PR").carrying(Field::Frontend, b"www").carrying(Field::Backend, b"www");
    let record = one(&LogsConfig::default(), &sample.payload());
    assert_eq!(body(&record), "-:0 www www/<NOSRV> -1/-1/-1/-1/250 -1 PR \"<BADREQ>\"");
    assert_eq!(record.severity_text, "ERROR");
    assert_eq!(attribute(&record, "url.scheme").as_deref(), Some("http"));
}

#[test]
fn attributes_beyond_the_limits_are_counted_and_long_ones_cut() {
    let config = LogsConfig { attribute_count_limit: 2, attribute_value_length_limit: 5, ..LogsConfig::default() };
    let record =
        one(&config, &Sample::default().line("GET /\u{e9}\u{e9}\u{e9}\u{e9}\u{e9} HTTP/1.1".as_bytes()).payload());
    assert_eq!(record.attributes.len(), 2);
    assert_eq!(attribute(&record, "url.path").as_deref(), Some("/\u{e9}\u{e9}\u{e9}\u{e9}"));
    assert!(record.dropped_attributes_count >= 8, "{record:?}");
}

#[test]
fn a_batch_leaves_when_it_is_full_and_when_it_is_old() {
    let config = LogsConfig { max_export_batch_size: 3, schedule_delay: Duration::ZERO, ..LogsConfig::default() };
    let (mut batch, kept) = batch(&config);
    let payload = Sample::default().payload();
    let record = Record::parse(&payload, END).unwrap();
    (0..4).for_each(|_| batch.add(&record));
    assert_eq!(records(&kept).len(), 3);
    batch.tick(false);
    assert_eq!(records(&kept).len(), 1);
    batch.tick(true);
    assert!(kept.take().is_empty());
}

proptest! {
    #[test]
    fn any_request_is_a_valid_record(
        sample in any_sample(), limit in 0_usize..30, count in 0_usize..20,
    ) {
        let mut sample = sample;
        // A zero would be written, and not by those who read it.
        sample.head.flags |= 1;
        let config = LogsConfig { attribute_count_limit: count, attribute_value_length_limit: limit, ..LogsConfig::default() };
        let record = one(&config, &sample.payload());
        prop_assert!(record.attributes.len() <= count);
        for attribute in &record.attributes {
            if let Some(Value::StringValue(text)) = &attribute.value.as_ref().unwrap().value {
                prop_assert!(text.chars().count() <= limit);
            }
        }
    }
}
