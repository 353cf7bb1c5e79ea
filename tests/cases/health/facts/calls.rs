//! What the methods of Lua's `Server` do.

use std::time::Duration;

use haproxy_vitals_tests::{Haproxy, OddServer, SOON, client, poll};

use super::{call, plain, shown_after, status, wait_shown};

/// Two passes or three failures of a native check, and more.
const NATIVE: &str = "check inter 100ms rise 2 fall 3";

#[test]
fn force_holds_where_haproxy_checks_nothing() {
    let haproxy = plain("  server s 127.0.0.1:${port:open}").start();
    assert_eq!(status(&haproxy, "s"), "no check");
    for (method, shown, said) in [
        ("check_force_down", "DOWN", "Server b/s is DOWN, changed from Lua script"),
        ("check_force_nolb", "NOLB", "Server b/s is stopping, changed from Lua script"),
        ("check_force_up", "no check", "Server b/s is UP, changed from Lua script"),
        ("check_force_down", "DOWN", "Server b/s is DOWN, changed from Lua script"),
        ("check_force_up", "no check", "Server b/s is UP, changed from Lua script"),
    ] {
        assert_eq!(shown_after(&haproxy, &format!("s {method}")), shown);
        haproxy.wait_log(said, SOON);
        // The next request knows it already.
        let answer = client::get(haproxy.addr("http"), "/", &[]).status;
        assert_eq!(answer, if shown == "no check" { 200 } else { 503 }, "{method}");
        poll::always(Duration::from_millis(200), "it holds", || status(&haproxy, "s") == shown);
    }
    haproxy.finish();
}

#[test]
fn native_check_undoes_a_force_after_rise_or_fall_and_trackers_follow() {
    let haproxy = plain(&format!(
        "  server good 127.0.0.1:${{port:open}} {NATIVE}\n  server bad 127.0.0.1:${{port:closed}} {NATIVE}\n  \
         server tracker 127.0.0.1:${{port:open}} track b/good"
    ))
    .start();
    wait_shown(&haproxy, "bad", "DOWN");
    for (method, shown) in [("check_force_down", "DOWN"), ("check_force_nolb", "NOLB")] {
        wait_shown(&haproxy, "good", "UP");
        assert_eq!(shown_after(&haproxy, &format!("good {method}")), shown);
        assert_eq!(status(&haproxy, "tracker"), shown);
        wait_shown(&haproxy, "good", "UP");
        wait_shown(&haproxy, "tracker", "UP");
    }
    assert_eq!(shown_after(&haproxy, "bad check_force_up"), "UP");
    wait_shown(&haproxy, "bad", "DOWN");
    haproxy.finish();
}

#[test]
fn force_holds_where_the_native_check_is_off() {
    let haproxy = plain(&format!("  server s 127.0.0.1:${{port:open}} {NATIVE}")).start();
    wait_shown(&haproxy, "s", "UP");
    assert_eq!(shown_after(&haproxy, "s check_disable"), "no check");
    assert_eq!(shown_after(&haproxy, "s check_force_down"), "DOWN");
    poll::always(Duration::from_millis(600), "it holds", || status(&haproxy, "s") == "DOWN");
    call(&haproxy, "s check_enable");
    wait_shown(&haproxy, "s", "UP");
    haproxy.finish();
}

#[test]
fn server_that_tracks_another_is_not_forced_and_drains() {
    let servers = format!("  server x 127.0.0.1:${{port:open}} {NATIVE}\n  server s 127.0.0.1:1 track b/x");
    let haproxy = plain(&servers).start();
    wait_shown(&haproxy, "s", "UP");
    for method in ["check_force_down", "check_force_nolb", "check_force_up"] {
        assert_eq!(shown_after(&haproxy, &format!("s {method}")), "UP", "{method}");
    }
    assert_eq!(shown_after(&haproxy, "s set_drain"), "DRAIN");
    assert_eq!(shown_after(&haproxy, "s set_ready"), "UP");
    haproxy.finish();
}

#[test]
fn server_that_is_tracked_needs_a_check_of_haproxys() {
    let refused = plain("  server x 127.0.0.1:1\n  server s 127.0.0.1:1 track b/x").check();
    let reason = "does not have any check nor agent enabled";
    assert!(!refused.ok && refused.output.contains(reason), "{}", refused.output);
}

#[test]
fn agents_verdict_and_the_checks_do_not_mix() {
    let agent = "agent-check agent-port ${port:closed} agent-inter 100ms";
    let haproxy = plain(&format!(
        "  server bare 127.0.0.1:${{port:open}}\n  server agent 127.0.0.1:${{port:open}} {agent}\n  \
         server both 127.0.0.1:${{port:open}} {NATIVE} {agent}"
    ))
    .start();
    assert_eq!(shown_after(&haproxy, "bare agent_force_down"), "no check");
    for name in ["agent", "both"] {
        assert_eq!(shown_after(&haproxy, &format!("{name} agent_force_down")), "DOWN (agent)");
        // Native checks that pass do not raise it.
        poll::always(Duration::from_millis(500), "it holds", || status(&haproxy, name) == "DOWN (agent)");
    }
    // A force of the checks does not look at the agent.
    assert_eq!(shown_after(&haproxy, "agent check_force_up"), "no check");
    assert_eq!(shown_after(&haproxy, "both agent_force_up"), "UP");
    haproxy.finish();
}

