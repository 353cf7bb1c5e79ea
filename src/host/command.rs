//! `vitals trace sample`: what an operator changes of sampling at run time.

use mlua::prelude::*;

use super::{process, settings, show};
use crate::log::{self, Level};
use crate::trace::plan::Plan;
use crate::trace::sampler::{Full, Overrides};

/// Puts `sample` and `sample_usage` into `native`.
pub(super) fn install(lua: &Lua, native: &LuaTable) -> LuaResult<()> {
    native.set("sample_usage", format!("{USAGE} : the share of new traces, until reset or reload"))?;
    let sample =
        |_: &Lua, (words, frontends): (Vec<LuaString>, Vec<String>)| Ok(answer(&show::text(&words), &frontends));
    native.set("sample", lua.create_function(sample)?)
}

/// The answer to `vitals trace sample WORDS...`, one line. `frontends`: those that there are.
fn answer(words: &[String], frontends: &[String]) -> String {
    let Some(overrides) = process::overrides() else { return "tracing is off\n".to_owned() };
    let has_arrival = settings::loaded().is_some_and(|loaded| Plan::new(&loaded.config).arrival);
    let said = Command::parse(words, frontends, has_arrival).and_then(|command| Ok(command.run(&overrides)?));
    match said {
        Ok(line) => format!("{line}\n"),
        Err(problem) => format!("{problem}\n"),
    }
}

/// What is to be done.
#[derive(Debug, PartialEq)]
enum Command<'a> {
    Show,
    Reset(Option<&'a str>),
    Set(f64, Option<&'a str>),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("expected a share from 0 to 1, `reset` or `show`, found nothing; usage: {USAGE}")]
    Nothing,
    #[error("expected a share from 0 to 1, `reset` or `show`, found `{0}`")]
    NoShare(String),
    #[error("expected no more than a frontend, found `{0}`; usage: {USAGE}")]
    TooMuch(String),
    #[error("there is no frontend `{0}`")]
    NoFrontend(String),
    #[error("frontends are not told apart: set `traces.per_frontend = true` and reload")]
    NoHead,
    #[error(transparent)]
    Full(#[from] Full),
}

impl<'a> Command<'a> {
    fn parse(words: &'a [String], frontends: &[String], has_arrival: bool) -> Result<Self, CommandError> {
        let mut words = words.iter().map(String::as_str).filter(|word| !word.is_empty());
        let verb = words.next().ok_or(CommandError::Nothing)?;
        let frontend = words.next();
        if let Some(word) = words.next().or(frontend.filter(|_| verb == "show")) {
            return Err(CommandError::TooMuch(word.to_owned()));
        }
        if frontend.is_some() && !has_arrival {
            return Err(CommandError::NoHead);
        }
        if let Some(name) = frontend
            && !frontends.iter().any(|known| known == name)
        {
            return Err(CommandError::NoFrontend(name.to_owned()));
        }
        match verb {
            "show" => Ok(Self::Show),
            "reset" => Ok(Self::Reset(frontend)),
            share => match share.parse() {
                Ok(number) if (0.0..=1.0).contains(&number) => Ok(Self::Set(number, frontend)),
                _ => Err(CommandError::NoShare(share.to_owned())),
            },
        }
    }

    fn run(self, overrides: &Overrides) -> Result<String, Full> {
        match self {
            Self::Show => {}
            Self::Reset(frontend) => overrides.reset(frontend),
            Self::Set(share, frontend) => overrides.set(frontend, share)?,
        }
        let line = format!("sampling.override {}", overrides.shares().describe());
        if self != Self::Show {
            log::say(Level::Notice, format!("{line} (stats socket)"));
        }
        Ok(line)
    }
}

const USAGE: &str = "vitals trace sample <0..1>|reset [frontend] | show";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, has_arrival: bool) -> String {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let parsed = Command::parse(&words, &["www".to_owned()], has_arrival);
        parsed.map_or_else(|error| error.to_string(), |command| format!("{command:?}"))
    }

    #[test]
    fn a_command_is_a_share_reset_or_show() {
        for (line, expected) in [
            ("0.25", "Set(0.25, None)"),
            ("1 www", "Set(1.0, Some(\"www\"))"),
            ("reset", "Reset(None)"),
            ("reset www", "Reset(Some(\"www\"))"),
            ("show", "Show"),
            ("1.5", "expected a share from 0 to 1, `reset` or `show`, found `1.5`"),
            ("NaN", "expected a share from 0 to 1, `reset` or `show`, found `NaN`"),
            ("half", "expected a share from 0 to 1, `reset` or `show`, found `half`"),
            ("1 api", "there is no frontend `api`"),
        ] {
            assert_eq!(parse(line, true), expected, "{line}");
        }
        for (line, expected) in [("", "found nothing"), ("1 www 2", "found `2`"), ("show www", "found `www`")] {
            assert!(parse(line, true).contains(&format!("{expected}; usage: vitals trace sample")), "{line}");
        }
        assert!(parse("1 www", false).contains("`traces.per_frontend = true`"));
    }
}
