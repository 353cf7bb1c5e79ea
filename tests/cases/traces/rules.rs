//! Rules: what a request looks like when it starts decides whether it is recorded.

use haproxy_vitals_tests::client::{self, Load, Until};
use haproxy_vitals_tests::vitals::{self, CALLER, Door, Doors};
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, Upstream};

const DOORS: Doors = Door::ALL;

#[test]
fn each_condition_finds_its_requests_and_no_others() {
    // The condition, a request that has it, a request that has not: path and one header.
    for (condition, hit, miss) in [
        ("path = '/a'", ("/a?b", ""), ("/a/b", "")),
        ("path = ['/x', '/a']", ("/a", ""), ("/b", "")),
        ("path_prefix = '/api/'", ("/api/1", ""), ("/ap", "")),
        ("path_pattern = '/v[0-9]+/users'", ("/v12/users", ""), ("/v12/users/1", "")),
        ("header = { name = 'X-Debug' }", ("/", "1"), ("/", "")),
        ("header = { name = 'x-debug', value = 'on' }", ("/", "on"), ("/", "one")),
        ("header = { name = 'x-debug', value_prefix = 'on' }", ("/", "one"), ("/", "no")),
        ("path = '/a'\nheader = { name = 'x-debug' }", ("/a", "1"), ("/a", "")),
    ] {
        for door in DOORS {
            let proxy = Proxy::start(door, &format!("[[traces.rule]]\n{condition}\nalways = true\n"));
            assert!(proxy.samples(hit.0, hit.1) && !proxy.samples(miss.0, miss.1), "{door:?} {condition}");
            proxy.finish(1);
        }
    }
}

#[test]
fn methods_sources_and_frontends_are_conditions_too() {
    for (condition, expected) in [
        ("method = 'GET'", true),
        ("method = ['POST', 'PUT']", false),
        ("source = ['192.0.2.0/24', '127.0.0.0/8']", true),
        ("source = '127.0.0.1'", true),
        ("source = '2001:db8::/32'", false),
        ("frontend = 'front'", true),
        ("frontend = ['back', 'api']", false),
    ] {
        for door in DOORS {
            let proxy = Proxy::start(door, &format!("[[traces.rule]]\n{condition}\nalways = true\n"));
            assert_eq!(proxy.samples("/", ""), expected, "{door:?} {condition}");
            proxy.finish(u64::from(expected));
        }
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    for door in DOORS {
        let proxy = Proxy::start(
            door,
            "[[traces.rule]]\npath = '/a'\ndrop = true\n[[traces.rule]]\npath_prefix = '/a'\nalways = true\n\
             [[traces.rule]]\npath = '/ab'\ndrop = true\n",
        );
        assert_eq!(["/a", "/ab", "/c"].map(|path| proxy.samples(path, "")), [false, true, false], "{door:?}");
        proxy.finish(1);
    }
}

#[test]
fn a_share_and_a_rate_are_kept() {
    const REQUESTS: u64 = 2_000;
    for (action, least, most) in [("ratio = 0.5", 888, 1112), ("ratio = 0", 0, 0), ("rate = 7", 7, 7 + 7 * 20)] {
        for door in DOORS {
            let proxy = Proxy::start(door, &format!("[[traces.rule]]\n{action}\n"));
            let report = client::load(proxy.haproxy.addr("http"), Load::new(4, Until::Count(REQUESTS), "/"));
            assert_eq!(report.ok, REQUESTS, "{door:?} {action} {report:?}");
            let counters = vitals::counters(&proxy.haproxy);
            let started = counters["requests.started"];
            assert_eq!(started + counters["requests.unsampled"], REQUESTS);
            assert!((least..=most).contains(&started), "{door:?} {action}: {started}");
            proxy.finish(started);
        }
    }
}

#[test]
fn a_caller_is_stronger_than_a_rule_but_for_drop_unless_the_rule_says_otherwise() {
    // With a caller that sampled, and one that did not.
    for (rule, expected) in [
        ("drop = true", ["00", "00"]),
        ("drop = true\nparent = 'follow'", ["01", "00"]),
        ("always = true", ["01", "00"]),
        ("always = true\nparent = 'ignore'", ["01", "01"]),
        ("ratio = 0\nparent = 'ignore'", ["00", "00"]),
    ] {
        for door in DOORS {
            let proxy = Proxy::start(door, &format!("[[traces.rule]]\n{rule}\n"));
            let told = ["01", "00"].map(|flags| {
                let caller = format!("00-00000000000000000000000000000001-{CALLER}-{flags}");
                client::get(proxy.haproxy.addr("http"), "/", &[("traceparent", &caller)]);
                proxy.upstream.last().header("traceparent").unwrap()[53..].to_owned()
            });
            assert_eq!(told, expected, "{door:?} {rule}");
            proxy.finish(expected.iter().filter(|flags| **flags == "01").count() as u64);
        }
    }
}

#[test]
fn probes_are_left_out_where_they_are_told_to_be() {
    for (settings, expected) in [
        ("", [true, true, true]),
        ("skip_probes = true", [false, false, true]),
        ("skip_probes = true\nprobe_paths = []", [true, false, true]),
        ("skip_probes = true\nprobe_agents = []\nprobe_paths = ['/']", [true, true, false]),
    ] {
        for door in DOORS {
            let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
            let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
            let haproxy = config.settings(&format!("[traces]\n{settings}\n")).start();
            let sampled = [("/healthz", "curl/8"), ("/x", "kube-probe/1.30"), ("/", "curl/8")].map(|(path, agent)| {
                client::get(haproxy.addr("http"), path, &[("user-agent", agent)]);
                upstream.last().header("traceparent").unwrap().ends_with("-03")
            });
            assert_eq!(sampled, expected, "{door:?} {settings}");
            haproxy.finish();
        }
    }
}

/// A proxy that samples nothing but by its rules.
struct Proxy {
    upstream: Upstream,
    receiver: OtlpReceiver,
    haproxy: Haproxy,
}

impl Proxy {
    #[track_caller]
    fn start(door: Door, rules: &str) -> Self {
        let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
        let config = vitals::config(door, "", "").upstream(&upstream).export_http(&receiver);
        let haproxy = config.settings(&format!("traces.sampler = 'parentbased_always_off'\n{rules}")).start();
        Self { upstream, receiver, haproxy }
    }

    /// Whether the server is told that a request of this path, and `x-debug` unless it is empty, is sampled.
    fn samples(&self, path: &str, debug: &str) -> bool {
        let headers = (!debug.is_empty()).then_some(("x-debug", debug));
        client::get(self.haproxy.addr("http"), path, headers.as_slice());
        self.upstream.last().header("traceparent").unwrap().ends_with("-03")
    }

    /// Checks that so many requests gave their spans, and no more.
    #[track_caller]
    fn finish(self, sampled: u64) {
        let counters = vitals::wait_exported(&self.haproxy, &self.receiver, sampled);
        assert_eq!(counters["requests.ended"], sampled, "{counters:#?}");
        assert_eq!(self.receiver.server_spans().len() as u64, sampled);
        self.haproxy.finish();
    }
}
