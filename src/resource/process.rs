//! `process.*`. Semantic conventions, "Process".
//!
//! `process.owner` is left out: at init HAProxy is still who started it, mostly root, and not whom its configuration names.

use std::fs;

use super::detect::{Found, texts};
use super::{Value, read};

/// `haproxy_version`: of the runtime that this library lives in.
pub(super) fn process(haproxy_version: Option<String>) -> Found {
    let path = fs::read_link("/proc/self/exe").ok();
    let name = path.as_ref().and_then(|path| read::value(path.file_name()?.to_str()?));
    let path = path.as_ref().and_then(|path| read::value(path.to_str()?));
    let mut found = vec![("process.pid", Value::Integer(i64::from(std::process::id())))];
    found.extend(texts([
        ("process.executable.name", name),
        ("process.executable.path", path),
        ("process.runtime.name", Some("haproxy".to_owned())),
        ("process.runtime.version", haproxy_version),
    ]));
    found
}

pub(super) fn command_args() -> Found {
    let args = fs::read("/proc/self/cmdline").map(|bytes| args(&bytes)).unwrap_or_default();
    if args.is_empty() { Vec::new() } else { vec![("process.command_args", Value::Texts(args))] }
}

/// `proc_pid_cmdline(5)`: each ends in a NUL. At most [`MAX_ARGS`], those that are too long left out.
fn args(cmdline: &[u8]) -> Vec<String> {
    let cmdline = cmdline.strip_suffix(&[0]).unwrap_or(cmdline);
    let texts = cmdline.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    texts.take(MAX_ARGS).filter_map(|text| read::value(&text)).collect()
}

/// Arguments of one process.
const MAX_ARGS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn arguments_are_parted_by_nul() {
        assert_eq!(args(b"haproxy\0-f\0a b\0"), ["haproxy", "-f", "a b"]);
        assert!(args(b"").is_empty());
    }

    proptest! {
        #[test]
        fn arguments_are_bounded(bytes: Vec<u8>, many in 0_usize..300) {
            let cmdline = [bytes, b"x\0".repeat(many)].concat();
            prop_assert!(args(&cmdline).len() <= MAX_ARGS);
        }
    }
}
