//! What lies in `kubernetes/`: HAProxy, the module and the agent accept it, and a pod ends as docs/kubernetes.md says.

use std::fs;
use std::path::Path;
use std::thread;

use haproxy_vitals_tests::agent_program::AgentBuilder;
use haproxy_vitals_tests::client;
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, Mode, OtlpReceiver, SOON, Upstream};

#[test]
fn the_configuration_that_never_heard_of_us_is_accepted_with_its_settings() {
    for engine in ["native", "lua"] {
        let text = read("proxy/haproxy.cfg");
        assert!(!text.contains("lua"), "it is to be one without the module");
        let check = pod(&text).env("HAPROXY_VITALS_TRACES_ENGINE", engine).check();
        assert!(check.ok && check.output.is_empty(), "{engine}:\n{}", check.output);
    }
}

#[test]
fn a_pod_is_traced_but_for_its_probes_and_ends_with_its_last_request() {
    let (upstream, receiver) = (Upstream::start(), OtlpReceiver::start());
    let haproxy = pod(&reachable(&read("proxy/haproxy.cfg")))
        .set("upstream", upstream.addr())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.http_endpoint())
        .mode(Mode::MasterWorker)
        .start();
    for path in ["/healthz", "/metrics"] {
        assert_eq!(client::get(haproxy.addr("status"), path, &[]).status, 200, "{path}");
    }
    let addr = haproxy.addr("http");
    let slow = thread::spawn(move || client::get(addr, "/delay/600", &[]).status);
    upstream.wait_for(SOON, |seen| seen.target == "/delay/600");
    // The image's STOPSIGNAL.
    haproxy.soft_stop();
    assert_eq!(slow.join().unwrap(), 200);
    assert_eq!(haproxy.wait_exit(SOON).code(), Some(0));

    let spans = receiver.server_spans();
    let paths: Vec<_> = spans.iter().map(|span| span.attributes.str("url.path")).collect();
    assert_eq!(paths, [Some("/delay/600")]);
    let resource = &spans[0].resource;
    for (name, value) in SAID.iter().chain(&[("service.name", "edge"), ("k8s.deployment.name", "haproxy")]) {
        let name = match name.strip_prefix("K8S_") {
            Some(rest) => format!("k8s.{}", rest.to_lowercase().replace('_', ".")),
            None => (*name).to_owned(),
        };
        assert_eq!(resource.str(&name), Some(*value), "{name}");
    }
    assert_eq!(resource.str("k8s.container.name"), Some("haproxy"));
    haproxy.finish();
    receiver.assert_clean();
}

#[test]
fn the_agent_takes_its_arguments_and_settings() {
    let deployment = read("agent/deployment.yaml");
    let settings = deployed("agent/haproxy-vitals-agent.toml");
    let arguments: Vec<String> = deployment
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --"))
        .map(|rest| format!("--{}", rest.replace("/etc/haproxy-vitals/haproxy-vitals-agent.toml", &settings)))
        .collect();
    assert!(arguments.iter().any(|argument| argument.ends_with(&settings)), "{arguments:?}");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--check"]).collect();
    let (status, _, said) = AgentBuilder::bare().args(&arguments).run();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
}

#[test]
fn the_controllers_configurations_are_accepted_with_their_settings() {
    // The first image loads the module before the controller's file; the values of the other put the line into it.
    let snippet = at_home(&block(&read("ingress/haproxy-ingress.yaml"), "config-global: |").unwrap());
    let second = format!("{PATH}{}", CONTROLLER.replace("SNIPPET", &snippet));
    for (values, text) in
        [("haproxytech", format!("{IMAGE}{}", CONTROLLER.replace("SNIPPET", ""))), ("haproxy-ingress", second)]
    {
        let check = Haproxy::config(&text)
            .module()
            .without_stats()
            .env("HAPROXY_VITALS_CONFIG", deployed("ingress/haproxy-vitals.toml"))
            .check();
        assert!(check.ok && check.output.is_empty(), "{values}:\n{}", check.output);
    }
}

