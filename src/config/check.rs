//! What no single key can know: settings that contradict each other.

mod unused;

use std::path::Path;

use super::duration::show;
use super::error::{ConfigError, Hint};
use super::list::Table;
use super::load::Loaded;
use super::origin::Origin;
use super::tree::{
    BackendConfig, CheckMode, ExporterKind, LogTarget, ParentSampler, Propagator, QueryMode, TlsMode, Way,
};
use super::value::{one_line, quoted};

/// The tree without its backends.
pub(super) fn whole(loaded: &mut Loaded) -> Result<(), ConfigError> {
    credentials(loaded)?;
    unused_query_lists(loaded);
    batch(loaded)?;
    file(loaded)?;
    ratio_in_use(loaded);
    parents_in_use(loaded);
    baggage_in_use(loaded);
    attempt_within_export(loaded);
    auto_without_socket(loaded);
    single(loaded)?;
    unused::in_backends(loaded);
    listeners(loaded)
}

/// The tree of the agent as a program of its own.
pub(super) fn agent(loaded: &mut Loaded) -> Result<(), ConfigError> {
    file(loaded)?;
    if loaded.config.log.to == LogTarget::Haproxy {
        let (key, origin) = ("log.to".to_owned(), loaded.origins.of("log.to"));
        return Err(ConfigError::NotHere { key, origin, hint: Hint::instead("take `stderr`, `stdout` or `file`") });
    }
    if loaded.config.agent.listen.is_none() {
        let (key, origin) = ("agent.listen".to_owned(), loaded.origins.of("agent.listen"));
        return Err(ConfigError::Missing { key, origin, expected: "an address and a port" });
    }
    single(loaded)?;
    open_to_all(loaded);
    Ok(())
}

/// Checks of targets that somebody names: certificates have their keys, and times are of use.
fn single(loaded: &mut Loaded) -> Result<(), ConfigError> {
    let (agent, profile) = (&loaded.config.agent, &loaded.config.health.single.profile);
    let missing = match (&profile.cert_file, &profile.key_file) {
        (Some(_), None) => Some(("agent.key_file", "agent.cert_file", "the private key of `agent.cert_file`")),
        (None, Some(_)) => Some(("agent.cert_file", "agent.key_file", "the certificate of `agent.key_file`")),
        _ => None,
    };
    if let Some((key, other, expected)) = missing {
        return Err(ConfigError::Missing { key: key.to_owned(), origin: loaded.origins.of(other), expected });
    }
    let all = agent.timeout;
    for (key, part) in [("agent.connect_timeout", profile.connect_timeout), ("agent.rpc_timeout", profile.rpc_timeout)]
    {
        if part > all {
            let (origin, all_origin) = (loaded.origins.of(key), loaded.origins.of("agent.timeout"));
            let (part, all) = (show(part), show(all));
            let text =
                format!("`{key}` ({origin}): {part} is never reached, because `agent.timeout` ({all_origin}) is {all}");
            loaded.warnings.push(text);
        }
    }
    Ok(())
}

/// Who can connect can make this process connect anywhere.
fn open_to_all(loaded: &mut Loaded) {
    let agent = &loaded.config.agent;
    let Some(listen) = agent.listen else { return };
    if agent.allow_any
        && agent.allow_from.is_empty()
        && loaded.config.health.single.allow_to.is_empty()
        && !listen.ip().to_canonical().is_loopback()
    {
        let origin = loaded.origins.of("agent.listen");
        loaded.warnings.push(format!(
            "`agent.listen` ({origin}): whoever reaches {listen} can have this process connect anywhere; \
             `agent.allow_from` and `agent.allow_to` narrow that"
        ));
    }
}

/// A backend with a `way` of its own needs the listener that tells.
fn listeners(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    for backend in &config.health.backends {
        let (key, listens) = match backend.way {
            Way::Lua => continue,
            Way::Agent => ("agent.listen", config.agent.listen.is_some()),
            Way::Bridge => ("bridge.listen", config.bridge.listen.is_some()),
        };
        if !listens {
            let way_key = format!("health.backend.{}.way", one_line(&backend.name));
            let (origin, way_origin) = (loaded.origins.of(key), loaded.origins.of(&way_key));
            let way = super::words::Word::word(backend.way);
            return Err(ConfigError::NeedsListener { key, origin, way_key, way_origin, way });
        }
    }
    Ok(())
}

