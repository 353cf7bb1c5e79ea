//! Attributes that rules put on a span: in one field each.

use super::{Carry, END, Field, Fields, MAX_LEN, write_len};

/// Goes through the attributes that rules put on a span: name, which is ASCII, then value. One that is not of this module's
/// writing ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes<'a>(pub(super) Fields<'a>);

impl<'a> Attributes<'a> {
    /// The values of the fields of another kind beside them, in order.
    pub fn beside(&self, field: Field) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut fields = self.0;
        std::iter::from_fn(move || {
            loop {
                let (tag, value) = fields.next_field().flatten()?;
                if tag == field as u8 {
                    return Some(value);
                }
            }
        })
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], AttributeValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (tag, field) = self.0.next_field().flatten()?;
            if tag == Field::Attribute as u8 {
                let (&kind, rest) = field.split_first()?;
                let (&name_len, rest) = rest.split_first()?;
                let (name, value) = rest.split_at_checked(usize::from(name_len))?;
                if name.is_empty() || !name.is_ascii() {
                    return None;
                }
                return Some((name, AttributeValue::read(kind, value)?));
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
            (b'i', number) => Some(Self::Integer(std::str::from_utf8(number).ok()?.parse().ok()?)),
            (b'b', [flag]) => Some(Self::Bool(*flag == b'1')),
            _ => None,
        }
    }
}

/// `carried` with one more attribute. `None`: the request is not recorded, the name is empty, longer than 255 bytes or not ASCII,
/// there is a NUL in it, or no room left in [`MAX_LEN`] bytes.
pub fn with_attribute(carried: &[u8], name: &[u8], value: AttributeValue<'_>) -> Option<Vec<u8>> {
    let (carry, rest) = Carry::parse(carried)?;
    let field = attribute_field(name, value)?;
    let fits = carried.len() + 3 + field.len() <= MAX_LEN;
    if !carry.verdict.recorded || !rest.is_empty() || !fits {
        return None;
    }
    let (_, open) = carried.split_last()?;
    Some([open, &[Field::Attribute as u8], &write_len(field.len()), &field, &[END]].concat())
}

/// The bytes of one attribute's field. `None`: the name is empty, longer than 255 bytes or not ASCII, or there is a NUL.
pub(super) fn attribute_field(name: &[u8], value: AttributeValue<'_>) -> Option<Vec<u8>> {
    let name_len = u8::try_from(name.len()).ok().filter(|len| *len > 0 && name.is_ascii())?;
    let mut field = vec![0, name_len];
    field.extend_from_slice(name);
    let kind = match value {
        AttributeValue::Text(text) => {
            field.extend_from_slice(text.get(..MAX_ATTRIBUTE_VALUE).unwrap_or(text));
            b's'
        }
        AttributeValue::Integer(number) => {
            field.extend_from_slice(number.to_string().as_bytes());
            b'i'
        }
        AttributeValue::Bool(flag) => {
            field.push(if flag { b'1' } else { b'0' });
            b'b'
        }
    };
    if let Some(first) = field.first_mut() {
        *first = kind;
    }
    (!field.contains(&0)).then_some(field)
}

/// Bytes of the longest attribute name that a rule may give.
pub(super) const MAX_ATTRIBUTE_NAME: usize = 255;

/// Bytes kept of an attribute's text.
pub(super) const MAX_ATTRIBUTE_VALUE: usize = 512;
