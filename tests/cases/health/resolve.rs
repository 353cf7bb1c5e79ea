//! Servers whose addresses come from DNS.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{CONFIG, SETTINGS, SLACK, SWEEP, is_up, status, told, wait_down, wait_told, wait_up};

const RESOLVERS: &str = "
resolvers dns
  nameserver ns ${dns}
  hold valid 100ms
  hold nx 100ms
  hold other 100ms
  timeout resolve 100ms
  timeout retry 100ms
";

#[test]
fn server_is_checked_once_its_name_is_resolved_and_let_go_when_it_is_not() {
    let (backend, names) = (GrpcBackend::start(), Names::start());
    let server =
        format!("  server s shop.example:{} resolvers dns resolve-prefer ipv4 init-addr none", backend.addr().port());
    let haproxy = Haproxy::config(&format!("{}{RESOLVERS}", CONFIG.replace("SERVERS", &server)))
        .module()
        .set("load", "lua-load")
        .set("dns", names.addr)
        .file("vitals.toml", SETTINGS)
        .allow_alert("has no server available")
        .start();
    wait_told(&haproxy, "s", "its name is not resolved");
    assert!(status(&haproxy, "s").starts_with("MAINT"));
    names.known(true);
    wait_told(&haproxy, "s", &format!("{} up ", backend.addr()));
    wait_up(&haproxy, "s", SOON);
    backend.set_not_serving("");
    wait_down(&haproxy, "s", SOON);

    // HAProxy puts it into maintenance, and out of it when the name is back.
    names.known(false);
    poll::until(SOON, "HAProxy gives the server up", || status(&haproxy, "s").starts_with("MAINT"));
    names.known(true);
    poll::until(SOON, "HAProxy takes it back", || !status(&haproxy, "s").starts_with("MAINT"));
    wait_down(&haproxy, "s", SWEEP + SLACK);
    backend.set_serving("");
    wait_up(&haproxy, "s", SOON);
    assert!(is_up(&status(&haproxy, "s")), "{}", told(&haproxy, "s"));
    haproxy.finish();
}

/// A name server that says 127.0.0.1 for every name, or that there is none.
struct Names {
    addr: SocketAddr,
    known: Arc<AtomicBool>,
}

impl Names {
    fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (addr, known) = (socket.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let answers = known.clone();
        // Ends with the test's process.
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                let _ = socket.send_to(&answer(&query[..length], answers.load(Ordering::Relaxed)), client);
            }
        });
        Self { addr, known }
    }

    fn known(&self, known: bool) {
        self.known.store(known, Ordering::Relaxed);
    }
}

/// RFC 1035, section 4.1: the question, and one A record or `NXDOMAIN`.
fn answer(query: &[u8], known: bool) -> Vec<u8> {
    const HEADER: usize = 12;
    const A: u8 = 1;
    let name = query[HEADER..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[HEADER..HEADER + name + 4];
    let is_a = question[name + 1] == A;
    let found = u8::from(known && is_a);
    let code = if known { 0 } else { 3 };
    let mut answer = [&query[..2], &[0x84, code, 0, 1, 0, found, 0, 0, 0, 0], question].concat();
    if found == 1 {
        answer.extend([0xc0, 12, 0, A, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    answer
}
