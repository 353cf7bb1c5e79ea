//! Zero lines beside what HAProxy has of its own: nothing is refused, and nothing changes.

use haproxy_vitals_tests::vitals;
use haproxy_vitals_tests::{OtlpReceiver, Upstream};
use haproxy_vitals_tests::{client, haproxy};

use super::{BACK, DEFAULTS, whole};

/// Sections that HAProxy takes, each on its own; an empty line parts them.
const TAKEN: &str = "
frontend f
  bind 127.0.0.1:${port:f}
  http-request cache-use store
  http-response cache-store store
  default_backend back

frontend f
  bind 127.0.0.1:${port:f}
  compression algo gzip
  http-request cache-use store
  http-response cache-store store
  default_backend back

frontend f
  bind 127.0.0.1:${port:f}
  filter cache store
  filter compression
  filter trace
  compression algo gzip
  http-request cache-use store
  http-response cache-store store
  default_backend back

listen f
  bind 127.0.0.1:${port:f}
  use-fcgi-app app
  server one 127.0.0.1:1 proto fcgi

listen f
  bind 127.0.0.1:${port:f}
  compression algo gzip
  http-request cache-use store
  http-response cache-store store
  use-fcgi-app app
  server one 127.0.0.1:1 proto fcgi

listen f
  bind 127.0.0.1:${port:f}
  filter fcgi-app app
  filter trace
  use-fcgi-app app
  server one 127.0.0.1:1 proto fcgi

listen f
  bind 127.0.0.1:${port:f}
  filter bwlim-out slow default-limit 1m default-period 1s
  http-response set-bandwidth-limit slow
  server one 127.0.0.1:1

listen f
  bind 127.0.0.1:${port:f}
  mode tcp
  filter bwlim-in slow default-limit 1m default-period 1s
  tcp-request content set-bandwidth-limit slow
  server one 127.0.0.1:1

listen f
  bind 127.0.0.1:${port:f}
  stats enable
  stats uri /

listen f
  bind 127.0.0.1:${port:f}
  disabled
  server one 127.0.0.1:1

frontend f
  bind 127.0.0.1:${port:f} ssl crt ${dir}/site.pem
  mode tcp
  tcp-request inspect-delay 1s
  tcp-request content switch-mode http if HTTP
  default_backend back

defaults named
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
  http-request set-header a b
  http-after-response set-header c d
frontend f from named
  bind 127.0.0.1:${port:f}
  default_backend back
";

/// What the sections name.
const NAMED: &str = "
cache store
  total-max-size 4
fcgi-app app
  docroot /var/www
";

#[test]
fn what_haproxy_takes_it_takes_with_zero_lines_and_warns_of_nothing_more() {
    let settings = "traces = { frontends = '*', response_header = 'traceresponse' }\n";
    let pem = super::super::tls::certificate("f");
    for sections in TAKEN.split("\n\n") {
        let check = |load: &str| {
            let text = format!("global\n  nbthread 2\n{load}{NAMED}{DEFAULTS}{sections}\n{DEFAULTS}{BACK}");
            let config = vitals::whole(&text).settings(settings).file("site.pem", &pem);
            config.set("upstream", "127.0.0.1:1").check()
        };
        let (plain, traced) = (check(""), check(vitals::LOAD));
        if !plain.ok && !haproxy::is_since(3, 1) {
            continue;
        }
        assert!(plain.ok, "{sections}{}", plain.output);
        assert!(traced.ok, "{sections}{}", traced.output);
        assert_eq!(warnings(&traced.output), warnings(&plain.output), "{sections}");
    }
}

fn warnings(output: &str) -> usize {
    output.matches("[WARNING]").count()
}

#[test]
fn compression_in_defaults_goes_on_beside_zero_lines() {
    const SECTIONS: &str = "
defaults
  mode http
  timeout connect 100ms
  timeout client 5s
  timeout server 2s
  compression algo gzip
frontend web
  bind 127.0.0.1:${port:web}
  default_backend squeezed
listen all
  bind 127.0.0.1:${port:all}
  server one ${upstream}
frontend written
  bind 127.0.0.1:${port:written}
  filter compression
  default_backend squeezed
frontend traced
  bind 127.0.0.1:${port:traced}
  filter compression
  filter lua.otel
  default_backend squeezed
backend squeezed
  server one ${upstream}
defaults
  mode http
  timeout connect 100ms
  timeout server 2s
";
    for (names, settings) in [
        (&["web", "all", "written"][..], "[traces]\nfrontends = ['!traced']\n"),
        (&["web", "all", "written", "traced"], "[traces]\nfrontends = '*'\n"),
        (&["traced"], ""),
    ] {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let haproxy = whole(SECTIONS).settings(settings).upstream(&upstream).export_http(&receiver).start();
        for (n, name) in (0..).zip(["web", "all", "written", "traced"]) {
            let traceparent = vitals::traceparent(n);
            let headers = [("traceparent", &*traceparent), ("accept-encoding", "gzip")];
            let answer = client::get(haproxy.addr(name), "/chunked/4000", &headers);
            let encoding = answer.header("content-encoding");
            assert_eq!((answer.status, encoding), (200, Some("gzip")), "{name} {:?}", answer.headers);
            if names.contains(&name) {
                let span = vitals::server_span(&receiver, &vitals::trace_id(n));
                assert_eq!(span.str("haproxy.frontend.name"), Some(name));
                assert!(receiver.client_span_of(&span).is_some(), "{span:#?}");
            }
        }
        // One that writes the filter of ours is traced in any case.
        let traced = if names.contains(&"traced") { names.len() } else { names.len() + 1 } as u64;
        let counters = vitals::wait_exported(&haproxy, &receiver, traced);
        assert_eq!((counters["requests.started"], counters["spans.created"]), (traced, 2 * traced), "{counters:#?}");
        receiver.assert_clean();
        haproxy.finish();
    }
}

#[test]
fn an_answer_from_the_cache_has_no_client_span() {
    const CACHED: &str = "
cache store
  total-max-size 4
frontend web
  bind 127.0.0.1:${port:web}
  http-request cache-use store
  http-response set-header cache-control max-age=60
  http-response cache-store store
  default_backend back
";
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = whole(CACHED).upstream(&upstream).export_http(&receiver).start();
    for (n, is_cached) in [(0, false), (1, true), (2, true)] {
        let headers = [("traceparent", &*vitals::traceparent(n)), ("host", "same")];
        assert_eq!(client::get(haproxy.addr("web"), "/", &headers).status, 200);
        let span = vitals::server_span(&receiver, &vitals::trace_id(n));
        assert_eq!(span.int("http.response.status_code"), Some(200), "{span:#?}");
        assert_eq!(receiver.client_span_of(&span).is_none(), is_cached, "{span:#?}");
    }
    assert_eq!(upstream.count(), 1);
    vitals::wait_exported(&haproxy, &receiver, 3);
    receiver.assert_clean();
    haproxy.finish();
}
