//! What HAProxy's own stats socket tells of servers: encryption and names.

use std::net::Ipv4Addr;
use std::time::Duration;

use haproxy_vitals_tests::grpc_backend::{GrpcBackend, Pki};
use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, Mode, NameServer, SOON, poll};

use super::resolve::RESOLVERS;
use super::{CONFIG, SETTINGS, is_up, status, told, wait_down, wait_told, wait_up};

/// `inquiry::SWEEP`: how soon what no event tells is learnt.
const SWEEP: Duration = Duration::from_secs(10);

/// Settings with `tls = "auto"` and this stats socket.
fn settings(socket: &str, pki: &Pki) -> String {
    // A handshake takes longer than a round on a busy machine.
    let settings = SETTINGS.replace("\"150ms\"", "\"1s\"").replace("interval = \"300ms\"", "interval = \"2s\"");
    let settings = settings.replace("fast_interval = \"2s\"", "fast_interval = \"300ms\"");
    let settings = settings.replace("down_interval = \"2s\"", "down_interval = \"300ms\"");
    let ca = pki.path("ca.pem");
    format!("[health]\nstats_socket = \"{socket}\"\n{settings}tls = \"auto\"\nca_file = \"{}\"\n", ca.display())
}

/// A proxy whose backend `b` has these servers, and `more` sections.
pub(super) fn asking(servers: &str, more: &str, settings: &str) -> Builder {
    Haproxy::config(&format!("{}{more}", CONFIG.replace("SERVERS", servers)))
        .module()
        .set("load", "lua-load")
        .file("vitals.toml", settings)
        .allow_alert("has no server available")
}

/// Nobody was asked in the wrong way first.
#[track_caller]
pub(super) fn assert_no_failure(haproxy: &Haproxy) {
    let log = haproxy.log();
    let failures = [" is DOWN: ", "fails its check", "has not told"];
    assert_eq!(log.lines().find(|line| failures.iter().any(|words| line.contains(words))), None);
}

/// Waits for the stats socket to have answered so often.
#[track_caller]
fn wait_answers(haproxy: &Haproxy, count: u32) {
    let answers = || {
        let text = haproxy.cli("show vitals health");
        let (_, rest) = text.split_once(", stats socket: ")?;
        rest.split(' ').next()?.parse().ok().filter(|answers: &u32| *answers >= count)
    };
    poll::try_until(SOON, answers).unwrap_or_else(|| panic!("fewer than {count} answers"));
}

#[test]
fn encrypted_server_is_checked_over_tls_and_the_plain_one_beside_it_is_not() {
    let pki = Pki::new();
    let (encrypted, plain) = (GrpcBackend::with_tls(&pki), GrpcBackend::start());
    let servers =
        format!("  server t {} ssl verify none proto h2\n  server p {} proto h2", encrypted.addr(), plain.addr());
    let tcp = "global\n  stats socket ipv4@127.0.0.1:${port:stats} level user\n";
    for (socket, more) in [("${dir}/stats.sock", ""), ("127.0.0.1:${port:stats}", tcp)] {
        let haproxy = asking(&servers, more, &settings(socket, &pki)).start();
        wait_up(&haproxy, "t", SOON);
        wait_up(&haproxy, "p", SOON);
        assert!(told(&haproxy, "t").ends_with(" ssl=on"), "{}", told(&haproxy, "t"));
        assert!(told(&haproxy, "p").ends_with(" ssl=off"), "{}", told(&haproxy, "p"));
        let summary = haproxy.cli("show vitals health");
        assert!(summary.lines().next().unwrap().contains(", stats socket: "), "{summary}");
        assert_no_failure(&haproxy);
        encrypted.set_not_serving("");
        wait_down(&haproxy, "t", SOON);
        encrypted.set_serving("");
        wait_up(&haproxy, "t", SOON);
        haproxy.finish();
    }
}

#[test]
fn name_on_the_line_is_the_authority_and_the_certificate_must_bear_it() {
    let (pki, names) = (Pki::new(), NameServer::start());
    let backend = GrpcBackend::with_tls(&pki);
    let port = backend.addr().port();
    for name in ["shop.example", "other.example"] {
        names.set(name, &[Ipv4Addr::LOCALHOST]);
    }
    let server = |name: &str| {
        format!(
            "  server {name} {name}:{port} ssl verify none proto h2 resolvers dns resolve-prefer ipv4 init-addr none
"
        )
    };
    let servers = format!("{}{}", server("shop.example"), server("other.example"));
    let haproxy = asking(&servers, RESOLVERS, &settings("${dir}/stats.sock", &pki)).set("dns", names.addr()).start();
    // On its way out of maintenance HAProxy calls it up for a moment.
    wait_told(&haproxy, "shop.example", " up ");
    wait_up(&haproxy, "shop.example", SOON);
    assert_eq!(backend.asked()[0].authority, format!("shop.example:{port}"));
    assert!(told(&haproxy, "shop.example").ends_with(" ssl=on name=shop.example"));
    let line = wait_told(&haproxy, "other.example", "class=tls");
    assert!(line.contains(" down ") && line.contains("certificate"), "{line}");
    haproxy.finish();
}

