//! How a request ended: HAProxy's termination state and the status become `error.type` and the span's status.
//!
//! The status is `Error` exactly when there is an `error.type`; it is never `Ok` and has no description. The rules,
//! in order of strength, for a span that saw a status: 5xx (CLIENT: 4xx too) gives the code as text; else the
//! termination state gives a word, or nothing. A span that saw no status has the state's word.
//!
//! | state | meaning (HAProxy's configuration manual, "Session state at disconnection") | `error.type` |
//! |---|---|---|
//! | `--` | normal end | none; `rejected` if nothing was answered (also for `L.`) |
//! | `L.` | answered by HAProxy itself | none |
//! | `CL` | the client left while the last bytes, all of them received from the server, were on their way | none |
//! | `C.` | the client left; in `R Q C H T` the status that HAProxy notes was not sent | SERVER only: `client_abort` |
//! | `c.` | the client was too slow | SERVER only: `client_timeout` |
//! | `SC` `SQ` | no connection: no server was left, or it refused | `no_server`, `connect_error` |
//! | `S.` | the server cut the exchange | `server_abort` |
//! | `sC` | the connection was not made in time | `connect_timeout` |
//! | `sQ` | the queue was not left in time | `queue_timeout` |
//! | `s.` | the server was too slow | `server_timeout` |
//! | `PR` | denied: a complete answer, no error; without any answer (silent-drop, reject) | `rejected` |
//! | `PT` | tarpit: as `PR`; without any answer | `denied` |
//! | `PC` | the process's limit on connections | `resource_exhausted` |
//! | `P.` | HAProxy refused what it received; SERVER: no error if the answer was complete (`PH` below 500) | `proxy_error` |
//! | `R.` | memory, sockets, ports | `resource_exhausted` |
//! | `I.` | a fault of HAProxy's | `internal_error` |
//! | `D.` | killed with its server, which went down | `server_down` |
//! | `K.` `U.` | killed by the operator, or because a better server came back | `killed` |
//!
//! A tunnel (101) that closes normally is `--`.

/// HAProxy's termination state: who ended the stream, and in which phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(pub [u8; 2]);

impl State {
    /// Nothing unusual.
    pub const NORMAL: Self = Self(*b"--");

    /// Whether HAProxy answered by itself.
    pub const fn is_local(self) -> bool {
        matches!(self.0, [b'L', _])
    }

    /// Whether the client ended the exchange, by leaving or by being too slow: no fault of the server's.
    const fn is_clients(self) -> bool {
        matches!(self.0, [b'C' | b'c', _])
    }

    /// Whether the client left before there was an answer.
    const fn left_early(self) -> bool {
        matches!(self.0, [b'C', b'R' | b'Q' | b'C' | b'H' | b'T'])
    }

    /// Whether the answer, if there was one, was HAProxy's and not the server's.
    const fn answered_for_server(self) -> bool {
        self.is_local() || self.left_early() || matches!(self.0, [b'S' | b's' | b'P', b'C' | b'H' | b'Q'])
    }

    /// Whether HAProxy answered as configured, completely: a denial is no error.
    const fn is_answered_denial(self) -> bool {
        matches!(self.0, [b'P', phase] if !matches!(phase, b'D' | b'L'))
    }

    const fn word(self, server_chosen: bool) -> Option<Word> {
        Some(match self.0 {
            [b'C', b'L'] => return None,
            [b'C', _] => Word::ClientAbort,
            [b'c', _] => Word::ClientTimeout,
            [b'S', b'C' | b'Q'] if !server_chosen => Word::NoServer,
            [b'S', b'C' | b'Q'] => Word::ConnectError,
            [b'S', _] => Word::ServerAbort,
            [b's', b'C'] => Word::ConnectTimeout,
            [b's', b'Q'] => Word::QueueTimeout,
            [b's', _] => Word::ServerTimeout,
            [b'P', b'R'] => Word::Rejected,
            [b'P', b'T'] => Word::Denied,
            [b'P', b'C'] | [b'R', _] => Word::ResourceExhausted,
            [b'P', _] => Word::ProxyError,
            [b'I', _] => Word::InternalError,
            [b'D', _] => Word::ServerDown,
            [b'K' | b'U', _] => Word::Killed,
            _ => return None,
        })
    }
}

/// What is known about the end of a request.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// The last termination state that is known.
    pub state: State,
    /// The status that HAProxy noted, 100 to 999.
    pub status: Option<u16>,
    /// The server's own status, where it is known apart from that.
    pub server_status: Option<u16>,
    /// Whether a server was chosen.
    pub server_chosen: bool,
    /// Whether the server's response headers arrived (`%Tr` is not -1).
    pub headers_received: bool,
}

/// What a span says about its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// `http.response.status_code`.
    pub status: Option<u16>,
    /// `error.type`; the span's status is `Error` if and only if there is one.
    pub error: Option<ErrorType>,
}

/// `error.type`: a status code as text, or one of few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// The status was the error.
    Status(u16),
    /// The name of a gRPC status.
    Rpc(&'static str),
    /// There was no complete, valid response.
    Word(Word),
}

