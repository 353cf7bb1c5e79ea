//! Settings of the agent as a program of its own. Sources, strongest first: flags, environment, TOML file, defaults.

use std::time::Duration;

use super::check;
use super::env::Environment;
use super::error::{ConfigError, Hint};
use super::file;
use super::flatten::Flat;
use super::grpc_agent;
use super::keys::{self, CONFIG};
use super::load::Loaded;
use super::origin::Origin;
use super::setting::Setting;
use super::tree::{
    AgentConfig, Config, HealthConfig, LogConfig, LogFormat, LogTarget, MetricsConfig, OnAgentError, ServiceConfig,
    SingleConfig,
};
use super::value::{Value, one_line};

/// All that the program's settings may come from, strongest first.
#[derive(Clone, Default)]
pub struct AgentSources {
    /// Flags with a value, in their order: `--server-port` and the like as haproxy-grpc-agent has them, `--config`.
    pub flags: Vec<(&'static str, String)>,
    /// `--set KEY=VALUE`: any key of the tree, dotted.
    pub set: Vec<String>,
    /// The environment.
    pub environment: Environment,
}

/// Reads every source and the file that one of them names, and checks the whole.
pub fn load_agent(sources: &AgentSources) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded { config: Config::of_agent(), ..Loaded::default() };
    let mut settings = grpc_agent::of_flags(&sources.flags);
    settings.extend(of_set(&sources.set)?);
    settings.extend(grpc_agent::of_environment(&sources.environment)?);
    settings.extend(sources.environment.settings()?);
    if let Some(config) = named_file(sources)? {
        let entries = file::read(&config)?;
        let (old, entries) = grpc_agent::of_file(entries)?;
        settings.extend(old);
        let mut flat = Flat::default();
        flat.add(entries)?;
        if let Some((list, tables)) = flat.lists.first() {
            let origin = tables.first().map_or(Origin::Default, |table| table.origin.clone());
            return Err(not_here(list.name, origin));
        }
        settings.extend(flat.settings);
        loaded.file = Some(config.any_text()?);
        loaded.origins.record(CONFIG.to_owned(), config.origin);
    }
    let mut settings = grpc_agent::translate(settings, &loaded.config, &mut loaded.warnings)?;
    if let Some(text) = sources.environment.rust_log() {
        grpc_agent::rust_log(text, &mut settings, &mut loaded.warnings);
    }
    if let Some(setting) = settings.iter().find(|setting| !has_meaning(setting.key)) {
        return Err(not_here(&setting.path, setting.origin.clone()));
    }
    grpc_agent::refuse_contradictions(&settings)?;
    loaded.take(&Flat::of(settings))?;
    check::agent(&mut loaded)?;
    Ok(loaded)
}

impl Config {
    /// The defaults of the program: haproxy-grpc-agent's, so that it can take that one's place.
    fn of_agent() -> Self {
        let mut single = SingleConfig { max_targets: 4096, ..SingleConfig::default() };
        single.profile.rpc_timeout = Duration::from_millis(1500);
        // There every failure is `down`.
        single.profile.resolve_hold = Duration::ZERO;
        let agent = AgentConfig {
            listen: Some(([0, 0, 0, 0], 5555).into()),
            allow_any: true,
            on_error: OnAgentError::Down,
            max_connections: 1024,
            reuse_port: false,
            ..AgentConfig::default()
        };
        Self {
            agent,
            // As many as may ask: targets that hang must not keep others from an answer.
            health: HealthConfig { single, max_concurrent: 1024, ..HealthConfig::default() },
            log: LogConfig { to: LogTarget::Stderr, format: LogFormat::Json, ..LogConfig::default() },
            metrics: MetricsConfig {
                listen: Some(([0, 0, 0, 0], 9090).into()),
                grpc_agent_names: true,
                ..MetricsConfig::default()
            },
            service: ServiceConfig { name: "haproxy-vitals-agent".to_owned(), ..ServiceConfig::default() },
            ..Self::default()
        }
    }
}

impl Loaded {
    /// One line for each setting of the program, as [`Loaded::describe`] has them.
    pub fn describe_agent(&self) -> String {
        self.describe_where(|path| path == CONFIG || has_meaning(path))
    }
}

/// Keys that mean something where there is no HAProxy.
fn has_meaning(key: &str) -> bool {
    KEYS.contains(&key) || SECTIONS.iter().any(|section| key.starts_with(section))
}

fn not_here(key: &str, origin: Origin) -> ConfigError {
    let hint = if key.starts_with("health.backend") {
        Hint::instead("how targets are asked stands in `[agent]`")
    } else {
        Hint::default()
    };
    ConfigError::NotHere { key: one_line(key), origin, hint }
}

fn of_set(given: &[String]) -> Result<Vec<Setting>, ConfigError> {
    let setting = |text: &String| {
        let origin = Origin::Flag(SET.to_owned());
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let Some(known) = keys::find(keys::all(), key).filter(|known| !known.takes_names()) else {
            return Err(ConfigError::UnknownKey { key: one_line(key), origin, hint: keys::hint(key) });
        };
        Ok(Setting::of(known.name, Value::Text(value.to_owned()), origin))
    };
    given.iter().map(setting).collect()
}

/// The file that the strongest source names.
fn named_file(sources: &AgentSources) -> Result<Option<Setting>, ConfigError> {
    let flag = sources.flags.iter().find(|(flag, _)| *flag == CONFIG_FLAG);
    let flag =
        flag.map(|(flag, path)| Setting::of(CONFIG, Value::Text(path.clone()), Origin::Flag((*flag).to_owned())));
    let found = flag.or_else(|| grpc_agent::config(&sources.environment)).or_else(|| sources.environment.config());
    if let Some(setting) = &found {
        setting.some_text()?;
    }
    Ok(found)
}

/// The flag that names the TOML file.
const CONFIG_FLAG: &str = "--config";
const SET: &str = "--set";
const SECTIONS: [&str; 3] = ["agent.", "log.", "runtime.workers"];
const KEYS: [&str; 4] =
    ["health.max_concurrent", "metrics.cardinality_limit", "metrics.grpc_agent_names", "metrics.listen"];
