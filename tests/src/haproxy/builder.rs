//! From the text of a configuration to a HAProxy that answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use nix::sys::prctl::set_child_subreaper;
use tempfile::TempDir;

use super::binary::faulty_module_dir;
use super::log::{OUTPUT, Sink};
use super::process::{self, Pid};
use super::{CheckOutcome, Haproxy, Mode, check, haproxy_binary, haproxy_of, log, lua_dir, module_dir};
use crate::poll::{self, SOON};
use crate::port::Port;

pub(super) const STATS_SOCKET: &str = "stats.sock";
pub(super) const MASTER_SOCKET: &str = "master.sock";
const CONFIG: &str = "haproxy.cfg";
const HARNESS_CONFIG: &str = "harness.cfg";
const PID_FILE: &str = "haproxy.pid";
/// Placeholders for paths, which may hold anything.
const FOLDERS: [&str; 3] = ["dir", "lua", "module"];
/// What HAProxy takes as it is after a backslash only.
const SPECIAL: &str = " \\#\"'";

/// A HAProxy to be: the text of its configuration with placeholders, and its surroundings.
///
/// | placeholder | becomes |
/// |---|---|
/// | `${port:NAME}` | a free port, the same one for the same name ([`Port`] tells how it stays free) |
/// | `${dir}` | its own folder, open to every user of the machine |
/// | `${log}` | the address of a syslog receiver whose lines are part of [`Haproxy::log`] |
/// | `${module}`, `${lua}` | the folders of `haproxy_vitals.so` and of the Lua files, after [`Builder::module`] |
/// | `${NAME}` | what [`Builder::set`] says |
///
/// Any other `${...}` stays as it is: it is HAProxy's. In files ending in `.cfg` the folders are quoted for HAProxy and stand
/// outside quotes, so that they may have any name without `$`. The configuration keeps its line numbers; a stats socket comes
/// from a file of its own. Variables whose names begin with `OTEL_` or `HAPROXY_VITALS_`, or end in `_proxy`, are taken out of
/// the environment.
#[must_use]
pub struct Builder {
    text: String,
    version: Option<String>,
    mode: Mode,
    stats: bool,
    module: bool,
    faulty: bool,
    parent: PathBuf,
    values: BTreeMap<String, String>,
    env: Vec<(String, String)>,
    args: Vec<String>,
    files: Vec<(String, String)>,
    allowed_alerts: Vec<String>,
}

