//! From the first answer to the last: signals, and what systemd is told.

use haproxy_vitals::standalone::{Standalone, StandaloneCloser};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::systemd::Systemd;

/// Answers until `SIGTERM` or `SIGINT`, then lets those who have asked have their answers. A second signal ends it at once.
pub(crate) fn until_told(standalone: Standalone) -> Result<(), String> {
    let _inside = standalone.tasks().enter();
    let signals = Signals::catch().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let (done, end) = oneshot::channel();
    // On the runtime's own threads: a watchdog that is fed elsewhere would tell nothing of them.
    let life =
        live(signals, Systemd::of_process(), standalone.closer(), format!("answering at {}", standalone.address()));
    standalone.tasks().spawn("life", async move {
        life.await;
        let _ = done.send(());
    });
    let ended = standalone.wait(end);
    standalone.finish();
    ended.map_err(|_| "a fault ended the program".to_owned())
}

async fn live(mut signals: Signals, systemd: Systemd, closer: StandaloneCloser, status: String) {
    systemd.ready(&status);
    tokio::select! {
        () = signals.stop() => {}
        () = systemd.feed_watchdog() => {}
    }
    systemd.stopping();
    tokio::select! {
        () = signals.stop() => {}
        () = systemd.feed_watchdog() => {}
        () = closer.close() => {}
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when somebody wants the program to end. `SIGHUP` means nothing: a log file that was moved away is noticed without it.
    async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {}
            }
        }
    }
}
