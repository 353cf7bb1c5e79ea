//! What HAProxy shows of a server: the words of its status, and its address.

use haproxy_vitals_tests::{SOON, poll};

use super::{call, plain, status, wait_shown};

/// As [`status`], through Lua.
fn told(haproxy: &haproxy_vitals_tests::Haproxy, server: &str) -> String {
    haproxy.cli(&format!("status {server}")).trim_end().to_owned()
}

#[test]
fn every_word_of_a_status_begins_as_the_checker_expects() {
    let agent = "agent-check agent-port ${port:closed} agent-inter 100ms";
    let haproxy = plain(&format!(
        "  server bare 127.0.0.1:1
  server weightless 127.0.0.1:1 weight 0
  server down 127.0.0.1:1
  server nolb 127.0.0.1:1
  server drain 127.0.0.1:1
  server maint 127.0.0.1:1
  server disabled 127.0.0.1:1 disabled
  server unresolved nowhere.invalid:80 init-addr none
  server native 127.0.0.1:${{port:open}} check inter 100ms
  server dead 127.0.0.1:${{port:closed}} check inter 100ms
  server rising 127.0.0.1:${{port:open}} check inter 100ms fastinter 1h rise 2 init-state fully-down
  server off 127.0.0.1:1 check disabled
  server via 127.0.0.1:1 track b/off
  server agent 127.0.0.1:1 {agent}
  server draining 127.0.0.1:1 {agent}"
    ))
    .start();
    for words in ["down check_force_down", "nolb check_force_nolb", "agent agent_force_down"] {
        call(&haproxy, words);
    }
    for command in ["drain state drain", "draining state drain", "maint state maint"] {
        haproxy.cli(&format!("set server b/{command}"));
    }
    for (server, shown) in [
        ("bare", "no check"),
        ("weightless", "no check"),
        ("down", "DOWN"),
        ("nolb", "NOLB"),
        ("drain", "DRAIN"),
        ("maint", "MAINT"),
        ("disabled", "MAINT"),
        ("unresolved", "MAINT (resolution)"),
        ("native", "UP"),
        ("dead", "DOWN"),
        ("rising", "DOWN 1/2"),
        ("off", "MAINT"),
        ("via", "MAINT (via b/off)"),
        ("agent", "DOWN (agent)"),
        ("draining", "DRAIN (agent)"),
    ] {
        wait_shown(&haproxy, server, shown);
        assert_eq!(told(&haproxy, server), shown, "Lua sees {server} otherwise");
    }
    haproxy.finish();
}

#[test]
fn failures_that_are_not_enough_yet_show_behind_up() {
    let haproxy = plain("  server s 127.0.0.1:${port:open} check inter 100ms fastinter 1h fall 3").start();
    wait_shown(&haproxy, "s", "UP");
    // Its first pass makes it as healthy as can be.
    poll::until(SOON, "it has passed", || haproxy.cli("show stat b 4 -1").contains("L4OK"));
    haproxy.cli("disable frontend open");
    wait_shown(&haproxy, "s", "UP 2/3");
    assert_eq!(told(&haproxy, "s"), "UP 2/3");
    assert_eq!(status(&haproxy, "s"), "UP 2/3");
    haproxy.finish();
}

#[test]
fn every_form_of_an_address_is_printed_as_the_checker_reads_it() {
    let haproxy = plain(
        "  server v4 127.0.0.1:21001
  server v6 [::1]:21001
  server bracketless ::1:21001
  server unix unix@${dir}/grpc.sock
  server abstract abns@haproxy-vitals-nobody
  server unresolved nowhere.invalid:80 init-addr none
  server portless 127.0.0.1
  server same 127.0.0.1:+0
  server above 127.0.0.1:+100
  server below 127.0.0.1:-100
  server anywhere 0.0.0.0:80",
    )
    .start();
    let socket = haproxy.dir().join("grpc.sock").display().to_string();
    for (server, printed) in [
        ("v4", "127.0.0.1:21001"),
        ("v6", "::1:21001"),
        ("bracketless", "::1:21001"),
        ("unix", socket.as_str()),
        ("abstract", ""),
        ("unresolved", "<unknown>"),
        ("portless", "127.0.0.1:0"),
        ("same", "127.0.0.1:0"),
        // An offset to the client's port, and not to be told from a port.
        ("above", "127.0.0.1:100"),
        ("below", "127.0.0.1:-100"),
        ("anywhere", "0.0.0.0:80"),
    ] {
        assert_eq!(call(&haproxy, &format!("{server} get_addr")), printed, "{server}");
    }
    haproxy.finish();
}

#[test]
fn servers_state_tells_name_port_and_tls() {
    let haproxy = plain(
        "  server bare 127.0.0.1:21001
  server secure nowhere.invalid:443 init-addr none ssl verify none",
    )
    .start();
    let text = haproxy.cli("show servers state b");
    let mut lines = text.lines().skip(1);
    let names: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(' ').collect();
    let rows: Vec<Vec<&str>> =
        lines.map(|line| line.split(' ').collect()).filter(|row: &Vec<_>| row.len() > 1).collect();
    for (row, server, expected) in [(0, "bare", ["-", "21001", "0"]), (1, "secure", ["nowhere.invalid", "443", "1"])] {
        let field = |name| rows[row][names.iter().position(|other| *other == name).unwrap()];
        assert_eq!(field("srv_name"), server);
        assert_eq!([field("srv_fqdn"), field("srv_port"), field("srv_use_ssl")], expected, "{server}");
    }
    haproxy.finish();
}
