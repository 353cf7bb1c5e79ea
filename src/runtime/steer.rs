//! Listeners that share a port (`SO_REUSEPORT`), and how one of them leaves it without losing a connection.
//!
//! A socket that listens resets whoever waits in it when it is closed. So who leaves first sends newcomers to another of the
//! port's listeners, then answers those who had come, and closes. Whom the kernel sends where changes when a listener goes: they
//! leave one after the other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdTcpListener, TcpStream as StdTcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram};
use std::time::Duration;

use nix::libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

/// Listens on `address`, where others may listen too if it is `shared`. `backlog`: connections that wait to be accepted.
pub(crate) fn listen(address: SocketAddr, shared: bool, backlog: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    socket.listen(backlog)
}

/// Closes `listener`, which never blocks, and gives those who have come to it to `give`. Newcomers are answered by another of
/// the port's listeners, where there is one: the one of the worker that a reload brought. Takes 20 to 100 ms, and
/// [`TURN`] more where others are leaving too.
pub(crate) async fn leave(listener: StdTcpListener, mut give: impl FnMut(TcpStream)) {
    let turn = turn(&listener, &mut give).await;
    if others_take_over(&listener, &mut give).await {
        // From now on only an error of ours could bring somebody. Who is not let in comes again after a second.
        let _ = SockRef::from(&listener).attach_filter(&no_newcomers());
    }
    for _ in 0..ROUNDS {
        // Handshakes that have begun here end here.
        sleep(HANDSHAKE).await;
        if take(&listener, &mut give, None).0 == 0 {
            break;
        }
    }
    drop(listener);
    drop(turn);
}

/// The right to leave, of one listener of an address at a time, in whatever process: a name that only one socket can have.
/// Waits at most [`TURN`] for it; who came meanwhile is given out. `None` where it was not to be had.
async fn turn(listener: &StdTcpListener, give: &mut impl FnMut(TcpStream)) -> Option<UnixDatagram> {
    let name = format!("haproxy-vitals leaves {}", listener.local_addr().ok()?);
    let address = UnixAddress::from_abstract_name(name).ok()?;
    let end = Instant::now() + TURN;
    loop {
        match UnixDatagram::bind_addr(&address) {
            Ok(socket) => return Some(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => sleep(LOOK).await,
            Err(_) => return None,
        }
        take(listener, give, None);
    }
}

/// Whether newcomers go elsewhere. A listener does not know its place among a port's listeners, but one of the first two is not
/// its own, where there is another: so both are tried, with a connection of our own.
async fn others_take_over(listener: &StdTcpListener, give: &mut impl FnMut(TcpStream)) -> bool {
    // As a rule the old worker is the first, and the new one the second.
    for place in [1, 0] {
        to(listener, place);
        let Some((probe, from)) = probe(listener).await else { continue };
        sleep(HANDSHAKE).await;
        if !take(listener, give, Some(from)).1 {
            return true;
        }
        drop(probe);
    }
    false
}

/// A connection to whoever gets the next one, and where it comes from. `None` where none can be had: nothing is known then.
async fn probe(listener: &StdTcpListener) -> Option<(TcpStream, SocketAddr)> {
    let mut address = listener.local_addr().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let stream = timeout(PROBE, TcpStream::connect(address)).await.ok()?.ok()?;
    let from = stream.local_addr().ok()?;
    Some((stream, from))
}

/// Gives out those who wait, at most [`MAX_WAITING`]: how many, and whether `probe` is among them, who is not given out.
fn take(listener: &StdTcpListener, give: &mut impl FnMut(TcpStream), probe: Option<SocketAddr>) -> (usize, bool) {
    let (mut taken, mut is_here) = (0, false);
    while taken < MAX_WAITING {
        match listener.accept() {
            Ok((_, peer)) if Some(peer) == probe => is_here = true,
            Ok((stream, _)) => {
                taken += 1;
                if let Ok(stream) = into_tokio(stream) {
                    give(stream);
                }
            }
            // It has left already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => break,
        }
    }
    (taken, is_here)
}

fn into_tokio(stream: StdTcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// socket(7), `SO_ATTACH_REUSEPORT_CBPF`: the program's result is the index of a listener, in the order in which they began
/// to listen, where one that goes is replaced by the last; where there is none with that index the kernel chooses as it does
/// without a program. One that refuses the program chooses so too.
fn to(listener: &StdTcpListener, index: u32) {
    let Ok(code) = u16::try_from(BPF_RET | BPF_K) else { return };
    let mut program = [sock_filter { code, jt: 0, jf: 0, k: index }];
    let program = sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let _ = setsockopt(listener, AttachReusePortCbpf, &program);
}

/// socket(7), `SO_ATTACH_FILTER`: of what a listener receives, what begins a connection (SYN without ACK, RFC 9293, 3.1) is
/// dropped, and the rest let through.
fn no_newcomers() -> [SockFilter; 5] {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    let code = |code: u32| u16::try_from(code).unwrap_or_default();
    [
        SockFilter::new(code(BPF_LD | BPF_B | BPF_ABS), 0, 0, FLAGS),
        SockFilter::new(code(BPF_ALU | BPF_AND | BPF_K), 0, 0, SYN | ACK),
        SockFilter::new(code(BPF_JMP | BPF_JEQ | BPF_K), 0, 1, SYN),
        SockFilter::new(code(BPF_RET | BPF_K), 0, 0, 0),
        SockFilter::new(code(BPF_RET | BPF_K), 0, 0, u32::MAX),
    ]
}

/// For others who are leaving the same port.
const TURN: Duration = Duration::from_millis(500);
/// Between two looks at whether they have left.
const LOOK: Duration = Duration::from_millis(2);
/// Between the last connection's first packet and its being there to accept, on this machine or near it.
const HANDSHAKE: Duration = Duration::from_millis(10);
/// For a connection of our own to be made.
const PROBE: Duration = Duration::from_millis(100);
/// Looks at who has come, at the end. More than one come only while nobody else listens.
const ROUNDS: u32 = 8;
/// Taken at once from those who wait to be accepted; more come only while nobody else listens on the port.
const MAX_WAITING: usize = 2048;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn who_has_come_goes_on_and_newcomers_wait() {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut early = StdTcpStream::connect(address).unwrap();
        SockRef::from(&listener).attach_filter(&no_newcomers()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        early.write_all(b"x").unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        let late = StdTcpStream::connect_timeout(&address, Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        // A moment later they come to the one who is left.
        let waiting =
            std::thread::spawn(move || StdTcpStream::connect_timeout(&address, Duration::from_secs(10)).is_ok());
        SockRef::from(&listener).detach_filter().unwrap();
        assert!(listener.accept().is_ok());
        assert!(waiting.join().unwrap());
    }

    #[tokio::test]
    async fn others_are_found_wherever_they_stand_and_the_last_one_finds_nobody() {
        let first = listen((Ipv4Addr::LOCALHOST, 0).into(), true, 8).unwrap();
        let address = first.local_addr().unwrap();
        let mut listeners = vec![first];
        listeners.extend((0..3).map(|_| listen(address, true, 8).unwrap()));
        // The second, which the last replaces, until there is none; then the first.
        while !listeners.is_empty() {
            let listener = listeners.swap_remove(1.min(listeners.len() - 1)).into_std().unwrap();
            assert_eq!(others_take_over(&listener, &mut drop).await, !listeners.is_empty(), "{}", listeners.len());
        }
    }
}
