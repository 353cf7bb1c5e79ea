//! Every detector in its turn.

use super::{Value, container, kubernetes, machine, process, read};
use crate::config::{Detector, Environment};

/// What only HAProxy knows of itself, from `core.get_info()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Haproxy {
    /// `Version`, such as `3.2.1-1`.
    pub version: Option<String>,
    /// `node`, which the configuration may set.
    pub node: Option<String>,
}

/// What `detectors` find out, in their order.
pub fn detect(detectors: &[Detector], environment: &Environment, haproxy: &Haproxy) -> Found {
    let haproxy = Haproxy {
        version: haproxy.version.as_deref().and_then(read::value),
        node: haproxy.node.as_deref().and_then(read::value),
    };
    let found = |detector: &Detector| match detector {
        Detector::Service => vec![("service.instance.id", Value::Text(uuid(rand::random())))],
        Detector::Host => machine::host(),
        Detector::Os => machine::os(),
        Detector::Process => process::process(haproxy.version.clone()),
        Detector::CommandArgs => process::command_args(),
        Detector::Container => texts([("container.id", container::id())]),
        Detector::K8s => kubernetes::detect(environment),
        Detector::Haproxy => {
            texts([("haproxy.version", haproxy.version.clone()), ("haproxy.node", haproxy.node.clone())])
        }
    };
    detectors.iter().flat_map(found).collect()
}

/// Attributes, in order.
pub(super) type Found = Vec<(&'static str, Value)>;

/// Those that have a value.
pub(super) fn texts<const N: usize>(values: [(&'static str, Option<String>); N]) -> Found {
    values.into_iter().filter_map(|(name, value)| Some((name, Value::Text(value?)))).collect()
}

/// RFC 9562, version 4: random but for version and variant.
fn uuid(random: u128) -> String {
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{bits:032x}");
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn none() -> Environment {
        Environment::default()
    }

    #[test]
    fn nothing_is_found_that_was_not_asked_for() {
        assert!(detect(&[], &none(), &Haproxy::default()).is_empty());
        let haproxy = Haproxy { version: Some("3.2.1".to_owned()), node: Some("bad\nnode".to_owned()) };
        let found = detect(&[Detector::Haproxy], &none(), &haproxy);
        assert_eq!(found, [("haproxy.version", Value::Text("3.2.1".to_owned()))]);
    }

    #[test]
    fn this_machine_has_a_name_and_this_process_a_number() {
        let found = detect(&Detector::BY_DEFAULT, &none(), &Haproxy::default());
        let value = |name: &str| found.iter().find(|(found, _)| *found == name).map(|(_, value)| value.clone());
        assert!(matches!(value("host.name"), Some(Value::Text(_))), "{found:?}");
        assert_eq!(value("os.type"), Some(Value::Text("linux".to_owned())));
        assert_eq!(value("process.pid"), Some(Value::Integer(i64::from(std::process::id()))));
        assert_eq!(value("process.command_args"), None);
    }

    #[test]
    fn each_call_makes_another_instance() {
        let one = || detect(&[Detector::Service], &none(), &Haproxy::default());
        assert_ne!(one(), one());
    }

    proptest! {
        #[test]
        fn an_instance_is_a_uuid_of_version_four(random: u128) {
            let text = uuid(random);
            let parts: Vec<_> = text.split('-').map(str::len).collect();
            prop_assert_eq!(parts, [8, 4, 4, 4, 12]);
            prop_assert_eq!(&text[14..15], "4");
            prop_assert!("89ab".contains(&text[19..20]));
        }
    }
}
