//! What HAProxy makes of an agent's replies: `agent-check` in its manual, and what that does not say.

use std::collections::BTreeMap;
use std::fmt::Write;

use haproxy_vitals_tests::agent::{Reply, ScriptedAgent};
use haproxy_vitals_tests::{GrpcBackend, Haproxy, SOON, poll};

use super::{SETTINGS, SWEEP, proxy, status};

/// Undoes what any reply may have done.
const UP: &str = "ready up 100% maxconn:0\n";
const DOWN: &str = "ready down 100% maxconn:0\n";

/// Each with what is shown of the server after it: state, weight, and its limit of connections where it has one.
type Steps = Vec<(Reply, &'static str)>;

/// One HAProxy with one server for each of these dialogues, all led in step.
fn lead(dialogues: &[Steps]) {
    let (agent, backend) = (ScriptedAgent::start(), GrpcBackend::start());
    let names: Vec<String> = (0..dialogues.len()).map(|nth| format!("s{nth}")).collect();
    let line = |name: &str| {
        let (at, port) = (backend.addr(), agent.addr().port());
        format!(
            "{at} weight 100 agent-check agent-addr 127.0.0.1 agent-port {port} agent-inter 100ms agent-send \"{name}\\n\""
        )
    };
    let lines: Vec<String> = names.iter().map(|name| line(name)).collect();
    let servers: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(lines.iter().map(String::as_str)).collect();
    let haproxy = proxy(&servers).file("vitals.toml", &without_checks()).start();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let most = dialogues.iter().map(Vec::len).max().unwrap();
    for step in 0..most {
        let now = || dialogues.iter().zip(&names).filter_map(move |(steps, name)| Some((name, steps.get(step)?)));
        now().for_each(|(name, (reply, _))| agent.say(name, reply.clone()));
        agent.wait_heard(&names);
        let shown = shown(&haproxy);
        let wrong: String = now().filter(|(name, (_, expected))| shown[**name] != *expected).fold(
            String::new(),
            |mut text, (name, (reply, expected))| {
                let reply = match reply {
                    Reply::Text(text) => format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(60)])),
                    Reply::Silence => "silence".to_owned(),
                };
                writeln!(text, "{name}, step {step}: after {reply} {} and not {expected}", shown[*name]).unwrap();
                text
            },
        );
        assert!(wrong.is_empty(), "{wrong}");
    }
    haproxy.finish();
}

fn without_checks() -> String {
    SETTINGS.split("[[health").next().unwrap().to_owned()
}

/// `up 100`, `down 100`, `drain 100`, `maint 100`; with a limit of connections behind it.
fn shown(haproxy: &Haproxy) -> BTreeMap<String, String> {
    let csv = haproxy.cli("show stat b 4 -1");
    let mut lines = csv.lines();
    let columns: Vec<&str> = lines.next().unwrap().trim_start_matches("# ").split(',').collect();
    let column = |name| columns.iter().position(|other| *other == name).unwrap();
    let (server, status, weight, limit) = (column("svname"), column("status"), column("weight"), column("slim"));
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let state = match *fields.get(status)? {
            "no check" | "UP" => "up",
            text => text.split_whitespace().next()?,
        };
        let limit = match fields[limit] {
            "" | "0" => String::new(),
            limit => format!(" {limit}"),
        };
        Some((fields[server].to_owned(), format!("{} {}{limit}", state.to_lowercase(), fields[weight])))
    };
    lines.filter_map(row).collect()
}

/// From a server that is up and from one that is down.
fn from_both(reply: impl Into<Reply>, from_up: &'static str, from_down: &'static str) -> Steps {
    let reply = reply.into();
    vec![(UP.into(), "up 100"), (reply.clone(), from_up), (DOWN.into(), "down 100"), (reply, from_down)]
}