impl Builder {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            version: None,
            mode: Mode::default(),
            stats: true,
            module: false,
            faulty: false,
            parent: std::env::temp_dir(),
            values: BTreeMap::new(),
            env: Vec::new(),
            args: Vec::new(),
            files: Vec::new(),
            allowed_alerts: Vec::new(),
        }
    }

    /// The series that it is of, such as `3.4`; unless told otherwise, what `HAPROXY` says. 3.0 refuses what later ones
    /// ask for, such as `tune.lua.bool-sample-conversion`: `.if version_atleast(3.1)`.
    pub fn version(mut self, version: &str) -> Self {
        self.version = Some(version.to_owned());
        self
    }

    /// How it runs; [`Mode::Foreground`] unless told otherwise.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Gives `${name}` a value.
    pub fn set(mut self, name: &str, value: impl Display) -> Self {
        self.values.insert(name.to_owned(), value.to_string());
        self
    }

    /// Sets an environment variable; placeholders but ports are replaced too.
    pub fn env(mut self, name: &str, value: impl Display) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds an argument to HAProxy's command line.
    pub fn arg(mut self, argument: &str) -> Self {
        self.args.push(argument.to_owned());
        self
    }

    /// Writes a file into `${dir}`; placeholders in it are replaced too.
    pub fn file(mut self, name: &str, contents: &str) -> Self {
        self.files.push((name.to_owned(), contents.to_owned()));
        self
    }

    /// Makes `${module}` and `${lua}` available; builds the module if need be.
    pub fn module(mut self) -> Self {
        self.module = true;
        self
    }

    /// Has the module fail as `src/host/native/faults.rs` says; builds one that can if need be.
    pub fn fault(mut self, fault: &str) -> Self {
        self.faulty = true;
        self.env("VITALS_FAULT", fault).allow_alert("panicked at src/host/native/faults.rs")
    }

    /// Makes `${dir}` in this folder instead of the system's for temporary files.
    pub fn within(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.parent);
        self
    }

    /// Leaves the stats socket out.
    pub fn without_stats(mut self) -> Self {
        self.stats = false;
        self
    }

    /// Lets [`Haproxy::finish`] pass over alerts with this text.
    pub fn allow_alert(mut self, text: &str) -> Self {
        self.allowed_alerts.push(text.to_owned());
        self
    }

    /// Starts it and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Haproxy {
        self.try_start().unwrap_or_else(|why| panic!("HAProxy did not start: {why}"))
    }

    /// Starts it; the error is what HAProxy wrote when it refused.
    pub fn try_start(mut self) -> Result<Haproxy, String> {
        let prepared = self.prepare();
        let pid = self.launch(prepared.dir.path())?;
        let haproxy = Haproxy {
            dir: prepared.dir,
            ports: prepared.ports,
            values: self.values,
            mode: self.mode,
            pid,
            stats: self.stats,
            _sink: prepared.sink,
            allowed_alerts: self.allowed_alerts,
            killed: AtomicBool::new(false),
            exit: Mutex::new(None),
        };
        haproxy.ready(&prepared.bound)?;
        Ok(haproxy)
    }

    /// Runs `haproxy -c` on it.
    pub fn check(mut self) -> CheckOutcome {
        let prepared = self.prepare();
        check::run(self.command(prepared.dir.path()).arg("-c"))
    }

    /// Makes the folder and what is in it.
    fn prepare(&mut self) -> Prepared {
        let dir = tempfile::Builder::new().prefix("vitals").tempdir_in(&self.parent).unwrap();
        // A HAProxy that has become another user must still reach it.
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        self.values.insert("dir".to_owned(), dir.path().display().to_string());
        if self.module {
            let dir = if self.faulty { faulty_module_dir() } else { module_dir() };
            self.values.insert("module".to_owned(), dir.display().to_string());
            self.values.insert("lua".to_owned(), lua_dir().display().to_string());
        }
        self.files.push((CONFIG.to_owned(), self.text.clone()));
        if self.stats {
            let stats = format!("global\n  stats socket ${{dir}}/{STATS_SOCKET} level admin\n");
            self.files.push((HARNESS_CONFIG.to_owned(), stats));
        }
        let sink = self.files.iter().any(|(_, text)| text.contains("${log}")).then(|| Sink::start(dir.path()));
        if let Some(sink) = &sink {
            self.values.insert("log".to_owned(), sink.address().to_string());
        }
        let names: BTreeSet<&str> = self.files.iter().flat_map(|(_, text)| port_names(text)).collect();
        let ports: BTreeMap<String, Port> = names.into_iter().map(|name| (name.to_owned(), Port::reserve())).collect();
        let binds = self.text.lines().filter(|line| line.trim_start().starts_with("bind "));
        let bound = binds.flat_map(port_names).map(|name| ports[name].number()).collect();
        for (name, text) in &self.files {
            fs::write(dir.path().join(name), contents(name, text, &self.values, &ports)).unwrap();
        }
        Prepared { dir, ports, sink, bound }
    }

    fn command(&self, dir: &Path) -> Command {
        let binary = self.version.as_deref().map_or_else(|| haproxy_binary().to_owned(), haproxy_of);
        let mut command = Command::new(binary);
        let is_proxy = |name: &str| name.to_ascii_lowercase().ends_with("_proxy");
        let ours = |name: &str| name.starts_with("OTEL_") || name.starts_with("HAPROXY_VITALS_") || is_proxy(name);
        #[expect(clippy::disallowed_methods, reason = "the names alone, to keep them from HAProxy")]
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(ours) {
                command.env_remove(name);
            }
        }
        let env = self.env.iter().map(|(name, value)| (name, expand(value, &self.values, &BTreeMap::new())));
        command.envs(env).arg("-f").arg(dir.join(CONFIG));
        if self.stats {
            command.arg("-f").arg(dir.join(HARNESS_CONFIG));
        }
        command.args(&self.args).stdin(Stdio::null());
        command
    }

    /// Starts the process and returns the one that stays.
    fn launch(&self, dir: &Path) -> Result<Pid, String> {
        let output = File::options().create(true).append(true).open(dir.join(OUTPUT)).unwrap();
        let mut command = self.command(dir);
        command.stdout(output.try_clone().unwrap()).stderr(output);
        match self.mode {
            Mode::Foreground => command.arg("-db"),
            Mode::MasterWorker => command.arg("-W"),
            Mode::Daemon => command.arg("-D"),
            Mode::MasterWorkerDaemon => command.args(["-W", "-D"]),
        };
        if self.mode.has_master() {
            command.arg("-S").arg(dir.join(MASTER_SOCKET));
        }
        if !self.mode.is_daemon() {
            return Ok(process::spawn(&mut command));
        }
        // An orphan becomes this process's child, so that how it ended can be known.
        set_child_subreaper(true).unwrap();
        let starter = process::spawn(command.arg("-p").arg(dir.join(PID_FILE)));
        let exit = process::reap_within(starter, SOON).ok_or("the starter of the daemon does not leave")?;
        if !exit.success() {
            return Err(format!("{exit}\n{}", log::read(dir)));
        }
        let pid = || fs::read_to_string(dir.join(PID_FILE)).ok()?.trim().parse().ok();
        poll::try_until(SOON, pid).ok_or_else(|| "no pid file".to_owned())
    }
}

