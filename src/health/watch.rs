//! `grpc.health.v1.Health/Watch`: the server tells each change; a Check now and then proves that the stream still lives.
//!
//! Where the server has no Watch, Checks go on for as long as the connection lives (health.proto: not to be retried).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::call::{Answer, Answers};
use super::fault::LinkFault;
use super::link::Link;
use super::outcome::{CheckResult, Class, Outcome};
use super::probe::GrpcProbe;
use super::schedule::{self, fenced};
use super::state::Weight;
use super::target::Target;
use crate::runtime::Stop;

/// Watches `target` until the process stops. Connecting and checking take part in `room`, waiting does not; `longest` is between
/// two attempts.
pub(crate) async fn run(
    target: Arc<Target>,
    mut probe: GrpcProbe,
    room: Arc<Semaphore>,
    mut stop: Stop,
    longest: Duration,
) {
    tokio::select! {
        () = sessions(&target, &mut probe, &room, longest) => {}
        () = stop.wait() => {}
    }
}

async fn sessions(target: &Target, probe: &mut GrpcProbe, room: &Semaphore, longest: Duration) {
    let mut backoff = Backoff::default();
    loop {
        let due = target.book().next;
        tokio::select! {
            () = sleep_until(due) => {}
            () = target.wanted_now() => {}
        }
        let begun = Instant::now();
        let end = Box::pin(fenced(session(target, probe, room))).await;
        target.book().watched = false;
        if end.is_none() {
            target.record(schedule::fault(), begun.elapsed(), Weight::Counted);
        }
        let pause = match end {
            Some(End::NotOffered) => {
                checks(target, probe, room).await;
                // When the next check would be due: some servers close every connection.
                continue;
            }
            // A server that restarts: the next attempt decides, at once.
            Some(End::Lost) if begun.elapsed() >= BASE => {
                backoff = Backoff::default();
                Duration::ZERO
            }
            Some(End::Lost) => {
                backoff = Backoff::default();
                backoff.next(rand::random()).min(longest)
            }
            Some(End::Failed) | None => backoff.next(rand::random()).min(longest),
        };
        target.book().next = Instant::now() + pause;
    }
}

/// How a session ended.
enum End {
    /// Without a word of the server's.
    Failed,
    /// After the server had told its state.
    Lost,
    /// The server has no Watch.
    NotOffered,
}

/// One connection with its streams, from the first to the last.
async fn session(target: &Target, probe: &mut GrpcProbe, room: &Semaphore) -> End {
    let (begun, link, mut feeds) = {
        let Ok(Ok(_permit)) = timeout(target.interval(), room.acquire()).await else {
            target.record(schedule::overdue(), Duration::ZERO, Weight::Counted);
            return End::Failed;
        };
        // The wait for room is ours: the server's time begins now.
        let begun = Instant::now();
        let fail = |result: CheckResult| {
            target.record(result, begun.elapsed(), Weight::Counted);
            End::Failed
        };
        let link = match probe.connect(begun + probe.profile.config.connect_timeout).await {
            Ok(link) => link,
            Err(fault) => return fail(probe.verdict(&fault)),
        };
        match open(probe, &link).await {
            Ok(feeds) => (begun, link, feeds),
            Err(Refusal::NotOffered) => {
                probe.keep(link);
                return End::NotOffered;
            }
            Err(Refusal::Told(result)) => {
                // NOT_FOUND is the stream's other form of SERVICE_UNKNOWN. Other codes may be of a proxy's, for a moment.
                let weight = match result.outcome {
                    Outcome::SoftFail(class) if class != Class::ServiceUnknown => Weight::Counted,
                    _ => Weight::Decisive,
                };
                target.record(result, begun.elapsed(), weight);
                return End::Failed;
            }
            Err(Refusal::Fault(fault)) => return fail(probe.verdict(&fault)),
        }
    };
    target.book().watched = true;
    target.record(feeds.verdict(), begun.elapsed(), Weight::Decisive);
    follow(target, probe, room, &link, &mut feeds).await;
    End::Lost
}

/// Until the stream ends, the server says good-bye, or a Check shows that it is dead.
async fn follow(target: &Target, probe: &mut GrpcProbe, room: &Semaphore, link: &Link, feeds: &mut Feeds) {
    let recheck = probe.profile.config.watch_recheck;
    let mut due = schedule::jittered(recheck, rand::random());
    let mut retired = pin!(link.retired(probe.profile.config.interval));
    loop {
        let check = Instant::now() + due;
        target.book().next = check;
        let heard = tokio::select! {
            heard = timeout_at(check, feeds.next()) => heard.ok(),
            () = target.wanted_now() => None,
            () = &mut retired => return,
        };
        match heard {
            Some(Some((index, status))) => {
                feeds.take(index, probe, &status);
                target.record(feeds.verdict(), Duration::ZERO, Weight::Decisive);
                // What a server may make us do by talking is bounded: the rest waits in its own buffers.
                sleep(PACE).await;
                due = check.saturating_duration_since(Instant::now());
            }
            Some(None) => return,
            None => {
                if !is_alive(target, probe, room, link).await {
                    return;
                }
                due = schedule::jittered(recheck, rand::random());
            }
        }
    }
}

