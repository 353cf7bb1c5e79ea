//! The archive that is shipped: installed, traced with, replaced while requests come, and removed.

use std::fs;
use std::path::Path;
use std::process::Command;

use haproxy_vitals_tests::client::{Load, Until};
use haproxy_vitals_tests::haproxy::package;
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, SOON, Upstream};

#[test]
fn the_archive_is_installed_replaced_under_load_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = unpack(folder.path());
    // A HAProxy that has become another user reads the loader again for each of its threads.
    let prefix = folder.path().join("opt with a space");
    let install = |more: &[&str]| {
        let mut command = Command::new(unpacked.join("install.sh"));
        let output = command.arg("--prefix").arg(&prefix).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let loader = prefix.join("share/haproxy-vitals/otel.lua");
    let told = install(&[]);
    assert!(told.contains(&format!("lua-load-per-thread {}", loader.display())), "{told}");
    let unit = fs::read_to_string(prefix.join("lib/systemd/system/haproxy-vitals-agent.service")).unwrap();
    assert!(unit.contains(&format!("ExecStart={}/bin/haproxy-vitals-agent ", prefix.display())), "{unit}");
    let agent = Command::new(prefix.join("bin/haproxy-vitals-agent")).arg("--version").output().unwrap();
    assert!(agent.status.success(), "{agent:?}");

    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let config = Haproxy::config(CONFIG).set("loader", loader.display()).upstream(&upstream);
    let haproxy = config.export_http(&receiver).mode(Mode::MasterWorker).start();
    let load = Load::new(4, Until::Stopped, "/delay/5").spawn(haproxy.addr("http"));
    for _ in 0..3 {
        load.wait_for(100);
        install(&[]);
        haproxy.reload();
    }
    let report = load.stop();
    haproxy.wait_one_worker(SOON);
    haproxy.soft_stop();
    haproxy.wait_exit(SOON);
    assert_eq!((report.failed, report.ok), (0, report.total()), "{report:?}");
    assert_eq!(receiver.server_spans().len() as u64, report.total(), "{report:?}");
    receiver.assert_clean();
    haproxy.finish();

    // What is not ours stays.
    fs::write(prefix.join("share/doc/haproxy-vitals/notes"), "mine").unwrap();
    let told = install(&["--remove"]);
    assert!(told.contains("kept, not empty: "), "{told}");
    assert_eq!(files(&prefix), ["share/doc/haproxy-vitals/notes"]);
}

#[test]
fn an_archive_that_is_not_whole_installs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = unpack(folder.path());
    fs::remove_file(unpacked.join("otel.lua")).unwrap();
    let prefix = folder.path().join("opt");
    let output = Command::new(unpacked.join("install.sh")).arg("--prefix").arg(&prefix).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.trim_end().ends_with(": otel.lua"), "{output:?}");
    assert!(!prefix.exists());
    for (arguments, problem) in [
        (&["--prefix", "opt"][..], "expected an absolute path"),
        (&["--prefix"], "needs a folder"),
        (&["--all"], "usage"),
    ] {
        let output = Command::new(unpacked.join("install.sh")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(problem), "{arguments:?}: {output:?}");
    }
}

/// The folder in the archive.
fn unpack(folder: &Path) -> std::path::PathBuf {
    let archive = package();
    let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder).status().unwrap();
    assert!(tar.success());
    let name = archive.file_name().unwrap().to_str().unwrap().trim_end_matches(".tar.gz");
    folder.join(name)
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Vec<String> {
    let found = Command::new("find").arg(folder).args(["!", "-type", "d", "-printf", "%P\\n"]).output().unwrap();
    let mut files: Vec<_> = String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect();
    files.sort();
    files
}

const CONFIG: &str = "
global
  nbthread 2
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  lua-load-per-thread \"${loader}\"

defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s

frontend front
  bind 127.0.0.1:${port:http}
  default_backend back

backend back
  server one ${upstream}
";