/// Why there was no complete, valid response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the module's table says when each is used")]
pub enum Word {
    ClientAbort,
    ClientTimeout,
    ConnectError,
    ConnectTimeout,
    Denied,
    InternalError,
    Killed,
    NoServer,
    ProxyError,
    QueueTimeout,
    Rejected,
    ResourceExhausted,
    ServerAbort,
    ServerDown,
    ServerTimeout,
}

impl Word {
    /// As it stands in `error.type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientAbort => "client_abort",
            Self::ClientTimeout => "client_timeout",
            Self::ConnectError => "connect_error",
            Self::ConnectTimeout => "connect_timeout",
            Self::Denied => "denied",
            Self::InternalError => "internal_error",
            Self::Killed => "killed",
            Self::NoServer => "no_server",
            Self::ProxyError => "proxy_error",
            Self::QueueTimeout => "queue_timeout",
            Self::Rejected => "rejected",
            Self::ResourceExhausted => "resource_exhausted",
            Self::ServerAbort => "server_abort",
            Self::ServerDown => "server_down",
            Self::ServerTimeout => "server_timeout",
        }
    }
}

/// The SERVER span's: what the client got from HAProxy.
pub fn server(ending: &Ending) -> Outcome {
    let state = ending.state;
    let word = state.word(ending.server_chosen);
    let status = ending.status.filter(|_| !state.left_early());
    let error = match status {
        None => Some(ErrorType::Word(word.unwrap_or(Word::Rejected))),
        Some(code @ 500..) => Some(ErrorType::Status(code)),
        Some(_) if state.is_answered_denial() => None,
        Some(_) => word.map(ErrorType::Word),
    };
    Outcome { status, error }
}

/// The CLIENT span's: what HAProxy got from the server.
pub fn client(ending: &Ending) -> Outcome {
    let state = ending.state;
    let word = state.word(ending.server_chosen);
    let received = ending.headers_received && !state.answered_for_server();
    let status = ending.server_status.or(ending.status.filter(|_| received));
    let error = match status {
        Some(code @ 400..) => Some(ErrorType::Status(code)),
        _ if state.is_clients() => None,
        _ => word.map(ErrorType::Word),
    };
    Outcome { status, error }
}

