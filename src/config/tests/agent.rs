//! `[agent]`, `[bridge]` and `way`.

use super::{File, arguments, loaded};
use crate::config::{BridgeAddress, Sources, Way};

#[test]
fn addresses_are_numeric_or_a_path_for_the_bridge() {
    let config = loaded(arguments(&["agent.listen=localhost:5555", "bridge.listen=unix@/run/v.sock"])).unwrap().config;
    assert_eq!(config.agent.listen.unwrap().to_string(), "127.0.0.1:5555");
    assert_eq!(config.bridge.listen, Some(BridgeAddress::Unix("/run/v.sock".into())));
    let config = loaded(arguments(&["bridge.listen=[::1]:80"])).unwrap().config;
    assert_eq!(config.bridge.listen, Some(BridgeAddress::Tcp("[::1]:80".parse().unwrap())));
    let long = format!("bridge.listen=unix@/{}", "x".repeat(90));
    for wrong in ["agent.listen=name:80", "agent.listen=127.0.0.1", "bridge.listen=unix@v.sock", &long] {
        assert!(loaded(arguments(&[wrong])).is_err(), "{wrong}");
    }
}

#[test]
fn a_way_needs_its_listener() {
    for (way, section, parsed) in [("agent", "agent", Way::Agent), ("bridge", "bridge", Way::Bridge)] {
        let text = format!("[[health.backend]]\nname = 'api'\nway = '{way}'\n");
        let file = File::new(&text);
        let message = file.unnamed(&loaded(arguments(&[&file.argument()])).unwrap_err());
        assert_eq!(
            message,
            format!(
                "`{section}.listen` (default): expected an address, because `health.backend.api.way` (FILE:3) is {way}"
            )
        );
        let file = File::new(&format!("{text}[{section}]\nlisten = '127.0.0.1:5'\n"));
        let loaded = loaded(arguments(&[&file.argument()])).unwrap();
        assert_eq!(loaded.config.health.backends[0].way, parsed);
    }
    assert!(loaded(Sources::default()).unwrap().config.agent.listen.is_none());
}
