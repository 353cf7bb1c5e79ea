//! Settings: whatever they say, they are read, or refused in one line.

use haproxy_vitals::config::{ConfigError, Loaded, Sources, load, load_file};
use haproxy_vitals::trace::pipeline::Tracer;
use haproxy_vitals::trace::plan::{Gather, MAX_GATHERED};

use super::setup::Setup;

/// A TOML file.
pub(crate) fn file(data: &[u8]) {
    answered(load_file(data));
}

/// Arguments of `lua-load`, one in a line.
pub(crate) fn arguments(data: &[u8]) {
    let arguments = text(data).lines().map(str::to_owned).filter(|line| !names_a_file(line)).collect();
    answered(load(Sources { arguments, ..Sources::default() }));
}

/// Variables, one in a line.
pub(crate) fn environment(data: &[u8]) {
    let text = text(data);
    let pairs = text.lines().filter(|line| !names_a_file(line)).filter_map(|line| line.split_once('='));
    let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    answered(load(Sources { environment, ..Sources::default() }));
}

fn answered(answer: Result<Loaded, ConfigError>) {
    match answer {
        Err(error) => is_one_line(&error.to_string()),
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| is_one_line(warning));
            assert!(!loaded.describe().contains(|c: char| c.is_control() && c != '\n'));
            let _ = Tracer::without_export(&loaded.config);
            let setup = Setup::new(loaded.config);
            // What HAProxy reads as an expression.
            let expressions: Vec<_> = setup.plan.gathered.iter().map(Gather::expression).collect();
            assert!(expressions.len() <= MAX_GATHERED);
            assert!(expressions.iter().all(|text| !text.contains(char::is_control)), "{expressions:?}");
        }
    }
}

fn is_one_line(message: &str) {
    assert!(!message.contains(char::is_control), "{message:?}");
}

/// It could be one that never ends, or waits.
fn names_a_file(line: &str) -> bool {
    line.trim_start().to_ascii_lowercase().contains("config=")
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
