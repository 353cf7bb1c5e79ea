//! An agent for `agent-check` that says what a test wants: what HAProxy makes of single replies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::poll::{self, SOON};

/// One agent for many servers: each is told apart by what its `agent-send` sends, without the line's end.
pub struct ScriptedAgent {
    address: SocketAddr,
    book: Arc<Mutex<BTreeMap<String, Asker>>>,
}

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// These bytes; then it closes the connection.
    Text(Vec<u8>),
    /// Nothing, until the other side has had enough.
    Silence,
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

#[derive(Default)]
struct Asker {
    reply: Option<Reply>,
    asked: usize,
    heard: Vec<u8>,
}

impl ScriptedAgent {
    /// Starts on a free port. Whoever has no reply gets silence. Its threads end with the tests.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let book: Arc<Mutex<BTreeMap<String, Asker>>> = Arc::default();
        let shared = Arc::clone(&book);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &book));
            }
        });
        Self { address, book }
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers `name` so from now on.
    pub fn say(&self, name: &str, reply: impl Into<Reply>) {
        self.book().entry(name.to_owned()).or_default().reply = Some(reply.into());
    }

    /// Returns when HAProxy has acted on what each of these is told now.
    #[track_caller]
    pub fn wait_heard(&self, names: &[&str]) {
        let before: Vec<usize> = names.iter().map(|name| self.asked(name)).collect();
        // One may be under way with the former reply; the second one after the next begins when that has been taken in.
        let is_heard = || names.iter().zip(&before).all(|(name, before)| self.asked(name) >= before + 3);
        poll::until(SOON, "HAProxy asks the agent", is_heard);
    }

    /// How often it was asked.
    pub fn asked(&self, name: &str) -> usize {
        self.book().get(name).map_or(0, |asker| asker.asked)
    }

    /// The bytes that came last.
    pub fn heard(&self, name: &str) -> Vec<u8> {
        self.book().get(name).map(|asker| asker.heard.clone()).unwrap_or_default()
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<String, Asker>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(mut stream: TcpStream, book: &Mutex<BTreeMap<String, Asker>>) {
    let mut heard = [0; 1024];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = stream.read(&mut heard).unwrap_or(0);
    let heard = &heard[..length];
    let text = String::from_utf8_lossy(heard);
    let name = text.trim_end().trim_end_matches("\\n").to_owned();
    let reply = {
        let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let asker = book.entry(name).or_default();
        asker.heard = heard.to_vec();
        asker.asked += 1;
        asker.reply.clone().unwrap_or(Reply::Silence)
    };
    match reply {
        Reply::Text(text) => drop(stream.write_all(&text)),
        Reply::Silence => {
            stream.set_read_timeout(Some(SOON)).unwrap();
            let _ = stream.read(&mut [0; 64]);
        }
    }
}

/// For HAProxy to send what it has to; less than what the cases take as `agent-inter`.
const PATIENCE: Duration = Duration::from_millis(50);
