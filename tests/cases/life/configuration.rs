//! What the module is told: wrong settings stop HAProxy at once and say why; right ones come from the strongest source.

mod refused;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::{Haproxy, OtlpReceiver, SOON, Upstream, poll};

use super::{Door, PER_THREAD, config, count, proxy, traced, traced_to};

#[test]
fn bad_variables_of_opentelemetry_are_warnings_and_haproxy_starts() {
    let upstream = Upstream::start();
    let variables = [
        ("OTEL_TRACES_SAMPLER", "sometimes", "traces.sampler"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-5", "export.max_queue_size"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "export.schedule_delay"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector", "export.endpoint"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "thrift", "export.protocol"),
        ("OTEL_RESOURCE_ATTRIBUTES", "novalue", "OTEL_RESOURCE_ATTRIBUTES"),
        ("OTEL_SDK_DISABLED", "yes", "OTEL_SDK_DISABLED"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", "export.compression"),
    ];
    let builder = || {
        let plain = traced(Door::ZeroLines, &upstream);
        variables.iter().fold(plain, |builder, (name, value, _)| builder.env(name, value))
    };
    let check = builder().check();
    assert!(check.ok, "{}", check.output);
    let warnings: Vec<&str> = check.output.lines().filter(|line| line.contains("haproxy-vitals: ")).collect();
    assert_eq!(warnings.len(), variables.len(), "one for each, said by one Lua state: {}", check.output);
    for (name, value, key) in variables {
        let line = warnings.iter().find(|line| line.contains(name) && line.contains(key));
        let line = line.unwrap_or_else(|| panic!("no warning of {name}: {}", check.output));
        assert!(line.contains("[WARNING]"), "{line}");
        assert!(line.contains(value) || line.contains("ignored"), "{line}");
    }
    let haproxy = builder().start();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    poll::until(SOON, "the end of the request", || count(&haproxy, "requests.ended") == 1);
    haproxy.finish();
}

#[test]
fn the_strongest_source_wins() {
    let upstream = Upstream::start();
    let sources = [
        (
            "register{ 'traces.ratio=0.2', config = '${dir}/vitals.toml', traces = { ratio = 0.1 } }",
            "0.1",
            "option in Lua",
        ),
        ("register{ 'traces.ratio=0.2', config = '${dir}/vitals.toml' }", "0.2", "lua-load argument"),
        ("register{ config = '${dir}/vitals.toml' }", "0.3", "${dir}/vitals.toml:2"),
        ("register{}", "0.4", "environment HAPROXY_VITALS_TRACES_RATIO"),
    ];
    let mine = "lua-load-per-thread ${dir}/mine.lua";
    let proxy_with = |register: &str| {
        proxy(&config(Door::ZeroLines, &[mine]), &upstream)
            .file("mine.lua", &format!("require('haproxy_vitals').{register}\n"))
            .file("vitals.toml", "[traces]\nratio = 0.3\n")
            .env("OTEL_TRACES_SAMPLER", "traceidratio")
            .env("OTEL_TRACES_EXPORTER", "none")
            .env("OTEL_TRACES_SAMPLER_ARG", "0.5")
    };
    let ratio = |haproxy: &Haproxy| {
        let answer = haproxy.cli("show vitals config");
        let line = answer.lines().find(|line| line.starts_with("traces.ratio")).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (register, value, source) in sources {
        let haproxy = proxy_with(register).env("HAPROXY_VITALS_TRACES_RATIO", "0.4").start();
        let source = source.replace("${dir}", &haproxy.dir().display().to_string());
        assert_eq!(ratio(&haproxy), format!("traces.ratio = {value} # {source}"), "{register}");
        haproxy.finish();
    }
    let haproxy = proxy_with("register{}").start();
    assert_eq!(ratio(&haproxy), "traces.ratio = 0.5 # environment OTEL_TRACES_SAMPLER_ARG");
    haproxy.finish();
    let haproxy = traced(Door::ZeroLines, &upstream).env("OTEL_TRACES_EXPORTER", "none").start();
    assert_eq!(ratio(&haproxy), "traces.ratio = 1 # default");
    haproxy.finish();
}

#[test]
fn arguments_of_lua_load_reach_the_module() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let load = format!(
        "{PER_THREAD} service.name=argued export.endpoint={} service.attributes.zone=a",
        receiver.http_endpoint()
    );
    let haproxy = proxy(&config(Door::ZeroLines, &["nbthread 2", &load]), &upstream).start();
    assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
    let spans = receiver.wait_spans(2, SOON);
    assert_eq!((spans[0].resource.str("service.name"), spans[0].resource.str("zone")), (Some("argued"), Some("a")));
    haproxy.finish();
}

#[test]
fn secrets_are_sent_and_never_shown() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    receiver.behave_once(haproxy_vitals_tests::Behaviour::Refuse(haproxy_vitals_tests::Refusal::http(400)));
    let builder = || {
        traced_to(Door::ZeroLines, &upstream, &receiver)
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer s3cret,x-key=s3cret")
    };
    let check = builder().check();
    assert!(check.ok && !check.output.contains("s3cret"), "{}", check.output);
    let haproxy = builder().start();
    for _ in 0..2 {
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        haproxy.wait_log("for good", SOON);
    }
    receiver.wait_spans(2, SOON);
    let requests = receiver.requests();
    assert_eq!(requests[0].header("authorization"), Some("Bearer s3cret"));
    let shown = haproxy.cli("show vitals config");
    assert!(shown.contains("export.headers.authorization") && shown.contains("(hidden)"), "{shown}");
    for text in [shown, haproxy.cli("show vitals traces"), haproxy.cli("show startup-logs"), haproxy.log()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    haproxy.finish();
}

#[test]
fn a_users_own_lua_file_may_register() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let text = "local vitals = require('haproxy_vitals')\nvitals.register{\n  service = { name = 'own' },\n  \
                export = { endpoint = '${endpoint}', schedule_delay = '20ms' },\n}\n";
    for load in ["lua-load ${dir}/mine.lua", "lua-load-per-thread ${dir}/mine.lua"] {
        receiver.clear();
        let haproxy = proxy(&config(Door::Actions, &["nbthread 2", load]), &upstream)
            .set("endpoint", receiver.http_endpoint())
            .file("mine.lua", text)
            .start();
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        let spans = receiver.wait_spans(2, SOON);
        assert_eq!(spans[0].resource.str("service.name"), Some("own"), "{load}");
        haproxy.finish();
    }
}

#[test]
fn registering_twice_in_one_lua_state_is_refused() {
    let upstream = Upstream::start();
    let mine = "require('haproxy_vitals').register{}\n";
    for global in [
        &["lua-load ${lua}/otel.lua", "lua-load ${dir}/mine.lua"][..],
        &["nbthread 2", PER_THREAD, "lua-load-per-thread ${dir}/mine.lua"],
    ] {
        let check = proxy(&config(Door::ZeroLines, global), &upstream).file("mine.lua", mine).check();
        assert!(!check.ok, "{}", check.output);
        assert!(check.output.contains("mine.lua:1"), "{}", check.output);
        assert!(check.output.contains("register was called before in this Lua state"), "{}", check.output);
    }
}
