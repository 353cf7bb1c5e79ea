//! A listening socket with a bounded crowd behind it: what the agent and the bridge have in common.

mod crowd;
mod socket;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::runtime::{Closer, Closing, Stop, Tasks};
use crate::stats::DoorStats;
use crowd::Crowd;
use socket::Socket;

pub(crate) use crowd::Seat;
pub use socket::ListenError;
pub(crate) use socket::{Place, Stream};

/// Accepts connections, and gives each a seat; when none is free the one that was idle the longest is closed.
pub(crate) struct Door {
    socket: Socket,
    crowd: Arc<Crowd>,
    closing: Closing,
    tasks: Tasks,
    /// For those who had come when it was closed.
    grace: Duration,
}

impl Door {
    /// Listens at `place` (`key` for errors), for at most `most` connections. On the runtime.
    pub(crate) fn bind(
        key: &'static str,
        place: &Place,
        most: usize,
        stats: &'static DoorStats,
        tasks: &Tasks,
    ) -> Result<Self, ListenError> {
        let socket = Socket::bind(key, place)?;
        let crowd = Arc::new(Crowd::new(most, stats));
        Ok(Self { socket, crowd, closing: Closing::new(), tasks: tasks.clone(), grace: GRACE })
    }

    /// The same, with at least so long for those who had come when it was closed.
    pub(crate) fn with_grace(self, grace: Duration) -> Self {
        Self { grace: grace.max(GRACE), ..self }
    }

    /// Closes it from elsewhere.
    pub(crate) fn closer(&self) -> Closer {
        self.closing.closer()
    }

    /// Where it listens, with the port that it got. None: on a path.
    pub(crate) fn address(&self) -> Option<std::net::SocketAddr> {
        self.socket.address()
    }

    /// Serves until the process stops or the door is closed, then those who had come by then. `serve` must return when its
    /// seat is taken from it.
    pub(crate) async fn run<F, W>(self, name: &'static str, serve: F, mut stop: Stop)
    where
        F: Fn(Stream, Seat) -> W,
        W: Future<Output = ()> + Send + 'static,
    {
        let Self { mut socket, crowd, closing, tasks, grace } = self;
        let admit = |stream| drop(tasks.spawn(name, serve(stream, Crowd::enter(&crowd))));
        let mut is_ours = true;
        loop {
            let accepted = tokio::select! {
                () = stop.wait() => break,
                () = closing.asked() => {
                    if socket.is_tcp() {
                        break;
                    }
                    is_ours = false;
                    continue;
                }
                accepted = socket.accept() => accepted,
                () = socket.is_lost(), if is_ours => {
                    is_ours = socket.take_back();
                    continue;
                }
            };
            match accepted {
                Ok(stream) => admit(stream),
                // No descriptor is free, most likely: not a reason to spin.
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
        socket.close(admit).await;
        let _ = timeout(grace, crowd.is_served()).await;
        drop(closing);
    }
}

/// After a failure to accept.
const BREATH: Duration = Duration::from_millis(100);
/// For those who had come when the door was closed: to ask, and to get their answer.
const GRACE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread;
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::watch;

    use super::*;

    static STATS: DoorStats = DoorStats::new();

    /// Answers one byte with one byte.
    async fn echo(mut stream: Stream, seat: Seat) {
        let Ok(byte) = stream.read_u8().await else { return };
        let _ = stream.write_u8(byte).await;
        seat.mark(false);
    }

    fn tasks() -> (Tasks, watch::Sender<bool>) {
        let (stop, stopped) = watch::channel(false);
        (Tasks::new(tokio::runtime::Handle::current(), stopped), stop)
    }

    fn door(address: SocketAddr, tasks: &Tasks) -> Door {
        Door::bind("agent.listen", &Place::Tcp(address), 4096, &STATS, tasks).unwrap()
    }

    fn free() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    /// Whether the connection, made before, is answered.
    fn is_answered(mut stream: &TcpStream) -> bool {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"x").is_ok() && stream.read(&mut [0]).is_ok_and(|read| read == 1)
    }

    /// One thread: nothing is accepted while the test does not wait.
    #[tokio::test]
    async fn who_waited_to_be_accepted_when_the_door_closed_is_answered() {
        for by_stop in [false, true] {
            let (tasks, stop) = tasks();
            let door = door(free(), &tasks);
            let (address, closer) = (door.address().unwrap(), door.closer());
            let waiting: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
            if by_stop {
                stop.send(true).unwrap();
            } else {
                closer.close();
            }
            let answered = thread::spawn(move || waiting.iter().filter(|stream| is_answered(stream)).count());
            door.run("test", echo, tasks.stop()).await;
            closer.ended().await;
            let answered = tokio::task::spawn_blocking(|| answered.join().unwrap()).await.unwrap();
            assert_eq!(answered, 200, "by_stop={by_stop}");
            assert!(TcpStream::connect(address).is_err(), "it still listens");
        }
    }

    #[tokio::test]
    async fn who_never_asks_keeps_the_door_for_a_moment_only() {
        let (tasks, _stop) = tasks();
        let door = door(free(), &tasks);
        let (address, closer) = (door.address().unwrap(), door.closer());
        let _silent = TcpStream::connect(address).unwrap();
        closer.close();
        let begin = Instant::now();
        door.run("test", echo, tasks.stop()).await;
        assert!((GRACE..GRACE * 10).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    }

    /// As reloads do it: the new one listens before the old one closes.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_connection_is_lost_when_a_port_is_handed_over() {
        let (tasks, _stop) = tasks();
        let (address, mut old) = listening(free(), &tasks);
        let askers = Askers::start(address);
        for _ in 0..20 {
            let (_, new) = listening(address, &tasks);
            askers.wait_for(50).await;
            old.close();
            old.ended().await;
            old = new;
        }
        askers.end().await;
    }

    /// Two reloads in one second: the second of three workers is closing too.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_connection_is_lost_when_two_of_three_close_at_once() {
        let (tasks, _stop) = tasks();
        let (address, mut old) = listening(free(), &tasks);
        let askers = Askers::start(address);
        for _ in 0..40 {
            let (_, second) = listening(address, &tasks);
            let (_, newest) = listening(address, &tasks);
            askers.wait_for(50).await;
            old.close();
            second.close();
            tokio::join!(old.ended(), second.ended());
            old = newest;
        }
        askers.end().await;
    }