#[test]
fn replies_do_what_the_agent_relies_on() {
    let up = |reply: &str| from_both(reply, "up 100", "up 100");
    let down = |reply: &str| from_both(reply, "down 100", "down 100");
    let kept = |reply: &str| from_both(reply, "up 100", "down 100");
    let endless = format!("{}\n", "down ".repeat(4000));
    let dialogues = [
        // What the agent says, with an end of each kind.
        up("up\n"),
        up("up\r\n"),
        up("up\r"),
        up("up 100%\n"),
        from_both("up 0%\n", "up 0", "up 0"),
        down("down #reason\n"),
        down("down #error: what?\n"),
        kept("# not checked yet\n"),
        kept("# error: what?\n"),
        // Other words for down, in any case.
        down("fail\n"),
        down("stopped\n"),
        down("DOWN\n"),
        down("Down # two words\r\n"),
        up("UP\n"),
        // The last word of a kind wins, whatever stands between words, and in whatever order kinds come.
        down("up down\n"),
        up("down up\n"),
        up("down,up\n"),
        up("down\tup\n"),
        up("100% up\n"),
        up("ready,100%, up\n"),
        // The first line alone counts.
        up("up\ndown\n"),
        kept("\n\nup\n"),
        kept("\r\ndown\n"),
        // A remark begins at the beginning of a word only; nothing in it counts.
        kept("down#reason\n"),
        kept("up#\n"),
        kept("#down\n"),
        up("up #down\n"),
        down("down # up\n"),
        // Words that mean nothing to HAProxy keep what was; those beside them count.
        kept("failed\n"),
        kept("nolb\n"),
        kept("stopping\n"),
        kept("foo\n"),
        down("foo down\n"),
        up("up foo\n"),
        // No end, nothing, what is no text, too much of it, and no answer.
        kept("down"),
        kept("up"),
        kept(""),
        kept("down\0\n"),
        kept(&endless),
        from_both(Reply::Silence, "up 100", "down 100"),
    ];
    lead(&dialogues);
}

#[test]
fn weights_and_limits_are_taken_where_they_are_numbers() {
    let kept = |reply: &str| from_both(reply, "up 100", "down 100");
    let dialogues = [
        from_both("50%\n", "up 50", "down 50"),
        from_both("weight:30\n", "up 30", "down 30"),
        from_both("weight:30%\n", "up 30", "down 30"),
        from_both("weight:0\n", "up 0", "down 0"),
        from_both("30% 70%\n", "up 70", "down 70"),
        from_both("up 50%\n", "up 50", "up 50"),
        kept("weight:257\n"),
        kept("50%%\n"),
        kept("50 %\n"),
        kept("+50%\n"),
        // A word that is none, and one that is.
        from_both("weight: 50%\n", "up 50", "down 50"),
        from_both("maxconn:7\n", "up 100 7", "down 100 7"),
        from_both("up maxconn:0\n", "up 100", "up 100"),
        // A fault of HAProxy's, and a reason never to say it.
        from_both("maxconn:-5\n", "up 100 4294967291", "down 100 4294967291"),
    ];
    lead(&dialogues);
}

#[test]
fn what_an_agent_sets_administratively_only_ready_undoes() {
    let then = |reply: &str, shown: &'static str| (Reply::from(reply), shown);
    let dialogues = [
        vec![then(UP, "up 100"), then("maint\n", "maint 100"), then("up\n", "maint 100"), then("up ready\n", "up 100")],
        vec![then(UP, "up 100"), then("up drain\n", "drain 100"), then("up\n", "drain 100"), then("ready\n", "up 100")],
        vec![
            then(UP, "up 100"),
            then("down drain\n", "down 100"),
            then("up\n", "drain 100"),
            then("ready\n", "up 100"),
        ],
        vec![
            then(UP, "up 100"),
            then("up maint\n", "maint 100"),
            then("down\n", "maint 100"),
            then("ready\n", "down 100"),
        ],
        vec![then(UP, "up 100"), then("drain maint ready\n", "up 100")],
    ];
    lead(&dialogues);
}

#[test]
fn before_the_first_reply_init_state_and_a_native_check_decide() {
    let (agent, backend) = (ScriptedAgent::start(), GrpcBackend::start());
    let asks = |name: &str| {
        let (at, port) = (backend.addr(), agent.addr().port());
        format!("{at} agent-check agent-addr 127.0.0.1 agent-port {port} agent-inter 100ms agent-send \"{name}\\n\"")
    };
    let lines = [
        ("plain", asks("plain")),
        ("closed", format!("{} init-state fully-down", asks("closed"))),
        ("both", format!("{} init-state fully-down check inter 100ms rise 1", asks("both"))),
    ];
    let servers: Vec<(&str, &str)> = lines.iter().map(|(name, line)| (*name, line.as_str())).collect();
    let haproxy = proxy(&servers).file("vitals.toml", &without_checks()).start();
    poll::until(SOON, "a native check raises it alone", || status(&haproxy, "both") == "UP");
    let as_before = || shown(&haproxy)["plain"] == "up 1" && shown(&haproxy)["closed"] == "down 1";
    poll::always(SWEEP, "silence changes nothing", as_before);
    assert!(agent.asked("plain") > 3 && agent.asked("closed") > 3);
    agent.say("closed", "up\n");
    poll::until(SOON, "the first `up` raises it", || shown(&haproxy)["closed"] == "up 1");
    haproxy.finish();
}

