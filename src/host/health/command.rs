//! `vitals health` and `show vitals health` on the stats socket.

use mlua::prelude::*;

use super::super::{process, show};
use crate::health::Checker;
use crate::log::{self, Level};

/// Puts `health_command` and `health_usage` into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native.set("health_usage", format!("{USAGE} : keep a server's state, let it follow its checks, check it now"))?;
    native.set("health_command", lua.create_function(|_, words: Vec<LuaString>| Ok(answer(&show::text(&words))))?)
}

/// The text of `show vitals health WORDS...`: all, one backend, or one server.
pub(in crate::host) fn show(words: &[String]) -> String {
    let Some(checker) = process::checker() else { return OFF.to_owned() };
    let text = checker.describe();
    let mut words = words.iter().filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return text };
    if words.next().is_some() {
        return "expected no more than BACKEND or BACKEND/SERVER; usage: show vitals health [BACKEND[/SERVER]]\n"
            .to_owned();
    }
    let lines: String = text.lines().filter(|line| is_about(line, name)).flat_map(|line| [line, "\n"]).collect();
    if lines.is_empty() { format!("no server of {name} is known; `show vitals health` lists all\n") } else { lines }
}

/// Whether a line is about the backend or the server `name`.
fn is_about(line: &str, name: &str) -> bool {
    let Some(server) = line.split(' ').next().filter(|word| word.contains('/')) else { return false };
    server == name || server.split_once('/').is_some_and(|(backend, _)| backend == name)
}

/// The answer to `vitals health WORDS...`, one line.
fn answer(words: &[String]) -> String {
    let Some(checker) = process::checker() else { return OFF.to_owned() };
    match Command::parse(words).and_then(|command| command.run(&checker)) {
        Ok(line) => format!("{line}\n"),
        Err(problem) => format!("{problem}\n"),
    }
}

/// What is to be done, and to which server.
#[derive(Debug, PartialEq)]
struct Command<'a> {
    verb: Verb,
    backend: &'a str,
    server: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Hold,
    Release,
    Check,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("expected hold, release or check, found {0}; usage: {USAGE}")]
    Verb(String),
    #[error("expected BACKEND/SERVER, found {0}; usage: {USAGE}")]
    Server(String),
    #[error("expected nothing behind BACKEND/SERVER, found `{0}`; usage: {USAGE}")]
    TooMuch(String),
    #[error("{0}/{1} is not checked; `show vitals health` lists the servers that are")]
    NotChecked(String, String),
}

impl<'a> Command<'a> {
    fn parse(words: &'a [String]) -> Result<Self, CommandError> {
        let mut words = words.iter().map(String::as_str).filter(|word| !word.is_empty());
        let verb = match words.next() {
            Some("hold") => Verb::Hold,
            Some("release") => Verb::Release,
            Some("check") => Verb::Check,
            other => return Err(CommandError::Verb(found(other))),
        };
        let name = words.next();
        let Some((backend, server)) = name.and_then(|name| name.split_once('/')) else {
            return Err(CommandError::Server(found(name)));
        };
        match words.next() {
            None => Ok(Self { verb, backend, server }),
            Some(word) => Err(CommandError::TooMuch(word.to_owned())),
        }
    }

    fn run(&self, checker: &Checker) -> Result<String, CommandError> {
        let Self { verb, backend, server } = *self;
        let (done, said) = match verb {
            Verb::Hold => (checker.hold(backend, server), "keeps its state until `vitals health release`"),
            Verb::Release => (checker.release(backend, server), "follows its checks"),
            Verb::Check => {
                (checker.check_now(backend, server), "is checked now; `show vitals health` tells the result")
            }
        };
        if !done {
            return Err(CommandError::NotChecked(backend.to_owned(), server.to_owned()));
        }
        let line = format!("{backend}/{server} {said}");
        if verb != Verb::Check {
            log::say(Level::Notice, format!("{line} (stats socket)"));
        }
        Ok(line)
    }
}

fn found(word: Option<&str>) -> String {
    word.map_or_else(|| "nothing".to_owned(), |word| format!("`{word}`"))
}

const USAGE: &str = "vitals health hold|release|check BACKEND/SERVER";
const OFF: &str = "nothing is configured\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> String {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Command::parse(&words).map_or_else(|error| error.to_string(), |command| format!("{command:?}"))
    }

    #[test]
    fn a_command_is_a_verb_and_a_server() {
        assert_eq!(parse("hold b/s"), "Command { verb: Hold, backend: \"b\", server: \"s\" }");
        for (line, problem) in [
            ("", "expected hold, release or check, found nothing; usage: "),
            ("holt b/s", "expected hold, release or check, found `holt`; usage: "),
            ("hold", "expected BACKEND/SERVER, found nothing; usage: "),
            ("check b", "expected BACKEND/SERVER, found `b`; usage: "),
            ("check b/s now", "expected nothing behind BACKEND/SERVER, found `now`; usage: "),
        ] {
            assert!(parse(line).starts_with(problem), "{line}: {}", parse(line));
        }
    }

    #[test]
    fn a_line_is_about_its_backend_and_its_server_alone() {
        for (name, is) in [("b", true), ("b/s1", true), ("b/s", false), ("b/s12", false), ("", false)] {
            assert_eq!(is_about("b/s1 127.0.0.1:1 up", name), is, "{name}");
        }
        assert!(!is_about("servers: 2, up: 1", "servers:"));
    }
}
