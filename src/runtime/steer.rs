//! Listeners that may share a port (`SO_REUSEPORT`), and which of them gets a new connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::libc::{BPF_K, BPF_RET, sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::sleep;

/// Listens on `address`, where others may listen too if it is `shared`. `backlog`: connections that wait to be accepted.
pub(crate) fn listen(address: SocketAddr, shared: bool, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    let listener = socket.listen(backlog)?;
    // Who closed before has left the port steered.
    to_all(&listener);
    Ok(listener)
}

/// Sends newcomers to another of a port's listeners, for good: to the one of the worker that a reload brought, before this one
/// closes. `take` takes those who came to this one all the same, and tells how many.
///
/// A listener does not know its place among them, and who closes changes the others' places. So places are tried until nobody
/// comes here any more; where there is no other, until all were tried.
pub(crate) async fn away(listener: &impl AsFd, mut take: impl FnMut() -> usize) {
    for place in PLACES {
        to(listener, place);
        // Handshakes that have begun here end here.
        sleep(HANDSHAKE).await;
        take();
        sleep(HANDSHAKE).await;
        if take() == 0 {
            return;
        }
    }
}

/// New connections go to any of a port's listeners, as if nobody had steered them.
fn to_all(listener: &impl AsFd) {
    to(listener, u32::MAX);
}

/// socket(7), `SO_ATTACH_REUSEPORT_CBPF`: the program's result is the index of a listener, in the order in which they began
/// to listen; where there is none with that index the kernel chooses as it does without a program. One that refuses the
/// program chooses so too.
fn to(listener: &impl AsFd, index: u32) {
    let Ok(code) = u16::try_from(BPF_RET | BPF_K) else { return };
    let mut program = [sock_filter { code, jt: 0, jf: 0, k: index }];
    let program = sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let _ = setsockopt(listener, AttachReusePortCbpf, &program);
}

/// The second first: as a rule the old worker is the first, and the new one the second. Again and again: others may be closing too.
const PLACES: [u32; 9] = [1, 0, 2, 1, 0, 2, 1, 0, 2];
/// Between the last connection's first packet and its being there to accept, on this machine or near it.
const HANDSHAKE: Duration = Duration::from_millis(10);
