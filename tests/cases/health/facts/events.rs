//! What HAProxy tells a script of its servers, in which order, and what not.

use std::time::Duration;

use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{CONFIG, SCRIPT, call};

/// Notes every event about a server of `b`; `told` gives them out.
const LISTENING: &str = r#"
local events = {}
local function flags(all)
    local set = {}
    for name, is_set in pairs(all) do
        if is_set then
            set[#set + 1] = name
        end
    end
    table.sort(set)
    return table.concat(set, "+")
end
core.event_sub({
    "SERVER_ADD", "SERVER_DEL", "SERVER_UP", "SERVER_DOWN", "SERVER_STATE", "SERVER_ADMIN", "SERVER_CHECK", "SERVER_INETADDR",
}, function(event, data)
    local words = { event:sub(#"SERVER_" + 1), data.proxy_name .. "/" .. data.name }
    if data.state then
        words[#words + 1] = data.state.old_state .. ">" .. data.state.new_state
        words[#words + 1] = data.state.admin and "by admin" or data.state.cause
    end
    if data.admin then
        words[#words + 1] = "[" .. flags(data.admin.old_admin) .. "]>[" .. flags(data.admin.new_admin) .. "]"
    end
    if data.reference == nil then
        words[#words + 1] = "gone"
    end
    events[#events + 1] = table.concat(words, " ")
end)
core.register_cli({ "told" }, "told", function(applet)
    applet:send(table.concat(events, "\n") .. "\n")
end)
"#;

fn listening(servers: &str) -> Haproxy {
    Haproxy::config(&CONFIG.replace("SERVERS", servers))
        .file("script.lua", &format!("{SCRIPT}{LISTENING}"))
        .allow_alert("has no server available")
        .start()
}

fn told(haproxy: &Haproxy) -> Vec<String> {
    haproxy.cli("told").lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Waits until exactly these events have come after the first `skip`.
#[track_caller]
fn wait_told(haproxy: &Haproxy, skip: usize, expected: &[&str]) {
    let found = poll::try_until(SOON, || (told(haproxy).len() >= skip + expected.len()).then_some(()));
    let all = told(haproxy);
    assert!(found.is_some() && all[skip..] == *expected, "expected {expected:#?}, told {all:#?}");
}

#[test]
fn each_change_of_a_server_is_told_in_order_with_its_cause() {
    let haproxy = listening("  server s 127.0.0.1:1");
    let mut skip = 0;
    let mut round = |run: &dyn Fn(), expected: &[&str]| {
        run();
        wait_told(&haproxy, skip, expected);
        skip += expected.len();
    };
    let force = |method: &'static str| move |haproxy: &Haproxy| drop(call(haproxy, &format!("s {method}")));
    let (down, up, nolb) = (force("check_force_down"), force("check_force_up"), force("check_force_nolb"));
    let set = |what: &str| drop(haproxy.cli(&format!("set server b/s {what}")));
    round(&|| down(&haproxy), &["DOWN b/s", "STATE b/s RUNNING>STOPPED changed from Lua script"]);
    // What changes nothing is not told.
    round(&|| down(&haproxy), &[]);
    round(&|| up(&haproxy), &["UP b/s", "STATE b/s STOPPED>RUNNING changed from Lua script"]);
    round(&|| nolb(&haproxy), &["STATE b/s RUNNING>STOPPING changed from Lua script"]);
    round(&|| up(&haproxy), &["STATE b/s STOPPING>RUNNING changed from Lua script"]);
    round(&|| set("health down"), &["DOWN b/s", "STATE b/s RUNNING>STOPPED changed from CLI"]);
    round(&|| set("health up"), &["UP b/s", "STATE b/s STOPPED>RUNNING changed from CLI"]);
    round(&|| set("state drain"), &["ADMIN b/s []>[DRAIN+FDRAIN]"]);
    round(&|| set("state ready"), &["ADMIN b/s [DRAIN+FDRAIN]>[]"]);
    round(&|| set("state maint"), &["ADMIN b/s []>[FMAINT+MAINT]", "DOWN b/s", "STATE b/s RUNNING>STOPPED by admin"]);
    round(&|| set("state ready"), &["ADMIN b/s [FMAINT+MAINT]>[]", "UP b/s", "STATE b/s STOPPED>RUNNING by admin"]);
    // In maintenance a server that was forced down leaves as one that is up: told, though it had been down before.
    round(&|| down(&haproxy), &["DOWN b/s", "STATE b/s RUNNING>STOPPED changed from Lua script"]);
    round(&|| set("state maint"), &["ADMIN b/s []>[FMAINT+MAINT]"]);
    round(&|| set("state ready"), &["ADMIN b/s [FMAINT+MAINT]>[]", "UP b/s", "STATE b/s STOPPED>RUNNING by admin"]);
    round(&|| set("addr 127.0.0.2"), &["INETADDR b/s"]);
    assert_eq!(call(&haproxy, "s get_addr"), "127.0.0.2:1");
    haproxy.finish();
}

#[test]
fn server_that_comes_and_goes_is_told_and_is_no_object_at_the_end() {
    let haproxy = listening("  server s 127.0.0.1:1");
    haproxy.cli("add server b/dyn 127.0.0.1:1");
    haproxy.cli("enable server b/dyn");
    haproxy.cli("disable server b/dyn");
    let before = [
        "ADD b/dyn",
        "ADMIN b/dyn [FMAINT+MAINT]>[]",
        "UP b/dyn",
        "STATE b/dyn STOPPED>RUNNING by admin",
        "ADMIN b/dyn []>[FMAINT+MAINT]",
        "DOWN b/dyn",
        "STATE b/dyn RUNNING>STOPPED by admin",
    ];
    // What is told late comes without the server too.
    wait_told(&haproxy, 0, &before);
    poll::until(SOON, "it is deleted", || haproxy.cli("del server b/dyn").contains("Server deleted"));
    wait_told(&haproxy, before.len(), &["DEL b/dyn gone"]);
    haproxy.finish();
}

#[test]
fn native_checks_are_told_when_they_move_a_server_and_not_one_by_one() {
    let haproxy =
        listening("  server native 127.0.0.1:${port:open} check inter 50ms\n  server bare 127.0.0.1:${port:open}");
    let checks = || told(&haproxy).iter().filter(|line| *line == "CHECK b/native").count();
    poll::until(SOON, "the first pass is told", || checks() == 1);
    poll::always(Duration::from_millis(300), "further passes are not", || checks() == 1);
    call(&haproxy, "bare check_force_down");
    call(&haproxy, "native check_force_down");
    poll::until(SOON, "native passes again", || checks() > 1);
    let all = told(&haproxy);
    assert!(all.iter().any(|line| line == "DOWN b/bare"), "{all:?}");
    assert!(!all.iter().any(|line| line.starts_with("CHECK b/bare")), "{all:?}");
    haproxy.finish();
}
