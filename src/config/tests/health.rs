//! `[[health.backend]]`: values that no other section has.

use super::{from_file, loaded, options};
use crate::config::{
    BackendConfig, CheckSpans, CodeRule, MetadataValue, OnNotServing, OrcaMetric, OrcaReport, StatsSocket, TlsMode,
    Value,
};

fn backend(lines: &str) -> Result<BackendConfig, String> {
    from_file(&format!("[[health.backend]]\nname = 'api'\n{lines}\n"))
        .map(|mut loaded| loaded.config.health.backends.remove(0))
}

#[test]
fn services_are_one_or_a_list() {
    assert_eq!(backend("").unwrap().services, [""]);
    assert_eq!(backend("service = 'a,b'").unwrap().services, ["a,b"]);
    assert_eq!(backend("service = ['a', '']").unwrap().services, ["a", ""]);
    let message = "`health.backend.api.service` (FILE:3): expected a service or a list of 1 to 16, found a list";
    assert_eq!(backend("service = []").unwrap_err(), message);
}

#[test]
fn codes_are_lists_and_ranges() {
    let codes = backend("codes = { pass = 12, fail = '5, 7-9', drain = '8' }").unwrap_err();
    assert!(codes.contains("each in one rule only"), "{codes}");
    let codes = backend("codes = { pass = 12, fail = '5, 7-9', hold = '14' }").unwrap().codes;
    assert_eq!(codes.rule(12), Some(CodeRule::Pass));
    assert_eq!(
        [4, 5, 6, 7, 8, 9, 10].map(|code| codes.rule(code) == Some(CodeRule::Fail)),
        [false, true, false, true, true, true, false]
    );
    for wrong in ["pass = '17'", "pass = '0'", "pass = '9-7'", "pass = 'x'", "pass = ''", "passs = '1'", "pass = 1.5"] {
        let message = backend(&format!("codes = {{ {wrong} }}")).unwrap_err();
        assert!(message.starts_with("`health.backend.api.codes.pass"), "{message}");
    }
}

#[test]
fn metadata_is_text_or_says_where_it_is_and_is_never_shown() {
    let lines = "metadata = { X-A = 'word', x-b = { file = '/f' }, x-c = { env = 'HOME' } }";
    let found = backend(lines).unwrap();
    let expected = [
        ("x-a".to_owned(), MetadataValue::Text("word".to_owned())),
        ("x-b".to_owned(), MetadataValue::File("/f".into())),
        ("x-c".to_owned(), MetadataValue::Env("HOME".to_owned())),
    ];
    assert_eq!(found.metadata, expected);
    assert!(!format!("{found:?}").contains("word"));
    let shown = from_file(&format!("[[health.backend]]\nname = 'api'\n{lines}\n")).unwrap().describe();
    assert!(shown.contains("{ x-a = (hidden), x-b = (hidden), x-c = (hidden) }") && !shown.contains("word"), "{shown}");
    for wrong in [
        "grpc-timeout = 'word'",
        "te = 'word'",
        "a-bin = 'word'",
        "'a b' = 'word'",
        "a = { path = 'word' }",
        "a = 'word\\n'",
    ] {
        let message = backend(&format!("metadata = {{ {} }}", wrong.replace('\'', "\""))).unwrap_err();
        assert!(message.contains("(hidden)") && !message.contains("word"), "{message}");
    }
}

#[test]
fn certificates_come_in_pairs_and_with_tls() {
    let message = "`health.backend.api.key_file` (FILE:1): expected the private key of `cert_file`, found nothing";
    assert_eq!(backend("tls = 'on'\ncert_file = '/c'").unwrap_err(), message);
    let message = "`health.backend.api.ca_file` (FILE:3): expected `tls` to be `on` or `auto` beside it, found `off`";
    assert_eq!(backend("ca_file = '/c'").unwrap_err(), message);
    assert_eq!(backend("tls = 'auto'\nca_file = ['@system-ca', '/c']").unwrap().tls, TlsMode::Auto);
}

#[test]
fn words_and_bounds() {
    assert_eq!(backend("not_serving = 'drain'").unwrap().not_serving, OnNotServing::Drain);
    let message = backend("not_serving = 'drains'").unwrap_err();
    assert!(message.ends_with("expected down or drain or ignore, found `drains`; did you mean `drain`?"), "{message}");
    assert!(backend("panic_threshold = 101").is_err());
    assert!(backend("server_name = 'a:1'").is_err());
    let loaded = loaded(options(&[("health.max_concurrent", Value::Integer(7))])).unwrap();
    assert_eq!(loaded.config.health.max_concurrent, 7);
}

