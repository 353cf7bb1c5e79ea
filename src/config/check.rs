//! What no single key can know: settings that contradict each other.

use super::duration::show;
use super::error::{ConfigError, Hint};
use super::flatten::BackendTable;
use super::load::Loaded;
use super::origin::Origin;
use super::tree::{BackendConfig, ExporterKind, Protocol, QueryMode, SamplerKind};
use super::value::{one_line, quoted};

/// The tree without its backends.
pub(super) fn whole(loaded: &mut Loaded) -> Result<(), ConfigError> {
    tls(loaded)?;
    credentials(loaded)?;
    unused_query_lists(loaded);
    batch(loaded)?;
    ratio_in_use(loaded);
    attempt_within_export(loaded);
    Ok(())
}

/// A list of backends and the tables that they were read from.
pub(super) fn backends(backends: &[BackendConfig], tables: &[BackendTable]) -> Result<(), ConfigError> {
    let pairs = || backends.iter().zip(tables);
    for (index, (backend, table)) in pairs().enumerate() {
        if let Some((_, first)) = pairs().take(index).find(|(earlier, _)| earlier.name == backend.name) {
            let (origin, first) = (table.origin.clone(), first.origin.clone());
            return Err(ConfigError::BackendTwice { name: one_line(&backend.name), origin, first });
        }
        timeouts(backend, table)?;
    }
    Ok(())
}

/// Only where spans would be sent: a proxy that sends none starts with any endpoint.
fn tls(loaded: &Loaded) -> Result<(), ConfigError> {
    let export = &loaded.config.export;
    if !export.endpoint.tls || export.exporter == ExporterKind::None || !loaded.config.traces.enabled {
        return Ok(());
    }
    let origin = loaded.origins.of("export.endpoint");
    let hint = if origin.is_lenient() && export.protocol == Protocol::Grpc {
        Hint::advice("for an endpoint without a scheme set OTEL_EXPORTER_OTLP_INSECURE=true")
    } else {
        Hint::default()
    };
    Err(ConfigError::TlsUnsupported { origin, found: quoted(&export.endpoint.to_string()), hint })
}

/// Spans travel far, and are read by many.
fn credentials(loaded: &Loaded) -> Result<(), ConfigError> {
    let attributes = &loaded.config.attributes;
    let lists = [
        ("traces.request_headers", &attributes.request_headers),
        ("traces.response_headers", &attributes.response_headers),
    ];
    for (key, names) in lists {
        let secret = names.iter().find(|name| CREDENTIALS.contains(&name.as_str()));
        if let Some(name) = secret.filter(|_| !attributes.allow_credentials) {
            return Err(ConfigError::BadText {
                key: key.to_owned(),
                origin: loaded.origins.of(key),
                expected: "headers without credentials, or `traces.allow_credentials`",
                found: quoted(name),
            });
        }
    }
    Ok(())
}

fn unused_query_lists(loaded: &mut Loaded) {
    let mode = loaded.config.attributes.query;
    for (key, used_in) in [("traces.redact_query", QueryMode::Redact), ("traces.query_allowed", QueryMode::AllowList)] {
        if mode != used_in && loaded.origins.is_set(key) {
            let (origin, mode_origin) = (loaded.origins.of(key), loaded.origins.of("traces.query"));
            let mode = super::words::Word::word(mode);
            loaded
                .warnings
                .push(format!("`{key}` ({origin}): not used, because `traces.query` ({mode_origin}) is {mode}"));
        }
    }
}

/// OpenTelemetry SDK specification, batching processor: `maxExportBatchSize` is at most `maxQueueSize`.
fn batch(loaded: &mut Loaded) -> Result<(), ConfigError> {
    let (batch, queue) = (loaded.config.export.max_export_batch_size, loaded.config.export.max_queue_size);
    if batch <= queue {
        return Ok(());
    }
    let (origin, queue_origin) =
        (loaded.origins.of("export.max_export_batch_size"), loaded.origins.of("export.max_queue_size"));
    if !(origin == Origin::Default || origin.is_lenient()) {
        return Err(ConfigError::BatchOverQueue { origin, batch, queue_origin, queue });
    }
    loaded.config.export.max_export_batch_size = queue;
    loaded.warnings.push(format!(
        "`export.max_export_batch_size` ({origin}): lowered from {batch} to {queue}, \
         `export.max_queue_size` ({queue_origin})"
    ));
    Ok(())
}

fn ratio_in_use(loaded: &mut Loaded) {
    let sampler = loaded.config.traces.sampler;
    let takes_ratio = matches!(sampler, SamplerKind::TraceIdRatio | SamplerKind::ParentBasedTraceIdRatio);
    if !takes_ratio && loaded.origins.is_set("traces.ratio") {
        let (origin, sampler_origin) = (loaded.origins.of("traces.ratio"), loaded.origins.of("traces.sampler"));
        let sampler = super::words::Word::word(sampler);
        loaded.warnings.push(format!(
            "`traces.ratio` ({origin}): not used, because `traces.sampler` ({sampler_origin}) is {sampler}"
        ));
    }
}

fn attempt_within_export(loaded: &mut Loaded) {
    let (attempt, all) = (loaded.config.export.timeout, loaded.config.export.export_timeout);
    if attempt > all {
        let (origin, all_origin) = (loaded.origins.of("export.timeout"), loaded.origins.of("export.export_timeout"));
        loaded.warnings.push(format!(
            "`export.timeout` ({origin}): {} is never reached, because `export.export_timeout` ({all_origin}) is {}",
            show(attempt),
            show(all)
        ));
    }
}

fn timeouts(backend: &BackendConfig, table: &BackendTable) -> Result<(), ConfigError> {
    if backend.connect_timeout.saturating_add(backend.rpc_timeout) <= backend.interval {
        return Ok(());
    }
    let origin = |key| {
        let setting = table.settings.iter().find(|setting| setting.key == key);
        setting.map_or(Origin::Default, |setting| setting.origin.clone())
    };
    let (connect, rpc) = (show(backend.connect_timeout), show(backend.rpc_timeout));
    Err(ConfigError::TimeoutsOverInterval {
        key: format!("{}.interval", table.path),
        origin: origin("interval"),
        timeouts: format!("{connect} ({}) + {rpc} ({})", origin("connect_timeout"), origin("rpc_timeout")),
        found: quoted(&show(backend.interval)),
    })
}

/// Headers whose values let somebody in.
const CREDENTIALS: [&str; 16] = [
    "authentication-info",
    "authorization",
    "api-key",
    "cookie",
    "cookie2",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-forwarded-access-token",
    "x-xsrf-token",
];
