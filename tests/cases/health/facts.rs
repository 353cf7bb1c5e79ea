//! What HAProxy 3.2 itself does, without the module: the ground that health checks stand on. Where one of these cases
//! fails with another HAProxy, the checker has to change.

mod calls;
mod events;
mod life;
mod shown;

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::{Haproxy, SOON, poll};

use super::{status, statuses};

/// A proxy with the backend `b`; somebody listens on `${port:open}` and nobody on `${port:closed}`.
fn plain(servers: &str) -> Builder {
    Haproxy::config(&CONFIG.replace("SERVERS", servers))
        .file("script.lua", SCRIPT)
        .allow_alert("has no server available")
}

/// Calls a method of a server of `b`: `SERVER METHOD [ARGUMENT]`; returns what it returns.
#[track_caller]
fn call(haproxy: &Haproxy, words: &str) -> String {
    haproxy.cli(&format!("call {words}")).trim_end().to_owned()
}

/// The same, for a method that returns nothing; returns what HAProxy shows of the server at once.
#[track_caller]
fn shown_after(haproxy: &Haproxy, words: &str) -> String {
    assert_eq!(call(haproxy, words), "nil", "{words}");
    status(haproxy, words.split(' ').next().unwrap())
}

/// Waits until HAProxy shows a server so.
#[track_caller]
fn wait_shown(haproxy: &Haproxy, server: &str, expected: &str) {
    let found = poll::try_until(SOON, || (status(haproxy, server) == expected).then_some(()));
    found.unwrap_or_else(|| panic!("{server} is not `{expected}`: {:?}", statuses(haproxy)));
}

const CONFIG: &str = "
global
  nbthread 2
.if version_atleast(3.1)
  tune.lua.bool-sample-conversion normal
.endif
  tune.lua.log.stderr on
  lua-load ${dir}/script.lua
defaults
  mode http
  timeout connect 500ms
  timeout client 15s
  timeout server 15s
  retries 0
frontend front
  bind 127.0.0.1:${port:http}
  default_backend b
frontend open
  bind 127.0.0.1:${port:open}
  http-request return status 200
backend b
SERVERS
";

/// A server that was called once is kept as an object, also when it is deleted.
const SCRIPT: &str = r#"
local kept = {}
core.register_cli({ "call" }, "call SERVER METHOD [ARGUMENT]", function(applet, _, name, method, argument)
    kept[name] = kept[name] or core.backends["b"].servers[name]
    if argument == "" then
        argument = nil
    end
    local result = kept[name][method](kept[name], argument)
    applet:send(tostring(result))
end)
core.register_cli({ "fresh" }, "fresh SERVER METHOD", function(applet, _, name, method)
    local server = core.backends["b"].servers[name]
    local result = server[method](server)
    applet:send(tostring(result))
end)
core.register_cli({ "status" }, "status SERVER", function(applet, _, name)
    applet:send(core.backends["b"].servers[name]:get_stats().status)
end)
core.register_cli({ "has" }, "has SERVER METHOD", function(applet, _, name, method)
    applet:send(type(core.backends["b"].servers[name][method]))
end)
"#;