#[test]
fn agent_that_says_up_undoes_a_force_where_nothing_else_checks() {
    let (weigher, praiser) = (OddServer::saying(b"50%\n"), OddServer::saying(b"up\n"));
    let line = |name: &str, agent: &OddServer| {
        format!(
            "  server {name} 127.0.0.1:1 weight 100 agent-check agent-port {} agent-inter 100ms\n",
            agent.addr().port()
        )
    };
    let haproxy = plain(&(line("weighed", &weigher) + &line("praised", &praiser))).start();
    poll::until(SOON, "it is weighed", || call(&haproxy, "weighed get_weight") == "50");
    // Shown so because the agent counts as passed.
    assert_eq!(shown_after(&haproxy, "weighed check_force_down"), "DOWN 0/2");
    poll::always(Duration::from_millis(400), "a weight is no verdict", || status(&haproxy, "weighed") == "DOWN 0/2");
    assert_eq!(shown_after(&haproxy, "praised check_force_down"), "DOWN 0/2");
    wait_shown(&haproxy, "praised", "no check");
    assert_eq!(shown_after(&haproxy, "praised check_force_nolb"), "NOLB");
    poll::always(Duration::from_millis(400), "what is stopping stays so", || status(&haproxy, "praised") == "NOLB");
    haproxy.finish();
}

#[test]
fn force_in_maintenance_is_lost_and_so_is_one_from_before() {
    let haproxy = plain("  server s 127.0.0.1:${port:open}").start();
    for begin in ["set server b/s state maint", "disable server b/s"] {
        haproxy.cli(begin);
        for method in ["check_force_down", "check_force_nolb", "check_force_up"] {
            assert_eq!(shown_after(&haproxy, &format!("s {method}")), "MAINT", "{method}");
        }
        haproxy.cli("set server b/s state ready");
        assert_eq!(status(&haproxy, "s"), "no check", "a force during maintenance came to life");
    }
    for force in ["check_force_down", "check_force_nolb"] {
        call(&haproxy, &format!("s {force}"));
        assert_eq!(shown_after(&haproxy, "s set_maint"), "MAINT");
        assert_eq!(shown_after(&haproxy, "s set_ready"), "no check", "{force} outlived maintenance");
    }
    haproxy.finish();
}

#[test]
fn drain_and_health_are_apart() {
    let haproxy = plain("  server s 127.0.0.1:${port:open}").start();
    assert_eq!(shown_after(&haproxy, "s set_drain"), "DRAIN");
    assert_eq!(shown_after(&haproxy, "s check_force_down"), "DOWN");
    assert_eq!(call(&haproxy, "s is_draining"), "true");
    assert_eq!(shown_after(&haproxy, "s check_force_up"), "DRAIN");
    assert_eq!(shown_after(&haproxy, "s check_force_nolb"), "NOLB");
    assert_eq!(call(&haproxy, "s is_draining"), "true");
    assert_eq!(shown_after(&haproxy, "s check_force_down"), "DOWN");
    assert_eq!(shown_after(&haproxy, "s set_ready"), "DOWN");
    assert_eq!(call(&haproxy, "s is_draining"), "false");
    haproxy.finish();
}

#[test]
fn set_ready_undoes_what_an_operator_set() {
    let haproxy = plain("  server s 127.0.0.1:${port:open}").start();
    for (state, shown) in [("maint", "MAINT"), ("drain", "DRAIN")] {
        haproxy.cli(&format!("set server b/s state {state}"));
        assert_eq!(status(&haproxy, "s"), shown);
        assert_eq!(shown_after(&haproxy, "s set_ready"), "no check");
    }
    haproxy.finish();
}

#[test]
fn share_of_a_small_weight_is_rounded_down_to_nothing() {
    let servers = "  server one 127.0.0.1:1 weight 1\n  server hundred 127.0.0.1:1 weight 100";
    let haproxy = plain(servers).start();
    let weight = |server: &str, set: &str| {
        assert_eq!(call(&haproxy, &format!("{server} set_weight {set}")), "nil", "{set}");
        call(&haproxy, &format!("{server} get_weight"))
    };
    assert_eq!([weight("one", "50%"), weight("one", "100%")], ["0", "1"]);
    assert_eq!([weight("hundred", "50%"), weight("hundred", "1%"), weight("hundred", "0")], ["50", "1", "0"]);
    assert_eq!(call(&haproxy, "one set_weight much"), "Empty weight string empty or preceded by garbage");
    haproxy.finish();

    let haproxy = plain(&format!("  balance static-rr\n{servers}")).start();
    for (set, refused) in [("0", false), ("100%", false), ("100", false), ("50%", true), ("50", true)] {
        let answer = call(&haproxy, &format!("hundred set_weight {set}"));
        assert_eq!(answer != "nil", refused, "{set}: {answer}");
    }
    haproxy.finish();
}

