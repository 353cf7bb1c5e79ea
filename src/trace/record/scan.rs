//! Finds a byte in short texts, eight bytes at a time: most fields, paths and hosts end within two steps.

/// Where `needle` first is.
pub(crate) fn find(text: &[u8], needle: u8) -> Option<usize> {
    let pattern = u64::from_ne_bytes([needle; 8]);
    let mut rest = text;
    let mut passed = 0;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        // A byte that is zero in `differs` sets its high bit in `hits`; above the first one there may be false ones.
        let differs = u64::from_le_bytes(*word) ^ pattern;
        let hits = differs.wrapping_sub(LOW_BITS) & !differs & HIGH_BITS;
        if hits != 0 {
            return Some(passed + (hits.trailing_zeros() / 8) as usize);
        }
        passed += word.len();
        rest = after;
    }
    rest.iter().position(|&b| b == needle).map(|at| passed + at)
}

/// What is before and after the first `at`.
pub(crate) fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = text.split_at_checked(find(text, at)?)?;
    Some((before, after.get(1..)?))
}

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_one_is_found(text in proptest::collection::vec(30_u8..35, 0..40), any in any::<[u8; 20]>()) {
            prop_assert_eq!(find(&text, 32), text.iter().position(|&b| b == 32));
            for needle in any {
                prop_assert_eq!(find(&any, needle), any.iter().position(|&b| b == needle));
            }
        }
    }
}