    fn listening(address: SocketAddr, tasks: &Tasks) -> (SocketAddr, Closer) {
        let door = door(address, tasks);
        let (address, closer) = (door.address().unwrap(), door.closer());
        tasks.spawn("door", door.run("test", echo, tasks.stop()));
        (address, closer)
    }

    /// Four who ask again and again, each time over a new connection.
    struct Askers {
        threads: Vec<thread::JoinHandle<()>>,
        done: Arc<AtomicBool>,
        asked: Arc<AtomicUsize>,
        lost: Arc<AtomicUsize>,
    }

    impl Askers {
        fn start(address: SocketAddr) -> Self {
            let (done, asked, lost) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
            let begin = |_| {
                let (done, asked, lost) = (Arc::clone(&done), Arc::clone(&asked), Arc::clone(&lost));
                thread::spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        asked.fetch_add(1, Ordering::Relaxed);
                        let stream = TcpStream::connect(address).expect("somebody listens");
                        if !is_answered(&stream) {
                            lost.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            };
            Self { threads: (0..4).map(begin).collect(), done, asked, lost }
        }

        /// Waits until they have asked so often more.
        async fn wait_for(&self, more: usize) {
            let (so_far, end) = (self.asked.load(Ordering::Relaxed), Instant::now() + Duration::from_secs(10));
            while self.asked.load(Ordering::Relaxed) < so_far + more {
                assert!(Instant::now() < end, "nobody is answered");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }

        /// Every one of them got every answer.
        async fn end(self) {
            self.done.store(true, Ordering::Relaxed);
            let join = || self.threads.into_iter().for_each(|asker| asker.join().unwrap());
            tokio::task::spawn_blocking(join).await.unwrap();
            assert_eq!(self.lost.load(Ordering::Relaxed), 0, "of {}", self.asked.load(Ordering::Relaxed));
        }
    }
}
