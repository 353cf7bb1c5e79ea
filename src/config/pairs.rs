//! `key=value,key2=value2` as `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_EXPORTER_OTLP_HEADERS` have it.
//!
//! W3C Baggage, header content, without properties. Keys and values are percent-decoded. A key that stands
//! twice takes its last value; an empty member is skipped.

/// The pairs in order.
pub(super) fn parse(text: &str) -> Result<Vec<(String, String)>, PairsError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let (key, value) = pair(member)?;
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some(known) => known.1 = value,
            None => pairs.push((key, value)),
        }
    }
    Ok(pairs)
}

/// Why the whole text is unusable. It repeats nothing of the text: headers are secrets.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum PairsError {
    #[error("expected `key=value` between commas, found a part without `=`")]
    NoValue,
    #[error("expected `key=value` between commas, found a part without a key")]
    NoKey,
    #[error("expected percent-encoded UTF-8, found a broken escape")]
    BadEscape,
}

fn pair(member: &str) -> Result<(String, String), PairsError> {
    let (key, value) = member.split_once('=').ok_or(PairsError::NoValue)?;
    let key = decoded(key.trim())?;
    if key.is_empty() {
        return Err(PairsError::NoKey);
    }
    Ok((key, decoded(value.trim())?))
}

/// RFC 3986, section 2.1.
fn decoded(text: &str) -> Result<String, PairsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' { escaped(rest.next(), rest.next())? } else { byte });
    }
    String::from_utf8(bytes).map_err(|_| PairsError::BadEscape)
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Result<u8, PairsError> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (high, low) = digit(high).zip(digit(low)).ok_or(PairsError::BadEscape)?;
    u8::try_from(high * 16 + low).map_err(|_| PairsError::BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn keys_and_values_are_percent_decoded() {
        assert_eq!(parse("a%2Cb=c%3Dd,e=%C3%A9").unwrap(), pairs(&[("a,b", "c=d"), ("e", "é")]));
    }

    #[test]
    fn space_around_parts_is_not_part_of_them() {
        assert_eq!(parse(" a = b , c=d ").unwrap(), pairs(&[("a", "b"), ("c", "d")]));
    }

    #[test]
    fn an_equals_sign_in_the_value_stays() {
        assert_eq!(parse("authorization=Basic%20dXNlcg==").unwrap(), pairs(&[("authorization", "Basic dXNlcg==")]));
    }

    #[test]
    fn an_empty_value_is_a_value_and_an_empty_member_is_none() {
        assert_eq!(parse("a=,,b=c,").unwrap(), pairs(&[("a", ""), ("b", "c")]));
    }

    #[test]
    fn a_key_that_stands_twice_takes_its_last_value() {
        assert_eq!(parse("a=1,b=2,a=3").unwrap(), pairs(&[("a", "3"), ("b", "2")]));
    }

    #[test]
    fn one_bad_part_spoils_the_whole() {
        assert_eq!(parse("a=1,b"), Err(PairsError::NoValue));
        assert_eq!(parse("a=1,=b"), Err(PairsError::NoKey));
        for text in ["a=%", "a=%4", "a=%zz", "a=%FF", "%=b"] {
            assert_eq!(parse(text), Err(PairsError::BadEscape), "{text}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
