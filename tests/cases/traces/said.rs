//! What spans say when settings ask for more, by both engines.

mod exchanges;

use std::fmt::Write as _;

use haproxy_vitals_tests::client::{self, Session};
use haproxy_vitals_tests::vitals::{self, Door, Doors};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SpanView, Upstream};

const DOORS: Doors = Door::ALL;

/// A proxy whose settings stand in a file.
struct Proxy {
    receiver: OtlpReceiver,
    haproxy: Haproxy,
    _upstream: Upstream,
}

impl Proxy {
    fn start(door: Door, settings: &str, frontend: &str) -> Self {
        Self::with(door, settings, frontend, "", &[])
    }

    fn with(door: Door, settings: &str, frontend: &str, rest: &str, variables: &[(&str, &str)]) -> Self {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let mut config =
            vitals::config(door, frontend, rest).upstream(&upstream).export_http(&receiver).settings(settings);
        for (name, value) in variables {
            config = config.env(name, value);
        }
        Self { haproxy: config.start(), receiver, _upstream: upstream }
    }

    /// Asks in the `n`th trace, and gives its SERVER span.
    fn ask(&self, n: u64, method: &str, path: &str, headers: &[(&str, &str)]) -> SpanView {
        let traceparent = vitals::traceparent(n);
        let headers = [&[("traceparent", &*traceparent)], headers].concat();
        client::request(self.haproxy.addr("http"), method, path, &headers, b"");
        vitals::server_span(&self.receiver, &vitals::trace_id(n))
    }

    fn client_of(&self, server: &SpanView) -> SpanView {
        self.receiver.client_span_of(server).unwrap()
    }

    fn finish(self, requests: u64) {
        vitals::wait_exported(&self.haproxy, &self.receiver, requests);
        self.receiver.assert_clean();
        self.haproxy.finish();
    }
}

#[test]
fn routes_name_spans() {
    const SETTINGS: &str = "
[traces]
routes = ['GET /users/{id}', '/static/*']
route_variable = 'txn.route'
span_name_variable = 'txn.name'
";
    const FRONT: &str = "
  http-request set-var(txn.route) str(/by/rules) if { path /ruled }
  http-request set-var(txn.name) str(checkout) if { path /static/pay }
";
    for door in DOORS {
        let proxy = Proxy::start(door, SETTINGS, FRONT);
        let cases = [
            ("GET", "/users/7?x", "GET /users/{id}", Some("/users/{id}")),
            ("PUT", "/users/7", "PUT", None),
            ("GET", "/static/a/b", "GET /static/*", Some("/static/*")),
            ("GET", "/ruled", "GET /by/rules", Some("/by/rules")),
            ("GET", "/static/pay", "checkout", Some("/static/*")),
        ];
        for (n, (method, path, name, route)) in (0..).zip(cases) {
            let span = proxy.ask(n, method, path, &[]);
            assert_eq!((span.name.as_str(), span.str("http.route")), (name, route), "{door:?} {path}");
            assert_eq!(proxy.client_of(&span).name, method, "{door:?} {path}");
        }
        proxy.finish(5);
    }
}