/// HAProxy 3.2 does not show Lua which servers are encrypted.
fn auto_without_socket(loaded: &mut Loaded) {
    let health = &loaded.config.health;
    let auto = health.backends.iter().find(|backend| backend.tls == TlsMode::Auto);
    if let Some(backend) = auto.filter(|_| health.stats_socket.is_none()) {
        let key = format!("health.backend.{}.tls", one_line(&backend.name));
        let origin = loaded.origins.of(&key);
        loaded.warnings.push(format!(
            "`{key}` ({origin}): auto is off, because `health.stats_socket`, from which it is learnt which servers \
             HAProxy encrypts, is not set"
        ));
    }
}

/// One backend and the table that it was read from.
pub(super) fn backend(backend: &BackendConfig, table: &Table) -> Result<(), ConfigError> {
    if backend.name.is_empty() {
        let key = format!("{}.name", table.path);
        let expected = "the name of a backend in HAProxy's configuration";
        return Err(ConfigError::Missing { key, origin: table.origin.clone(), expected });
    }
    Ok(())
}

/// A list of backends and the tables that they were read from.
pub(super) fn backends(backends: &[BackendConfig], tables: &[Table]) -> Result<(), ConfigError> {
    let pairs = || backends.iter().zip(tables);
    for (index, (backend, table)) in pairs().enumerate() {
        if let Some((_, first)) = pairs().take(index).find(|(earlier, _)| earlier.name == backend.name) {
            let (origin, first) = (table.origin.clone(), first.origin.clone());
            return Err(ConfigError::BackendTwice { name: one_line(&backend.name), origin, first });
        }
        timeouts(backend, table)?;
        certificates(backend, table)?;
        weights(backend, table)?;
    }
    Ok(())
}

/// The exporter `file` and the log need a file in a folder that exists. The file itself is opened when HAProxy starts.
fn file(loaded: &Loaded) -> Result<(), ConfigError> {
    let (export, metrics, logs) = (&loaded.config.export, &loaded.config.metrics, &loaded.config.logs);
    let file = ExporterKind::File;
    let by_metrics = metrics.enabled && metrics.exporters.contains(&file);
    let by_logs = logs.enabled && logs.exporters.contains(&file);
    if export.has(file) || by_metrics || by_logs {
        writable(loaded, "export.file.path", &export.file.path, "the file that the exporter `file` writes")?;
    }
    let log = &loaded.config.log;
    if log.to == LogTarget::File {
        writable(loaded, "log.file.path", &log.file.path, "the file that `log.to` writes")?;
    }
    Ok(())
}

fn writable(loaded: &Loaded, key: &str, file: &str, what: &'static str) -> Result<(), ConfigError> {
    let path = Path::new(file);
    let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let expected = match (path.file_name(), folder) {
        (Some(_), Some(folder)) if folder.is_dir() && !path.is_dir() => return Ok(()),
        (Some(_), _) if !path.is_dir() => "a file in a folder that exists",
        _ => what,
    };
    let (origin, found) = (loaded.origins.of(key), quoted(file));
    Err(ConfigError::BadText { key: key.to_owned(), origin, expected, found })
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
    let sampling = &loaded.config.traces.sampling;
    let delegates = [sampling.parent_sampled, sampling.parent_not_sampled];
    let takes_ratio = |delegate| matches!(delegate, ParentSampler::TraceIdRatio | ParentSampler::ConsistentProbability);
    let takes_ratio = sampler.takes_ratio() || sampler.is_parent_based() && delegates.into_iter().any(takes_ratio);
    if !takes_ratio && loaded.origins.is_set("traces.ratio") {
        let (origin, sampler_origin) = (loaded.origins.of("traces.ratio"), loaded.origins.of("traces.sampler"));
        let sampler = super::words::Word::word(sampler);
        loaded.warnings.push(format!(
            "`traces.ratio` ({origin}): not used, because `traces.sampler` ({sampler_origin}) is {sampler}"
        ));
    }
}

