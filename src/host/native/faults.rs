//! Faults on purpose, for tests: what `VITALS_FAULT` names, in builds with the feature `fault-injection` only.
//!
//! A list of words with commas: `symbol=NAME`, `version=TEXT`, `panic=SITE`, `selftest`, `conf`, `channel`, `buffer`.

#[cfg(feature = "fault-injection")]
mod wanted {
    use std::sync::OnceLock;

    #[expect(clippy::disallowed_methods, reason = "not a setting: nothing that users run has it")]
    fn words() -> &'static [String] {
        static WORDS: OnceLock<Vec<String>> = OnceLock::new();
        let read = || std::env::var("VITALS_FAULT").unwrap_or_default().split(',').map(str::to_owned).collect();
        WORDS.get_or_init(read)
    }

    pub(super) fn is(word: &str) -> bool {
        words().iter().any(|one| one == word)
    }

    pub(super) fn value(key: &str) -> Option<&'static str> {
        words().iter().find_map(|one| one.strip_prefix(key)?.strip_prefix('='))
    }
}

#[cfg(not(feature = "fault-injection"))]
mod wanted {
    pub(super) fn is(_: &str) -> bool {
        false
    }

    pub(super) fn value(_: &str) -> Option<&'static str> {
        None
    }
}

/// The symbol is to be missing.
pub(super) fn lacks(symbol: &str) -> bool {
    wanted::value("symbol") == Some(symbol)
}

/// What HAProxy's version is to be.
pub(super) fn version() -> Option<String> {
    wanted::value("version").map(str::to_owned)
}

/// `selftest`, `conf`, `channel` or `buffer` is to fail.
pub(super) fn breaks(what: &str) -> bool {
    wanted::is(what)
}

/// Panics if that is wanted here.
pub(super) fn panic_in(site: &str) {
    #[cfg(feature = "fault-injection")]
    assert!(wanted::value("panic") != Some(site), "wanted");
    let _ = site;
}
