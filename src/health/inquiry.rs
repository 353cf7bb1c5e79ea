//! What HAProxy knows of its servers and Lua cannot see (`ssl`, the name on the line), asked from its stats socket.
//!
//! Asked at the start, when a server appears or gets another address, and every [`SWEEP`]. What is learnt goes to the registry.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::outcome::printable;
use super::servers_state::Answer;
use super::stats_socket::{self, AskError};
use super::voice::Voice;
use crate::config::StatsSocket;
use crate::log::{Level, RateLimit};
use crate::runtime::Stop;

/// The asking, as the registry and the operator see it.
pub(crate) struct Inquiry {
    socket: StatsSocket,
    voice: Arc<Voice>,
    wanted: Notify,
    /// Somebody may be waiting.
    arrived: Notify,
    book: Mutex<Book>,
}

struct Book {
    answers: u64,
    failures: u64,
    /// Lines of answers that could not be read.
    malformed: u64,
    /// Since when no answer has come; absent while they come.
    failing: Option<Instant>,
    /// Lines about failures.
    told: RateLimit,
    /// Lines about servers that nothing was told of in time.
    late: RateLimit,
}

/// Who takes in what is learnt.
pub(crate) trait Learner: Send {
    /// Takes an answer in that was asked for at `asked`.
    fn learn(&self, answer: &Answer<'_>, asked: Instant);

    /// Lets those go on who have waited long enough. When the next of them has; `None`: nobody waits.
    fn settle(&self) -> Option<Instant>;
}

impl Inquiry {
    /// Asks nobody yet.
    pub(crate) fn new(socket: StatsSocket, voice: Arc<Voice>) -> Self {
        let (told, late) = (RateLimit::per(REPEAT), RateLimit::per(REPEAT));
        let book = Book { answers: 0, failures: 0, malformed: 0, failing: None, told, late };
        Self { socket, voice, wanted: Notify::new(), arrived: Notify::new(), book: Mutex::new(book) }
    }

    /// There is a server of which to learn.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
        self.arrived.notify_one();
    }

    /// Nobody need wait: no answer has come for so long.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.book().failing.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// A server goes on unencrypted, because nothing was told of it in time.
    pub(crate) fn is_late(&self, backend: &str, server: &str) {
        if let Some(more) = self.book().late.pass(Instant::now().into_std()) {
            let more = if more == 0 { String::new() } else { format!(" ({more} more since it was last said)") };
            self.voice.say(
                Level::Warning,
                format!(
                    "{backend}/{server}: health.stats_socket has not told whether it is encrypted: checked without \
                     TLS until it does{more}"
                ),
            );
        }
    }

    /// For the summary of `show vitals health`.
    pub(crate) fn describe(&self, text: &mut String) {
        let Book { answers, failures, malformed, .. } = *self.book();
        let _ = write!(text, ", stats socket: {answers} answers, {failures} failures");
        if malformed > 0 {
            let _ = write!(text, ", {malformed} lines not understood");
        }
    }

    /// Asks for as long as there is a learner, until the process stops. `learner` is `None` at the end.
    pub(crate) async fn run<L: Learner>(
        self: Arc<Self>,
        learner: impl Fn() -> Option<L> + Send + Sync,
        mut stop: Stop,
    ) {
        tokio::select! {
            () = self.ask(&learner) => {}
            () = self.release(&learner) => {}
            () = stop.wait() => {}
        }
    }

    async fn ask<L: Learner>(&self, learner: &(impl Fn() -> Option<L> + Sync)) {
        let mut delay = MIN_GAP;
        loop {
            let begun = Instant::now();
            let is_answered = self.note(self.round(learner, begun).await);
            let Some(waiting) = learner().map(|learner| learner.settle()) else { return };
            // Never more than a tenth of the time.
            sleep(MIN_GAP.max(begun.elapsed().saturating_mul(9)).min(SWEEP)).await;
            if is_answered {
                delay = MIN_GAP;
                if waiting.is_none() {
                    let _ = timeout_at(begun + SWEEP, self.wanted.notified()).await;
                }
            } else if waiting.is_none() {
                sleep(delay).await;
                delay = delay.saturating_mul(2).min(SWEEP);
            }
        }
    }

    /// Servers do not wait for longer than [`PATIENCE`], whatever becomes of the questions.
    async fn release<L: Learner>(&self, learner: &(impl Fn() -> Option<L> + Sync)) {
        while let Some(waiting) = learner().map(|learner| learner.settle()) {
            match waiting {
                Some(due) => sleep_until(due).await,
                None => self.arrived.notified().await,
            }
        }
    }

    async fn round<L: Learner>(
        &self,
        learner: &(impl Fn() -> Option<L> + Sync),
        asked: Instant,
    ) -> Result<usize, AskError> {
        let text = stats_socket::ask(&self.socket).await?;
        let answer = Answer::parse(&text)?;
        let own = std::process::id();
        if answer.pid != own {
            return Err(AskError::Stranger { found: answer.pid, own });
        }
        if let Some(learner) = learner() {
            learner.learn(&answer, asked);
        }
        Ok(answer.malformed)
    }

    /// Counts a round, and says what lasts. True when there was an answer.
    fn note(&self, outcome: Result<usize, AskError>) -> bool {
        let mut book = self.book();
        let problem = match outcome {
            Ok(malformed) => {
                book.answers += 1;
                book.malformed += malformed as u64;
                if book.failing.take().is_some_and(|since| since.elapsed() >= PATIENCE) {
                    book.told.reset();
                    self.voice.say(Level::Notice, "health.stats_socket answers again".to_owned());
                }
                return true;
            }
            Err(problem) => problem,
        };
        book.failures += 1;
        let since = *book.failing.get_or_insert_with(Instant::now);
        // A start or a reload takes a moment.
        if since.elapsed() >= PATIENCE
            && let Some(more) = book.told.pass(Instant::now().into_std())
        {
            let more = if more == 0 { String::new() } else { format!(" ({more} more since it was last said)") };
            let problem = printable(&problem.to_string());
            let text = format!(
                "health.stats_socket {}: {problem}: encryption and names of servers are not learnt{more}",
                self.socket
            );
            self.voice.say(Level::Warning, text);
        }
        false
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a server waits to be told of before it is checked as far as it is known.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// From one answer to the next question when nothing happens: what no event tells is learnt by then.
const SWEEP: Duration = Duration::from_secs(10);
/// Between two questions at least.
const MIN_GAP: Duration = Duration::from_millis(100);
/// A failure, or a server that waited in vain, is said at most this often.
const REPEAT: Duration = Duration::from_mins(1);