#[test]
fn known_methods_come_from_the_variable_of_the_specification() {
    for door in DOORS {
        let known = [("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "PROPFIND,PUT")];
        let proxy = Proxy::with(door, "", "", "", &known);
        let span = proxy.ask(0, "PROPFIND", "/", &[]);
        assert_eq!((span.name.as_str(), span.str("http.request.method")), ("PROPFIND", Some("PROPFIND")));
        let span = proxy.ask(1, "GET", "/", &[]);
        assert_eq!((span.name.as_str(), span.str("http.request.method")), ("HTTP", Some("_OTHER")));
        assert_eq!(span.str("http.request.method_original"), Some("GET"));
        proxy.finish(2);
    }
}

#[test]
fn forwarding_headers_are_believed_from_trusted_networks_alone() {
    let headers = [
        ("X-Forwarded-For", "6.6.6.6, 203.0.113.9"),
        ("X-Forwarded-For", "127.0.0.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "outside.example:444"),
        ("Forwarded", "for=198.51.100.7;proto=https;host=rfc.example"),
        ("Host", "inside.example"),
    ];
    let cases = [
        ("trusted_networks = ['127.0.0.0/8']", ["203.0.113.9", "https", "outside.example"]),
        ("trusted_networks = ['127.0.0.0/8']\nforwarded = 'forwarded'", ["198.51.100.7", "https", "rfc.example"]),
        ("trusted_networks = ['10.0.0.0/8']", ["127.0.0.1", "http", "inside.example"]),
    ];
    for door in DOORS {
        for (settings, [client, scheme, host]) in cases {
            let proxy = Proxy::start(door, &format!("[traces]\n{settings}\n"), "");
            let span = proxy.ask(0, "GET", "/", &headers);
            assert_eq!(span.str("client.address"), Some(client), "{door:?} {settings} {span:#?}");
            assert_eq!((span.str("url.scheme"), span.str("server.address")), (Some(scheme), Some(host)));
            assert_eq!(span.str("network.peer.address"), Some("127.0.0.1"));
            assert_eq!(proxy.client_of(&span).str("server.address"), Some("inside.example"));
            proxy.finish(1);
        }
    }
}

#[test]
fn long_forwarding_headers_hide_no_nearer_hop() {
    let far = "6.6.6.6,".repeat(200) + "6.6.6.6";
    let mut headers = vec![("X-Forwarded-For", far.as_str()); 4];
    headers.extend([("X-Forwarded-For", "203.0.113.9, 127.0.0.9"), ("user-agent", far.as_str())]);
    for door in DOORS {
        let proxy = Proxy::start(door, "[traces]\ntrusted_networks = ['127.0.0.0/8']\n", "");
        assert_eq!(proxy.ask(0, "GET", "/", &headers).str("client.address"), Some("203.0.113.9"), "{door:?}");
        proxy.finish(1);
    }
}

#[test]
fn headers_become_attributes_on_request() {
    const SETTINGS: &str =
        "[traces]\nrequest_headers = ['X-Request-Id', 'x-many']\nresponse_headers = ['x-cache', 'x-none']\n";
    const FRONT: &str = "  http-response set-header X-Cache \"HIT from a\"\n";
    let long = "v".repeat(600);
    for door in DOORS {
        let proxy = Proxy::start(door, SETTINGS, FRONT);
        let headers = [("x-request-id", "id 1"), ("X-Many", "a"), ("x-many", ""), ("x-MANY", &long)];
        let span = proxy.ask(0, "GET", "/", &headers);
        assert_eq!(span.strs("http.request.header.x-request-id"), Some(vec!["id 1"]), "{door:?} {span:#?}");
        let many = vec!["a", "", &long[..512]];
        assert_eq!(span.strs("http.request.header.x-many"), Some(many), "{door:?}");
        let cache = vec!["HIT from a"];
        assert_eq!(span.strs("http.response.header.x-cache"), Some(cache), "{door:?} {span:#?}");
        assert!(!span.has("http.response.header.x-none"));
        let span = proxy.ask(1, "GET", "/", &[]);
        assert!(!span.has("http.request.header.x-many"), "{door:?} {span:#?}");
        proxy.finish(2);
    }
}

#[test]
fn queries_are_kept_as_the_settings_say() {
    let cases = [
        ("redact_query = ['token']", Some("a=1&sig=2&token=REDACTED")),
        ("query = 'allow_list'\nquery_allowed = ['a']", Some("a=1&sig=REDACTED&token=REDACTED")),
        ("query = 'drop'", None),
    ];
    for (settings, query) in cases {
        let proxy = Proxy::start(Door::ZeroLines, &format!("[traces]\n{settings}\n"), "");
        let span = proxy.ask(0, "GET", "/p?a=1&sig=2&token=3", &[("host", "h")]);
        assert_eq!(span.str("url.query"), query, "{settings}");
        let full = query.map_or("http://h/p".to_owned(), |query| format!("http://h/p?{query}"));
        assert_eq!(proxy.client_of(&span).str("url.full"), Some(full.as_str()));
        proxy.finish(1);
    }
}

#[test]
fn variables_become_typed_attributes_by_settings() {
    const SETTINGS: &str = "
[traces.attributes]
app.user = 'txn.user'
app.number = 'txn.number:int'
app.share = 'txn.share:double'
app.truth = 'txn.truth:bool'
app.lie = 'txn.lie:bool'
app.absent = 'txn.absent'
app.address = 'txn.address'
app.wrong = 'txn.user:int'
app.response = 'res.late:int'
app.long = 'txn.long'
[traces.static_attributes]
deployment.ring = 'inner'
app.count = 3
";
    const FRONT: &str = "
  http-request set-var(txn.user) str(\"one two|three\")
  http-request set-var(txn.number) int(-42)
  http-request set-var(txn.share) str(0.25)
  http-request set-var(txn.truth) bool(true)
  http-request set-var(txn.lie) bool(false)
  http-request set-var(txn.address) src
  http-request set-var(txn.long) req.hdr(x-long)
  http-response set-var(res.late) status
";
    let long = "x".repeat(2000);
    for door in DOORS {
        let proxy = Proxy::start(door, SETTINGS, FRONT);
        let span = proxy.ask(0, "GET", "/", &[("x-long", &long)]);
        assert_eq!(span.str("app.user"), Some("one two|three"), "{door:?} {span:#?}");
        assert_eq!((span.int("app.number"), span.double("app.share")), (Some(-42), Some(0.25)), "{door:?} {span:#?}");
        assert_eq!((span.bool("app.truth"), span.bool("app.lie")), (Some(true), Some(false)), "{door:?} {span:#?}");
        assert_eq!(span.str("app.address"), Some("127.0.0.1"), "{door:?} {span:#?}");
        assert_eq!(span.int("app.response"), Some(200), "{door:?} {span:#?}");
        // Nine values share 3072 bytes.
        assert_eq!(span.str("app.long"), Some(&long[..3072 / 9]), "{door:?}");
        assert!(!span.has("app.absent") && !span.has("app.wrong"), "{door:?} {span:#?}");
        for span in [&span, &proxy.client_of(&span)] {
            assert_eq!((span.str("deployment.ring"), span.int("app.count")), (Some("inner"), Some(3)), "{door:?}");
        }
        assert_eq!(vitals::counters(&proxy.haproxy)["attributes.left_out"], 1, "{door:?}");
        proxy.finish(1);
    }
}

#[test]
fn everything_at_its_bound_still_ends_the_request() {
    let headers: Vec<_> = (0..16).map(|n| format!("x-r{n}")).collect();
    let mut settings = format!("[traces]\nrequest_headers = {headers:?}\nresponse_headers = {headers:?}\nrpc = true\n");
    settings += "tls = true\ntls_client_certificate = true\ntrusted_networks = ['127.0.0.1']\n[traces.attributes]\n";
    let long = "~".repeat(600);
    // What the log escapes is refused otherwise.
    let mut front = "  option accept-unsafe-violations-in-http-request\n".to_owned();
    for n in 0..32 {
        let _ = writeln!(settings, "app.n{n} = 'txn.n{n}'");
        let _ = writeln!(front, "  http-request set-var(txn.n{n}) str({long})");
    }
    for header in &headers {
        let _ = writeln!(front, "  http-after-response set-header {header} {long}");
    }
    let path = format!("/{}", "\"#".repeat(500));
    for door in DOORS {
        let proxy = Proxy::start(door, &settings, &front);
        let agent = [("user-agent", long.as_str()), ("x-forwarded-for", &long)];
        let sent: Vec<_> = headers.iter().map(|name| (name.as_str(), long.as_str())).chain(agent).collect();
        // HAProxy takes 100 headers and 16 KiB: these are within both.
        let span = proxy.ask(0, "GET", &path, &sent);
        let kept = 3072 / 59;
        assert_eq!(span.str("app.n31"), Some(&long[..kept]), "{door:?}");
        proxy.receiver.clear();
        let traceparent = vitals::traceparent(1);
        let mut session = Session::connect(proxy.haproxy.addr("http"));
        let mut head = format!("GET /cut?{path} HTTP/1.1\r\nhost: x\r\ntraceparent: {traceparent}\r\n");
        for (name, value) in &sent {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        session.send((head + "\r\n").as_bytes()).unwrap();
        let _ = session.read_response(false);
        let span = vitals::server_span(&proxy.receiver, &vitals::trace_id(1));
        assert_eq!(span.int("http.response.status_code"), Some(200), "{door:?} {span:#?}");
        proxy.haproxy.finish();
    }
}

#[test]
fn limits_of_the_specification_hold() {
    let limits = [
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "3"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "6"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "4"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "7"),
    ];
    for door in DOORS {
        let proxy = Proxy::with(door, "[traces]\nevents = true\n", "", "", &limits);
        let span = proxy.ask(0, "DELETE", "/a/long/path", &[]);
        let client = proxy.client_of(&span);
        for span in [&span, &client] {
            assert_eq!((span.attributes.0.len(), span.events.len()), (6, 0), "{door:?} {span:#?}");
            assert!(span.dropped_attributes > 3, "{span:#?}");
        }
        assert_eq!((span.str("http.request.method"), span.str("url.path")), (Some("DELE"), Some("/a/l")));
        let shown = proxy.haproxy.cli("show vitals config");
        assert!(shown.contains("traces.link_count_limit"), "{shown}");
        proxy.finish(1);
    }
}

#[test]
fn settings_that_would_leak_or_mislead_are_refused() {
    let cases = [
        ("request_headers = ['x-a', 'Cookie']", "headers without credentials"),
        ("response_headers = ['set-cookie']", "headers without credentials"),
        ("routes = ['users/{id}']", "a list of templates"),
        ("routes = ['/a/*/b']", "a list of templates"),
        ("route_variable = 'req.route'", "a variable with its scope"),
        ("trusted_networks = ['10.0.0.0/33']", "a list of networks"),
        ("attributes = { 'http.route' = 'txn.a' }", "a name outside the spaces"),
        ("attributes = { 'a' = 'txn.a:float' }", "types are string, int, bool, double"),
        ("attributes = { 'a' = 'txn.a)] %[req.hdr(cookie' }", "a variable such as"),
        ("child_spans = ['dns']", "queue or connect"),
        ("query = 'keep'", "redact or allow_list or drop"),
    ];
    for (setting, expected) in cases {
        let check = vitals::zero_lines("", "")
            .set("upstream", "127.0.0.1:1")
            .settings(&format!("[traces]\n{setting}\n"))
            .check();
        assert!(!check.ok && check.output.contains(expected), "{setting}: {}", check.output);
        assert!(check.output.contains("vitals.toml:2"), "{setting}: {}", check.output);
    }
    let allowed = "[traces]\nrequest_headers = ['cookie']\nallow_credentials = true\n";
    let proxy = Proxy::start(Door::ZeroLines, allowed, "");
    let span = proxy.ask(0, "GET", "/", &[("cookie", "a=b")]);
    assert_eq!(span.strs("http.request.header.cookie"), Some(vec!["a=b"]));
    proxy.finish(1);
}
