//! Which of the listeners that share a port gets a new connection (`SO_REUSEPORT`).

use std::time::Duration;

use nix::libc::{BPF_K, BPF_RET, sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
use tokio::net::TcpListener;

/// New connections go to the second of a port's listeners, for good: to the one of the worker that a reload brought, when
/// the one that is about to close is the first.
pub(crate) fn to_the_other(listener: &TcpListener) {
    to(listener, 1);
}

/// New connections go to any of a port's listeners, as if nobody had steered them.
pub(crate) fn to_all(listener: &TcpListener) {
    to(listener, u32::MAX);
}

/// socket(7), `SO_ATTACH_REUSEPORT_CBPF`: the program's result is the index of a listener, in the order in which they began
/// to listen; where there is none with that index the kernel chooses as it does without a program. One that refuses the
/// program chooses so too.
fn to(listener: &TcpListener, index: u32) {
    let Ok(code) = u16::try_from(BPF_RET | BPF_K) else { return };
    let mut program = [sock_filter { code, jt: 0, jf: 0, k: index }];
    let program = sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let _ = setsockopt(listener, AttachReusePortCbpf, &program);
}

/// Between the last connection's first packet and its being there to accept, on this machine or near it.
pub(crate) const HANDSHAKE: Duration = Duration::from_millis(10);
