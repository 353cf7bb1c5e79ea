//! `show vitals traces last`.

use super::process;
use crate::trace::recent::Query;

/// The answer to the words after `last`.
pub(super) fn show(words: &[String]) -> String {
    let Some(recent) = process::recent() else {
        return "no requests are remembered: set traces.recent\n".to_owned();
    };
    match Query::parse(words.iter().map(String::as_str).filter(|word| !word.is_empty())) {
        Ok(query) => recent.show(&query),
        Err(error) => format!("{error}\n"),
    }
}
