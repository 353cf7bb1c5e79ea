//! Attributes that rules put on a span: in one field each.

use super::Field;
use super::field::{Fields, MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE};

/// Goes through the attributes that rules put on a span: name, which is ASCII, then value. One that is not of this module's
/// writing ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes<'a>(pub(super) Fields<'a>);

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], AttributeValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (tag, field) = self.0.next_field()?;
            if tag == Field::Attribute as u8 {
                let ([kind, name_len], rest) = field.split_first_chunk::<2>()?;
                let (name, value) = rest.split_at_checked(usize::from(*name_len))?;
                if name.is_empty() || !name.is_ascii() {
                    return None;
                }
                return Some((name, AttributeValue::read(*kind, value)?));
            }
        }
    }
}

/// The value of an attribute that a rule put on the span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AttributeValue<'a> {
    /// Text; not always UTF-8. At most 512 bytes: a longer one is cut.
    Text(&'a [u8]),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Bool(bool),
}

impl<'a> AttributeValue<'a> {
    fn read(kind: u8, bytes: &'a [u8]) -> Option<Self> {
        match (kind, bytes) {
            (b's', text) => Some(Self::Text(text)),
            (b'i', number) => Some(Self::Integer(i64::from_le_bytes(number.try_into().ok()?))),
            (b'b', [flag]) => Some(Self::Bool(*flag == 1)),
            _ => None,
        }
    }
}

/// The bytes of one attribute's field. `None`: the name is empty, longer than 255 bytes or not ASCII.
pub(super) fn encode(name: &[u8], value: AttributeValue<'_>) -> Option<Vec<u8>> {
    let name_len = u8::try_from(name.len()).ok().filter(|len| *len > 0 && name.is_ascii())?;
    let number;
    let (kind, bytes): (u8, &[u8]) = match value {
        AttributeValue::Text(text) => (b's', text.get(..MAX_ATTRIBUTE_VALUE).unwrap_or(text)),
        AttributeValue::Integer(integer) => {
            number = integer.to_le_bytes();
            (b'i', &number)
        }
        AttributeValue::Bool(flag) => (b'b', if flag { &[1] } else { &[0] }),
    };
    Some([&[kind, name_len], name, bytes].concat())
}

/// A name that a rule may give: ASCII, not empty, not too long.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= MAX_ATTRIBUTE_NAME && name.is_ascii()
}
