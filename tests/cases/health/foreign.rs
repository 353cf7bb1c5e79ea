//! Servers by three authors answer, and their states follow: tonic, grpcio, grpc-js.

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Foreign, ForeignBackend, GrpcBackend, Haproxy, HealthServer, SOON, poll};
use tonic_health::ServingStatus;

use super::{SETTINGS, SLACK, is_up, proxy, statuses, told, wait_down, wait_told, wait_up};

/// One server of each author, each in a HAProxy's backend under its author's name.
pub(super) struct Authors {
    tonic: GrpcBackend,
    pub(super) python: ForeignBackend,
    pub(super) node: ForeignBackend,
}

impl Authors {
    fn start() -> Self {
        Self { tonic: GrpcBackend::start(), python: Foreign::Python.start(), node: Foreign::Node.start() }
    }

    fn each(&self) -> [(&'static str, &dyn HealthServer); 3] {
        [("tonic", &self.tonic), ("python", &self.python), ("node", &self.node)]
    }

    /// A proxy that checks all of them, with further settings of the backend.
    fn proxy(&self, more: &str) -> Builder {
        proxy_of_all(&self.each()).file("vitals.toml", &patient(more))
    }
}

/// A proxy with these servers.
pub(super) fn proxy_of_all(servers: &[(&str, &dyn HealthServer)]) -> Builder {
    let lines: Vec<(&str, String)> = servers.iter().map(|(name, server)| (*name, server.addr().to_string())).collect();
    proxy(&lines.iter().map(|(name, line)| (*name, line.as_str())).collect::<Vec<_>>())
}

/// An interpreter on a busy machine answers in time.
pub(super) fn patient(more: &str) -> String {
    let settings = SETTINGS.replace("\ninterval = \"300ms\"", "\ninterval = \"1500ms\"");
    format!("{}{more}\n", settings.replace("\"150ms\"", "\"700ms\""))
}

/// What Watch alone can be: a Check would come in an hour.
fn watching(more: &str) -> String {
    let settings = SETTINGS.replace("\"300ms\"", "\"1h\"").replace("\"150ms\"", "\"2s\"");
    format!("{settings}mode = \"watch\"\nwatch_recheck = \"1h\"\n{more}\n")
}

#[test]
fn check_follows_what_each_server_says() {
    let authors = Authors::start();
    let haproxy = authors.proxy("").start();
    for (name, server) in authors.each() {
        wait_up(&haproxy, name, SOON);
        server.set_not_serving("");
        wait_down(&haproxy, name, SOON);
        assert!(told(&haproxy, name).contains("class=not_serving"), "{}", told(&haproxy, name));
        server.set_status("", ServingStatus::Unknown);
        wait_told(&haproxy, name, "class=unknown_status");
        server.set_serving("");
        wait_up(&haproxy, name, SOON);
        assert_eq!(server.watches(), 0, "{name}");
    }
    haproxy.finish();
}

#[test]
fn watch_brings_each_servers_change_at_once() {
    let authors = Authors::start();
    let haproxy = authors.proxy("").file("vitals.toml", &watching("")).start();
    for (name, server) in authors.each() {
        wait_told(&haproxy, name, " up,watched ");
        for _ in 0..2 {
            server.set_not_serving("");
            let down = wait_down(&haproxy, name, SOON);
            assert!(down < SLACK, "{name} is down after {down:?}");
            server.set_serving("");
            let up = wait_up(&haproxy, name, SOON);
            assert!(up < SLACK, "{name} is up after {up:?}");
        }
        assert_eq!((server.watches(), server.checks()), (1, 0), "{name}");
    }
    haproxy.finish();
}

#[test]
fn service_that_is_not_registered_is_unknown_to_check() {
    let authors = Authors::start();
    let haproxy = authors.proxy("service = \"shop.Cart\"").start();
    unknown_until_registered(&authors, &haproxy);
    haproxy.finish();
}

/// grpcio and grpc-js say it in a message, and go on; tonic ends the stream with `NOT_FOUND`.
#[test]
fn service_that_is_not_registered_is_unknown_to_watch() {
    let authors = Authors::start();
    let haproxy = authors.proxy("").file("vitals.toml", &watching("service = \"shop.Cart\"")).start();
    unknown_until_registered(&authors, &haproxy);
    assert_eq!((authors.python.watches(), authors.node.watches()), (1, 1));
    haproxy.finish();
}

fn unknown_until_registered(authors: &Authors, haproxy: &Haproxy) {
    for (name, server) in authors.each() {
        let line = wait_told(haproxy, name, "class=service_unknown");
        assert!(line.contains(" down"), "{line}");
        server.set_serving("shop.Cart");
        wait_up(haproxy, name, SOON);
    }
}

#[test]
fn server_without_the_health_service_is_unimplemented() {
    let authors = Authors {
        tonic: GrpcBackend::without_health(),
        python: Foreign::Python.without_health(),
        node: Foreign::Node.without_health(),
    };
    for mode in ["check", "watch"] {
        let haproxy = authors.proxy(&format!("mode = \"{mode}\"")).start();
        for (name, _) in authors.each() {
            let line = wait_told(&haproxy, name, "class=unimplemented");
            assert!(line.contains(" down"), "{line}");
        }
        haproxy.finish();
        let haproxy = authors.proxy(&format!("mode = \"{mode}\"\nunimplemented = \"up\"")).start();
        for (name, _) in authors.each() {
            wait_up(&haproxy, name, SOON);
        }
        haproxy.finish();
    }
}

#[test]
fn all_named_services_must_pass() {
    let authors = Authors::start();
    for (_, server) in authors.each() {
        server.set_serving("shop.Cart");
        server.set_serving("shop.Pay");
        server.set_not_serving("");
    }
    let haproxy = authors.proxy("service = [\"shop.Cart\", \"shop.Pay\"]").start();
    poll::until(SOON, "all are up", || statuses(&haproxy).values().all(|status| is_up(status)));
    for (name, server) in authors.each() {
        server.set_not_serving("shop.Pay");
        wait_down(&haproxy, name, SOON);
        // The worst decides, and is named.
        let down = format!("b/{name} is DOWN: NOT_SERVING (service \"shop.Pay\")");
        haproxy.wait_log(&down, SOON);
        server.set_serving("shop.Pay");
        wait_up(&haproxy, name, SOON);
        server.set_not_serving("shop.Cart");
        wait_down(&haproxy, name, SOON);
    }
    haproxy.finish();
}
