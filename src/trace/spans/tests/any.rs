//! Whatever clients send, and whatever HAProxy writes.

use super::*;

/// What a client's bytes may decide.
const CLIENTS_OWN: [&str; 7] =
    ["server.address", "server.port", "url.path", "url.query", "url.full", "user_agent.original", "url.scheme"];

fn without_clients_own(span: &Span) -> (Span, BTreeMap<String, String>) {
    let mut all = attributes(span);
    all.retain(|key, _| !CLIENTS_OWN.contains(&key.as_str()));
    (Span { attributes: Vec::new(), ..span.clone() }, all)
}

/// HAProxy's own encoding of what it logs.
fn escape(bytes: &[u8]) -> String {
    let byte = |&b: &u8| match b {
        b'"' | b'#' | 0..=32 | 127.. => format!("#{b:02X}"),
        b => char::from(b).to_string(),
    };
    bytes.iter().map(byte).collect()
}

proptest! {
    #[test]
    fn clients_bytes_change_no_attribute_but_their_own(
        host in proptest::collection::vec(1_u8.., 0..300),
        user_agent in proptest::collection::vec(1_u8.., 0..600),
        path in proptest::collection::vec(1_u8.., 0..200),
    ) {
        let line = format!("GET /{} HTTP/1.1", escape(&path));
        let sample = Sample::default().host(&host).user_agent(&user_agent).line(line.as_bytes());
        let (server, client) = server_and_client(&sample);
        let (ordinary_server, ordinary_client) = server_and_client(&Sample::default());
        prop_assert_eq!(without_clients_own(&server), without_clients_own(&ordinary_server));
        prop_assert_eq!(without_clients_own(&client), without_clients_own(&ordinary_client));
        let kept = &user_agent[..user_agent.len().min(512)];
        let agent = String::from_utf8_lossy(kept);
        expect(&server, &[("user_agent.original", &agent), ("url.scheme", "https")]);
        if !path.contains(&b'?') {
            expect(&server, &[("url.path", &String::from_utf8_lossy(&[b"/", &path[..]].concat()))]);
        }
    }

    #[test]
    fn whatever_is_read_is_written_as_valid_protobuf(
        mut fields in proptest::collection::vec(proptest::collection::vec(1_u8.., 0..20), 25),
        numbers in proptest::collection::vec("[-+]?[0-9]{1,19}", 25),
        choice in any::<u32>(),
        line in proptest::collection::vec(1_u8.., 0..300),
        state in proptest::option::of(prop_oneof![Just("CD"), Just("SH"), Just("PR"), Just("\u{e9}")]),
    ) {
        for (at, field) in fields.iter_mut().enumerate() {
            field.retain(|&b| b != b' ');
            if choice >> at & 1 == 1 {
                *field = numbers[at].clone().into_bytes();
            }
        }
        fields[24] = line;
        for span in spans(&Sample { state, fields, ..Sample::default() }) {
            prop_assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        }
    }
}
