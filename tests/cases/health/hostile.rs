//! What calls itself a server and is none, and what says too much.

use haproxy_vitals_tests::{GrpcBackend, OddServer, SOON, poll};

use super::{INTERVAL, get, proxy, status, wait_told, wait_up};

#[test]
fn garbage_takes_its_server_down_and_nothing_else() {
    let good = GrpcBackend::start();
    let odd = [
        ("smtp", b"220 mail.example ESMTP\r\n".as_slice()),
        ("http1", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"),
        ("zeros", &[0; 4096]),
        ("ones", &[0xff; 4096]),
        // A frame of 16 MiB - 1 that is not HTTP/2's first.
        ("frame", b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"),
        // Settings as they should be, then a frame of a stream that nobody opened.
        ("stream", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x09x"),
    ];
    let servers = odd.map(|(name, words)| (name, OddServer::saying(words)));
    let mut lines: Vec<(&str, String)> = servers.iter().map(|(name, odd)| (*name, odd.addr().to_string())).collect();
    lines.push(("good", good.addr().to_string()));
    let haproxy = proxy(&lines.iter().map(|(name, line)| (*name, line.as_str())).collect::<Vec<_>>()).start();
    for (name, _) in &servers {
        let line = wait_told(&haproxy, name, "class=protocol");
        assert!(line.contains(" down "), "{line}");
        assert_eq!(status(&haproxy, name), "DOWN");
    }
    wait_up(&haproxy, "good", SOON);
    poll::always(3 * INTERVAL, "the good server answers", || get(&haproxy).status == 200);
    haproxy.finish();
}

#[test]
fn answer_of_a_hundred_mebibytes_is_not_read() {
    const HUNDRED_MIB: u32 = 100 << 20;
    let (huge, good) = (OddServer::answering_at_length(HUNDRED_MIB), GrpcBackend::start());
    let haproxy = proxy(&[("huge", &huge.addr().to_string()), ("good", &good.addr().to_string())]).start();
    wait_up(&haproxy, "good", SOON);
    let line = wait_told(&haproxy, "huge", "class=protocol");
    assert!(line.contains(" down "), "{line}");
    let before = haproxy.rss_kib();
    good.wait_checks(8, SOON);
    let grown = haproxy.rss_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB more for answers that are refused");
    // What the server may send before it is refused: a window for each check, and what its kernel buffers.
    assert!(huge.sent() < u64::from(HUNDRED_MIB) / 4, "{} bytes were let through", huge.sent());
    haproxy.finish();
}
