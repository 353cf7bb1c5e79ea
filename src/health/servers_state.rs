//! What HAProxy answers to `show info;show servers state`: who answers, and what it knows of each server.
//!
//! Management Guide, section 9.3. Columns are found by their names: other columns, or another order, do no harm.

/// One whole answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The process that answered.
    pub(crate) pid: u32,
    /// In HAProxy's order.
    pub(crate) rows: Vec<Row<'a>>,
    /// Lines that could not be read: too short or too long.
    pub(crate) malformed: usize,
}

/// One server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// Its backend's name.
    pub(crate) backend: &'a str,
    /// Its name within the backend.
    pub(crate) server: &'a str,
    /// Whether HAProxy's own connections to it are encrypted.
    pub(crate) tls: Option<bool>,
    /// The name that its address comes from, without the port.
    pub(crate) name: Option<&'a str>,
    /// The SRV record that its name and port come from.
    pub(crate) record: Option<&'a str>,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateError {
    /// It does not begin as `show info` does.
    #[error("it is not HAProxy that answers, or it does not answer `show info`")]
    NotHaproxy,
    /// The form of a HAProxy that is not known.
    #[error("version `{0}` of `show servers state` is not known, only 1")]
    Version(String),
    /// The header lacks what is needed.
    #[error("`show servers state` has no column `{0}`")]
    Column(&'static str),
    /// It stopped in the middle.
    #[error("the answer has no end")]
    Cut,
}

impl<'a> Answer<'a> {
    /// Reads the text of both commands: each answer ends with an empty line.
    pub(crate) fn parse(text: &'a str) -> Result<Self, StateError> {
        let mut lines = text.split('\n');
        let info = lines.by_ref().take_while(|line| !line.is_empty());
        // To the end of `show info`: what follows is the other answer.
        let pids: Vec<_> = info.filter_map(|line| line.strip_prefix("Pid: ")).collect();
        let pid = pids.first().and_then(|pid| pid.parse().ok()).ok_or(StateError::NotHaproxy)?;
        match lines.next() {
            Some(VERSION) => {}
            None | Some("") => return Err(StateError::Cut),
            Some(other) => return Err(StateError::Version(other.chars().take(MAX_SHOWN).collect())),
        }
        let columns = Columns::parse(lines.next().ok_or(StateError::Cut)?)?;
        let (mut rows, mut malformed) = (Vec::new(), 0);
        for line in lines {
            if line.is_empty() {
                return Ok(Self { pid, rows, malformed });
            }
            match Some(line).filter(|line| line.len() <= MAX_LINE).and_then(|line| columns.row(line)) {
                Some(row) => rows.push(row),
                None => malformed += 1,
            }
        }
        Err(StateError::Cut)
    }
}

/// Where in a line things stand.
struct Columns {
    backend: usize,
    server: usize,
    tls: usize,
    name: usize,
    record: Option<usize>,
}

impl Columns {
    fn parse(header: &str) -> Result<Self, StateError> {
        let names: Vec<&str> = header.strip_prefix("# ").unwrap_or_default().split(' ').collect();
        let at = |wanted| names.iter().position(|name| *name == wanted);
        let must = |wanted| at(wanted).ok_or(StateError::Column(wanted));
        Ok(Self {
            backend: must("be_name")?,
            server: must("srv_name")?,
            tls: must("srv_use_ssl")?,
            name: must("srv_fqdn")?,
            record: at("srvrecord"),
        })
    }

    fn row<'a>(&self, line: &'a str) -> Option<Row<'a>> {
        let words: Vec<&str> = line.split(' ').collect();
        let word = |at: usize| words.get(at).copied().filter(|word| !word.is_empty());
        let some = |word: &'a str| Some(word).filter(|word| *word != ABSENT);
        Some(Row {
            backend: word(self.backend)?,
            server: word(self.server)?,
            // `no-ssl` may be told as a number below 0.
            tls: word(self.tls)?.parse().ok().map(|flag: i64| flag > 0),
            name: some(word(self.name)?),
            record: self.record.and_then(word).and_then(some),
        })
    }
}

