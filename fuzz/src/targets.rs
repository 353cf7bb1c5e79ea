//! The targets: each takes any bytes, and panics where what it promises does not hold.

mod answers;
mod metrics;
mod propagation;
mod requests;
mod rules;
mod settings;
mod setup;
mod spans;

/// Takes any bytes; a panic is a finding.
pub(crate) type Target = fn(&[u8]);

/// Each target with its name, which is the name of its corpus too.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("b3", propagation::b3),
    ("baggage", propagation::baggage),
    ("collector_answers", answers::collector),
    ("formats", propagation::formats),
    ("forwarding", requests::forwarding),
    ("health_answers", answers::health),
    ("htx", requests::message),
    ("jaeger", propagation::jaeger),
    ("prometheus", metrics::prometheus),
    ("recent", requests::recent),
    ("records", requests::records),
    ("requests", requests::whole),
    ("resource_files", answers::resource_files),
    ("ring", requests::ring),
    ("routes", rules::routes),
    ("sampling_rules", rules::sampling),
    ("servers_state", answers::servers_state),
    ("settings_arguments", settings::arguments),
    ("settings_environment", settings::environment),
    ("settings_file", settings::file),
    ("traceparent", propagation::traceparent),
    ("tracestate", propagation::tracestate),
    ("xray", propagation::xray),
];

/// What HAProxy would hand over: its texts end at a NUL.
fn until_nul(data: &[u8]) -> &[u8] {
    data.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What is before and after the first `mark`; all of it and nothing where there is none.
fn halves<'a>(data: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    let at = data.windows(mark.len()).position(|window| window == mark);
    at.map_or((data, b""), |at| (&data[..at], &data[at + mark.len()..]))
}
