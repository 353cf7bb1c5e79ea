//! Words of HAProxy's configuration, and answers to them.
#![expect(unsafe_code, reason = "reads HAProxy's words and writes its messages")]

use std::ffi::{CStr, CString, c_char, c_int};

use super::symbols::Symbols;

/// The words from the one at `first` on, until an empty one.
///
/// # Safety
///
/// HAProxy's words: 64, the unused ones empty.
pub(super) unsafe fn from(words: *const *const c_char, first: c_int) -> Vec<String> {
    let mut found = Vec::new();
    for at in usize::try_from(first).unwrap_or(MOST)..MOST {
        // SAFETY: within HAProxy's words.
        let word = unsafe { words.add(at).read() };
        if word.is_null() {
            break;
        }
        // SAFETY: a word ends in zero.
        let word = unsafe { CStr::from_ptr(word) };
        if word.is_empty() {
            break;
        }
        found.push(word.to_string_lossy().into_owned());
    }
    found
}

/// Puts a message where HAProxy prints it from, with file and line.
///
/// # Safety
///
/// HAProxy's place for a message.
pub(super) unsafe fn complain(symbols: &Symbols, err: *mut *mut c_char, problem: &str) {
    let text = CString::new(problem.replace('\0', " ")).unwrap_or_default();
    // SAFETY: HAProxy copies the text into memory of its own.
    unsafe { (symbols.memprintf)(err, c"%s".as_ptr(), text.as_ptr()) };
}

/// An argument that is none of those known.
pub(super) fn unknown(argument: &str, known: &[&str]) -> String {
    let near = known.iter().map(|word| (strsim::jaro_winkler(argument, word), word));
    let near = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|one, other| one.0.total_cmp(&other.0));
    let hint = near.map_or_else(String::new, |(_, near)| format!("; did you mean `{near}`?"));
    format!("unknown argument `{argument}`{hint}; known: {}", known.join(", "))
}

/// Of one line of HAProxy's.
pub(super) const MOST: usize = 64;
