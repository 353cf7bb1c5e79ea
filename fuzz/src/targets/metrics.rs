//! Prometheus' text: whatever the labels say, each sample is one line, and the values come back.

use haproxy_vitals::metrics::prometheus::{Format, write};
use haproxy_vitals::metrics::{Attributes, Data, Metric, NumberPoint, Value};

use super::halves;

/// A value of a label, a name of the resource and its value: three lines.
pub(crate) fn prometheus(data: &[u8]) {
    let (value, rest) = halves(data, b"\n");
    let (name, text) = halves(rest, b"\n");
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let attributes = Attributes::none().with("http.route", Value::Text(lossy(value).into())).with("n", 7_i64);
    let data = Data::Counter(vec![NumberPoint { attributes, value: 3 }]);
    let metric = Metric { name: "fuzz.count", description: "Of nothing.", unit: "{one}", data };
    let found = is_exposition(&[metric], &[(lossy(name), lossy(text))]);
    assert!(found.contains(&("http_route".to_owned(), lossy(value))), "{found:?}");
    assert!(found.iter().any(|(_, found)| *found == lossy(text)), "{found:?}");
    let _ = Format::negotiate(&lossy(rest));
}

/// In both formats; gives the labels of the text format.
pub(crate) fn is_exposition(metrics: &[Metric], resource: &[(String, String)]) -> Vec<(String, String)> {
    let open = write(metrics, resource, Format::OpenMetrics);
    let samples = open.strip_suffix("# EOF\n").expect("an end");
    samples.split_terminator('\n').for_each(|line| drop(labels(line)));
    let text = write(metrics, resource, Format::Text);
    text.split_terminator('\n').flat_map(labels).collect()
}

/// `name{label="value",...} number`, or a comment.
fn labels(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if line.starts_with("# ") {
        return found;
    }
    let (name, mut rest) = line.split_once('{').expect("labels");
    assert!(is_name(name), "{line}");
    while !rest.starts_with('}') {
        let (label, after) = rest.split_once("=\"").expect("a label");
        assert!(is_name(label) && !found.iter().any(|(known, _)| known == label), "{line}");
        let (value, after) = unescaped(after);
        found.push((label.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    let number = rest[1..].trim_start().split(" # ").next().unwrap_or_default();
    number.parse::<f64>().expect("a number");
    found
}

/// Up to the closing quote, and what follows it.
fn unescaped(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                other => unreachable!("an escape that does not exist: {other:?}"),
            },
            character => value.push(character),
        }
    }
    unreachable!("no closing quote: {text}")
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}