fn parents_in_use(loaded: &mut Loaded) {
    for key in ["traces.parent_sampled", "traces.parent_not_sampled"] {
        if loaded.origins.is_set(key) && !loaded.config.traces.sampler.is_parent_based() {
            let (origin, sampler_origin) = (loaded.origins.of(key), loaded.origins.of("traces.sampler"));
            let sampler = super::words::Word::word(loaded.config.traces.sampler);
            loaded.warnings.push(format!(
                "`{key}` ({origin}): not used, because `traces.sampler` ({sampler_origin}) is {sampler}, \
                 which does not ask callers"
            ));
        }
    }
}

fn baggage_in_use(loaded: &mut Loaded) {
    let traces = &loaded.config.traces;
    if !traces.baggage_attributes.is_empty() && !traces.propagators.contains(&Propagator::Baggage) {
        let (origin, list) = (loaded.origins.of("traces.baggage_attributes"), loaded.origins.of("traces.propagators"));
        loaded.warnings.push(format!(
            "`traces.baggage_attributes` ({origin}): not used, because `traces.propagators` ({list}) has no baggage"
        ));
    }
}

fn attempt_within_export(loaded: &mut Loaded) {
    let (attempt, all) = (loaded.config.export.resolved.traces.timeout, loaded.config.export.export_timeout);
    if attempt > all {
        let own = loaded.config.export.own.traces.timeout == Some(attempt);
        let key = if own { "export.traces.timeout" } else { "export.timeout" };
        let (origin, all_origin) = (loaded.origins.of(key), loaded.origins.of("export.export_timeout"));
        loaded.warnings.push(format!(
            "`{key}` ({origin}): {} is never reached, because `export.export_timeout` ({all_origin}) is {}",
            show(attempt),
            show(all)
        ));
    }
}

fn timeouts(backend: &BackendConfig, table: &Table) -> Result<(), ConfigError> {
    if backend.connect_timeout.saturating_add(backend.rpc_timeout) <= backend.interval {
        return Ok(());
    }
    let origin = |key| table.origin_of(key);
    let (connect, rpc) = (show(backend.connect_timeout), show(backend.rpc_timeout));
    Err(ConfigError::TimeoutsOverInterval {
        key: format!("{}.interval", table.path),
        origin: origin("interval"),
        timeouts: format!("{connect} ({}) + {rpc} ({})", origin("connect_timeout"), origin("rpc_timeout")),
        found: quoted(&show(backend.interval)),
    })
}

/// The bounds of weights are in order, and a weight outlives the time between two reports.
fn weights(backend: &BackendConfig, table: &Table) -> Result<(), ConfigError> {
    let weight = &backend.weight;
    let refused = |key: &'static str, expected, found: String| {
        let (path, origin) = (format!("{}.{key}", table.path), table.origin_of(key));
        Err(ConfigError::BadText { key: path, origin, expected, found })
    };
    if weight.min > weight.max {
        return refused("weight_min", "at most `weight_max`", weight.min.to_string());
    }
    let between = match backend.mode {
        _ if weight.has_stream() => weight.orca_interval,
        CheckMode::Check => backend.interval,
        CheckMode::Watch => backend.watch_recheck,
    };
    // Checks are up to a tenth late.
    if weight.is_on() && weight.expiry <= between.saturating_add(between / 10) {
        let expected = "more than `interval` and a tenth (with `mode = \"watch\"`: than `watch_recheck` and a tenth; with \
                        `orca_report = \"stream\"`: than `orca_interval` and a tenth)";
        return refused("weight_expiry", expected, quoted(&show(weight.expiry)));
    }
    Ok(())
}

/// A certificate has its key, and is of use.
fn certificates(backend: &BackendConfig, table: &Table) -> Result<(), ConfigError> {
    if backend.tls == TlsMode::Off
        && let Some(setting) = table.settings.iter().find(|setting| TLS_KEYS.contains(&setting.key))
    {
        return Err(ConfigError::NeedsTls { key: setting.path.clone(), origin: setting.origin.clone() });
    }
    let missing = match (&backend.cert_file, &backend.key_file) {
        (Some(_), None) => ("key_file", "the private key of `cert_file`"),
        (None, Some(_)) => ("cert_file", "the certificate of `key_file`"),
        _ => return Ok(()),
    };
    let key = format!("{}.{}", table.path, missing.0);
    Err(ConfigError::Missing { key, origin: table.origin.clone(), expected: missing.1 })
}

const TLS_KEYS: [&str; 5] = ["ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify"];
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
