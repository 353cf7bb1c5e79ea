//! What no single key can know: settings that contradict each other.

use std::path::Path;

use super::duration::show;
use super::error::{ConfigError, Hint};
use super::flatten::BackendTable;
use super::load::Loaded;
use super::origin::Origin;
use super::tree::{BackendConfig, ExporterKind, Protocol, SamplerKind};
use super::value::{one_line, quoted};

/// The tree without its backends.
pub(super) fn whole(loaded: &mut Loaded) -> Result<(), ConfigError> {
    tls(loaded)?;
    batch(loaded)?;
    file(loaded)?;
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
    if !export.endpoint.tls || !export.has(ExporterKind::Otlp) || !loaded.config.traces.enabled {
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

/// The exporter `file` needs a file in a folder that exists. The file itself is opened when HAProxy starts.
fn file(loaded: &Loaded) -> Result<(), ConfigError> {
    let (export, metrics, logs) = (&loaded.config.export, &loaded.config.metrics, &loaded.config.logs);
    let file = ExporterKind::File;
    let by_metrics = metrics.enabled && metrics.exporters.contains(&file);
    let by_logs = logs.enabled && logs.exporters.contains(&file);
    if !(export.has(file) || by_metrics || by_logs) {
        return Ok(());
    }
    let origin = loaded.origins.of("export.file.path");
    let path = Path::new(&export.file.path);
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let expected = match (path.file_name(), folder) {
        (Some(_), Some(folder)) if folder.is_dir() && !path.is_dir() => return Ok(()),
        (Some(_), _) if !path.is_dir() => "a file in a folder that exists",
        _ => "the file that the exporter `file` writes",
    };
    let key = "export.file.path".to_owned();
    Err(ConfigError::BadText { key, origin, expected, found: quoted(&export.file.path) })
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
