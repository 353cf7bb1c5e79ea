//! Who the spans are from: what is found out, and what is said.

use std::collections::HashSet;

use haproxy_vitals_tests::client;
use haproxy_vitals_tests::haproxy::{Builder, Haproxy};
use haproxy_vitals_tests::otlp::Attributes;
use haproxy_vitals_tests::{Mode, OtlpReceiver, SOON, Upstream};

use super::{Door, PER_THREAD, config, proxy};

#[test]
fn spans_name_the_process_the_host_and_haproxy() {
    for mode in [Mode::Foreground, Mode::MasterWorker, Mode::Daemon, Mode::MasterWorkerDaemon] {
        let machine = Machine::start();
        let haproxy = machine.proxy(&["node lb-7"], "").mode(mode).start();
        let resource = machine.resource(&haproxy);
        assert_eq!(resource.int("process.pid"), Some(i64::from(haproxy.worker_pid())), "{mode:?}");
        assert_eq!(resource.str("process.executable.name"), Some("haproxy"));
        assert_eq!(resource.str("process.runtime.name"), Some("haproxy"));
        let version = haproxy.info("Version");
        assert_eq!(resource.str("process.runtime.version"), Some(version.as_str()));
        assert_eq!(resource.str("haproxy.version"), Some(version.as_str()));
        assert_eq!(resource.str("haproxy.node"), Some("lb-7"));
        assert_eq!(resource.str("host.name"), Some(hostname().as_str()));
        assert_eq!(resource.str("os.type"), Some("linux"));
        assert_eq!(resource.str("service.instance.id").map(str::len), Some(36));
        assert_eq!(resource.str("process.command_args"), None);
        haproxy.finish();
        machine.receiver.assert_clean();
    }
}

#[test]
fn what_the_chroot_hides_is_found_before() {
    // Only root can become somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let machine = Machine::start();
    let seen = {
        let haproxy = machine.proxy(&[], "").start();
        let resource = machine.resource(&haproxy);
        haproxy.finish();
        resource
    };
    machine.receiver.clear();
    let haproxy = machine.proxy(&["chroot ${dir}", "user nobody", "group nogroup"], "").start();
    let resource = machine.resource(&haproxy);
    assert!(resource.str("os.description").is_some() && resource.str("process.executable.path").is_some());
    for name in ["os.description", "host.id", "container.id", "process.executable.path"] {
        assert_eq!(resource.str(name), seen.str(name), "{name}");
    }
    haproxy.finish();
}

#[test]
fn attributes_that_are_given_win_over_those_that_are_found() {
    let machine = Machine::start();
    let given = "host.name=given,service.instance.id=mine,process.runtime.name=other";
    let haproxy = machine.proxy(&[], "").env("OTEL_RESOURCE_ATTRIBUTES", given).start();
    let resource = machine.resource(&haproxy);
    assert_eq!(resource.str("host.name"), Some("given"));
    assert_eq!(resource.str("service.instance.id"), Some("mine"));
    assert_eq!(resource.str("process.runtime.name"), Some("other"));
    let names = resource.keys();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
    haproxy.finish();
}

#[test]
fn a_pod_is_named_by_the_variables_of_its_manifest() {
    let machine = Machine::start();
    let haproxy = machine
        .proxy(&[], "")
        .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .env("POD_NAME", "haproxy-0")
        .env("POD_NAMESPACE", "edge")
        .env("NODE_NAME", "usual")
        .env("K8S_NODE_NAME", "sure")
        .start();
    let resource = machine.resource(&haproxy);
    assert_eq!(resource.str("k8s.pod.name"), Some("haproxy-0"));
    assert_eq!(resource.str("k8s.namespace.name"), Some("edge"));
    assert_eq!(resource.str("k8s.node.name"), Some("sure"));
    haproxy.finish();
}

#[test]
fn detectors_are_chosen() {
    let always = ["service.name", "telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"];
    let machine = Machine::start();
    let haproxy = machine.proxy(&[], "").env("HAPROXY_VITALS_SERVICE_DETECTORS", "none").start();
    assert_eq!(machine.resource(&haproxy).keys(), always);
    haproxy.finish();
    machine.receiver.clear();
    let haproxy = machine.proxy(&[], "service.detectors=command_args").start();
    let resource = machine.resource(&haproxy);
    let args = resource.strs("process.command_args").unwrap();
    assert!(args[0].ends_with("haproxy") && args.contains(&"-f"), "{args:?}");
    haproxy.finish();
}

#[test]
fn each_worker_of_a_reload_is_an_instance_of_its_own() {
    let machine = Machine::start();
    let haproxy = machine.proxy(&[], "").mode(Mode::MasterWorker).start();
    let first = machine.resource(&haproxy);
    haproxy.reload();
    machine.receiver.clear();
    let second = machine.resource(&haproxy);
    assert_ne!(first.str("service.instance.id"), second.str("service.instance.id"));
    assert_eq!(second.int("process.pid"), Some(i64::from(haproxy.worker_pid())));
    haproxy.finish();
}

/// What stands around a proxy.
struct Machine {
    upstream: Upstream,
    receiver: OtlpReceiver,
}

impl Machine {
    fn start() -> Self {
        Self { upstream: Upstream::start(), receiver: OtlpReceiver::start() }
    }

    fn proxy(&self, global: &[&str], settings: &str) -> Builder {
        let load = format!("{PER_THREAD} {settings}");
        let global = [&["nbthread 2"], global, &[&load]].concat();
        proxy(&config(Door::ZeroLines, &global), &self.upstream)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", self.receiver.http_endpoint())
    }

    /// The resource of one request's spans.
    #[track_caller]
    fn resource(&self, haproxy: &Haproxy) -> Attributes {
        assert_eq!(client::get(haproxy.addr("http"), "/", &[]).status, 200);
        let spans = self.receiver.wait_spans(2, SOON);
        assert_eq!(spans[0].resource, spans[1].resource);
        spans[0].resource.clone()
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}
