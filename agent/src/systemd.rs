//! What a service manager is told: `sd_notify(3)`, a datagram each. Without `NOTIFY_SOCKET` nothing.

use std::future::pending;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use haproxy_vitals::config::Environment;

/// The service manager.
pub(crate) struct Systemd {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Between two signs of life: half of what it allows.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// As the environment names it.
    pub(crate) fn of_process() -> Self {
        let socket = Environment::named("NOTIFY_SOCKET").and_then(|name| connect(&name));
        let micros = Environment::named("WATCHDOG_USEC").and_then(|text| text.parse().ok());
        let ours = Environment::named("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = micros.filter(|micros| ours && *micros > 0).map(|micros| Duration::from_micros(micros) / 2);
        Self { socket, watchdog }
    }

    /// It answers.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// It ends.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=answering those who have asked\n");
    }

    /// Shows for ever that it lives, where somebody looks.
    pub(crate) async fn feed_watchdog(&self) {
        let Some(period) = self.watchdog else { return pending().await };
        loop {
            self.tell("WATCHDOG=1\n");
            tokio::time::sleep(period).await;
        }
    }

    /// Nobody can be told that this failed.
    fn tell(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

/// A path, or after `@` a name without one.
fn connect(name: &str) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(rest) => SocketAddr::from_abstract_name(rest.as_bytes()),
        None => SocketAddr::from_pathname(name),
    };
    let socket = UnixDatagram::unbound().ok()?;
    // A manager that does not read holds up nobody.
    socket.set_nonblocking(true).ok()?;
    Some((socket, address.ok()?))
}
