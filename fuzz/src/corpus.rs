//! Every fuzz target over its corpus, by the stable toolchain: what was found once stays mended.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a target says by a panic what is wrong, and the test which input it was"
)]

mod targets;

use std::fs;
use std::path::Path;

use targets::TARGETS;

#[test]
fn every_target_takes_its_corpus() {
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{name} is empty");
        for (path, input) in inputs {
            // Shown with the panic, if there is one.
            println!("{path}");
            target(&input);
        }
    }
}

#[test]
fn every_target_takes_what_its_corpus_begins_with() {
    for (name, target) in TARGETS {
        for (path, input) in inputs(name) {
            println!("{path}");
            (0..input.len().min(300)).step_by(7).for_each(|len| target(&input[..len]));
        }
    }
}

#[test]
fn every_corpus_has_its_target() {
    for folder in fs::read_dir(corpus()).unwrap() {
        let name = folder.unwrap().file_name();
        assert!(TARGETS.iter().any(|(known, _)| name == *known), "{}", name.display());
    }
}

fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(corpus().join(target)).expect("a folder for each target");
    let paths = files.map(|file| file.expect("an entry").path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).expect("a file"))).collect()
}

fn corpus() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus"))
}
