//! `vitals health` and `show vitals health NAME` on the stats socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use haproxy_vitals_tests::grpc_backend::GrpcBackend;
use haproxy_vitals_tests::{SOON, poll};

use super::{INTERVAL, SETTINGS, SWEEP, is_up, proxy, proxy_of, status, wait_down, wait_told, wait_up};

#[test]
fn held_server_keeps_its_state_until_it_is_released() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_told(&haproxy, "s", " up ");
    let answer = haproxy.cli("vitals health hold b/s");
    assert_eq!(answer.trim(), "b/s keeps its state until `vitals health release`");
    backend.set_not_serving("");
    wait_told(&haproxy, "s", "class=not_serving");
    poll::always(SWEEP + INTERVAL, "it keeps its state", || is_up(&status(&haproxy, "s")));
    assert_eq!(haproxy.cli("vitals health release b/s").trim(), "b/s follows its checks");
    wait_down(&haproxy, "s", SOON);
    haproxy.wait_log("b/s follows its checks (stats socket)", SOON);
    haproxy.finish();
}

#[test]
fn server_is_checked_when_an_operator_asks() {
    let backend = GrpcBackend::start();
    let settings = SETTINGS.replace("\"300ms\"", "\"1h\"");
    let haproxy = proxy_of(&backend).file("vitals.toml", &settings).start();
    wait_up(&haproxy, "s", SOON);
    assert_eq!(backend.checks(), 1);
    backend.set_not_serving("");
    let answer = haproxy.cli("vitals health check b/s");
    assert!(answer.starts_with("b/s is checked now; "), "{answer}");
    wait_down(&haproxy, "s", SOON);
    assert_eq!(backend.checks(), 2);
    haproxy.finish();
}

#[test]
fn one_backend_or_one_server_is_shown_alone() {
    let (one, two) = (GrpcBackend::start(), GrpcBackend::start());
    let (one, two) = (one.addr().to_string(), two.addr().to_string());
    let haproxy = proxy(&[("s", &one), ("s2", &two)]).start();
    wait_told(&haproxy, "s2", " checks=");
    let begins = |command: &str| {
        let text = haproxy.cli(command);
        let words = text.lines().filter_map(|line| line.split(' ').next()).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(begins("show vitals health"), ["servers:", "b/s", "b/s2"]);
    assert_eq!(begins("show vitals health b"), ["b/s", "b/s2"]);
    assert_eq!(begins("show vitals health b/s"), ["b/s"]);
    haproxy.finish();
}

#[test]
fn wrong_commands_say_what_is_expected_and_change_nothing() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    wait_up(&haproxy, "s", SOON);
    for (command, expected) in [
        ("vitals health", "expected hold, release or check, found nothing; usage: vitals health"),
        ("vitals health kill b/s", "expected hold, release or check, found `kill`"),
        ("vitals health hold", "expected BACKEND/SERVER, found nothing"),
        ("vitals health hold s", "expected BACKEND/SERVER, found `s`"),
        ("vitals health hold b/s now", "expected nothing behind BACKEND/SERVER, found `now`"),
        ("vitals health hold b/none", "b/none is not checked; `show vitals health` lists the servers that are"),
        ("show vitals health none", "no server of none is known"),
        ("show vitals health b s", "expected no more than BACKEND or BACKEND/SERVER"),
    ] {
        let answer = haproxy.cli(command);
        assert!(answer.starts_with(expected), "{command}: {answer}");
    }
    let help = haproxy.cli("help vitals");
    assert!(help.contains("vitals health hold|release|check BACKEND/SERVER"), "{help}");
    assert!(is_up(&status(&haproxy, "s")));
    haproxy.finish();
}

#[test]
fn words_that_are_no_text_are_answered() {
    let backend = GrpcBackend::start();
    let haproxy = proxy_of(&backend).start();
    for (command, expected) in [
        (b"vitals health check b/\xff\n".as_slice(), "b/\u{fffd} is not checked"),
        (b"show vitals health \xff\n", "no server of \u{fffd} is known"),
        (b"vitals trace sample \xff\n", "tracing is off"),
        (b"show vitals config \xff\n", "health.backend"),
    ] {
        let mut stream = UnixStream::connect(haproxy.dir().join("stats.sock")).unwrap();
        stream.write_all(command).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains(expected), "{}: {answer}", command.escape_ascii());
    }
    // An error in a command would be an alert.
    haproxy.finish();
}
