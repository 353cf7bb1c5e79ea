//! The configurations in `examples/` are what HAProxy and the module accept without a word.

use std::fs;
use std::path::{Path, PathBuf};

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, Pki, vitals};

#[test]
fn every_example_passes_the_config_check_without_a_warning() {
    let pki = Pki::new();
    let mut names = Vec::new();
    for folder in folders() {
        names.push(folder.file_name().unwrap().to_str().unwrap().to_owned());
        for engine in ["native", "lua"] {
            let check = example(&folder, &pki).env("HAPROXY_VITALS_TRACES_ENGINE", engine).check();
            assert!(check.ok && check.output.is_empty(), "{}, {engine}:\n{}", folder.display(), check.output);
        }
    }
    names.sort();
    assert_eq!(names, ["complete", "minimal"]);
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path())
}

/// The files as they are but for the places of the module, the settings and the authority.
fn example(folder: &Path, pki: &Pki) -> Builder {
    let at_home = |text: String| {
        let authority = pki.path("ca.pem").display().to_string();
        vitals::at_home(&text)
            .replace("/etc/haproxy/haproxy-vitals.toml", "${dir}/haproxy-vitals.toml")
            .replace("/etc/haproxy/internal-ca.pem", &authority)
    };
    let configuration = at_home(fs::read_to_string(folder.join("haproxy.cfg")).unwrap());
    let builder = Haproxy::config(&configuration).module().without_stats();
    match fs::read_to_string(folder.join("haproxy-vitals.toml")) {
        Ok(settings) => builder.file("haproxy-vitals.toml", &at_home(settings)),
        Err(_) => builder,
    }
}
