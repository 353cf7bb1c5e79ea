//! Durations as text: a whole number and a unit.

use std::time::Duration;

/// `500ms`, `2s`, `1m`, `1h`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*milliseconds).map(Duration::from_millis)
}

/// The same text, in the largest unit that loses nothing; parts of a millisecond are cut.
pub(super) fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let whole = |(_, size): &&(&str, u64)| milliseconds != 0 && milliseconds.is_multiple_of(u128::from(*size));
    match UNITS.iter().rev().find(whole) {
        Some((name, size)) => format!("{}{name}", milliseconds / u128::from(*size)),
        None => "0s".to_owned(),
    }
}

/// Smallest first; the size in milliseconds.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("2s"), Some(Duration::from_secs(2)));
        assert_eq!(parse("1m"), Some(Duration::from_mins(1)));
        assert_eq!(parse("1h"), Some(Duration::from_hours(1)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn anything_else_is_no_duration() {
        for text in
            ["", "2", "s", "2 s", "-2s", "1.5s", "2d", "1m30s", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_its_largest_whole_unit() {
        let shown = |milliseconds| show(Duration::from_millis(milliseconds));
        assert_eq!([0, 1500, 2000, 90_000, 120_000].map(shown), ["0s", "1500ms", "2s", "90s", "2m"]);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            parse(&text);
        }

        #[test]
        fn what_is_shown_is_read_back(milliseconds in 0..u64::from(u32::MAX)) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&show(duration)), Some(duration));
        }
    }
}
