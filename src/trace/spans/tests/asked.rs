//! What settings ask for.

use super::*;
use crate::config::{ChildSpan, Config, Forwarded, LimitsConfig, QueryMode, Route, ValueKind, VariableAttribute};

/// The spans that `sample` gives under settings; `value` is what is gathered for each expression.
pub(super) fn with_settings(
    config: &AttributesConfig,
    sample: &Sample,
    value: impl Fn(&str) -> Option<&'static [u8]>,
) -> Vec<Span> {
    let plan = Plan::new(&Config { attributes: config.clone(), ..Config::default() });
    let values: Vec<_> = plan.gathered.iter().map(|gather| value(&gather.expression())).collect();
    let wording = Wording::new(config, &plan);
    worded(&sample.clone().gathered(&values).payload(), &wording)
}

fn asked(config: &AttributesConfig, sample: &Sample) -> Vec<Span> {
    with_settings(config, sample, |_| None)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn route(template: &str) -> Route {
    Route { method: None, template: template.to_owned() }
}

#[test]
fn a_route_is_the_templates_or_the_variables() {
    let mut config = AttributesConfig { routes: vec![route("/cart/{what}")], ..AttributesConfig::default() };
    let spans = asked(&config, &Sample::default());
    assert_eq!((spans[0].name.as_str(), spans[1].name.as_str()), ("GET /cart/{what}", "GET"));
    expect(&spans[0], &[("http.route", "/cart/{what}")]);
    expect(&spans[1], &[("http.route", "")]);
    config.route_variable = Some("txn.route".to_owned());
    let spans = with_settings(&config, &Sample::default(), |_| Some(b"/from/rules"));
    assert_eq!(spans[0].name, "GET /from/rules");
    let spans = with_settings(&config, &Sample::default(), |_| Some(b""));
    assert_eq!(spans[0].name, "GET /cart/{what}");
    config.span_name_variable = Some("txn.name".to_owned());
    let named = |expression: &str| (expression == "var(txn.name)").then_some(&b"my \xff name"[..]);
    let spans = with_settings(&config, &Sample::default(), named);
    assert_eq!(spans[0].name, "my \u{FFFD} name");
    expect(&spans[0], &[("http.route", "/cart/{what}")]);
}

#[test]
fn known_methods_are_replaced_whole() {
    let config = AttributesConfig { known_methods: Some(texts(&["PROPFIND"])), ..AttributesConfig::default() };
    let spans = asked(&config, &Sample::default().line("PROPFIND / HTTP/1.1"));
    assert_eq!(spans[1].name, "PROPFIND");
    expect(&spans[1], &[("http.request.method", "PROPFIND"), ("http.request.method_original", "")]);
    let spans = asked(&config, &Sample::default());
    expect(&spans[0], &[("http.request.method", "_OTHER"), ("http.request.method_original", "GET")]);
}

#[test]
fn forwarding_headers_count_from_trusted_peers_alone() {
    let mut config =
        AttributesConfig { trusted_networks: vec!["192.0.2.0/24".parse().unwrap()], ..AttributesConfig::default() };
    let sample = Sample::default()
        .carrying(Field::ForwardedFor, b"6.6.6.6, 203.0.113.5, 192.0.2.77")
        .carrying(Field::ForwardedProto, b"http")
        .carrying(Field::ForwardedHost, b"outside.example");
    let spans = asked(&config, &sample);
    let before = [("client.address", "203.0.113.5"), ("url.scheme", "http"), ("server.address", "outside.example")];
    expect(&spans[0], &before);
    expect(&spans[0], &[("network.peer.address", "192.0.2.9"), ("server.port", "")]);
    expect(&spans[1], &[("server.address", "shop.example")]);
    config.trusted_networks = vec!["10.0.0.0/8".parse().unwrap()];
    let own = [("client.address", "192.0.2.9"), ("url.scheme", "https"), ("server.address", "shop.example")];
    expect(&asked(&config, &sample)[0], &own);
    config.trusted_networks = vec!["192.0.2.9/32".parse().unwrap()];
    config.forwarded = Forwarded::Standard;
    let sample = Sample::default().carrying(Field::ForwardedFor, b"for=\"[2001:db8::9]:77\";proto=http;host=h:81");
    let before =
        [("client.address", "2001:db8::9"), ("url.scheme", "http"), ("server.address", "h"), ("server.port", "#81")];
    expect(&asked(&config, &sample)[0], &before);
    expect(&asked(&config, &Sample::default())[0], &own);
}

#[test]
fn headers_are_lists_of_lines() {
    let config = AttributesConfig {
        request_headers: texts(&["x-a", "x-b"]),
        response_headers: texts(&["x-cache"]),
        ..AttributesConfig::default()
    };
    let sample = Sample::default()
        .carrying(Field::Header, b"\x021")
        .carrying(Field::Header, b"\x02")
        .carrying(Field::Header, b"\x022 \xff");
    let spans = with_settings(&config, &sample, |_| Some(b"HIT, from a"));
    let expected = [
        ("http.request.header.x-a", ""),
        ("http.request.header.x-b", "[1||2 \u{FFFD}]"),
        ("http.response.header.x-cache", "[HIT, from a]"),
    ];
    expect(&spans[0], &expected);
    expect(&spans[1], &[("http.request.header.x-b", ""), ("http.response.header.x-cache", "")]);
}

#[test]
fn queries_are_redacted_allowed_or_dropped() {
    let sample = Sample::default().line("GET /p?a=1&sig=2 HTTP/1.1").host(b"h");
    let mut config = AttributesConfig { redact_query: Some(texts(&["a"])), ..AttributesConfig::default() };
    let spans = asked(&config, &sample);
    expect(&spans[0], &[("url.query", "a=REDACTED&sig=2")]);
    expect(&spans[1], &[("url.full", "http://h/p?a=REDACTED&sig=2")]);
    (config.query, config.query_allowed) = (QueryMode::AllowList, texts(&["a"]));
    expect(&asked(&config, &sample)[1], &[("url.full", "http://h/p?a=1&sig=REDACTED")]);
    config.query = QueryMode::Drop;
    let spans = asked(&config, &sample);
    expect(&spans[0], &[("url.query", "")]);
    expect(&spans[1], &[("url.full", "http://h/p")]);
}

#[test]
fn tls_is_told_of_both_connections() {
    let config = AttributesConfig { tls: true, tls_client_certificate: true, ..AttributesConfig::default() };
    let spans = with_settings(&config, &Sample::default(), |expression| match expression {
        "ssl_fc_cipher" => Some(b"TLS_AES_128_GCM_SHA256"),
        "ssl_fc_is_resumed" => Some(b"0"),
        "ssl_fc_sni" => Some(b"shop.example"),
        "ssl_bc_protocol" => Some(b"TLSv1.2"),
        "ssl_c_s_dn" => Some(b"/CN=me"),
        "ssl_c_sha1" => Some(b"\x00\xab"),
        _ => None,
    });
    let of_client = [
        ("tls.established", "?true"),
        ("tls.cipher", "TLS_AES_128_GCM_SHA256"),
        ("tls.curve", ""),
        ("tls.resumed", "?false"),
        ("tls.client.server_name", "shop.example"),
        ("tls.client.subject", "/CN=me"),
        ("tls.client.hash.sha1", "00AB"),
    ];
    expect(&spans[0], &of_client);
    expect(&spans[1], &[("tls.protocol.version", "1.2"), ("tls.protocol.name", "tls")]);
    expect(&spans[1], &[("url.full", "https://shop.example:8443/cart/items?id=7&sort=asc")]);
}

#[test]
fn variables_have_types_and_rules_are_stronger() {
    let variable = |name: &str, variable: &str, kind| VariableAttribute {
        name: name.to_owned(),
        variable: variable.to_owned(),
        kind,
    };
    let config = AttributesConfig {
        variables: vec![
            variable("app.text", "txn.n", ValueKind::Text),
            variable("app.int", "txn.n", ValueKind::Integer),
            variable("app.double", "txn.n", ValueKind::Double),
            variable("app.bool", "txn.b", ValueKind::Bool),
            variable("app.no", "txn.n", ValueKind::Bool),
            variable("app.ruled", "txn.n", ValueKind::Text),
        ],
        fixed: vec![
            ("app.where".to_owned(), FixedValue::Text("here".to_owned())),
            ("app.n".to_owned(), FixedValue::Double(0.5)),
        ],
        ..AttributesConfig::default()
    };
    let plan = Plan::new(&Config { attributes: config.clone(), ..Config::default() });
    assert_eq!(plan.gathered.len(), 2);
    let wording = Wording::new(&config, &plan);
    let sample = [b"1", b"2"]
        .into_iter()
        .fold(Sample::default(), |sample, value| sample.ruled("app.ruled", AttributeValue::Text(value)));
    let spans = worded(&sample.gathered(&[Some(b"42"), Some(b"1")]).payload(), &wording);
    let expected = [
        ("app.text", "42"),
        ("app.int", "#42"),
        ("app.double", "~42"),
        ("app.bool", "?true"),
        ("app.no", ""),
        ("app.ruled", "2"),
        ("app.where", "here"),
        ("app.n", "~0.5"),
    ];
    expect(&spans[0], &expected);
    expect(&spans[1], &[("app.text", ""), ("app.where", "here"), ("app.n", "~0.5")]);
}

#[test]
fn limits_cut_attributes_texts_and_events() {
    let limits = LimitsConfig {
        attributes: 5,
        value_length: Some(3),
        events: 1,
        event_attributes: 0,
        ..LimitsConfig::default()
    };
    let config = AttributesConfig { limits, events: true, ..AttributesConfig::default() };
    let sample = Sample::default().line("GET /\u{e9}\u{e9}\u{e9}\u{e9} HTTP/1.1");
    let sample = sample.numbers(|numbers| (numbers.retries, numbers.bits) = (2, bits::REUSE_KNOWN));
    let spans = asked(&config, &sample);
    let before = asked(&AttributesConfig { events: true, ..AttributesConfig::default() }, &sample);
    for (span, whole) in spans.iter().zip(&before) {
        assert_eq!(span.attributes.len(), 5);
        assert_eq!(span.dropped_attributes_count as usize, whole.attributes.len() - 5);
        assert_eq!((&span.name, span.kind, &span.span_id), (&whole.name, whole.kind, &whole.span_id));
    }
    expect(&spans[0], &[("http.request.method", "GET"), ("url.path", "/\u{e9}\u{e9}"), ("url.scheme", "htt")]);
    let (events, dropped) = (&spans[1].events, spans[1].dropped_events_count as usize);
    assert_eq!((events.len(), dropped), (1, before[1].events.len() - 1));
    let retry = before[1].events.iter().find(|event| event.name == "haproxy.retry").unwrap();
    assert_eq!((retry.attributes.len(), retry.dropped_attributes_count), (1, 0));
    let limits = LimitsConfig { attributes: 0, event_attributes: 0, ..LimitsConfig::default() };
    let spans = asked(&AttributesConfig { limits, events: true, ..AttributesConfig::default() }, &sample);
    assert!(spans.iter().all(|span| span.attributes.is_empty() && span.dropped_attributes_count > 0));
    let retry = spans[1].events.iter().find(|event| event.name == "haproxy.retry").unwrap();
    assert_eq!((retry.attributes.len(), retry.dropped_attributes_count), (0, 1));
}

#[test]
fn the_default_limit_holds_for_what_rules_add() {
    let ruled = |sample: Sample, n| sample.ruled(&format!("n{n}"), AttributeValue::Bool(true));
    let spans = spans(&(0..150).fold(Sample::default(), ruled));
    assert_eq!(spans[0].attributes.len(), 128);
    expect(&spans[0], &[("http.response.status_code", "#200")]);
    assert_eq!(
        spans[0].dropped_attributes_count as usize + 128,
        150 + super::spans(&Sample::default())[0].attributes.len()
    );
}

#[test]
fn grpc_requests_are_calls() {
    let mut config = AttributesConfig { rpc: true, ..AttributesConfig::default() };
    let sample = Sample::default().line("POST /pkg.Shop/Buy HTTP/2.0").carrying(Field::Rpc, b"");
    let status = |code: &'static [u8]| move |_: &str| Some(code);
    let spans = with_settings(&config, &sample, status(b"5"));
    for span in &spans {
        assert_eq!(span.name, "pkg.Shop/Buy");
        let common =
            [("rpc.system.name", "grpc"), ("rpc.method", "pkg.Shop/Buy"), ("rpc.response.status_code", "NOT_FOUND")];
        expect(span, &common);
        expect(span, &[("rpc.system", "")]);
    }
    expect(&spans[0], &[("error.type", "")]);
    expect(&spans[1], &[("error.type", "NOT_FOUND")]);
    expect(&with_settings(&config, &sample, status(b"14"))[0], &[("error.type", "UNAVAILABLE")]);
    // Native hooks see trailers too, and what comes in them stands in a field of its own.
    let of_trailers = asked(&config, &sample.clone().carrying(Field::RpcStatus, b"5"));
    expect(&of_trailers[0], &[("rpc.response.status_code", "NOT_FOUND"), ("error.type", "")]);
    expect(&of_trailers[1], &[("rpc.response.status_code", "NOT_FOUND"), ("error.type", "NOT_FOUND")]);
    let none = asked(&config, &sample);
    expect(&none[0], &[("rpc.response.status_code", ""), ("error.type", "")]);
    expect(&asked(&config, &Sample::default())[0], &[("rpc.system.name", "")]);
    config.rpc_methods = texts(&["pkg.Shop/Sell"]);
    config.rpc_old_names = true;
    let other = with_settings(&config, &sample, status(b"0"));
    assert_eq!(other[0].name, "_OTHER");
    expect(&other[0], &[("rpc.method", "_OTHER"), ("rpc.method_original", "pkg.Shop/Buy"), ("rpc.service", "")]);
    expect(&other[0], &[("rpc.system", "grpc"), ("rpc.grpc.status_code", "#0")]);
}

#[test]
fn tunnels_are_named() {
    let websocket = Sample::default().status(101).carrying(Field::Upgrade, b"WebSocket");
    let cases = [
        (websocket.clone(), "websocket"),
        (websocket.status(200), ""),
        (Sample::default().status(101).carrying(Field::Upgrade, b"echo"), "upgrade"),
        (Sample::default().status(101), "upgrade"),
        (Sample::default().line("CONNECT h:443 HTTP/1.1"), "connect"),
        (Sample::default().line("CONNECT h:443 HTTP/1.1").status(403), ""),
    ];
    for (sample, expected) in cases {
        expect(&spans(&sample)[0], &[("haproxy.tunnel", expected)]);
    }
}

#[test]
fn phases_are_events_and_spans() {
    let config = AttributesConfig {
        events: true,
        child_spans: vec![ChildSpan::Queue, ChildSpan::Connect],
        ..AttributesConfig::default()
    };
    let redispatched = bits::REUSE_KNOWN | bits::REDISPATCHED;
    let anew = Sample::default().numbers(|numbers| (numbers.retries, numbers.bits) = (1, redispatched));
    let spans = asked(&config, &anew);
    let [server, client, queue, connect] = <[Span; 4]>::try_from(spans).unwrap();
    let named = |span: &Span| -> Vec<(String, u64)> {
        span.events.iter().map(|event| (event.name.clone(), event.time_unix_nano - START)).collect()
    };
    let at = |name: &str, millis: u64| (name.to_owned(), millis * 1_000_000);
    assert_eq!(named(&server), [at("haproxy.queued", 1)]);
    let expected = [
        at("haproxy.connect.start", 3),
        at("haproxy.retry", 6),
        at("haproxy.redispatch", 6),
        at("haproxy.connect.end", 6),
        at("haproxy.response.headers", 31),
    ];
    assert_eq!(named(&client), expected);
    let facts = |span: &Span| (span.kind, span.start_time_unix_nano - START, span.end_time_unix_nano - START);
    assert_eq!((queue.name.as_str(), facts(&queue)), ("haproxy.queue", (1, 1_000_000, 3_000_000)));
    assert_eq!((connect.name.as_str(), facts(&connect)), ("haproxy.connect", (1, 3_000_000, 6_000_000)));
    assert_eq!((&queue.parent_span_id, &connect.parent_span_id), (&server.span_id, &client.span_id));
    assert_eq!((queue.flags, connect.flags), (client.flags, client.flags));
    let ids = [&server.span_id, &client.span_id, &queue.span_id, &connect.span_id];
    assert!(ids.iter().enumerate().all(|(n, id)| !ids[..n].contains(id)));
    assert_eq!(asked(&config, &Sample::default()).len(), 3, "a connection that was there needs no span");
}

#[test]
fn phases_follow_finer_clocks_where_there_are_some() {
    let config = AttributesConfig {
        events: true,
        child_spans: vec![ChildSpan::Queue, ChildSpan::Connect],
        ..AttributesConfig::default()
    };
    let sample = Sample::default().numbers(|numbers| {
        numbers.bits = bits::REUSE_KNOWN;
        (numbers.left, numbers.connected) = (START + 1_500_000, START + 9_100_000);
        (numbers.answered, numbers.forwarded) = (START + 20_200_000, START + 30_300_000);
    });
    let [_, client, queue, connect] = <[Span; 4]>::try_from(asked(&config, &sample)).unwrap();
    let bounds = |span: &Span| (span.start_time_unix_nano - START, span.end_time_unix_nano - START);
    assert_eq!(bounds(&queue), (1_000_000, 3_500_000));
    assert_eq!(bounds(&client), (3_500_000, 30_300_000));
    assert_eq!(bounds(&connect), (3_500_000, 9_100_000));
    let answered = client.events.iter().find(|event| event.name == "haproxy.response.headers").unwrap();
    assert_eq!(answered.time_unix_nano, START + 20_200_000);
}

fn settings() -> impl Strategy<Value = AttributesConfig> {
    let names = || proptest::collection::vec("[a-z]{1,4}", 0..3);
    let flags = any::<[bool; 8]>();
    let limits = (0_usize..200, proptest::option::of(0_usize..30), 0_usize..4);
    let kinds = proptest::sample::select(vec![ValueKind::Text, ValueKind::Integer, ValueKind::Bool, ValueKind::Double]);
    (names(), names(), flags, limits, kinds).prop_map(
        |(first, second, flags, (attributes, value_length, events), kind)| {
            let network = |_| "0.0.0.0/0".parse().unwrap();
            AttributesConfig {
                routes: vec![route("/{a}"), route("/*")],
                route_variable: flags[0].then(|| "txn.r".to_owned()),
                span_name_variable: flags[1].then(|| "txn.s".to_owned()),
                known_methods: flags[2].then(|| texts(&["GET"])),
                trusted_networks: (0..usize::from(flags[3])).map(network).collect(),
                forwarded: if flags[4] { Forwarded::Standard } else { Forwarded::XForwarded },
                request_headers: first.clone(),
                response_headers: second.clone(),
                query: if flags[5] { QueryMode::AllowList } else { QueryMode::Redact },
                query_allowed: first,
                tls: flags[6],
                tls_client_certificate: flags[6],
                variables: second
                    .into_iter()
                    .map(|name| VariableAttribute { variable: format!("txn.{name}"), name, kind })
                    .collect(),
                rpc: flags[7],
                rpc_old_names: flags[0],
                events: flags[1],
                child_spans: vec![ChildSpan::Connect, ChildSpan::Queue],
                limits: LimitsConfig { attributes, value_length, events, ..LimitsConfig::default() },
                ..AttributesConfig::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn any_settings_and_any_bytes_give_valid_spans(
        config in settings(),
        sample in any_sample(),
        gathered in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 24),
    ) {
        let plan = Plan::new(&Config { attributes: config.clone(), ..Config::default() });
        let values: Vec<_> = plan.gathered.iter().zip(&gathered).map(|(_, value)| Some(value.as_slice())).collect();
        let wording = Wording::new(&config, &plan);
        let spans = worded(&sample.gathered(&values).payload(), &wording);
        prop_assert!(any::lie_within_the_first(&spans));
        for span in spans {
            prop_assert!(span.attributes.len() <= config.limits.attributes);
            prop_assert!(span.events.len() <= config.limits.events);
        }
    }
}
