//! W3C Baggage: what callers say of a request, and of which the settings put some on the SERVER span. The header itself is HAProxy's
//! to pass on, untouched.

use crate::config::MAX_BAGGAGE_KEYS;
use crate::trace::headers::Block;

/// Looks for `keys` in the `baggage` headers of `block`, in their order, and hands over each that is there: its number and its
/// value, not decoded. Where a key stands more than once, the last one counts. At most [`MAX_MEMBERS`] members in
/// [`MAX_BYTES`] are looked at. Sections 3.2 and 3.3.
pub fn each_wanted<'a>(block: &Block<'a>, keys: &[String], mut found: impl FnMut(usize, &'a [u8])) {
    let mut values: [Option<&[u8]>; MAX_BAGGAGE_KEYS] = [None; MAX_BAGGAGE_KEYS];
    let (mut bytes, mut members) = (0_usize, 0);
    let mut headers = block.iter();
    while let Some((name, value)) = headers.next_of(b"b") {
        if !name.eq_ignore_ascii_case(b"baggage") {
            continue;
        }
        for member in value.split(|&byte| byte == b',') {
            bytes = bytes.saturating_add(member.len() + 1);
            members += 1;
            if bytes > MAX_BYTES || members > MAX_MEMBERS {
                break;
            }
            let Some((key, value)) = pair(member) else { continue };
            let wanted = keys.iter().position(|wanted| wanted.as_bytes() == key);
            if let Some(slot) = wanted.and_then(|at| values.get_mut(at)) {
                *slot = Some(value);
            }
        }
    }
    for (at, value) in values.iter().enumerate() {
        if let Some(value) = value {
            found(at, value);
        }
    }
}

/// Appends `value` without percent-encoding. What is no escape stays as it is. Section 3.3.1.2.
pub fn push_decoded(out: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { rest.get(3..).unwrap_or_default() } else { after };
    }
}

/// Key and value of a list member, without its properties.
fn pair(member: &[u8]) -> Option<(&[u8], &[u8])> {
    let member = member.split(|&byte| byte == b';').next()?;
    let equals = member.iter().position(|&byte| byte == b'=')?;
    let (key, value) = member.split_at_checked(equals)?;
    Some((key.trim_ascii(), value.get(1..)?.trim_ascii()))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// "The resulting baggage-string contains 64 list-members or less": more need not be passed on. Section 3.3.2.
pub const MAX_MEMBERS: usize = 64;
/// "8192 bytes or less". Section 3.3.2.
pub const MAX_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::headers::write_block;
    use proptest::prelude::*;

    fn read(lines: &[&str], keys: &[&str]) -> Vec<(usize, String)> {
        let headers: Vec<_> = lines.iter().map(|line| (&b"baggage"[..], line.as_bytes())).collect();
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let block = write_block(&headers);
        let mut found = Vec::new();
        each_wanted(&Block::Text(&block), &keys, |at, value| {
            let mut text = Vec::new();
            push_decoded(&mut text, value);
            found.push((at, String::from_utf8_lossy(&text).into_owned()));
        });
        found
    }

    #[test]
    fn the_specification_s_examples_are_read() {
        let own = |pairs: &[(usize, &str)]| pairs.iter().map(|(at, v)| (*at, (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(
            read(
                &["key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue"],
                &["key3", "key1", "key2"]
            ),
            own(&[(0, "value3"), (1, "value1"), (2, "value2")])
        );
        assert_eq!(
            read(&["userId=Am%C3%A9lie,serverNode=DF%2028,isProduction=false"], &["userId", "serverNode"]),
            own(&[(0, "Amélie"), (1, "DF 28")])
        );
        assert_eq!(read(&["userId=alice", "serverNode=DF%2028"], &["serverNode"]), own(&[(0, "DF 28")]));
        assert_eq!(read(&["a=1,a=2", "a=3"], &["a"]), own(&[(0, "3")]));
        assert_eq!(read(&["a=b=c", "A=4", "a", "=5"], &["a"]), own(&[(0, "b=c")]));
        assert_eq!(read(&["a=%zz%4%"], &["a"]), own(&[(0, "%zz%4%")]));
        assert_eq!(read(&["a="], &["a", "b"]), own(&[(0, "")]));
    }

    #[test]
    fn only_so_many_members_and_bytes_are_looked_at() {
        let many: Vec<_> = (0..=MAX_MEMBERS).map(|n| format!("k{n}={n}")).collect();
        assert_eq!(read(&[&many.join(",")], &["k63", "k64"]), [(0, "63".to_owned())]);
        let long = format!("long={}", "x".repeat(MAX_BYTES));
        assert_eq!(read(&["a=1", &long, "b=2"], &["a", "long", "b"]), [(0, "1".to_owned())]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(block in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,100}") {
            each_wanted(&Block::Text(&block), &["a".to_owned()], |_, _| ());
            let _ = read(&[&text], &["a", "b"]);
        }

        #[test]
        fn what_is_encoded_is_read_back(value in ".{0,60}") {
            let encoded = value.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
            prop_assert_eq!(read(&[&format!("k={encoded}")], &["k"]), [(0, value)]);
        }
    }
}
