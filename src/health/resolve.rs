//! Names: from one to its addresses, and from those to a connection.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::fault::LinkFault;
use super::outcome::printable;
use crate::runtime::Tasks;

/// The addresses of `host`, at most [`MAX_ADDRESSES`], in the order in which to try them. The system's resolver cannot be
/// called off: a look-up goes on when the caller has left, and few may be under way.
pub(super) async fn look_up(host: &str, port: u16, tasks: &Tasks) -> Result<Vec<SocketAddr>, LinkFault> {
    let fault = |reason: &str| LinkFault::Dns { host: host.to_owned(), reason: printable(reason) };
    let permit = LOOK_UPS.acquire().await.map_err(|_| fault("stopping"))?;
    let (name, (tell, told)) = (host.to_owned(), oneshot::channel());
    tasks.spawn("health look-up", async move {
        let _permit = permit;
        let found = lookup_host((name, port)).await.map(Iterator::collect::<Vec<_>>);
        // Who asked may have left.
        let _ = tell.send(found);
    });
    let found = told.await.unwrap_or_else(|_| Err(io::Error::other("the look-up was ended")));
    found.map(alternate).map_err(|error| fault(&error.to_string()))
}

/// Connects by `attempt` to the first of `addresses` that answers: the next one is tried when the one before has failed, or
/// not answered for [`STAGGER`]. RFC 8305, section 5.
pub(super) async fn first<T, F>(addresses: Vec<SocketAddr>, attempt: impl Fn(SocketAddr) -> F) -> Result<T, LinkFault>
where
    F: Future<Output = Result<T, LinkFault>>,
{
    let mut left = addresses.into_iter();
    let mut under_way = Vec::new();
    let mut failure = LinkFault::Connect("no address".to_owned());
    loop {
        match left.next() {
            Some(address) => under_way.push(Box::pin(attempt(address))),
            None if under_way.is_empty() => return Err(failure),
            None => {}
        }
        let end = any(&mut under_way);
        let end = if left.len() == 0 { Some(end.await) } else { timeout(STAGGER, end).await.ok() };
        match end {
            Some(Ok(found)) => return Ok(found),
            Some(Err(fault)) => failure = fault,
            None => {}
        }
    }
}

/// Waits for the first of them that ends, and takes it out.
async fn any<F: Future>(under_way: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        for (index, attempt) in under_way.iter_mut().enumerate() {
            if let Poll::Ready(end) = attempt.as_mut().poll(cx) {
                drop(under_way.swap_remove(index));
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    })
    .await
}

/// RFC 8305, section 4: families take turns, so that one that leads nowhere does not take all the time.
fn alternate(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let begins_with_ipv6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == begins_with_ipv6);
    let turns = first.len().max(second.len());
    let turn = |index: usize| first.get(index).into_iter().chain(second.get(index)).copied();
    (0..turns).flat_map(turn).take(MAX_ADDRESSES).collect()
}

/// Look-ups under way at once. Of the threads for blocking work, which certificates and exporters need too, one is left.
const MAX_LOOK_UPS: usize = 3;
static LOOK_UPS: Semaphore = Semaphore::const_new(MAX_LOOK_UPS);

/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// From one attempt to the next. RFC 8305, section 8: at least 100 ms; so all find room in a second.
const STAGGER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use tokio::time::Instant;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_leads_nowhere_does_not_take_all_the_time() {
        let (nowhere, good) = (address("[2001:db8::1]:1"), address("192.0.2.1:1"));
        let attempt = |to: SocketAddr| async move {
            if to == nowhere {
                std::future::pending::<()>().await;
            }
            Ok(to)
        };
        let begun = Instant::now();
        assert_eq!(first(vec![nowhere, nowhere, good], attempt).await, Ok(good));
        assert_eq!(begun.elapsed(), 2 * STAGGER);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_slow_may_still_win_and_failures_wait_for_nobody() {
        let (slow, refused) = (address("192.0.2.1:1"), address("192.0.2.2:1"));
        let tried = Mutex::new(Vec::new());
        let attempt = |to: SocketAddr| {
            tried.lock().unwrap().push(to);
            async move {
                if to == refused {
                    return Err(LinkFault::Connect("refused".to_owned()));
                }
                tokio::time::sleep(Duration::from_millis(450)).await;
                Ok(to)
            }
        };
        let begun = Instant::now();
        assert_eq!(first(vec![refused, slow, refused], attempt).await, Ok(slow));
        assert_eq!(begun.elapsed(), Duration::from_millis(450));
        assert_eq!(*tried.lock().unwrap(), [refused, slow, refused]);
        assert_eq!(first(vec![refused, refused], attempt).await, Err(LinkFault::Connect("refused".to_owned())));
        assert_eq!(first(Vec::new(), attempt).await, Err(LinkFault::Connect("no address".to_owned())));
    }

    #[test]
    fn families_take_turns() {
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"].map(address).to_vec();
        let expected = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"].map(address);
        assert_eq!(alternate(given), expected);
        let many = (1..=20).map(|port| SocketAddr::from(([10, 0, 0, 1], port))).collect();
        assert_eq!(alternate(many).len(), MAX_ADDRESSES);
        assert!(alternate(Vec::new()).is_empty());
    }

    #[test]
    fn a_resolver_that_hangs_leaves_a_thread_for_others() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        // No look-up can begin.
        let (end, hangs) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || hangs.recv());
        runtime.block_on(async {
            let tasks = Tasks::new(tokio::runtime::Handle::current(), tokio::sync::watch::channel(false).1);
            for _ in 0..20 {
                let waits = timeout(Duration::from_millis(5), look_up("localhost", 1, &tasks));
                assert!(waits.await.is_err());
            }
            assert_eq!(runtime.metrics().num_alive_tasks(), MAX_LOOK_UPS);
            drop(end);
            let found = look_up("localhost", 1, &tasks).await.unwrap();
            assert!(found.iter().all(|address| address.ip().is_loopback()) && !found.is_empty());
        });
    }
}
