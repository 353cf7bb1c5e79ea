//! Who the telemetry is from: one resource for every signal, put together once per process.
//!
//! What the settings say is stronger than what is detected. Detection reads files and the environment and never fails: what
//! cannot be found out is left out. It must run at HAProxy's init, before the chroot hides `/proc` and `/etc`.

mod container;
mod detect;
#[doc(hidden)]
pub mod fuzz;
mod kubernetes;
mod machine;
mod process;
mod read;

use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValueKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as Proto;
use prost::Message;

pub use detect::{Haproxy, detect};

use crate::config::ServiceConfig;

/// The resource attributes, in order, each name once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource(Vec<(String, Value)>);

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A list of texts.
    Texts(Vec<String>),
}

impl Resource {
    /// What `config` says, then `detected`, then this library as the SDK. The first value of a name stays.
    pub fn new(config: &ServiceConfig, detected: Vec<(&'static str, Value)>) -> Self {
        let text = |value: &str| Value::Text(value.to_owned());
        let mut resource = Self(vec![("service.name".to_owned(), text(&config.name))]);
        let detected = detected.into_iter().map(|(name, value)| (name.to_owned(), value));
        let configured = config.attributes.iter().map(|(name, value)| (name.clone(), text(value)));
        let sdk = SDK.map(|(name, value)| (name.to_owned(), text(value)));
        for (name, value) in configured.chain(detected).chain(sdk) {
            resource.add(name, value);
        }
        resource
    }

    /// The names with their values.
    pub fn attributes(&self) -> &[(String, Value)] {
        &self.0
    }

    /// As `opentelemetry.proto.resource.v1.Resource`.
    pub fn to_proto(&self) -> Proto {
        let attribute = |(name, value): &(String, Value)| KeyValue {
            key: name.clone(),
            value: Some(any_value(value)),
            ..KeyValue::default()
        };
        Proto { attributes: self.0.iter().map(attribute).collect(), ..Proto::default() }
    }

    /// The same, encoded.
    pub fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    fn add(&mut self, name: String, value: Value) {
        if !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name, value));
        }
    }
}

fn any_value(value: &Value) -> AnyValue {
    AnyValue {
        value: Some(match value {
            Value::Text(text) => AnyValueKind::StringValue(text.clone()),
            Value::Integer(number) => AnyValueKind::IntValue(*number),
            Value::Texts(texts) => AnyValueKind::ArrayValue(ArrayValue {
                values: texts.iter().map(|text| any_value(&Value::Text(text.clone()))).collect(),
            }),
        }),
    }
}

/// Resource semantic conventions, "Telemetry SDK": this module is its own SDK.
const SDK: [(&str, &str); 3] = [
    ("telemetry.sdk.name", "haproxy-vitals"),
    ("telemetry.sdk.language", "rust"),
    ("telemetry.sdk.version", crate::VERSION),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    #[test]
    fn what_the_settings_say_is_stronger_than_what_is_detected() {
        let attributes = [("host.name", "given"), ("service.name", "never"), ("telemetry.sdk.name", "mine")];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let config = ServiceConfig { name: "edge".to_owned(), attributes, ..ServiceConfig::default() };
        let detected = vec![("host.name", text("found")), ("process.pid", Value::Integer(7))];
        let resource = Resource::new(&config, detected);
        let expected = [
            ("service.name", text("edge")),
            ("host.name", text("given")),
            ("telemetry.sdk.name", text("mine")),
            ("process.pid", Value::Integer(7)),
            ("telemetry.sdk.language", text("rust")),
            ("telemetry.sdk.version", text(crate::VERSION)),
        ];
        assert_eq!(resource.attributes(), expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn numbers_and_lists_keep_their_types_on_the_wire() {
        let list = Value::Texts(vec!["a".to_owned(), "b".to_owned()]);
        let detected = vec![("process.pid", Value::Integer(7)), ("process.command_args", list.clone())];
        let resource = Resource::new(&ServiceConfig::default(), detected);
        let decoded = Proto::decode(resource.encode().as_slice()).unwrap();
        assert_eq!(decoded, resource.to_proto());
        let value = |name: &str| decoded.attributes.iter().find(|a| a.key == name).unwrap().value.clone().unwrap();
        assert_eq!(value("process.pid").value, Some(AnyValueKind::IntValue(7)));
        assert_eq!(value("process.command_args"), any_value(&list));
    }
}
