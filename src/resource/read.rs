//! Small files, read whole or not at all; and text that is fit to be an attribute.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The file's text; `None` when it cannot be read or is no UTF-8. At most [`MAX_BYTES`] of it: what is beyond is not read.
pub(super) fn text(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

/// The text of the first line, if it can be an attribute's value.
pub(super) fn line(path: impl AsRef<Path>) -> Option<String> {
    value(text(path)?.lines().next()?)
}

/// `text` without space around it: not empty, no control characters, at most [`MAX_VALUE`] bytes.
pub(super) fn value(text: &str) -> Option<String> {
    let text = text.trim();
    let fit = !text.is_empty() && text.len() <= MAX_VALUE && !text.contains(char::is_control);
    fit.then(|| text.to_owned())
}

/// Bytes of one file. A machine with very many mounts has a longer `mountinfo`; its first part is enough.
const MAX_BYTES: u64 = 256 * 1024;

/// Bytes of one value.
const MAX_VALUE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_without_end_is_read_in_part() {
        assert_eq!(text("/dev/zero").unwrap().len() as u64, MAX_BYTES);
        assert_eq!(line("/dev/zero"), None);
        assert_eq!(text("/nowhere"), None);
    }

    proptest! {
        #[test]
        fn a_value_is_never_empty_long_or_of_two_lines(raw in "\\PC{0,40}[\\x00-\\x20]{0,3}\\PC{0,1200}") {
            if let Some(value) = value(&raw) {
                prop_assert!(!value.is_empty() && value.len() <= MAX_VALUE && !value.contains(char::is_control));
            }
        }
    }
}
