//! The sources together.

mod agent;
mod arbitrary;
mod documented;
mod health;
mod opentelemetry;
mod order;
mod propagation;
mod refused;
mod sampling;
mod shown;
mod signals;
mod standalone;
mod variables;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Environment, Loaded, Sources, Value, load};

/// What `load` makes of the sources, with errors as their text.
fn loaded(sources: Sources) -> Result<Loaded, String> {
    load(sources).map_err(|error| error.to_string())
}

fn options(options: &[(&str, Value)]) -> Sources {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Sources { options, ..Sources::default() }
}

fn arguments(arguments: &[&str]) -> Sources {
    Sources { arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn variables(variables: &[(&str, &str)]) -> Sources {
    Sources { environment: environment(variables), ..Sources::default() }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A settings file that is gone at the end of the test.
struct File(PathBuf);

impl File {
    fn new(content: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("vitals-{}-{}.toml", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn argument(&self) -> String {
        format!("config={}", self.0.display())
    }

    /// `message` with `FILE` in place of this file's path.
    fn unnamed(&self, message: &str) -> String {
        message.replace(&self.0.display().to_string(), "FILE")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a file alone gives; the path in errors is `FILE`.
fn from_file(content: &str) -> Result<Loaded, String> {
    let file = File::new(content);
    loaded(arguments(&[&file.argument()])).map_err(|error| file.unnamed(&error))
}
