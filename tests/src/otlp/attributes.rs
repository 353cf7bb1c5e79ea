//! Attributes, typed.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};

/// Attributes by key. Of a key that came twice, which is a breach, the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(pub BTreeMap<String, Value>);

impl Attributes {
    pub(super) fn new(pairs: &[KeyValue]) -> Self {
        Self(pairs.iter().map(|pair| (pair.key.clone(), Value::new(pair.value.as_ref()))).collect())
    }

    /// A text; `None` when it is missing or has another type.
    pub fn str(&self, key: &str) -> Option<&str> {
        if let Value::Str(text) = self.0.get(key)? { Some(text) } else { None }
    }

    /// A whole number; `None` when it is missing or has another type.
    pub fn int(&self, key: &str) -> Option<i64> {
        if let Value::Int(number) = self.0.get(key)? { Some(*number) } else { None }
    }

    /// A fraction; `None` when it is missing or has another type.
    pub fn double(&self, key: &str) -> Option<f64> {
        if let Value::Double(number) = self.0.get(key)? { Some(*number) } else { None }
    }

    /// A truth value; `None` when it is missing or has another type.
    pub fn bool(&self, key: &str) -> Option<bool> {
        if let Value::Bool(truth) = self.0.get(key)? { Some(*truth) } else { None }
    }

    /// A list of texts; `None` when it is missing or has another type.
    pub fn strs(&self, key: &str) -> Option<Vec<&str>> {
        let Value::List(values) = self.0.get(key)? else { return None };
        values.iter().map(|value| if let Value::Str(text) = value { Some(text.as_str()) } else { None }).collect()
    }

    /// The keys, sorted.
    pub fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// None at all.
    Empty,
    /// Text.
    Str(String),
    /// Truth.
    Bool(bool),
    /// Whole number.
    Int(i64),
    /// Fraction.
    Double(f64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Values by key.
    Map(Attributes),
}

impl Value {
    fn new(value: Option<&AnyValue>) -> Self {
        match value.and_then(|any| any.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => Self::Str(text.clone()),
            Some(any_value::Value::BoolValue(truth)) => Self::Bool(*truth),
            Some(any_value::Value::IntValue(number)) => Self::Int(*number),
            Some(any_value::Value::DoubleValue(number)) => Self::Double(*number),
            Some(any_value::Value::BytesValue(bytes)) => Self::Bytes(bytes.clone()),
            Some(any_value::Value::ArrayValue(list)) => {
                Self::List(list.values.iter().map(|v| Self::new(Some(v))).collect())
            }
            Some(any_value::Value::KvlistValue(map)) => Self::Map(Attributes::new(&map.values)),
            _ => Self::Empty,
        }
    }
}

pub(super) fn text_of(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}
