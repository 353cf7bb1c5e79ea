//! Which of the listeners that share a port gets a new connection (`SO_REUSEPORT`).

use nix::libc::{BPF_K, BPF_RET, sock_filter, sock_fprog};
use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
use tokio::net::TcpListener;

/// New connections go to the second of a port's listeners, for good: to the one of the worker that a reload brought, when
/// the one that is about to close is the first. socket(7), `SO_ATTACH_REUSEPORT_CBPF`: the program's result is the index
/// of a listener, in the order in which they began to listen; where there is none with that index, as after the first has
/// closed, the kernel chooses as it does without a program. A kernel that refuses it is one too.
pub(super) fn to_the_other(listener: &TcpListener) {
    let Ok(code) = u16::try_from(BPF_RET | BPF_K) else { return };
    let mut program = [sock_filter { code, jt: 0, jf: 0, k: 1 }];
    let program = sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let _ = setsockopt(listener, AttachReusePortCbpf, &program);
}
