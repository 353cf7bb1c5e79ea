//! A page of metrics as Prometheus' own client library reads it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::third_party::installed;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `counter`, `gauge`, `histogram`, ...
    pub kind: String,
    /// With `_total`, `_bucket` and the like.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
    /// Whether it has an exemplar.
    pub has_exemplar: bool,
}

/// Reads a page, of the `OpenMetrics` form or of the older text. A page that the library refuses fails the test.
#[track_caller]
pub fn read(page: &str, is_openmetrics: bool) -> Vec<Sample> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/python/exposition.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(if is_openmetrics { "openmetrics" } else { "text" });
    command.env("PYTHONPATH", installed().join("python")).stdin(Stdio::piped());
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    // It reads everything before it writes.
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\nof\n{page}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(sample).collect()
}

fn sample(line: &str) -> Sample {
    let fields: Value = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let labels = fields[2].as_object().unwrap();
    Sample {
        kind: text(&fields[0]),
        name: text(&fields[1]),
        labels: labels.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        value: fields[3].as_f64().unwrap(),
        has_exemplar: fields[4].as_bool().unwrap(),
    }
}