#[test]
fn stats_socket_is_an_address_as_haproxy_writes_it() {
    let file = |value: &str| from_file(&format!("[health]\nstats_socket = {value}\n"));
    let socket = |value: &str| file(value).map(|loaded| loaded.config.health.stats_socket);
    assert_eq!(socket("'/run/s'").unwrap(), Some(StatsSocket::Unix("/run/s".into())));
    let named = StatsSocket::Abstract { name: "s".to_owned(), padded: true };
    assert_eq!(socket("'abns@s'").unwrap(), Some(named));
    assert_eq!(socket("''").unwrap(), None);
    let message = "`health.stats_socket` (FILE:2): expected the address of HAProxy's stats socket: `abns@NAME`, \
                   `unix@/PATH`, `/PATH` or an IP address and a port, found `run/s`";
    assert_eq!(socket("'run/s'").unwrap_err(), message);
    let message = "`health.stats_socket` (FILE:2): expected text, found number `7`";
    assert_eq!(socket("7").unwrap_err(), message);
    let message = from_file("[health]\nstat_socket = '/run/s'\n").unwrap_err();
    assert!(message.contains("did you mean `health.stats_socket`?"), "{message}");
    assert!(file("'/run/s'").unwrap().describe().contains("= \"unix@/run/s\""));
}