/// A connection's in TCP mode: there is no status, and a normal end is no error.
pub fn connection(ending: &Ending) -> Outcome {
    Outcome { status: None, error: ending.state.word(ending.server_chosen).map(ErrorType::Word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// State, status noted (0: none), server chosen, `%Tr` known; then each span's status and `error.type`.
    type Row = (&'static str, u16, bool, bool, (u16, &'static str), (u16, &'static str));

    const ROWS: &[Row] = &[
        ("--", 200, true, true, (200, ""), (200, "")),
        ("--", 101, true, true, (101, ""), (101, "")),
        ("--", 302, true, true, (302, ""), (302, "")),
        ("--", 404, true, true, (404, ""), (404, "404")),
        ("--", 500, true, true, (500, "500"), (500, "500")),
        ("--", 0, false, false, (0, "rejected"), (0, "")),
        ("LR", 302, false, false, (302, ""), (0, "")),
        ("LR", 503, false, false, (503, "503"), (0, "")),
        ("LH", 200, true, true, (200, ""), (0, "")),
        ("CR", 400, false, false, (0, "client_abort"), (0, "")),
        ("CQ", 400, true, false, (0, "client_abort"), (0, "")),
        ("CC", 400, true, false, (0, "client_abort"), (0, "")),
        ("CH", 400, true, false, (0, "client_abort"), (0, "")),
        ("CT", 500, false, false, (0, "client_abort"), (0, "")),
        ("CD", 200, true, true, (200, "client_abort"), (200, "")),
        ("CD", 404, true, true, (404, "client_abort"), (404, "404")),
        ("CD", 500, true, true, (500, "500"), (500, "500")),
        ("CL", 200, true, true, (200, ""), (200, "")),
        ("CL", 404, true, true, (404, ""), (404, "404")),
        ("CL", 500, true, true, (500, "500"), (500, "500")),
        ("cR", 408, false, false, (408, "client_timeout"), (0, "")),
        ("cQ", 408, true, false, (408, "client_timeout"), (0, "")),
        ("cH", 408, true, false, (408, "client_timeout"), (0, "")),
        ("cD", 200, true, true, (200, "client_timeout"), (200, "")),
        ("cL", 200, true, true, (200, "client_timeout"), (200, "")),
        ("SC", 503, false, false, (503, "503"), (0, "no_server")),
        ("SC", 503, true, false, (503, "503"), (0, "connect_error")),
        ("SC", 200, true, false, (200, "connect_error"), (0, "connect_error")),
        ("SQ", 503, false, false, (503, "503"), (0, "no_server")),
        ("SH", 502, true, false, (502, "502"), (0, "server_abort")),
        ("SD", 200, true, true, (200, "server_abort"), (200, "server_abort")),
        ("SL", 200, true, true, (200, "server_abort"), (200, "server_abort")),
        ("sC", 503, true, false, (503, "503"), (0, "connect_timeout")),
        ("sQ", 503, true, false, (503, "503"), (0, "queue_timeout")),
        ("sH", 504, true, false, (504, "504"), (0, "server_timeout")),
        ("sH", 504, true, true, (504, "504"), (0, "server_timeout")),
        ("sD", 200, true, true, (200, "server_timeout"), (200, "server_timeout")),
        ("sL", 200, true, true, (200, "server_timeout"), (200, "server_timeout")),
        ("PR", 403, false, false, (403, ""), (0, "rejected")),
        ("PR", 400, false, false, (400, ""), (0, "rejected")),
        ("PR", 503, false, false, (503, "503"), (0, "rejected")),
        ("PR", 0, false, false, (0, "rejected"), (0, "rejected")),
        ("PT", 500, false, false, (500, "500"), (0, "denied")),
        ("PT", 403, false, false, (403, ""), (0, "denied")),
        ("PT", 0, false, false, (0, "denied"), (0, "denied")),
        ("PC", 503, true, false, (503, "503"), (0, "resource_exhausted")),
        ("PH", 502, true, false, (502, "502"), (0, "proxy_error")),
        ("PH", 403, true, true, (403, ""), (0, "proxy_error")),
        ("PD", 200, true, true, (200, "proxy_error"), (200, "proxy_error")),
        ("RC", 503, true, false, (503, "503"), (0, "resource_exhausted")),
        ("RH", 0, true, false, (0, "resource_exhausted"), (0, "resource_exhausted")),
        ("IH", 500, true, false, (500, "500"), (0, "internal_error")),
        ("ID", 200, true, true, (200, "internal_error"), (200, "internal_error")),
        ("DD", 200, true, true, (200, "server_down"), (200, "server_down")),
        ("DH", 503, true, false, (503, "503"), (0, "server_down")),
        ("UD", 200, true, true, (200, "killed"), (200, "killed")),
        ("KD", 200, true, true, (200, "killed"), (200, "killed")),
        ("KH", 0, true, false, (0, "killed"), (0, "killed")),
        ("??", 200, true, true, (200, ""), (200, "")),
    ];

    fn shown(outcome: Outcome) -> (u16, String) {
        let error = match outcome.error {
            None => String::new(),
            Some(ErrorType::Status(code)) => code.to_string(),
            Some(ErrorType::Rpc(name)) => name.to_owned(),
            Some(ErrorType::Word(word)) => word.as_str().to_owned(),
        };
        (outcome.status.unwrap_or(0), error)
    }

    #[test]
    fn every_termination_state_has_its_error_type() {
        for &(state, status, server_chosen, headers_received, of_server, of_client) in ROWS {
            let ending = Ending {
                state: State(state.as_bytes().try_into().unwrap()),
                status: (status != 0).then_some(status),
                server_status: None,
                server_chosen,
                headers_received,
            };
            let owned = |(status, word): (u16, &str)| (status, word.to_owned());
            assert_eq!(shown(server(&ending)), owned(of_server), "SERVER, {ending:?}");
            assert_eq!(shown(client(&ending)), owned(of_client), "CLIENT, {ending:?}");
        }
    }

    #[test]
    fn the_servers_own_status_is_the_client_spans() {
        for (state, status, server_status, expected) in [
            ("--", 404, 200, (200, "")),
            ("--", 200, 503, (503, "503")),
            ("PH", 403, 200, (200, "proxy_error")),
            ("CD", 200, 200, (200, "")),
        ] {
            let ending = Ending {
                state: State(state.as_bytes().try_into().unwrap()),
                status: Some(status),
                server_status: Some(server_status),
                server_chosen: true,
                headers_received: true,
            };
            assert_eq!(shown(client(&ending)), (expected.0, expected.1.to_owned()), "{ending:?}");
            assert_eq!(server(&ending).status, Some(status));
        }
    }

    #[test]
    fn a_connection_has_the_words_of_its_state_and_none_when_it_ended_normally() {
        for (state, server_chosen, word) in [
            ("--", true, ""),
            ("cD", true, "client_timeout"),
            ("CD", true, "client_abort"),
            ("sD", true, "server_timeout"),
            ("SD", true, "server_abort"),
            ("SC", true, "connect_error"),
            ("SC", false, "no_server"),
            ("sC", true, "connect_timeout"),
            ("sQ", false, "queue_timeout"),
            ("PR", false, "rejected"),
        ] {
            let state = State(state.as_bytes().try_into().unwrap());
            let ending = Ending { state, status: None, server_status: None, server_chosen, headers_received: false };
            assert_eq!(shown(connection(&ending)), (0, word.to_owned()), "{ending:?}");
        }
    }

    #[test]
    fn every_state_that_haproxy_can_print_has_a_row_for_its_cause() {
        for cause in "-LcCsSPRIDUK".chars() {
            assert!(ROWS.iter().any(|row| row.0.starts_with(cause)), "{cause}");
        }
    }
}