#[test]
fn servers_of_the_stats_socket_are_checked_as_they_are_encrypted() {
    let pki = Pki::new();
    let (plain, encrypted) = (GrpcBackend::start(), GrpcBackend::with_tls(&pki));
    let first = format!("  server s {} proto h2", plain.addr());
    let haproxy = asking(&first, "", &settings("${dir}/stats.sock", &pki)).start();
    wait_up(&haproxy, "s", SOON);
    let add = |line: &str| {
        let answer = haproxy.cli(&format!("add server b/dyn {line}"));
        assert!(answer.contains("New server registered"), "{answer}");
        haproxy.cli("enable server b/dyn");
    };
    add(&format!("{} ssl verify none proto h2", encrypted.addr()));
    wait_told(&haproxy, "dyn", &format!("{} up ", encrypted.addr()));
    wait_up(&haproxy, "dyn", SOON);
    assert!(told(&haproxy, "dyn").ends_with(" ssl=on"), "{}", told(&haproxy, "dyn"));
    assert_no_failure(&haproxy);

    // The name comes back for a server without TLS.
    haproxy.cli("disable server b/dyn");
    poll::until(SOON, "the server is deleted", || haproxy.cli("del server b/dyn").contains("Server deleted"));
    let asked = plain.checks();
    add(&format!("{} proto h2", plain.addr()));
    wait_told(&haproxy, "dyn", &format!("{} up ", plain.addr()));
    wait_up(&haproxy, "dyn", SOON);
    assert!(told(&haproxy, "dyn").ends_with(" ssl=off"), "{}", told(&haproxy, "dyn"));
    assert!(plain.checks() > asked);
    assert_no_failure(&haproxy);
    haproxy.finish();
}

#[test]
fn encryption_that_is_switched_off_is_learnt_by_the_sweep_and_the_server_stays_up() {
    let pki = Pki::new();
    let (encrypted, plain) = (GrpcBackend::with_tls(&pki), GrpcBackend::start());
    let servers = format!("  server s {} ssl verify none proto h2", encrypted.addr());
    let haproxy = asking(&servers, "", &settings("${dir}/stats.sock", &pki)).start();
    wait_up(&haproxy, "s", SOON);
    // The questions of the start are over.
    wait_answers(&haproxy, 2);
    haproxy.cli("set server b/s ssl off");
    let is_learnt = || told(&haproxy, "s").ends_with(" ssl=off");
    poll::until(SWEEP + SOON, "that it is not encrypted any more", is_learnt);
    // The one that still speaks TLS fails now, and one that does not is fine.
    wait_told(&haproxy, "s", "class=protocol");
    haproxy.cli(&format!("set server b/s addr 127.0.0.1 port {}", plain.addr().port()));
    wait_told(&haproxy, "s", &format!("{} up ", plain.addr()));
    assert!(is_up(&status(&haproxy, "s")));
    haproxy.finish();
}

#[test]
fn unprivileged_workers_in_a_chroot_learn_over_an_abstract_socket_before_and_after_a_reload() {
    // Only root can become somebody else.
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let pki = Pki::new();
    let backend = GrpcBackend::with_tls(&pki);
    let socket = "  stats socket abns@vitals-${port:stats} level user\n";
    for mode in [Mode::MasterWorker, Mode::MasterWorkerDaemon] {
        let servers = format!("  server s {} ssl verify none proto h2", backend.addr());
        let config = CONFIG.replace("SERVERS", &servers);
        let global = format!("  nbthread 2\n  user nobody\n  chroot ${{dir}}\n{socket}");
        let haproxy = Haproxy::config(&config.replace("  nbthread 2\n", &global))
            .module()
            .set("load", "lua-load-per-thread")
            .file("vitals.toml", &settings("abns@vitals-${port:stats}", &pki))
            .allow_alert("has no server available")
            .mode(mode)
            .start();
        wait_up(&haproxy, "s", SOON);
        for _ in 0..2 {
            haproxy.reload();
            haproxy.wait_one_worker(SOON);
            wait_up(&haproxy, "s", SOON);
            assert!(told(&haproxy, "s").ends_with(" ssl=on"), "{}", told(&haproxy, "s"));
        }
        haproxy.wait_log("b/s is UP: ", SOON);
        assert_no_failure(&haproxy);
        haproxy.finish();
    }
}

#[test]
fn checks_go_on_without_an_answer_and_the_operator_is_told_once() {
    let pki = Pki::new();
    let backend = GrpcBackend::start();
    let server = format!("  server s {} proto h2", backend.addr());
    let haproxy = asking(&server, "", &settings("unix@${dir}/nowhere.sock", &pki)).start();
    wait_told(&haproxy, "s", " ssl=awaited");
    wait_up(&haproxy, "s", SOON);
    haproxy.wait_log("b/s: health.stats_socket has not told whether it is encrypted: checked without TLS", SOON);
    haproxy.wait_log("nowhere.sock: cannot connect: ", SOON);
    backend.wait_checks(3, SOON);
    let log = haproxy.log();
    assert_eq!(log.lines().filter(|line| line.contains("health.stats_socket ")).count(), 2, "{log}");
    let summary = haproxy.cli("show vitals health");
    assert!(summary.contains(", stats socket: 0 answers, "), "{summary}");
    haproxy.finish();
}

#[test]
fn check_of_the_configuration_asks_nobody_and_refuses_what_is_no_address() {
    let pki = Pki::new();
    let outcome = asking("", "", &settings("unix@/nowhere/stats.sock", &pki)).check();
    assert!(outcome.ok, "{}", outcome.output);
    let outcome = asking("", "", &settings("stats.sock", &pki)).check();
    assert!(!outcome.ok && outcome.output.contains("`health.stats_socket`"), "{}", outcome.output);
    let auto = settings("", &pki);
    let outcome = asking("", "", &auto).check();
    assert!(outcome.ok && outcome.output.contains("auto is off, because `health.stats_socket`"), "{}", outcome.output);
}