#[test]
fn auto_encryption_without_a_stats_socket_is_a_warning() {
    let auto = "[[health.backend]]\nname = 'api'\ntls = 'auto'\n";
    let warnings = from_file(auto).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let expected = ":3): auto is off, because `health.stats_socket`, from which it is learnt which servers";
    assert!(warnings[0].starts_with("`health.backend.api.tls` (") && warnings[0].contains(expected), "{warnings:?}");
    let warnings = from_file(&format!("[health]\nstats_socket = 'abns@s'\n{auto}")).unwrap().warnings;
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn weights_have_a_source_and_bounds() {
    assert!(!backend("").unwrap().weight.is_on());
    let weight = backend("weight_metadata = 'X-LB-Weight'\nweight_min = '20%'\nweight_smoothing = 0").unwrap().weight;
    assert_eq!((weight.metadata.as_deref(), weight.min, weight.is_on()), (Some("x-lb-weight"), 20, true));
    let weight = backend("orca = 'named:queue'\norca_report = 'stream'").unwrap().weight;
    assert_eq!(weight.orca, Some(OrcaMetric::Named("queue".to_owned())));
    assert_eq!((weight.orca_report, weight.has_stream()), (OrcaReport::Stream, true));
}

#[test]
fn weights_that_cannot_be_are_refused() {
    for (lines, expected) in [
        ("orca = 'cpus'", "`health.backend.api.orca` (FILE:3): expected `off`, `cpu`,"),
        ("orca = 'named:'", "`health.backend.api.orca` (FILE:3): expected `off`, `cpu`,"),
        ("weight_metadata = 'a b'", "`health.backend.api.weight_metadata` (FILE:3): expected a header's name"),
        ("weight_metadata = 'grpc-status'", "`health.backend.api.weight_metadata` (FILE:3): expected a name that gRPC"),
        ("weight_metadata = 'weight-bin'", "`health.backend.api.weight_metadata` (FILE:3): expected a name that gRPC"),
        ("weight_smoothing = 1", "`health.backend.api.weight_smoothing` (FILE:3): expected a number from 0 to 0.99"),
        ("weight_min = '101%'", "`health.backend.api.weight_min` (FILE:3): expected 0 to 100"),
        ("weight_max = 0", "`health.backend.api.weight_max` (FILE:3): expected 1 to 100"),
        ("weight_min = 50\nweight_max = 40", "`health.backend.api.weight_min` (FILE:3): expected at most `weight_max`"),
        (
            "orca = 'cpu'\nweight_expiry = '2s'",
            "`health.backend.api.weight_expiry` (FILE:4): expected more than `interval`",
        ),
        (
            "orca = 'cpu'\norca_report = 'stream'\nweight_expiry = '10s'",
            "`health.backend.api.weight_expiry` (FILE:5): expected more than `interval`",
        ),
    ] {
        let message = backend(lines).unwrap_err();
        assert!(message.starts_with(expected), "{lines}: {message}");
    }
}

#[test]
fn spans_of_checks_are_a_word_or_a_share() {
    let spans =
        |value: &str| from_file(&format!("[health]\nspans = {value}\n")).map(|loaded| loaded.config.health.spans);
    assert_eq!(spans("'failures'").unwrap(), CheckSpans::Failures);
    assert_eq!(spans("0.01").unwrap(), CheckSpans::Share(0.01));
    for wrong in ["'all'", "1.5", "true", "-1"] {
        let message = spans(wrong).unwrap_err();
        assert!(
            message.starts_with("`health.spans` (FILE:2): expected `off`, `changes`, `failures` or a share"),
            "{message}"
        );
    }
}

#[test]
fn keys_beside_the_list_or_in_it_by_mistake_are_told_where_they_belong() {
    for (text, hint) in [
        ("[health]\ninterval = '2s'\n", "did you mean `interval` in `[[health.backend]]`?"),
        ("[health]\ntls = 'on'\n", "did you mean `tls` in `[[health.backend]]`?"),
        ("[[health.backend]]\nname = 'a'\nmax_concurrent = 7\n", "did you mean `health.max_concurrent`?"),
        ("[[health.backend]]\nname = 'a'\nstats_socket = '/x'\n", "did you mean `health.stats_socket`?"),
        ("[[health.backend]]\nname = 'a'\nintervall = '2s'\n", "did you mean `interval`?"),
        ("[traces]\npath_prefix = '/x'\n", "did you mean `path_prefix` in `[[traces.rule]]`?"),
    ] {
        let message = from_file(text).unwrap_err();
        assert!(message.ends_with(hint), "{message}");
    }
}

#[test]
fn keys_that_another_one_makes_useless_are_warned_of() {
    for (lines, key, because) in [
        ("weight_min = 5", "weight_min", "weights have no source"),
        ("orca_report = 'stream'", "orca_report", "`orca` is not set"),
        ("orca = 'cpu'\norca_interval = '3s'", "orca_interval", "load reports do not come by a stream"),
        ("watch_recheck = '10s'", "watch_recheck", "`mode` is not `watch`"),
        ("tls = 'on'\ninsecure_skip_verify = true\nca_file = '/c'", "ca_file", "`insecure_skip_verify` takes any"),
    ] {
        let warnings = from_file(&format!("[[health.backend]]\nname = 'api'\n{lines}\n")).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{lines}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("`health.backend.api.{key}` (")), "{warnings:?}");
        assert!(warnings[0].contains(&format!("): not used, because {because}")), "{warnings:?}");
    }
    let all = "mode = 'watch'\nwatch_recheck = '10s'\norca = 'cpu'\norca_report = 'stream'\norca_interval = '3s'\nweight_min = 5";
    assert_eq!(from_file(&format!("[[health.backend]]\nname = 'api'\n{all}\n")).unwrap().warnings, [""; 0]);
}

#[test]
fn a_weight_outlives_the_time_between_two_checks_of_a_watched_server() {
    let lines = "mode = 'watch'\norca = 'cpu'\nwatch_recheck = '10m'";
    let message = backend(lines).unwrap_err();
    assert!(message.starts_with("`health.backend.api.weight_expiry` (default): expected more than"), "{message}");
    assert!(message.ends_with("found `3m`"), "{message}");
    assert!(backend(&format!("{lines}\nweight_expiry = '12m'")).is_ok());
    // By a stream they come as often as ever.
    assert!(backend(&format!("{lines}\norca_report = 'stream'")).is_ok());
    // Checks are up to a tenth late.
    assert!(backend("orca = 'cpu'\nweight_expiry = '2200ms'").is_err());
    assert!(backend("orca = 'cpu'\nweight_expiry = '2201ms'").is_ok());
}

#[test]
fn an_authority_is_a_host() {
    for wrong in [":443", "a:99999", "a:", "user@a", ""] {
        let message = backend(&format!("authority = '{wrong}'")).unwrap_err();
        assert!(message.contains("expected a host, with a port or without"), "{message}");
    }
    for fine in ["a", "a:443", "[::1]", "[::1]:443", "127.0.0.1:1"] {
        assert_eq!(backend(&format!("authority = '{fine}'")).unwrap().authority.as_deref(), Some(fine));
    }
    assert_eq!(backend("service = ['a', 'b', 'a']").unwrap().services, ["a", "b"]);
}