/// `SRV_STATE_FILE_VERSION` of every HAProxy so far.
const VERSION: &str = "1";
/// Stands where HAProxy knows nothing.
const ABSENT: &str = "-";
/// Bytes of one line: names and an address are a few hundred.
const MAX_LINE: usize = 4096;
/// Characters of an unknown version that are repeated.
const MAX_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INFO: &str = "Name: HAProxy\nPid: 3923\nUptime_sec: 1\n\n";
    /// As HAProxy 3.2.26 answers.
    const STATE: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
        srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
        bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
        srv_agent_addr srv_agent_port\n\
        2 b 1 s 127.0.0.1 2 0 1 1 1 1 0 2 0 0 0 0 localhost 81 - 1 0 - - 0\n\
        2 b 4 w1 - 0 32 1 1 1 1 0 0 0 0 0 0 - 0 _grpc._tcp.shop.test 0 0 - - 0\n\n";

    fn parse(text: &str) -> Result<Answer<'_>, StateError> {
        Answer::parse(text)
    }

    #[test]
    fn rows_tell_encryption_name_and_record() {
        let text = format!("{INFO}{STATE}");
        let answer = parse(&text).unwrap();
        assert_eq!((answer.pid, answer.malformed), (3923, 0));
        let s = Row { backend: "b", server: "s", tls: Some(true), name: Some("localhost"), record: None };
        let w = Row { server: "w1", tls: Some(false), name: None, record: Some("_grpc._tcp.shop.test"), ..s };
        assert_eq!(answer.rows, [s, w]);
    }

    #[test]
    fn other_columns_in_another_order_do_no_harm() {
        let text = format!("{INFO}1\n# new srv_use_ssl srv_name newer be_name srv_fqdn\nx 0 s y b a.test\n\n");
        let row = Row { backend: "b", server: "s", tls: Some(false), name: Some("a.test"), record: None };
        assert_eq!(parse(&text).unwrap().rows, [row]);
    }

    #[test]
    fn lines_that_are_too_short_or_too_long_are_counted_and_the_others_read() {
        let long = "x".repeat(MAX_LINE);
        let text =
            format!("{INFO}1\n# be_name srv_name srv_use_ssl srv_fqdn\nb\n{long} s 1 -\nb s -1 -\nb  1 -\nb t ? -\n\n");
        let answer = parse(&text).unwrap();
        assert_eq!(answer.malformed, 3);
        assert_eq!(answer.rows.iter().map(|row| row.tls).collect::<Vec<_>>(), [Some(false), None]);
    }

    #[test]
    fn what_is_not_whole_or_not_known_is_refused() {
        let version = STATE.replacen('1', "2", 1);
        let column = STATE.replace("srv_use_ssl", "ssl");
        for (text, error) in [
            (String::new(), StateError::NotHaproxy),
            ("HTTP/1.1 400 Bad request\n\n".to_owned(), StateError::NotHaproxy),
            (STATE.to_owned(), StateError::NotHaproxy),
            ("Pid: x\n\n".to_owned(), StateError::NotHaproxy),
            (INFO.to_owned(), StateError::Cut),
            (format!("{INFO}1"), StateError::Cut),
            (format!("{INFO}{}", STATE.trim_end()), StateError::Cut),
            (format!("{INFO}{version}"), StateError::Version("2".to_owned())),
            (format!("{INFO}{column}"), StateError::Column("srv_use_ssl")),
            (format!("{INFO}Permission denied\n\n"), StateError::Version("Permission denied".to_owned())),
        ] {
            assert_eq!(parse(&text).unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("{INFO}1\n{text}\n\n"));
        }

        #[test]
        fn columns_are_found_wherever_they_stand(
            mut columns in Just(vec!["be_name", "srv_name", "srv_use_ssl", "srv_fqdn", "srvrecord", "a", "b"]).prop_shuffle(),
            rows in prop::collection::vec(("[a-z]{1,9}", "[a-z]{1,9}", any::<bool>(), "([a-z.]{1,9}|-)"), 0..9),
        ) {
            let header = columns.join(" ");
            let mut text = format!("{INFO}1\n# {header}\n");
            for (backend, server, tls, name) in &rows {
                let flag = u8::from(*tls).to_string();
                let words: Vec<&str> = columns.iter_mut().map(|column| match *column {
                    "be_name" => backend,
                    "srv_name" => server,
                    "srv_use_ssl" => flag.as_str(),
                    "srv_fqdn" => name,
                    _ => "-",
                }).collect();
                text.push_str(&words.join(" "));
                text.push('\n');
            }
            text.push('\n');
            let expected: Vec<_> = rows.iter().map(|(backend, server, tls, name)| Row {
                backend,
                server,
                tls: Some(*tls),
                name: Some(name.as_str()).filter(|name| *name != "-"),
                record: None,
            }).collect();
            prop_assert_eq!(Answer::parse(&text).unwrap().rows, expected);
        }
    }
}
