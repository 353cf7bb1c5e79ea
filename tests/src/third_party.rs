//! Where the programs are that others wrote.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What `tasks/third-party` has installed, or installs now. A part that is missing fails the test.
pub fn installed() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| folder("tasks/third-party"))
}

/// What `tasks/e2e-tools` has unpacked, or unpacks now: `prometheus`, `promtool`, `docker-compose`.
pub fn e2e_tools() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| folder("tasks/e2e-tools"))
}

/// The folder that a script prints.
fn folder(script: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(script);
    let found = Command::new(&script).stderr(Stdio::piped()).output();
    let found = found.unwrap_or_else(|e| panic!("cannot run {}: {e}", script.display()));
    let why = String::from_utf8_lossy(&found.stderr);
    assert!(found.status.success(), "nobody to test with, {} says:\n{why}", script.display());
    String::from_utf8(found.stdout).unwrap().trim_end().into()
}
