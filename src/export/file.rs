//! The exporter `file`: OTLP's JSON form, one line for each export request. OpenTelemetry Protocol File Exporter, "JSON lines
//! file".
//!
//! "Files must contain exactly one type of data": spans go to `export.file.path` itself; for metrics and logs the signal's
//! name stands before the extension (`otlp.jsonl`, `otlp.metrics.jsonl`, `otlp.logs.jsonl`).

mod rotating;

use std::path::{Path, PathBuf};

use super::sink::{SinkError, WriteError, Writer};
use super::{Signal, json};
use crate::config::FileConfig;
use rotating::RotatingFile;

/// A file for each signal.
#[derive(Debug)]
pub(super) struct JsonFiles(Vec<(Signal, RotatingFile)>);

impl JsonFiles {
    /// Opens the files before HAProxy's chroot: they are reached through their folder's descriptor afterwards.
    pub(super) fn open(config: &FileConfig, signals: &[Signal]) -> Result<Self, SinkError> {
        let open = |signal: &Signal| Ok((*signal, RotatingFile::open(&path_for(&config.path, *signal), config)?));
        signals.iter().map(open).collect::<Result<_, _>>().map(Self)
    }
}

impl Writer for JsonFiles {
    fn write(&mut self, signal: Signal, request: &[u8]) -> Result<(), WriteError> {
        let (_, file) = self.0.iter_mut().find(|(known, _)| *known == signal).ok_or(WriteError::NoFile(signal))?;
        let mut line = json::encode(signal, request)?;
        line.push(b'\n');
        file.append(&line)
    }
}

/// Where requests of `signal` go when spans go to `path`.
pub fn path_for(path: &str, signal: Signal) -> PathBuf {
    let path = Path::new(path);
    if signal == Signal::Traces {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}.{}{extension}", signal.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_has_a_file_of_its_own() {
        let paths = Signal::ALL.map(|signal| path_for("/var/log/otlp.jsonl", signal).display().to_string());
        assert_eq!(paths, ["/var/log/otlp.jsonl", "/var/log/otlp.metrics.jsonl", "/var/log/otlp.logs.jsonl"]);
        assert_eq!(path_for("spans", Signal::Logs), Path::new("spans.logs"));
    }

    #[test]
    fn a_signal_without_a_file_is_an_error() {
        let mut files = JsonFiles(Vec::new());
        assert!(matches!(files.write(Signal::Logs, &[]), Err(WriteError::NoFile(Signal::Logs))));
    }
}