#[test]
fn agent_send_is_sent_as_it_is_quoted() {
    let (agent, backend) = (ScriptedAgent::start(), GrpcBackend::start());
    let (at, port) = (backend.addr(), agent.addr().port());
    let ways = [
        ("double", r#""double\n""#, &b"double\n"[..]),
        ("single", r"'single\n'", b"single\\n"),
        ("bare", r"bare\n", b"bare\n"),
        ("fixed", r#""${FIXED}\n""#, b"fixed\n"),
        ("a_field", r#""%[be_name]/%[srv_name]\n""#, b"%[be_name]/%[srv_name]\n"),
    ];
    let line = |rest: &str| format!("{at} agent-check agent-addr 127.0.0.1 agent-port {port} agent-inter 100ms {rest}");
    let mut lines: Vec<(&str, String)> =
        ways.iter().map(|(name, quoted, _)| (*name, line(&format!("agent-send {quoted}")))).collect();
    lines.push(("silent", line("agent-inter 1s")));
    let servers: Vec<(&str, &str)> = lines.iter().map(|(name, line)| (*name, line.as_str())).collect();
    let haproxy = proxy(&servers).file("vitals.toml", &without_checks()).env("FIXED", "fixed").start();
    for (name, _, sent) in ways {
        let key = if name == "a_field" { "%[be_name]/%[srv_name]" } else { name };
        poll::until(SOON, &format!("{name} asks"), || agent.asked(key) > 0);
        assert_eq!(agent.heard(key), sent, "{name}");
    }
    // Without `agent-send`.
    poll::until(SOON, "it asks without a word", || agent.asked("") > 0);
    assert_eq!(agent.heard(""), b"");
    haproxy.finish();
}

#[test]
fn agent_is_switched_and_moved_at_run_time() {
    let (agent, other, backend) = (ScriptedAgent::start(), ScriptedAgent::start(), GrpcBackend::start());
    let (at, port) = (backend.addr(), agent.addr().port());
    let line = format!(
        "{at} weight 100 agent-check agent-addr 127.0.0.1 agent-port {port} agent-inter 100ms agent-send \"s\\n\""
    );
    let haproxy = proxy(&[("s", &line)]).file("vitals.toml", &without_checks()).start();
    let wait = |expected: &str| {
        let found = poll::try_until(SOON, || (shown(&haproxy)["s"] == expected).then_some(()));
        found.unwrap_or_else(|| panic!("{} and not {expected}", shown(&haproxy)["s"]));
    };
    let set = |what: &str| {
        let said = haproxy.cli(&format!("set server b/s {what}"));
        assert!(!said.to_lowercase().contains("usage") && !said.contains("error"), "{what}: {said}");
    };
    agent.say("s", Reply::Silence);
    agent.wait_heard(&["s"]);
    // By hand, while the agent says nothing: it stays so.
    for (word, shown) in [("down", "down 100"), ("up", "up 100")] {
        set(&format!("agent {word}"));
        wait(shown);
        agent.wait_heard(&["s"]);
        wait(shown);
    }
    other.say("s", "down\n");
    other.say("t", "up\n");
    set(&format!("agent-addr 127.0.0.1 port {}", other.addr().port()));
    wait("down 100");
    set("agent-send t");
    wait("up 100");
    assert_eq!(other.heard("t"), b"t");
    agent.say("t", "down\n");
    set(&format!("agent-port {port}"));
    wait("down 100");
    // Nobody listens: refused, and it stays as it is.
    agent.say("t", "up\n");
    wait("up 100");
    let closed = haproxy_vitals_tests::Port::reserve();
    set(&format!("agent-port {}", closed.number()));
    poll::always(SWEEP, "a refusal changes nothing", || shown(&haproxy)["s"] == "up 100");
    haproxy.finish();
}

#[test]
fn agent_that_raises_what_the_checks_hold_down_is_a_warning_once() {
    let (agent, backend) = (ScriptedAgent::start(), GrpcBackend::start());
    backend.set_not_serving("");
    let line = |name: &str| {
        let (at, port) = (backend.addr(), agent.addr().port());
        format!("{at} agent-check agent-addr 127.0.0.1 agent-port {port} agent-inter 100ms agent-send \"{name}\\n\"")
    };
    agent.say("s", "up\n");
    agent.say("weight", "50%\n");
    let haproxy = proxy(&[("s", &line("s")), ("weight", &line("weight"))]).file("vitals.toml", SETTINGS).start();
    let warned = || haproxy.log().matches("b/s was raised while its checks fail").count();
    poll::until(SOON, "a warning", || warned() == 1);
    agent.wait_heard(&["s", "weight"]);
    poll::always(SWEEP, "no other warning", || warned() == 1 && !haproxy.log_contains("b/weight was raised"));
    haproxy.finish();
}