/// A proxy in the surroundings that deployment.yaml gives it. The image loads the module, in a file before this one.
fn pod(text: &str) -> Builder {
    let builder = Haproxy::config(&format!("{IMAGE}\n{text}"))
        .module()
        .without_stats()
        .env("HAPROXY_VITALS_CONFIG", deployed("proxy/haproxy-vitals.toml"));
    let builder = SAID.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
    variables(&read("proxy/deployment.yaml")).into_iter().fold(builder, |builder, (name, value)| {
        if name == "HAPROXY_VITALS_CONFIG" { builder } else { builder.env(&name, value) }
    })
}

/// On free ports, in front of one origin.
fn reachable(text: &str) -> String {
    let server = "server-template app 10 _http._tcp.app.default.svc.cluster.local";
    let text = text
        .replace("bind :8404", "bind 127.0.0.1:${port:status}")
        .replace("bind :8080", "bind 127.0.0.1:${port:http}")
        .replace("/run/haproxy/admin.sock", "${dir}/admin.sock")
        .replace("check inter 2s ", "")
        .replace(server, "server app1 ${upstream}");
    assert!(text.contains("${upstream}") && text.contains("${port:http}") && text.contains("${port:status}"));
    text
}

/// The variables of a manifest whose values stand in it.
fn variables(manifest: &str) -> Vec<(String, String)> {
    let lines: Vec<_> = manifest.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter_map(|pair| {
        Some((pair[0].strip_prefix("- name: ")?.to_owned(), pair[1].strip_prefix("value: ")?.to_owned()))
    });
    pairs.collect()
}

/// The lines of a block of YAML.
fn block(yaml: &str, head: &str) -> Option<String> {
    let mut lines = yaml.lines().skip_while(|line| line.trim() != head);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let outer = indent(lines.next()?);
    let inside = lines.take_while(|line| line.trim().is_empty() || indent(line) > outer);
    let lines: Vec<_> = inside.map(|line| format!("  {}", line.trim())).collect();
    Some(lines.join("\n") + "\n")
}

fn at_home(text: &str) -> String {
    text.replace("/usr/local/share/haproxy-vitals/otel.lua", "${lua}/otel.lua")
}

fn read(name: &str) -> String {
    fs::read_to_string(deployed(name)).unwrap()
}

fn deployed(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kubernetes").join(name).display().to_string()
}

/// What Kubernetes says where a manifest asks for a field of the pod.
const SAID: [(&str, &str); 4] = [
    ("K8S_POD_NAME", "haproxy-6d5f-x2x4"),
    ("K8S_POD_UID", "4dd9a9a5-8d4b-4b16-9f0d-1c1d5a0f7e2b"),
    ("K8S_NAMESPACE_NAME", "edge"),
    ("K8S_NODE_NAME", "node-7"),
];

/// package/image/container.cfg, where nothing is installed.
const IMAGE: &str = "global
.if version_atleast(3.1)
    tune.lua.bool-sample-conversion normal
.endif
    lua-prepend-path ${module}/?.so cpath
    lua-load-per-thread ${lua}/otel.lua
";

/// Installed, the module lies beside the loader.
const PATH: &str = "global
.if version_atleast(3.1)
    tune.lua.bool-sample-conversion normal
.endif
    lua-prepend-path ${module}/?.so cpath
";

/// The frontends that both controllers write, as far as the settings name them.
const CONTROLLER: &str = "global
SNIPPET
defaults
  mode http
  timeout client 1s
  timeout server 1s
  timeout connect 1s
frontend http
  bind 127.0.0.1:${port:http}
frontend healthz
  bind 127.0.0.1:${port:healthz}
  monitor-uri /healthz
frontend stats
  bind 127.0.0.1:${port:stats}
  stats enable
";
