//! `traces.propagators`, `traces.trust` and what goes with them.

use super::{arguments, from_file, loaded, variables};
use crate::config::{Config, Propagator, ResponseHeader, Trust};

fn propagators(value: &str) -> (Vec<Propagator>, Vec<String>) {
    let loaded = loaded(variables(&[("OTEL_PROPAGATORS", value)])).unwrap();
    (loaded.config.traces.propagators, loaded.warnings)
}

#[test]
fn the_variable_is_a_list_without_repetition_and_in_any_case() {
    use Propagator::{B3, B3Multi, Baggage, Jaeger, TraceContext, XRay};
    let all = vec![XRay, Jaeger, B3Multi, B3, Baggage, TraceContext];
    assert_eq!(propagators("xray, jaeger,B3Multi,b3,b3,baggage,,TraceContext,xray"), (all, vec![]));
    assert_eq!(propagators("b3"), (vec![B3], vec![]));
    assert_eq!(propagators("None"), (vec![], vec![]));
    assert_eq!(propagators(""), (vec![TraceContext, Baggage], vec![]));
}

#[test]
fn unknown_names_in_the_variable_are_warnings_one_by_one() {
    let warning = |name: &str| format!("OTEL_PROPAGATORS: unknown propagator `{name}`; ignored");
    assert_eq!(propagators("ottrace,b3,x"), (vec![Propagator::B3], vec![warning("ottrace"), warning("x")]));
    let default = Config::default().traces.propagators;
    assert_eq!(propagators("ottrace"), (default.clone(), vec![warning("ottrace")]));
    let meant = "OTEL_PROPAGATORS: unknown propagator `zipkin`; did you mean `b3multi`?; ignored";
    assert_eq!(propagators("zipkin"), (default.clone(), vec![meant.to_owned()]));
    let (read, warnings) = propagators("none,b3");
    assert_eq!((read, warnings.len()), (default, 1));
    assert!(warnings[0].contains("expected `none` alone, or other propagators"), "{warnings:?}");
}

#[test]
fn the_file_and_arguments_are_strict() {
    let message = "`traces.propagators` (lua-load argument): expected tracecontext or baggage or b3 or b3multi or jaeger \
                   or xray, found `b33`; did you mean `b3`?";
    assert_eq!(loaded(arguments(&["traces.propagators=b33"])).unwrap_err(), message);
    let message = "`traces.propagators` (FILE:1): expected `none` alone, or other propagators, found a list";
    assert_eq!(from_file("traces.propagators = ['none', 'b3']").unwrap_err(), message);
    let message = "`traces.trust_of.a/b` (FILE:1): expected a key that is a frontend's name, found `accept`";
    assert_eq!(from_file("traces.trust_of.'a/b' = 'accept'").unwrap_err(), message);
    let message = "`traces.trust_of.www` (FILE:1): expected accept or restart or ignore, found `trust`";
    assert_eq!(from_file("traces.trust_of.www = 'trust'").unwrap_err(), message);
    let message = "`traces.baggage_attributes` (FILE:1): expected keys of baggage, of at most 255 bytes, found a list";
    for key in ["a b".to_owned(), "a=".to_owned(), "x".repeat(256)] {
        assert_eq!(from_file(&format!("traces.baggage_attributes = ['{key}']")).unwrap_err(), message);
    }
    let many = (0..65).map(|n| format!("k{n}")).collect::<Vec<_>>().join(",");
    let message = loaded(arguments(&[&format!("traces.baggage_attributes={many}")])).unwrap_err();
    assert!(message.contains("expected at most 64 keys of baggage"), "{message}");
    let many = (0..257).fold(String::new(), |text, n| format!("{text}f{n} = 'ignore'\n"));
    let message = from_file(&format!("[traces.trust_of]\n{many}")).unwrap_err();
    assert!(message.contains("expected at most 256 frontends"), "{message}");
}

#[test]
fn trust_baggage_response_header_and_variables_are_read() {
    let file = "[traces]\ntrust = 'restart'\nbaggage_attributes = ['user.tier', 'a', 'a']\n\
                response_header = 'server-timing'\nvariables = true\n[traces.trust_of]\nin.side = 'accept'\nwww = 'ignore'\n";
    let loaded = from_file(file).unwrap();
    let traces = &loaded.config.traces;
    let trust_of = [("in.side".to_owned(), Trust::Accept), ("www".to_owned(), Trust::Ignore)];
    assert_eq!((traces.trust, &traces.trust_of[..]), (Trust::Restart, &trust_of[..]));
    assert_eq!(traces.baggage_attributes, ["user.tier", "a"]);
    assert_eq!((traces.response_header, traces.variables), (ResponseHeader::ServerTiming, true));
    let shown = loaded.describe();
    for line in ["traces.trust_of.in.side ", "[\"user.tier\", \"a\"] ", "traces.trust_of.www "] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(loaded.warnings, [""; 0]);
}

#[test]
fn baggage_that_is_not_read_is_a_warning() {
    let loaded = loaded(arguments(&["traces.propagators=b3", "traces.baggage_attributes=a"])).unwrap();
    let warning = "`traces.baggage_attributes` (lua-load argument): not used, because `traces.propagators` \
                   (lua-load argument) has no baggage";
    assert_eq!(loaded.warnings, [warning]);
}
