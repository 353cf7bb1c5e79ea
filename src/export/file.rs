//! The exporter `file`: OTLP's JSON form, one line for each export request. OpenTelemetry Protocol File Exporter, "JSON lines
//! file".
//!
//! "Files must contain exactly one type of data": spans go to `export.file.path` itself; for metrics and logs the signal's
//! name stands before the extension (`otlp.jsonl`, `otlp.metrics.jsonl`, `otlp.logs.jsonl`).

use std::path::{Path, PathBuf};

use super::sink::{SinkError, WriteError, Writer};
use super::{Signal, json};
use crate::config::FileConfig;
use crate::rotate::RotatingFile;

/// A file for each signal.
#[derive(Debug)]
pub(super) struct JsonFiles(Vec<(Signal, RotatingFile)>);

impl JsonFiles {
    /// Opens the files before HAProxy's chroot: they are reached through their folder's descriptor afterwards.
    pub(super) fn open(config: &FileConfig, signals: &[Signal]) -> Result<Self, SinkError> {
        let open = |signal: &Signal| {
            let file = RotatingFile::open(&path_for(&config.path, *signal), config.max_bytes, config.max_files)?;
            Ok((*signal, file))
        };
        signals.iter().map(open).collect::<Result<_, _>>().map(Self)
    }
}

impl Writer for JsonFiles {
    fn write(&mut self, signal: Signal, request: &[u8]) -> Result<(), WriteError> {
        let (_, file) = self.0.iter_mut().find(|(known, _)| *known == signal).ok_or(WriteError::NoFile(signal))?;
        let mut line = json::encode(signal, request)?;
        line.push(b'\n');
        Ok(file.append(&line)?)
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
    use std::fs;

    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
    use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
    use prost::Message;

    use super::*;

    #[test]
    fn each_signal_has_a_file_of_its_own() {
        let paths = Signal::ALL.map(|signal| path_for("/var/log/otlp.jsonl", signal).display().to_string());
        assert_eq!(paths, ["/var/log/otlp.jsonl", "/var/log/otlp.metrics.jsonl", "/var/log/otlp.logs.jsonl"]);
        assert_eq!(path_for("spans", Signal::Logs), Path::new("spans.logs"));
    }

    #[test]
    fn every_signal_is_written_as_the_json_of_its_own_type() {
        let folder = std::env::temp_dir().join(format!("vitals-signals-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("otlp.jsonl").display().to_string();
        let mut files =
            JsonFiles::open(&FileConfig { path: path.clone(), ..FileConfig::default() }, &Signal::ALL).unwrap();
        let requests = [
            ExportTraceServiceRequest { resource_spans: vec![ResourceSpans::default()] }.encode_to_vec(),
            ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics::default()] }.encode_to_vec(),
            ExportLogsServiceRequest { resource_logs: vec![ResourceLogs::default()] }.encode_to_vec(),
        ];
        for (signal, request) in Signal::ALL.into_iter().zip(&requests) {
            files.write(signal, request).unwrap();
            files.write(signal, request).unwrap();
        }
        let texts = Signal::ALL.map(|signal| fs::read_to_string(path_for(&path, signal)).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        for (text, begin) in texts.iter().zip(["{\"resourceSpans\":[", "{\"resourceMetrics\":[", "{\"resourceLogs\":["])
        {
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 2);
            assert!(lines.iter().all(|line| line.starts_with(begin)), "{text}");
        }
        assert!(matches!(files.write(Signal::Logs, b"\xff"), Err(WriteError::Json(_))));
    }

    #[test]
    fn a_signal_without_a_file_is_an_error() {
        let mut files = JsonFiles(Vec::new());
        assert!(matches!(files.write(Signal::Logs, &[]), Err(WriteError::NoFile(Signal::Logs))));
    }
}
