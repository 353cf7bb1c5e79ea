//! Where HAProxy, the module and the Lua files are.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

const MODULE: &str = "haproxy_vitals.so";
const BUILT: &str = "libhaproxy_vitals.so";

/// The HAProxy under test, as `tasks/haproxy` finds or unpacks it (it honours `HAPROXY`). A missing one fails the test.
pub fn haproxy_binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find(None))
}

/// Debian's HAProxy of a series such as `3.4`, which `tasks/haproxy` unpacks once. A missing one fails the test.
pub fn haproxy_of(version: &str) -> PathBuf {
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // A version that was not found has panicked, and left what was found as it is.
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    found.entry(version.to_owned()).or_insert_with(|| find(Some(version))).clone()
}

/// Whether the HAProxy under test is of this series or a later one.
pub fn is_since(major: u32, minor: u32) -> bool {
    static SERIES: OnceLock<(u32, u32)> = OnceLock::new();
    let series = SERIES.get_or_init(|| {
        let told = Command::new(haproxy_binary()).arg("-v").output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = told.strip_prefix("HAProxy version ").unwrap_or_else(|| panic!("no version: {told}"));
        let mut numbers = version.split(['.', '-', ' ']).map_while(|number| number.parse().ok());
        numbers.next().zip(numbers.next()).unwrap_or_else(|| panic!("no version: {told}"))
    });
    *series >= (major, minor)
}

fn find(version: Option<&str>) -> PathBuf {
    let script = root().join("tasks/haproxy");
    let found = Command::new(&script).args(version).stderr(Stdio::piped()).output();
    let found = found.unwrap_or_else(|e| panic!("cannot run {}: {e}", script.display()));
    let why = String::from_utf8_lossy(&found.stderr);
    let wanted = version.unwrap_or("to test with");
    assert!(found.status.success(), "no HAProxy {wanted}, {} says:\n{why}", script.display());
    String::from_utf8(found.stdout).unwrap().trim_end().into()
}

/// The folder with `haproxy_vitals.so`: `VITALS_MODULE_DIR`, or what `cargo build --release` makes, once per process.
pub fn module_dir() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| given("VITALS_MODULE_DIR").unwrap_or_else(|| beside(&build(&["--release"]))))
}

/// The folder with a `haproxy_vitals.so` that has faults built in: `VITALS_FAULTY_MODULE_DIR`, or what cargo makes, once per process.
pub(super) fn faulty_module_dir() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        given("VITALS_FAULTY_MODULE_DIR").unwrap_or_else(|| beside(&build(&["--features", "fault-injection"])))
    })
}

/// The repository's `lua/`.
pub fn lua_dir() -> PathBuf {
    root().join("lua")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "the harness has no settings tree of its own")]
fn given(name: &str) -> Option<PathBuf> {
    let dir = PathBuf::from(std::env::var_os(name)?);
    if dir.join(MODULE).exists() {
        return Some(dir);
    }
    assert!(dir.join(BUILT).exists(), "{name}={}: neither {MODULE} nor {BUILT} in it", dir.display());
    Some(beside(&dir.join(BUILT)))
}

/// The archive that is shipped, as `tasks/package` makes it, once per process.
pub fn package() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let made = outside(&root().join("tasks/package").display().to_string()).output().unwrap();
        assert!(made.status.success(), "no archive:\n{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim_end().into()
    })
}

/// Builds the module and returns the shared object that cargo reports.
fn build(options: &[&str]) -> PathBuf {
    let cargo = outside(env!("CARGO"))
        .args(["build", "--locked", "--package", "haproxy-vitals-module", "--message-format=json-render-diagnostics"])
        .args(options)
        .output()
        .unwrap();
    assert!(cargo.status.success(), "the module does not build:\n{}", String::from_utf8_lossy(&cargo.stderr));
    let messages = String::from_utf8(cargo.stdout).unwrap();
    let path = messages.split('"').find(|text| text.ends_with(BUILT));
    path.unwrap_or_else(|| panic!("cargo reports no {BUILT}")).into()
}

/// A command at the repository's root, without what the test's own cargo says of the test: some build scripts start anew when it differs.
fn outside(program: &str) -> Command {
    let mut command = Command::new(program);
    #[expect(clippy::disallowed_methods, reason = "the names alone")]
    let names = std::env::vars_os().map(|(name, _)| name);
    let is_of_the_test = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for name in names.filter(|name| is_of_the_test(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.current_dir(root()).stderr(Stdio::piped());
    command
}

/// A folder beside the shared object, where it has the name that Lua looks for. Test processes may race to make it.
fn beside(built: &Path) -> PathBuf {
    let dir = built.parent().unwrap().join("haproxy-vitals-module");
    fs::create_dir_all(&dir).unwrap();
    let (link, fresh) = (dir.join(MODULE), dir.join(format!("{MODULE}.{}", std::process::id())));
    symlink(fs::canonicalize(built).unwrap(), &fresh).unwrap();
    fs::rename(&fresh, &link).unwrap();
    dir
}
