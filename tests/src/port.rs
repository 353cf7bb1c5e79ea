//! Free ports that stay free until their user binds them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// A port of 127.0.0.1 held for somebody who binds it later, perhaps several times.
///
/// The holder is a socket that is bound with `SO_REUSEPORT` and never listens: connections to the port are refused until
/// somebody else listens on it, the kernel gives the port to nobody else (neither to `bind` nor to an outgoing connection),
/// and HAProxy, which sets `SO_REUSEPORT` too, may bind it at any time. A port that nobody binds is a dead server's address.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _holder: Socket,
}

impl Port {
    /// Takes a free port of the kernel's choice.
    pub fn reserve() -> Self {
        let holder = reusable(0);
        let number = holder.local_addr().unwrap().as_socket().unwrap().port();
        Self { number, _holder: holder }
    }

    /// The number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The number with its address.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }

    /// Listens on it. Closing the listener leaves the port reserved.
    pub fn listen(&self) -> TcpListener {
        let socket = reusable(self.number);
        socket.listen(1024).unwrap();
        socket.into()
    }
}

fn reusable(number: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, number));
    socket.bind(&address.into()).unwrap_or_else(|e| panic!("cannot bind {address}: {e}"));
    socket
}
