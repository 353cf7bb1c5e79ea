//! Names of HAProxy's sections with `*` (any characters, none too) and `?` (one character).

/// Whether a name stands for several.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a pattern stands for `name`. Time: at most the product of both lengths.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (mut rest, mut left) = (pattern.chars(), name.chars());
    // Where to go on when what follows the last `*` does not fit: the star takes one character more.
    let mut again = None;
    loop {
        let (before, here) = (left.clone(), left.next());
        match (rest.next(), here) {
            (Some('*'), _) => {
                left = before.clone();
                again = Some((rest.clone(), before));
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            (None, None) => return true,
            _ => {
                let Some((after, mut at)) = again.take() else { return false };
                if at.next().is_none() {
                    return false;
                }
                (rest, left) = (after.clone(), at.clone());
                again = Some((after, at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_characters() {
        for (pattern, fits, does_not) in [
            ("shop", &["shop"][..], &["shops", "sho", ""][..]),
            ("grpc_*", &["grpc_", "grpc_a", "grpc_a_b"], &["grpc", "a_grpc_b"]),
            ("*_grpc", &["_grpc", "a_grpc", "_grpc_grpc"], &["a_grpcs", ""]),
            ("a*b*c", &["abc", "axbxc", "abbcc"], &["ab", "acb"]),
            ("s?", &["s1", "sé"], &["s", "s12"]),
            ("*", &["", "anything"], &[]),
            ("?*", &["a", "ab"], &[""]),
        ] {
            assert!(fits.iter().all(|name| matches(pattern, name)), "{pattern}");
            assert!(!does_not.iter().any(|name| matches(pattern, name)), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_made_of_a_name_fits_it(name in "[a-c]{0,12}", cut in 0_usize..12, len in 0_usize..12) {
            let from = cut.min(name.len());
            let to = (from + len).min(name.len());
            let (begin, end) = (&name[..from], &name[to..]);
            let pattern = format!("{begin}*{end}");
            proptest::prop_assert!(matches(&pattern, &name));
            let pattern = format!("{begin}{}{end}", "?".repeat(to - from));
            proptest::prop_assert!(matches(&pattern, &name));
        }
    }
}