/// One Check beside the stream; counted as any other.
async fn is_alive(target: &Target, probe: &mut GrpcProbe, room: &Semaphore, link: &Link) -> bool {
    let config = &probe.profile.config;
    let Ok(Ok(_permit)) = timeout(config.interval, room.acquire()).await else {
        target.record(schedule::overdue(), Duration::ZERO, Weight::Counted);
        return true;
    };
    let begun = Instant::now();
    match probe.ask(link, begun + config.rpc_timeout).await {
        Ok(result) => {
            target.record(result, begun.elapsed(), Weight::Counted);
            true
        }
        // The server wants a new connection, and has not looked at the request.
        Err(fault) if fault.is_retryable(true) => false,
        Err(fault) => {
            target.record(probe.verdict(&fault), begun.elapsed(), Weight::Counted);
            false
        }
    }
}

/// Checks instead, until the connection that has no Watch is gone.
async fn checks(target: &Target, probe: &mut GrpcProbe, room: &Semaphore) {
    let connection = probe.connections();
    target.book().next = Instant::now();
    while probe.connections() == connection {
        schedule::round(target, probe, room).await;
        if !probe.is_connected() {
            return;
        }
    }
}

/// Why there is no stream.
enum Refusal {
    NotOffered,
    Told(CheckResult),
    Fault(LinkFault),
}

/// Opens a stream for each service and waits for its first answer.
async fn open(probe: &GrpcProbe, link: &Link) -> Result<Feeds, Refusal> {
    let bound = probe.profile.config.rpc_timeout;
    let deadline = Instant::now() + bound;
    let mut feeds = Vec::new();
    for (service, opening) in probe.watches(link) {
        let late = LinkFault::Timeout(bound.as_millis());
        let (answers, first) = timeout_at(deadline, opening).await.unwrap_or(Err(late)).map_err(Refusal::Fault)?;
        match first {
            Answer::Code(UNIMPLEMENTED, _) => return Err(Refusal::NotOffered),
            // One service that is not known is the whole verdict: all must pass.
            Answer::Code(..) => return Err(Refusal::Told(probe.profile.policy.result(&first))),
            Answer::Status(_) => feeds.push(Feed { service, answers, last: probe.profile.policy.result(&first) }),
        }
    }
    Ok(Feeds(feeds))
}

/// The streams of one session.
struct Feeds(Vec<Feed>);

struct Feed {
    service: String,
    answers: Answers,
    last: CheckResult,
}

impl Feeds {
    /// The next message of any; none when one has ended.
    async fn next(&mut self) -> Option<(usize, Answer)> {
        poll_fn(|cx| {
            for (index, feed) in self.0.iter_mut().enumerate() {
                // A message's read loses nothing when it is given up: what has come stays in the feed.
                if let Poll::Ready(answer) = pin!(feed.answers.next()).as_mut().poll(cx) {
                    let message = answer.ok().filter(|answer| matches!(answer, Answer::Status(_)));
                    return Poll::Ready(message.map(|answer| (index, answer)));
                }
            }
            Poll::Pending
        })
        .await
    }

    fn take(&mut self, index: usize, probe: &GrpcProbe, answer: &Answer) {
        if let Some(feed) = self.0.get_mut(index) {
            feed.last = probe.profile.policy.result(answer);
        }
    }

    fn verdict(&self) -> CheckResult {
        CheckResult::worst(self.0.iter().map(|feed| (feed.service.as_str(), feed.last.clone())).collect())
    }
}

/// Pauses between attempts. gRPC's A17 and "Connection Backoff Protocol".
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: i32,
}

impl Backoff {
    /// The next pause: 1 s, each 1.6 times as long as the one before, at most 30 s, ± 20 %. `random` is 0 to 1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let pause = (BASE.as_secs_f64() * FACTOR.powi(self.failures)).min(MAX.as_secs_f64());
        self.failures = (self.failures + 1).min(MAX_FAILURES);
        Duration::from_secs_f64(pause * (1.0 - JITTER + 2.0 * JITTER * random.clamp(0.0, 1.0)))
    }
}

const BASE: Duration = Duration::from_secs(1);
const FACTOR: f64 = 1.6;
/// The longest pause, before its jitter.
const MAX: Duration = Duration::from_secs(30);
const JITTER: f64 = 0.2;
/// 1.6 to this power is beyond the longest pause.
const MAX_FAILURES: i32 = 20;

/// Between two messages of one server that are looked at.
const PACE: Duration = Duration::from_millis(10);

const UNIMPLEMENTED: i32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_with_jitter() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..40).map(|_| backoff.next(0.5).as_secs_f64()).collect();
        for (pause, expected) in pauses.iter().zip([1.0, 1.6, 2.56, 4.096]) {
            assert!((pause - expected).abs() < 0.001, "{pauses:?}");
        }
        assert!(pauses[8..].iter().all(|pause| (pause - 30.0).abs() < 0.001), "{pauses:?}");
        assert!((backoff.next(0.0).as_secs_f64() - 24.0).abs() < 0.001);
        assert!((backoff.next(1.0).as_secs_f64() - 36.0).abs() < 0.001);
    }
}
