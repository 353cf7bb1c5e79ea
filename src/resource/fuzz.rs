//! What resource detectors make of files' texts, for `fuzz/`.

use super::{container, kubernetes, machine};

/// `text` as each of the files that are read: control groups, mounts, the machine's id, the system's name.
pub fn read(text: &str) -> [Option<String>; 5] {
    [
        container::from_cgroup(text),
        container::from_mountinfo(text),
        kubernetes::pod_uid(text),
        machine::machine_id(text.lines().next().unwrap_or_default()),
        machine::pretty_name(text),
    ]
}
