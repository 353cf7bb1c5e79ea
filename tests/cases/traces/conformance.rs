//! W3C Trace Context level 2, on what the server receives: the cases of the specification's public test suite.

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::vitals::{self, Door};
use haproxy_vitals_tests::{Haproxy, Upstream};

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "1234567890123456";
const GOOD: (&str, &str) = ("traceparent", "00-12345678901234567890123456789012-1234567890123456-01");

/// What the request carries beside its good `traceparent`, and the `tracestate` members that the server gets.
type Row = (Vec<(&'static str, String)>, Option<Vec<String>>);

#[test]
fn traceparent_is_continued_or_replaced_by_the_rules() {
    everywhere(|haproxy, flags, h2| {
        for value in continued() {
            // A space at either end of a value is an error of its own in HTTP/2. RFC 9113, 8.2.1.
            if !h2 || value.trim() == value {
                let told = ask(haproxy, h2, &[("traceparent", &value)]).traceparent;
                assert_eq!(&told[3..36], format!("{TRACE}-"), "{value:?}");
                assert_ne!(&told[36..52], PARENT, "{value:?}");
                assert_eq!(&told[53..], flags[0], "{value:?}");
            }
        }
        for value in replaced() {
            let told = ask(haproxy, h2, &[("traceparent", &value), ("tracestate", "foo=1")]);
            assert_fresh(&told, flags, &value);
        }
        for other in ["00-12345678901234567890123456789011-1234567890123456-01", GOOD.1] {
            for headers in [[GOOD, ("traceparent", other)], [("traceparent", other), GOOD]] {
                assert_fresh(&ask(haproxy, h2, &headers), flags, "two traceparents");
            }
        }
        for name in ["trace-parent", "trace.parent", "traceparentx"] {
            assert_fresh(&ask(haproxy, h2, &[(name, GOOD.1), ("tracestate", "foo=1")]), flags, name);
        }
        for name in ["TraceParent", "TRACEPARENT", "Traceparent"] {
            assert_eq!(&ask(haproxy, h2, &[(name, GOOD.1)]).traceparent[3..35], TRACE, "{name}");
        }
        assert_fresh(&ask(haproxy, h2, &[]), flags, "no traceparent");
    });
}

#[test]
fn tracestate_is_kept_combined_or_dropped_by_the_rules() {
    everywhere(|haproxy, _, h2| {
        for (headers, expected) in tracestates() {
            let padded = headers.iter().any(|(_, value)| value.trim() != value);
            if h2 && padded {
                continue;
            }
            let mut sent = vec![GOOD];
            sent.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            let told = ask(haproxy, h2, &sent);
            assert_eq!(&told.traceparent[3..35], TRACE, "{headers:?}");
            assert_eq!(told.members(), expected, "{headers:?}");
            assert!(told.tracestate.len() <= 1, "{headers:?}: {told:?}");
        }
    });
}

#[test]
fn every_flags_byte_is_read_and_only_known_bits_go_on() {
    let upstream = Upstream::start();
    for door in Door::ALL {
        let haproxy = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none").start();
        for (flags, h2) in (0..=255_u8).flat_map(|flags| [(flags, false), (flags, true)]) {
            let told = ask(&haproxy, h2, &[("traceparent", &format!("00-{TRACE}-{PARENT}-{flags:02x}"))]);
            assert_eq!(&told.traceparent[3..35], TRACE);
            assert_eq!(told.traceparent[53..], format!("{:02x}", flags & 3), "{flags:02x}");
        }
        haproxy.finish();
    }
}

#[test]
fn tracestate_of_512_bytes_goes_on_whole() {
    everywhere(|haproxy, _, h2| {
        let members: Vec<_> = (0..16).map(|n| format!("k{n:02}={}", "v".repeat(27))).collect();
        let (first, second) = members.split_at(8);
        let whole = format!("{}v", members.join(","));
        assert_eq!(whole.len(), 512);
        let told = ask(haproxy, h2, &[GOOD, ("tracestate", &whole)]);
        assert_eq!(told.tracestate, [whole.as_str()]);
        let lines = [first.join(","), format!("{}v", second.join(","))];
        let told = ask(haproxy, h2, &[GOOD, ("tracestate", &lines[0]), ("tracestate", &lines[1])]);
        assert_eq!(told.tracestate, [whole.as_str()]);
        // One byte more, in two lines that must be joined: the last member goes.
        let longer = [lines[0].clone(), format!("{}v", lines[1])];
        let told = ask(haproxy, h2, &[GOOD, ("tracestate", &longer[0]), ("tracestate", &longer[1])]);
        assert_eq!(told.tracestate, [members[..15].join(",")]);
    });
}

fn continued() -> Vec<String> {
    let rest = format!("{TRACE}-{PARENT}-01");
    let mut values =
        ["00-R", "cc-R", "cc-R-what-the-future-will-be-like", "fe-R-", "01-R-x"].map(str::to_owned).to_vec();
    values.extend([" 00-R", "\t00-R", "00-R ", "00-R\t", "\t 00-R \t"].map(str::to_owned));
    let mut values: Vec<String> = values.iter().map(|value| value.replace('R', &rest)).collect();
    // Flags that nobody knows yet are no error, and go no further.
    values.extend(["05", "fd", "09"].map(|flags| format!("00-{TRACE}-{PARENT}-{flags}")));
    values
}

fn replaced() -> Vec<String> {
    let (t, p) = (TRACE, PARENT);
    let long = format!("{t}3");
    let versions =
        ["ff", ".0", "0.", "000", "0000", "0", "", "FF", "0A"].map(|version| format!("{version}-{t}-{p}-01"));
    let tails = [".", "-", "-what-the-future-will-be-like", "x"].map(|tail| format!("00-{t}-{p}-01{tail}"));
    let ids = [&"0".repeat(32), &t.replace('0', "."), &t.replace('0', "A"), &long, &t[..31], "", "-"];
    let parents = [
        &"0".repeat(16),
        ".234567890123456",
        "123456789012345.",
        "A234567890123456",
        "12345678901234567",
        &p[..15],
        "",
    ];
    let flags = [".0", "0.", "001", "1", "", "0A", "-1"].map(|flags| format!("00-{t}-{p}-{flags}"));
    let mut values = [&versions[..], &tails, &flags].concat();
    values.extend(ids.map(|id| format!("00-{id}-{p}-01")));
    values.extend(parents.map(|parent| format!("00-{t}-{parent}-01")));
    values.extend([format!("cc-{t}-{p}-01.what-the-future-will-be-like"), format!("00_{t}_{p}_01"), "x".to_owned()]);
    values
}

fn tracestates() -> Vec<Row> {
    let lines = |lines: &[&str]| lines.iter().map(|line| ("tracestate", (*line).to_owned())).collect::<Vec<_>>();
    let kept = |sent: &[&str], members: &[&str]| {
        (lines(sent), Some(members.iter().map(|member| (*member).to_owned()).collect()))
    };
    let as_it_came = |value: &str| kept(&[value], &value.split(',').collect::<Vec<_>>());
    let dropped = |sent: &[&str]| (lines(sent), None);
    let numbered = |count: usize| (0..count).map(|n| format!("bar{n:02}={n:02}")).collect::<Vec<_>>().join(",");
    let (z, v) = ("z".repeat(256), "v".repeat(256));
    let tenant = format!("{}@{}", "t".repeat(241), "v".repeat(14));

    let mut rows = vec![
        dropped(&[]),
        dropped(&[""]),
        kept(&["foo=1", ""], &["foo=1"]),
        kept(&["", "foo=1"], &["foo=1"]),
        as_it_came("foo=1"),
        as_it_came("foo=1,bar=2"),
        kept(&["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], &["foo=1", "bar=2", "rojo=1", "congo=2", "baz=3"]),
        kept(&["foo=1 \t , \t bar=2, \t baz=3"], &["foo=1", "bar=2", "baz=3"]),
        kept(&["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], &["foo=1", "bar=2", "baz=3"]),
        kept(&[" foo=1"], &["foo=1"]),
        kept(&["\tfoo=1"], &["foo=1"]),
        kept(&["foo=1 "], &["foo=1"]),
        kept(&["\t foo=1 \t"], &["foo=1"]),
        kept(&["foo=1,,bar=2"], &["foo=1", "bar=2"]),
        dropped(&["foo=1,foo=1"]),
        dropped(&["foo=1,foo=2"]),
        dropped(&["foo=1", "foo=2"]),
        as_it_came(&numbered(32)),
        dropped(&[&numbered(33)]),
        as_it_came(&format!("foo=1,{z}=1")),
        dropped(&[&format!("foo=1,{z}z=1")]),
        as_it_came(&format!("foo=1,{tenant}=1")),
        dropped(&[&format!("foo=1,t{tenant}=1")]),
        dropped(&[&format!("foo=1,{tenant}v=1")]),
        as_it_came(&format!("foo={v}")),
        dropped(&[&format!("foo={v}v")]),
        as_it_came("abcdefghijklmnopqrstuvwxyz0123456789_-*/=1"),
        as_it_came("abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z0-9_-*/=1"),
        as_it_came(
            r##"foo=!"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefghijklmnopqrstuvwxyz{|}~"##,
        ),
        (vec![("TraceState", "foo=1".to_owned())], Some(vec!["foo=1".to_owned()])),
        (vec![("TRACESTATE", "foo=1".to_owned())], Some(vec!["foo=1".to_owned()])),
        (vec![("trace-state", "foo=1".to_owned())], None),
    ];
    let bad = ["foo =1", "FOO=1", "foo.bar=1", "foo@=1,bar=2", "@foo=1,bar=2", "foo@@bar=1", "foo@bar@baz=1,bar=2"];
    rows.extend(bad.map(|value| dropped(&[value])));
    rows.extend(["foo=bar=baz", "foo=,bar=3", "foo", "=1", "foo=\u{e9}"].map(|value| dropped(&[value])));
    rows
}

/// What the server received.
#[derive(Debug)]
struct Told {
    traceparent: String,
    tracestate: Vec<String>,
}

impl Told {
    fn members(&self) -> Option<Vec<String>> {
        let line = self.tracestate.first()?;
        Some(line.split(',').map(|member| member.trim().to_owned()).collect())
    }
}

/// A new trace: nothing of the caller's is left.
#[track_caller]
fn assert_fresh(told: &Told, flags: [&str; 2], why: &str) {
    let id = &told.traceparent[3..35];
    assert!(id != TRACE && !id.starts_with("123456789012345678901234567890"), "{why:?}: {told:?}");
    assert_eq!(&told.traceparent[53..], flags[1], "{why:?}");
    assert_eq!(told.tracestate, [""; 0], "{why:?}");
}

/// Runs `check` through every door, with requests recorded and not, over HTTP/1.1 and HTTP/2; with the flags that the server
/// gets in a trace that is continued, and in a new one.
fn everywhere(check: impl Fn(&Haproxy, [&str; 2], bool)) {
    let upstream = Upstream::start();
    for door in Door::ALL {
        for (sampler, flags) in [("always_on", ["01", "03"]), ("always_off", ["00", "02"])] {
            let config = vitals::config(door, "", "").upstream(&upstream).env("OTEL_TRACES_EXPORTER", "none");
            let haproxy = config.env("OTEL_TRACES_SAMPLER", sampler).start();
            check(&haproxy, flags, false);
            check(&haproxy, flags, true);
            haproxy.finish();
        }
    }
}

fn ask(haproxy: &Haproxy, h2: bool, headers: &[(&str, &str)]) -> Told {
    let get = if h2 { client::h2_get } else { client::get };
    let response = get(haproxy.addr("http"), "/echo-headers", headers);
    assert_eq!(response.status, 200, "{headers:?}");
    let text = response.text();
    let named = |name: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned()).collect()
    };
    let traceparent = named("traceparent");
    assert_eq!(traceparent.len(), 1, "{headers:?}: {text}");
    let traceparent = traceparent[0].clone();
    let dashes = [2, 35, 52].iter().all(|at| traceparent.as_bytes()[*at] == b'-');
    assert!(traceparent.len() == 55 && traceparent.starts_with("00-") && dashes, "{traceparent}");
    Told { traceparent, tracestate: named("tracestate") }
}
