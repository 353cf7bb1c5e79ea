//! Where this library's own lines go.

use std::fs;

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{SOON, poll};
use serde_json::Value;

use super::{SETTINGS, proxy_of, wait_down, wait_up};

#[test]
fn lines_go_to_a_file_as_objects_and_not_to_haproxys_log() {
    let backend = GrpcBackend::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vitals.log");
    let settings = format!(
        "[log]\nto = \"file\"\nformat = \"json\"\nlevel = \"notice\"\nfile.path = \"{}\"\n{SETTINGS}",
        path.display()
    );
    let haproxy = proxy_of(&backend).file("vitals.toml", &settings).start();
    wait_up(&haproxy, "s", SOON);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);
    let read = || -> Vec<Value> {
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    poll::until(SOON, "both changes in the file", || read().len() == 2);
    for (line, text) in read().iter().zip(["b/s is UP: SERVING", "b/s is DOWN: NOT_SERVING"]) {
        assert!(line["fields"]["message"].as_str().unwrap().starts_with(text), "{line}");
        assert_eq!((&line["level"], &line["target"]), (&"NOTICE".into(), &"haproxy-vitals".into()));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
    assert!(!haproxy.log().contains("haproxy-vitals: b/s is"), "{}", haproxy.log());
    haproxy.finish();
}

#[test]
fn a_file_that_cannot_be_opened_keeps_haproxy_from_starting() {
    let backend = GrpcBackend::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("link");
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    let settings = format!("[log]\nto = \"file\"\nfile.path = \"{}\"\n{SETTINGS}", path.display());
    let failure = proxy_of(&backend).file("vitals.toml", &settings).try_start().err().unwrap();
    assert!(failure.contains("`log.file.path`: cannot open") && failure.contains("symbolic link"), "{failure}");
}