impl Haproxy {
    /// Waits until the worker answers; without a stats socket, until somebody listens on the ports of the `bind` lines.
    fn ready(&self, bound: &[u16]) -> Result<(), String> {
        let ready = || {
            if self.stats {
                self.try_cli("show info").is_ok_and(|info| info.contains("Pid:"))
            } else {
                bound.iter().copied().all(process::is_listened_on)
            }
        };
        let outcome = poll::try_until(SOON, || match self.try_exit() {
            Some(exit) => Some(Err(format!("{exit}\n{}", self.log()))),
            None => ready().then_some(Ok(())),
        });
        outcome.unwrap_or_else(|| Err(format!("no answer within {SOON:?}\n{}", self.log())))
    }
}

struct Prepared {
    dir: TempDir,
    ports: BTreeMap<String, Port>,
    sink: Option<Sink>,
    /// Ports of the configuration's `bind` lines.
    bound: Vec<u16>,
}

/// The text of a file, its placeholders replaced.
pub(super) fn contents(
    name: &str,
    text: &str,
    values: &BTreeMap<String, String>,
    ports: &BTreeMap<String, Port>,
) -> String {
    if Path::new(name).extension().is_none_or(|extension| extension != "cfg") {
        return expand(text, values, ports);
    }
    let mut values = values.clone();
    for folder in FOLDERS {
        values.entry(folder.to_owned()).and_modify(|path| *path = quoted(path));
    }
    expand(text, &values, ports)
}

/// A word outside quotes. HAProxy's configuration manual, "Quoting and escaping".
fn quoted(word: &str) -> String {
    word.chars().flat_map(|c| SPECIAL.contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Replaces the placeholders that have a value.
fn expand(text: &str, values: &BTreeMap<String, String>, ports: &BTreeMap<String, Port>) -> String {
    let ports = ports.iter().map(|(name, port)| (format!("port:{name}"), port.number().to_string()));
    let values = values.iter().map(|(name, value)| (name.clone(), value.clone()));
    ports.chain(values).fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), &value))
}

/// The names in the `${port:NAME}` of a text.
fn port_names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${port:").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0))
}
