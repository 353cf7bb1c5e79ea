//! Whatever clients send, and whatever HAProxy writes.

use super::*;
use crate::trace::record::sample::{any_field, any_numbers};

/// What a client's bytes may decide.
const CLIENTS_OWN: [&str; 7] =
    ["server.address", "server.port", "url.path", "url.query", "url.full", "user_agent.original", "url.scheme"];

fn without_clients_own(span: &Span) -> (Span, BTreeMap<String, String>) {
    let mut all = attributes(span);
    all.retain(|key, _| !CLIENTS_OWN.contains(&key.as_str()));
    (Span { attributes: Vec::new(), ..span.clone() }, all)
}

proptest! {
    #[test]
    fn clients_bytes_change_no_attribute_but_their_own(
        host in proptest::collection::vec(any::<u8>(), 0..300),
        user_agent in proptest::collection::vec(any::<u8>(), 0..600),
        path in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let target = [b"/", &path[..]].concat();
        let sample = Sample::default().host(&host).user_agent(&user_agent).with(Field::Target, &target);
        let (server, client) = server_and_client(&sample);
        let (ordinary_server, ordinary_client) = server_and_client(&Sample::default());
        prop_assert_eq!(without_clients_own(&server), without_clients_own(&ordinary_server));
        prop_assert_eq!(without_clients_own(&client), without_clients_own(&ordinary_client));
        let kept = &user_agent[..user_agent.len().min(512)];
        let agent = String::from_utf8_lossy(kept);
        expect(&server, &[("user_agent.original", &agent), ("url.scheme", "https")]);
        if !path.contains(&b'?') {
            expect(&server, &[("url.path", &String::from_utf8_lossy(&target))]);
        }
    }

    #[test]
    fn whatever_is_read_is_written_as_valid_protobuf(sample in any_sample()) {
        prop_assert!(lie_within_the_first(&spans(&sample)));
    }

    #[test]
    fn any_record_that_is_read_is_written(
        mut payload in any_sample().prop_map(|sample| sample.payload()), at in any::<proptest::sample::Index>(), byte: u8,
        cut in any::<proptest::sample::Index>(),
    ) {
        let place = at.index(payload.len());
        payload[place] = byte;
        for payload in [&payload[..], &payload[..cut.index(payload.len())]] {
            if let Ok(record) = Record::parse(payload, END) {
                prop_assert!(lie_within_the_first(&decoded(&record, &Wording::default())));
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_remembered_of_other_requests_changes_no_span(
        sample in any_sample(),
        others in proptest::collection::vec((any_field(), proptest::collection::vec(any::<u8>(), 0..6)), 0..8),
        numbers in proptest::collection::vec(any_numbers(), 0..3),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
    ) {
        // Requests that differ in one thing from each other.
        let mut payloads = vec![sample.payload()];
        payloads.extend(others.iter().map(|(field, value)| sample.clone().with(*field, value).payload()));
        payloads.extend(numbers.iter().map(|numbers| sample.clone().numbers(|own| *own = *numbers).payload()));
        for (at, byte) in changes {
            let mut changed = payloads[0].clone();
            let place = at.index(changed.len());
            changed[place] = byte;
            payloads.push(changed);
        }
        let (wording, mut shared) = (Wording::default(), Shared::default());
        for record in payloads.iter().chain(&payloads).filter_map(|payload| Record::parse(payload, END).ok()) {
            let (mut with, mut without) = (Vec::new(), Vec::new());
            let counts = [
                super::super::encode(&record, &wording, &mut shared, &mut with),
                super::super::encode(&record, &wording, &mut Shared::default(), &mut without),
            ];
            prop_assert!(counts[0] == counts[1] && with == without, "{:?}", record);
        }
    }
}

/// No span ends before it begins, and none is outside the SERVER span.
pub(super) fn lie_within_the_first(spans: &[Span]) -> bool {
    let (start, end) = (spans[0].start_time_unix_nano, spans[0].end_time_unix_nano);
    spans.iter().all(|span| {
        start <= span.start_time_unix_nano
            && span.start_time_unix_nano <= span.end_time_unix_nano
            && span.end_time_unix_nano <= end
    })
}