#[test]
fn wrong_values_are_returned_as_text_and_no_error() {
    let haproxy = plain("  server s 127.0.0.1:1").start();
    assert_eq!(call(&haproxy, "s set_maxconn x"), "maxconn string empty or preceded by garbage");
    assert_eq!(call(&haproxy, "s set_addr nope"), "Invalid addr 'nope'");
    assert_eq!(call(&haproxy, "s set_maxconn 7"), "nil");
    assert_eq!(call(&haproxy, "s get_maxconn"), "7");
    haproxy.finish();
}

#[test]
fn methods_of_a_deleted_server_return_nothing() {
    let haproxy = plain("  server s 127.0.0.1:1").start();
    haproxy.cli("add server b/dyn 127.0.0.1:1");
    assert_eq!(call(&haproxy, "dyn get_name"), "dyn");
    assert_eq!(call(&haproxy, "dyn is_dynamic"), "true");
    poll::until(SOON, "it is deleted", || haproxy.cli("del server b/dyn").contains("Server deleted"));
    for method in [
        "get_name",
        "get_rid",
        "get_puid",
        "get_addr",
        "get_stats",
        "get_weight",
        "is_draining",
        "tracking",
        "check_force_down",
        "check_force_up",
        "check_force_nolb",
        "set_weight 1",
        "set_ready",
    ] {
        assert_eq!(call(&haproxy, &format!("dyn {method}")), "nil", "{method}");
    }
    haproxy.finish();
}

#[test]
fn name_that_comes_back_has_another_revision() {
    let haproxy = plain("  server s 127.0.0.1:1").start();
    let add = || assert!(haproxy.cli("add server b/dyn 127.0.0.1:1").contains("New server registered"));
    let delete = || haproxy.cli("del server b/dyn").contains("Server deleted");
    let key = || (haproxy.cli("fresh dyn get_puid"), haproxy.cli("fresh dyn get_rid"));
    let mut seen = Vec::new();
    for _ in 0..4 {
        add();
        let now = key();
        assert!(!seen.contains(&now), "{now:?} after {seen:?}");
        seen.push(now);
        poll::until(SOON, "it is deleted", delete);
    }
    haproxy.finish();
}

#[test]
fn methods_that_the_checker_calls_exist_and_others_do_not() {
    let haproxy = plain("  server s 127.0.0.1:1").start();
    let has = |name: &str| haproxy.cli(&format!("has s {name}")).trim() == "function";
    for name in [
        "get_name",
        "get_puid",
        "get_rid",
        "get_addr",
        "get_stats",
        "get_weight",
        "set_weight",
        "tracking",
        "is_draining",
        "is_backup",
        "is_dynamic",
        "check_force_up",
        "check_force_down",
        "check_force_nolb",
        "get_proxy",
        "event_sub",
    ] {
        assert!(has(name), "{name}");
    }
    // TLS, names and the agent's NOLB are not to be had.
    for name in ["agent_force_nolb", "get_sni", "get_ssl", "get_fqdn", "get_check_port"] {
        assert!(!has(name), "{name} is there now");
    }
    // What were fields are methods now.
    has("name");
    haproxy.wait_log("use of server 'name' attribute is deprecated", SOON);
    haproxy.finish();
}

#[test]
fn force_at_init_comes_before_the_first_request() {
    let script = "core.register_init(function() core.backends['b'].servers['s']:check_force_down() end)";
    let haproxy = plain("  server s 127.0.0.1:${port:open}").file("script.lua", script).start();
    poll::always(Duration::from_millis(200), "no request passes", || {
        client::get(haproxy.addr("http"), "/", &[]).status == 503
    });
    assert_eq!(status(&haproxy, "s"), "DOWN");
    haproxy.finish();
}

#[test]
fn server_that_is_added_can_be_forced_once_it_is_enabled_and_not_before() {
    let forcing = |event: &str| {
        let script = format!(
            "core.event_sub({{ '{event}' }}, function(_, data) data.reference:check_force_down() core.Info('told') end)"
        );
        plain("  server s 127.0.0.1:1").file("script.lua", &script).start()
    };
    let add = |haproxy: &Haproxy| haproxy.cli("add server b/dyn 127.0.0.1:1");
    let enable = |haproxy: &Haproxy| haproxy.cli("enable server b/dyn");
    let haproxy = forcing("SERVER_ADD");
    add(&haproxy);
    haproxy.wait_log("told", SOON);
    enable(&haproxy);
    poll::always(Duration::from_millis(200), "the force was lost", || status(&haproxy, "dyn") == "no check");
    haproxy.finish();
    for event in ["SERVER_UP", "SERVER_ADMIN"] {
        let haproxy = forcing(event);
        add(&haproxy);
        enable(&haproxy);
        wait_shown(&haproxy, "dyn", "DOWN");
        haproxy.finish();
    }
}
