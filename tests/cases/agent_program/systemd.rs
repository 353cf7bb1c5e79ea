//! What a service manager is told.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use haproxy_vitals_tests::{AgentBuilder, SOON};
use nix::sys::signal::Signal;

fn next(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 1024];
    let read = socket.recv(&mut bytes).expect("a message");
    String::from_utf8(bytes[..read].to_vec()).unwrap()
}

#[test]
fn it_is_told_of_the_start_of_life_and_of_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify").display().to_string();
    let name = format!("@vitals-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
    for (socket, name) in
        [(UnixDatagram::bind(&path).unwrap(), path), (UnixDatagram::bind_addr(&abstract_name).unwrap(), name)]
    {
        socket.set_read_timeout(Some(SOON)).unwrap();
        let mut agent = AgentBuilder::new().env("NOTIFY_SOCKET", &name).env("WATCHDOG_USEC", "200000").start();
        let ready = next(&socket);
        assert!(ready.starts_with("READY=1\nSTATUS=answering at 127.0.0.1:"), "{ready}");
        assert_eq!([next(&socket), next(&socket)], ["WATCHDOG=1\n", "WATCHDOG=1\n"]);
        agent.signal(Signal::SIGTERM);
        let told = std::iter::repeat_with(|| next(&socket)).find(|text| text != "WATCHDOG=1\n").unwrap();
        assert!(told.starts_with("STOPPING=1\n"), "{told}");
        assert_eq!(agent.wait_exit(SOON).code(), Some(0));
    }
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let other = std::process::id().to_string();
    let builder = AgentBuilder::new().env("NOTIFY_SOCKET", path.to_str().unwrap());
    let _agent = builder.env("WATCHDOG_USEC", "50000").env("WATCHDOG_PID", &other).start();
    assert!(next(&socket).starts_with("READY=1"));
    assert!(socket.recv(&mut [0; 64]).is_err());
}
