//! The panic threshold beside maintenance and `init`.

use std::time::Duration;

use tonic_health::ServingStatus;

use super::servers;
use super::{Bench, Force, seen, seen_as};
use crate::config::InitState;
use crate::health::{Action, Checker, ServerSeen, ServerState};

fn bench(init: InitState) -> Bench {
    Bench::with(Duration::from_millis(50), |config| {
        (config.panic_threshold, config.init, config.fall) = (50, init, 1);
    })
}

fn state(checker: &Checker, server: &str) -> ServerState {
    checker.status("b", server).unwrap().state
}

fn in_maintenance(server: &str, address: std::net::SocketAddr) -> ServerSeen {
    ServerSeen { status: "MAINT".to_owned(), ..seen_as(server, address) }
}

#[tokio::test]
async fn servers_in_maintenance_do_not_count() {
    let (_healthy, aside) = servers::health().await;
    let (reporter, server) = servers::health().await;
    let at = server.address;
    let bench = bench(InitState::Down);
    let servers =
        [in_maintenance("m", aside.address), in_maintenance("n", aside.address), seen_as("s", at), seen_as("t", at)];
    bench.checker.sweep(&servers);
    bench.until_described("up: 4,").await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    bench.until_described("down: 2,").await;
    // Half of four are well, but nobody asks them.
    let up = ["s", "t"].map(|server| state(&bench.checker, server) == ServerState::Up);
    assert!(up[0] != up[1], "{}", bench.checker.describe());
    // Back in service they are enough.
    bench.checker.sweep(&["m", "n", "s", "t"].map(|name| seen_as(name, if name < "o" { aside.address } else { at })));
    assert_eq!(["s", "t"].map(|server| state(&bench.checker, server)), [ServerState::Down; 2]);
}

#[tokio::test]
async fn ill_servers_in_maintenance_bring_no_panic() {
    let (dead, aside) = servers::health().await;
    dead.set_service_status("", ServingStatus::NotServing).await;
    let ((_well, one), (reporter, other)) = (servers::health().await, servers::health().await);
    let bench = bench(InitState::Down);
    bench.checker.sweep(&[
        in_maintenance("m", aside.address),
        in_maintenance("n", aside.address),
        seen_as("s", one.address),
        seen_as("t", other.address),
    ]);
    bench.until_described("up: 2, drain: 0, down: 2").await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    bench.until_described("down: 3,").await;
    assert_eq!(state(&bench.checker, "t"), ServerState::Down, "{}", bench.checker.describe());
    assert_eq!(bench.said("the last good ones stay up"), 0);
}

#[tokio::test]
async fn servers_that_were_up_at_a_reload_are_the_last_good_ones() {
    let closed = servers::listen("127.0.0.1:0").await.local_addr().unwrap();
    for (init, status, kept) in [
        (InitState::Hold, "UP", true),
        (InitState::Hold, "DOWN", false),
        (InitState::Up, "no check", true),
        (InitState::Down, "no check", false),
    ] {
        let bench = bench(init);
        let server = |name: &str| ServerSeen { server: name.to_owned(), ..seen(closed, status) };
        bench.checker.initial(&[server("s"), server("t")]);
        bench.until_described("down: 2,").await;
        let forced: Vec<Action> = bench.checker.sweep(&[server("s"), server("t")]);
        let up = ["s", "t"].map(|server| state(&bench.checker, server) == ServerState::Up);
        assert_eq!(up.contains(&true), kept, "{init:?}: {}", bench.checker.describe());
        assert!(forced.iter().filter(|action| action.force == Some(Force::Down)).count() < 2 || !kept);
    }
}
