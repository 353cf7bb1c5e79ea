//! What `otel.lua` refuses to load; HAProxy then says one line of ours and nothing else of our names.

use std::fs;
use std::path::Path;

use haproxy_vitals_tests::Haproxy;
use haproxy_vitals_tests::haproxy::{Builder, module_dir};

#[test]
fn loader_takes_a_whole_module_on_every_version() {
    for version in VERSIONS {
        for load in LOADS {
            let outcome = config(load, "", module_dir()).version(version).check();
            assert!(outcome.ok, "{version}: {load}: {}", outcome.output);
        }
    }
}

#[test]
fn loader_refuses_a_module_that_is_cut_short() {
    let whole = module();
    for length in [64, 4096, whole.len() / 2, whole.len() - 1] {
        let line = refused_module(&whole[..length]);
        let found = format!("haproxy_vitals.so: cut short, {length} bytes of at least ");
        assert!(line.contains(&found) && line.ends_with(": copy it again"), "{line}");
    }
    for length in [0, 3, 61] {
        let line = refused_module(&whole[..length]);
        assert!(line.contains("haproxy_vitals.so: not a shared object, or cut short"), "{length}: {line}");
    }
}

#[test]
fn loader_refuses_a_module_for_another_machine() {
    const AARCH64: u8 = 183;
    const X86_64: u8 = 62;
    let mut other = module();
    let machine = &mut other[E_MACHINE];
    let (found, code) = if *machine == AARCH64 { ("x86-64", X86_64) } else { ("AArch64", AARCH64) };
    *machine = code;
    let line = refused_module(&other);
    assert!(
        line.contains(&format!("haproxy_vitals.so: built for {found}, 64-bit, little-endian: need a build")),
        "{line}"
    );

    let mut other = module();
    other[EI_CLASS] = 1;
    let line = refused_module(&other);
    assert!(line.contains(" 32-bit, little-endian: need a build"), "{line}");
}

#[test]
fn loader_refuses_what_is_no_module() {
    let line = refused_module(b"<html>404: there is no such file, as many words tell that follow here</html>\n");
    assert!(line.contains("haproxy_vitals.so: not a shared object"), "{line}");

    // A shared object by another's rules.
    let line = refused_module(&damaged(b"luaopen_haproxy_vitals"));
    assert!(line.contains("haproxy_vitals.so: cannot be loaded: "), "{line}");
    assert!(
        line.contains("luaopen_haproxy_vitals") && line.ends_with("; need a build of it for this machine"),
        "{line}"
    );
}

#[test]
fn loader_refuses_a_missing_module() {
    let empty = tempfile::tempdir().unwrap();
    let line = refused(config(LOADS[0], "", empty.path()));
    assert!(line.contains("haproxy-vitals: haproxy_vitals.so: no such file that can be read"), "{line}");
    assert!(line.contains("lua/otel.lua, or name its folder: lua-prepend-path FOLDER/?.so cpath"), "{line}");
}

#[test]
fn loader_says_one_line_of_a_refused_setting() {
    for version in VERSIONS {
        for load in LOADS {
            let line = refused(config(load, "runtime.worker=2", module_dir()).version(version));
            assert!(line.contains("unknown key `runtime.worker`"), "{version}: {load}: {line}");
        }
    }
}

#[test]
fn loader_says_one_line_when_it_is_loaded_twice() {
    for engine in ["native", "lua"] {
        let arguments = format!("traces.engine={engine}");
        let twice = format!("{arguments}\n  lua-load ${{lua}}/otel.lua {arguments}");
        let line = refused(config("lua-load", &twice, module_dir()));
        assert!(line.contains("register was called before in this Lua state"), "{engine}: {line}");
    }
}

#[test]
fn loader_leaves_a_second_line_without_options_alone() {
    for load in LOADS {
        let twice = format!("service.name=first\n  {load} ${{lua}}/otel.lua");
        let outcome = config(load, &twice, module_dir()).check();
        assert!(outcome.ok, "{load}: {}", outcome.output);
    }
}

const VERSIONS: [&str; 3] = ["3.0", "3.2", "3.4"];
const LOADS: [&str; 2] = ["lua-load-per-thread", "lua-load"];

// Places in an ELF file.
const EI_CLASS: usize = 4;
const E_MACHINE: usize = 18;

/// Every name that the module gives to HAProxy's configuration.
const NAMES: &str = "
global
  nbthread 2
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  lua-prepend-path FOLDER/?.so cpath
  LOAD ${lua}/otel.lua ARGUMENTS
defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend front
  bind 127.0.0.1:${port:http}
  filter lua.otel client-span=off
  tcp-request content lua.otel_start
  tcp-request content lua.otel_attr a txn.a
  http-request lua.otel_start
  http-request lua.otel_attr a txn.a
  http-request deny if { lua.vitals_health(back,one) -m str down }
  http-request use-service lua.otel_metrics if { path /metrics }
  http-response lua.otel_attr a txn.a
  http-response lua.otel_end
  http-after-response lua.otel_attr a txn.a
  http-after-response lua.otel_end
  default_backend back
backend back
  tcp-response content lua.otel_attr a txn.a
  server one 127.0.0.1:${port:http}
";

fn config(load: &str, arguments: &str, folder: &Path) -> Builder {
    let text = NAMES.replace("LOAD", load).replace("ARGUMENTS", arguments);
    Haproxy::config(&text.replace("FOLDER", &folder.display().to_string())).module()
}

fn module() -> Vec<u8> {
    fs::read(module_dir().join("haproxy_vitals.so")).unwrap()
}

/// The module with each occurrence of a text made another.
fn damaged(text: &[u8]) -> Vec<u8> {
    let mut bytes = module();
    let found: Vec<usize> =
        bytes.windows(text.len()).enumerate().filter(|(_, w)| *w == text).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "no {} in the module", String::from_utf8_lossy(text));
    for at in found {
        bytes[at] = b'L';
    }
    bytes
}

#[track_caller]
fn refused_module(contents: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("haproxy_vitals.so"), contents).unwrap();
    let line = refused(config(LOADS[0], "", folder.path()));
    assert!(line.contains(&format!("haproxy-vitals: {}", folder.path().display())), "{line}");
    line
}

/// The line that HAProxy says when it refuses: one of ours, and its own two about the whole file.
#[track_caller]
fn refused(builder: Builder) -> String {
    let outcome = builder.check();
    assert!(!outcome.ok, "accepted: {}", outcome.output);
    let is_verdict = |line: &str| line.contains("Error(s) found in") || line.contains("Fatal errors found in");
    let lines = outcome.output.lines().filter(|line| !line.starts_with("[NOTICE]") && !is_verdict(line));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 1, "one line: {}", outcome.output);
    assert_eq!(lines[0].matches("haproxy-vitals: ").count(), 1, "{}", lines[0]);
    lines[0].to_owned()
}
