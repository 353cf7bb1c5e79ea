//! The names that haproxy-grpc-agent's settings have: in its file, its variables, its flags. They become settings of this tree.

use std::net::{IpAddr, SocketAddr};

use super::env::{AGENT_PREFIX, Environment};
use super::error::ConfigError;
use super::flatten::joined;
use super::keys::{self, CONFIG};
use super::origin::Origin;
use super::setting::Setting;
use super::tree::Config;
use super::value::{Content, Entries, Node, Value, one_line, quoted};

/// One of its settings.
struct Name {
    /// In its file, dotted.
    key: &'static str,
    /// After `HAPROXY_AGENT_`; empty: it has no variable, and no flag.
    variable: &'static str,
    flag: &'static str,
    becomes: Becomes,
}

/// What a setting becomes here.
#[derive(Clone, Copy)]
enum Becomes {
    /// The value of another key, perhaps in other words.
    Key(&'static str, fn(Value) -> Value),
    /// The port of a key that holds an address and a port.
    Port(&'static str),
    /// Its address.
    Address(&'static str),
}

/// What it sets in the flags.
pub(super) fn of_flags(flags: &[(&'static str, String)]) -> Vec<Setting> {
    let setting = |(flag, value): &(&'static str, String)| {
        let name = NAMES.iter().find(|name| name.flag == *flag)?;
        Some(Setting::of(name.key, Value::Text(value.clone()), Origin::Flag((*flag).to_owned())))
    };
    flags.iter().filter_map(setting).collect()
}

/// What its variables set.
pub(super) fn of_environment(environment: &Environment) -> Result<Vec<Setting>, ConfigError> {
    let named = || NAMES.iter().filter(|name| !name.variable.is_empty());
    let known: Vec<_> = named().map(|name| name.variable).chain([CONFIG_VARIABLE]).collect();
    let said = environment.of_grpc_agent(&known)?;
    let setting = |(variable, value): (&'static str, String)| {
        let name = named().find(|name| name.variable == variable)?;
        Some(Setting::of(name.key, Value::Text(value), Origin::Environment(format!("{AGENT_PREFIX}{variable}"))))
    };
    Ok(said.into_iter().filter_map(setting).collect())
}

/// `HAPROXY_AGENT_CONFIG`.
pub(super) fn config(environment: &Environment) -> Option<Setting> {
    let name = format!("{AGENT_PREFIX}{CONFIG_VARIABLE}");
    let value = Value::Text(environment.value(&name)?.to_owned());
    Some(Setting::of(CONFIG, value, Origin::Environment(name)))
}

/// Its settings in a file, and the rest of the file.
pub(super) fn of_file(entries: Entries) -> Result<(Vec<Setting>, Entries), ConfigError> {
    let (mut settings, mut rest) = (Vec::new(), Vec::new());
    for (name, node) in entries {
        match node.content {
            Content::Table(table) if name == LOGGING => {
                for (key, node) in table {
                    settings.push(logging(&key, node)?);
                }
            }
            _ => match own(&name, &node) {
                Some(setting) => settings.push(setting),
                None => rest.push((name, node)),
            },
        }
    }
    Ok((settings, rest))
}

fn logging(key: &str, node: Node) -> Result<Setting, ConfigError> {
    let path = joined(LOGGING, key);
    if path == PACKAGES {
        return Ok(Setting::of(PACKAGES, node.clone().into_value(), node.origin));
    }
    let origin = node.origin.clone();
    own(&path, &node).ok_or_else(|| {
        let known: Vec<_> = NAMES.iter().map(|name| name.key).chain([PACKAGES]).collect();
        let hint = super::error::Hint::key(&path, &known, &known);
        ConfigError::UnknownKey { key: one_line(&path), origin, hint }
    })
}

fn own(key: &str, node: &Node) -> Option<Setting> {
    let name = NAMES.iter().find(|name| name.key == key)?;
    Some(Setting::of(name.key, node.clone().into_value(), node.origin.clone()))
}

/// Settings under this tree's names, in the same order. An address and its port may come from different sources.
pub(super) fn translate(
    settings: Vec<Setting>,
    defaults: &Config,
    warnings: &mut Vec<String>,
) -> Result<Vec<Setting>, ConfigError> {
    let mut translated = Vec::new();
    for (key, default) in [(LISTEN, defaults.agent.listen), (METRICS, defaults.metrics.listen)] {
        translated.extend(place(key, default, &settings)?);
    }
    for setting in settings {
        let name = NAMES.iter().find(|name| name.key == setting.key);
        match name.map(|name| name.becomes) {
            None if setting.key == PACKAGES => translated.extend(packages(&setting, warnings)?),
            None => translated.push(setting),
            Some(Becomes::Key(key, reword)) => {
                let Setting { value, origin, .. } = setting;
                translated.push(Setting::of(key, reword(value), origin));
            }
            Some(Becomes::Port(_) | Becomes::Address(_)) => {}
        }
    }
    Ok(translated)
}

/// The address and port of `key`, where one of them stands alone somewhere. The stronger of two sources decides each half; a port
/// of 0 for metrics turns them off.
fn place(key: &'static str, default: Option<SocketAddr>, settings: &[Setting]) -> Result<Option<Setting>, ConfigError> {
    let (mut address, mut port): (Half<IpAddr>, Half<u16>) = (None, None);
    for setting in settings {
        let name = NAMES.iter().find(|name| name.key == setting.key);
        match name.map(|name| name.becomes) {
            Some(Becomes::Port(of)) if of == key => set(&mut port, setting.whole(0..=u16::MAX)?, setting)?,
            Some(Becomes::Address(of)) if of == key => set(&mut address, ip(setting)?, setting)?,
            None if setting.key == key => {
                if let Ok(whole) = setting.text().unwrap_or_default().parse::<SocketAddr>() {
                    set(&mut address, whole.ip(), setting)?;
                    set(&mut port, whole.port(), setting)?;
                }
            }
            _ => {}
        }
    }
    let by_halves = |half: &Setting| half.key != key;
    let strongest = settings.iter().find(|setting| {
        let halves = [address.as_ref().map(|(_, from)| from), port.as_ref().map(|(_, from)| from)];
        halves.into_iter().flatten().any(|from| from.origin == setting.origin && from.key == setting.key)
    });
    let Some(strongest) = strongest.filter(|_| {
        address.as_ref().is_some_and(|(_, from)| by_halves(from))
            || port.as_ref().is_some_and(|(_, from)| by_halves(from))
    }) else {
        return Ok(None);
    };
    let is_off = key == METRICS && port.as_ref().is_some_and(|(port, from)| *port == 0 && by_halves(from));
    let default = default.unwrap_or(([0, 0, 0, 0], 0).into());
    let port = port.map_or(default.port(), |(port, _)| port);
    let address = SocketAddr::new(address.map_or(default.ip(), |(address, _)| address), port);
    let text = if is_off { String::new() } else { address.to_string() };
    Ok(Some(Setting { path: key.to_owned(), key, value: Value::Text(text), origin: strongest.origin.clone() }))
}

/// A value, and the setting that it is from.
type Half<T> = Option<(T, Setting)>;

fn set<T: PartialEq + ToString>(half: &mut Half<T>, value: T, setting: &Setting) -> Result<(), ConfigError> {
    match half {
        None => *half = Some((value, setting.clone())),
        Some((former, from)) if from.origin.is_beside(&setting.origin) && *former != value => {
            return Err(ConfigError::Contradiction {
                key: setting.path.clone(),
                origin: setting.origin.clone(),
                found: value.to_string(),
                first: said(&from.origin, former.to_string()),
            });
        }
        Some(_) => {}
    }
    Ok(())
}

/// An IP address; IPv6 with brackets or without.
fn ip(setting: &Setting) -> Result<IpAddr, ConfigError> {
    let text = setting.text()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let bare = if bare == "localhost" { "127.0.0.1" } else { bare };
    bare.parse().map_err(|_| setting.bad_text("an IP address, such as `0.0.0.0` or `::1`"))
}

/// Two names in one source must say the same.
pub(super) fn refuse_contradictions(settings: &[Setting]) -> Result<(), ConfigError> {
    for (index, setting) in settings.iter().enumerate() {
        let same = |other: &&Setting| other.path == setting.path && other.origin.is_beside(&setting.origin);
        let Some(first) = settings.iter().take(index).find(same) else { continue };
        let (former, found) = (shown(first), shown(setting));
        if let (Some(former), Some(found)) = (former, found)
            && former != found
        {
            let (origin, first) = (setting.origin.clone(), said(&first.origin, former));
            return Err(ConfigError::Contradiction { key: setting.path.clone(), origin, found, first });
        }
    }
    Ok(())
}

/// Who said what first.
fn said(origin: &Origin, what: impl std::fmt::Display) -> Box<str> {
    format!("`{what}`, as {origin} says").into()
}

/// As it is shown once it is read. None: it cannot be read, and somebody else will say so.
fn shown(setting: &Setting) -> Option<String> {
    let key = keys::find(keys::all(), setting.key)?;
    let mut tree = Config::default();
    (key.set)(&mut tree, setting).ok()?;
    key.values(&tree).into_iter().next().map(|(_, value)| value)
}

/// `[logging.packages]`: a level for each of its modules.
fn packages(setting: &Setting, warnings: &mut Vec<String>) -> Result<Vec<Setting>, ConfigError> {
    let Value::Table(entries) = &setting.value else { return Err(setting.wrong_type("a table")) };
    let mut settings = Vec::new();
    for (module, value) in entries {
        let Value::Text(level) = value else { return Err(setting.wrong_type("a table of texts")) };
        settings.extend(directive(module, level, &setting.origin, warnings));
    }
    Ok(settings)
}

/// `RUST_LOG`: `LEVEL` or `MODULE=LEVEL`, with commas between. As in haproxy-grpc-agent it replaces what the other variables and the
/// file say about levels; flags replace it.
pub(super) fn rust_log(text: &str, settings: &mut Vec<Setting>, warnings: &mut Vec<String>) {
    let origin = Origin::Environment("RUST_LOG".to_owned());
    let mut said = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (module, level) = part.split_once('=').unwrap_or((OWN_MODULE, part));
        said.extend(directive(module, level, &origin, warnings).filter(|setting| {
            let known = shown(setting).is_some();
            if !known {
                warnings.push(format!("RUST_LOG: {} is no level; ignored", quoted(level)));
            }
            known
        }));
    }
    let is_flag = |setting: &Setting| matches!(setting.origin, Origin::Flag(_));
    settings.retain(|setting| is_flag(setting) || said.iter().all(|said: &Setting| said.key != setting.key));
    let flags = settings.iter().take_while(|setting| is_flag(setting)).count();
    settings.splice(flags..flags, said);
}

fn directive(module: &str, level: &str, origin: &Origin, warnings: &mut Vec<String>) -> Option<Setting> {
    let key = match module.trim() {
        OWN_MODULE | "haproxy_vitals" | "haproxy-vitals" => "log.level",
        "haproxy_grpc_agent::server"
        | "haproxy_grpc_agent::protocol"
        | "haproxy_grpc_agent::checker"
        | "haproxy-vitals::agent" => "log.agent_level",
        other => {
            warnings.push(format!("{} ({origin}): no line here is about that; ignored", quoted(other)));
            return None;
        }
    };
    Some(Setting::of(key, Value::Text(level.trim().to_lowercase()), origin.clone()))
}

/// Its numbers are milliseconds. What is no number stays, and is refused by the key.
fn milliseconds(value: Value) -> Value {
    match value {
        Value::Integer(number) => Value::Text(format!("{number}ms")),
        Value::Text(text) if text.parse::<u64>().is_ok() => Value::Text(format!("{text}ms")),
        other => other,
    }
}

fn same(value: Value) -> Value {
    value
}

fn in_our_words(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(match text.to_lowercase().as_str() {
            "pretty" => "plain".to_owned(),
            "console" => "stderr".to_owned(),
            other => other.to_owned(),
        }),
        other => other,
    }
}

const LISTEN: &str = "agent.listen";
const METRICS: &str = "metrics.listen";
const LOGGING: &str = "logging";
const PACKAGES: &str = "logging.packages";
const OWN_MODULE: &str = "haproxy_grpc_agent";
const CONFIG_VARIABLE: &str = "CONFIG";

static NAMES: [Name; 15] = [
    name("server_port", "SERVER_PORT", "--server-port", Becomes::Port(LISTEN)),
    name("server_bind_address", "SERVER_BIND", "--server-bind", Becomes::Address(LISTEN)),
    name("metrics_port", "METRICS_PORT", "--metrics-port", Becomes::Port(METRICS)),
    name("metrics_bind_address", "METRICS_BIND", "--metrics-bind", Becomes::Address(METRICS)),
    name(
        "grpc_connect_timeout_ms",
        "GRPC_CONNECT_TIMEOUT",
        "--grpc-connect-timeout",
        Becomes::Key("agent.connect_timeout", milliseconds),
    ),
    name(
        "grpc_rpc_timeout_ms",
        "GRPC_RPC_TIMEOUT",
        "--grpc-rpc-timeout",
        Becomes::Key("agent.rpc_timeout", milliseconds),
    ),
    name("grpc_channel_cache_enabled", "GRPC_CHANNEL_CACHE", "--grpc-channel-cache", Becomes::Key("agent.reuse", same)),
    name("log_level", "LOG_LEVEL", "--log-level", Becomes::Key("log.level", in_our_words)),
    name("log_format", "LOG_FORMAT", "--log-format", Becomes::Key("log.format", in_our_words)),
    name("logging.level", "", "", Becomes::Key("log.level", in_our_words)),
    name("logging.format", "", "", Becomes::Key("log.format", in_our_words)),
    name("logging.destination", "LOG_DESTINATION", "--log-destination", Becomes::Key("log.to", in_our_words)),
    name("logging.file_path", "LOG_FILE_PATH", "--log-file-path", Becomes::Key("log.file.path", same)),
    name("logging.file_rotation", "LOG_FILE_ROTATION", "--log-file-rotation", Becomes::Key("log.file.rotation", same)),
    name(
        "logging.file_max_files",
        "LOG_FILE_MAX_FILES",
        "--log-file-max-files",
        Becomes::Key("log.file.max_files", same),
    ),
];

const fn name(key: &'static str, variable: &'static str, flag: &'static str, becomes: Becomes) -> Name {
    Name { key, variable, flag, becomes }
}
