//! `docs/opentelemetry-variables.md` says what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_document_and_the_code_name_the_same_variables() {
    let read = rows().into_iter().filter(|(_, row)| matches!(row.word.as_str(), "yes" | "warned"));
    let documented: BTreeSet<_> = read.map(|(name, _)| name).collect();
    let code = names_in_code();
    assert!(code.len() > 20, "{code:?}");
    let missing: Vec<_> = code.difference(&documented).collect();
    assert!(missing.is_empty(), "read by src/config, and not `yes` or `warned` in the document: {missing:#?}");
    let claimed: Vec<_> = documented.difference(&code).collect();
    assert!(claimed.is_empty(), "`yes` or `warned` in the document, and not in src/config: {claimed:#?}");
}

#[test]
fn the_document_knows_its_words_and_names_tests_that_exist() {
    let sources: String =
        ["src", "tests"].into_iter().flat_map(|folder| files(&root().join(folder))).map(text).collect();
    for (name, row) in rows() {
        assert!(["yes", "warned", "no"].contains(&row.word.as_str()), "{name}: {}", row.word);
        assert!(row.word != "no" || !row.what.is_empty(), "{name}: a reason");
        let test = row.test.trim_matches('`');
        assert!(test == "-" || sources.contains(&format!("fn {test}()")), "{name}: no test `{test}`");
    }
}

struct Row {
    word: String,
    what: String,
    test: String,
}

/// The document's rows, by variable; each variable has one.
fn rows() -> BTreeMap<String, Row> {
    let document = text(root().join("docs/opentelemetry-variables.md"));
    let mut rows = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| `OTEL_")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, word, what, test, _] = cells[..] else { panic!("{line}") };
        let row = Row { word: word.to_owned(), what: what.to_owned(), test: test.to_owned() };
        assert!(rows.insert(name.trim_matches('`').to_owned(), row).is_none(), "twice: {name}");
    }
    rows
}

/// Names in `src/config` without its tests.
fn names_in_code() -> BTreeSet<String> {
    let code = files(&root().join("src/config"))
        .into_iter()
        .filter(|path| !path.components().any(|c| c.as_os_str() == "tests"));
    code.flat_map(|path| names(text(path).split("#[cfg(test)]\nmod tests {").next().unwrap_or_default())).collect()
}

/// `OTEL_` and what belongs to it; `OTEL_*` is none.
fn names(text: &str) -> Vec<String> {
    let belongs = |character: &char| character.is_ascii_uppercase() || character.is_ascii_digit() || *character == '_';
    let found = text.match_indices("OTEL_").map(|(at, _)| text[at..].chars().take_while(belongs).collect::<String>());
    found.filter(|name| name.len() > "OTEL_".len() && !name.ends_with('_')).collect()
}

/// Every Rust file below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(below).filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
