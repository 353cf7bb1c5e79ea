use std::net::IpAddr;

use proptest::prelude::*;

use super::numbers::LEN as NUMBERS_LEN;
use super::sample::{START, Sample, any_field, any_sample};
use super::*;
use crate::trace::w3c::Traceparent;

const END: u64 = START + 40_000_000;

/// All that can be asked of a record.
fn ask_all(record: &Record<'_>) -> usize {
    let fields = (1..=32).filter_map(Field::of_tag).map(|field| record.all_carried(field).count());
    let response = &record.response;
    let gathered = response.gathered.values(9).into_iter().flatten().count();
    let _ = (record.ending(), record.is_single(), record.address(Field::LocalAddress), response.gathered.value(3));
    let _ = response.sent.request(&record.request);
    fields.sum::<usize>() + gathered + record.attributes().count()
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut recorded = bytes.clone();
        if let Some(first) = recorded.first_mut() {
            *first |= RECORDED;
        }
        // A head, and any fields after it; and any fields before the numbers.
        let sample = Sample::bare();
        let begun = [sample.begun().as_bytes(), &bytes].concat();
        let whole = [&sample.payload()[..], &bytes].concat();
        for payload in [&bytes, &recorded, &begun, &whole] {
            if let Ok(record) = Record::parse(payload, END) {
                prop_assert!(ask_all(&record) <= payload.len());
            }
            let _ = first_field(payload, Field::Active);
        }
        prop_assert!(Record::parse(&whole, END).is_ok());
    }

    #[test]
    fn a_record_that_was_cut_is_no_record(sample in any_sample(), cut in any::<proptest::sample::Index>()) {
        let payload = sample.payload();
        let record = Record::parse(&payload, END).unwrap();
        ask_all(&record);
        let cut = cut.index(payload.len());
        let expected = if cut < HEAD_LEN { RecordError::Head } else { RecordError::End };
        // The numbers are the last field, but any field may be there twice.
        if !record.all_carried(Field::Numbers).skip(1).any(|_| true) {
            prop_assert_eq!(Record::parse(&payload[..cut], END).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_record_that_was_changed_is_read_without_a_panic(
        sample in any_sample(), changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut payload = sample.payload();
        for (at, byte) in changes {
            let place = at.index(payload.len());
            payload[place] = byte;
        }
        if let Ok(record) = Record::parse(&payload, END) {
            prop_assert!(ask_all(&record) <= payload.len());
        }
    }

    #[test]
    fn fields_are_read_back_cut_to_their_bounds(
        field in any_field(), value in proptest::collection::vec(any::<u8>(), 0..1200),
    ) {
        let payload = Sample::bare().carrying(field, &value).payload();
        let record = Record::parse(&payload, END).unwrap();
        prop_assert_eq!(record.carried(field), &value[..value.len().min(field.max_len())]);
        prop_assert_eq!(record.all_carried(field).count(), 1);
        prop_assert_eq!(first_field(&payload, field), record.carried(field));
    }

    #[test]
    fn a_writer_keeps_its_bounds_and_the_numbers_always_fit(
        before in proptest::collection::vec((any_field(), 0_usize..1200), 0..40),
        after in proptest::collection::vec((any_field(), 0_usize..1200), 0..40),
    ) {
        let sample = Sample::default();
        let (mut writer, value) = (Writer::new(), [b'v'; 1200]);
        writer.begin(&sample.head);
        let mut written = 0;
        let mut write = |writer: &mut Writer, fields: &[(Field, usize)], limit: usize| {
            for (field, len) in fields {
                let len = (*len).min(field.max_len());
                let had = writer.as_bytes().len();
                let fits = had + 3 + len <= limit;
                assert_eq!(writer.field(*field, &value[..len]), fits);
                assert_eq!(writer.as_bytes().len(), if fits { had + 3 + len } else { had });
                written += usize::from(fits);
            }
        };
        write(&mut writer, &before, MAX_START);
        // Held by HAProxy in between.
        let held = writer.as_bytes().to_vec();
        let mut writer = Writer::new();
        writer.resume(&held);
        prop_assert_eq!(writer.as_bytes(), held);
        writer.end();
        write(&mut writer, &after, MAX_LEN);
        let had = writer.as_bytes().len();
        writer.numbers(&sample.numbers);
        prop_assert_eq!(writer.as_bytes().len(), had + 3 + NUMBERS_LEN);
        let record = Record::parse(writer.as_bytes(), END).unwrap();
        prop_assert_eq!(record.response.status, Some(200));
        let read: usize = (1..=32).filter_map(Field::of_tag).map(|field| record.all_carried(field).count()).sum();
        prop_assert_eq!(read, written + 1);
    }

    #[test]
    fn of_several_values_for_one_place_the_last_one_counts(
        values in proptest::collection::vec((0_u8..12, proptest::collection::vec(any::<u8>(), 0..30)), 0..30), count in 0_usize..12,
    ) {
        let mut writer = Sample::bare().begun();
        writer.end();
        let mut expected = vec![None; 12];
        for (place, value) in &values {
            writer.gathered(*place, value, 20);
            expected[usize::from(*place)] = Some(&value[..value.len().min(20)]);
        }
        writer.numbers(&Numbers::default());
        let record = Record::parse(writer.as_bytes(), END).unwrap();
        let gathered = record.response.gathered;
        prop_assert_eq!(gathered.values(count), &expected[..count]);
        prop_assert_eq!((0..12).map(|place| gathered.value(place)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn hexadecimal_digits_are_read_in_lower_case_alone(bytes: [u8; 8], any in proptest::collection::vec(any::<u8>(), 0..40)) {
        let digits = bytes.map(|byte| format!("{byte:02x}")).concat();
        prop_assert_eq!(hex::<8>(digits.as_bytes()), Some(bytes));
        prop_assert_eq!(hex::<7>(digits.as_bytes()), None);
        let valid = any.len() == 16 && any.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        prop_assert_eq!(hex::<8>(&any).is_some(), valid);
        let upper = digits.to_ascii_uppercase();
        prop_assert_eq!(hex::<8>(upper.as_bytes()).is_some(), upper == digits);
    }
}

#[test]
fn every_value_is_read() {
    let sample = Sample::default()
        .carrying(Field::ContentLength, b"12")
        .carrying(Field::RpcStatus, b"5")
        .carrying(Field::SentMethod, b"POST")
        .carrying(Field::SentTarget, b"/b")
        .carrying(Field::SentHost, b"h")
        .carrying(Field::LocalAddress, &[192, 0, 2, 1])
        .numbers(|numbers| {
            (numbers.server_status, numbers.retries) = (404, 2);
            numbers.bits = bits::REDISPATCHED | bits::REUSE_KNOWN | bits::SERVER_TLS_KNOWN | bits::SERVER_TLS;
            (numbers.left, numbers.connected, numbers.answered, numbers.forwarded) = (1, 2, 3, 4);
            (numbers.bytes_in, numbers.bytes_out) = (0, 7);
        });
    let payload = sample.payload();
    let record = Record::parse(&payload, END).unwrap();
    assert_eq!((record.trace_id, record.trace_flags, record.sampled), (sample.head.trace_id, 3, true));
    assert_eq!((record.client_span, record.server_span), (sample.head.client_span, [0x11; 8]));
    assert_eq!((record.parent, record.link, record.tracestate), (Some([0x22; 8]), None, &b"a=1"[..]));
    assert_eq!((record.host, record.user_agent), (&b"shop.example:8443"[..], &b"curl/8.5.0"[..]));
    assert_eq!((record.start_unix_nanos, record.end_unix_nanos), (START, END));
    assert_eq!(record.request, RequestLine::new(b"GET", b"/cart/items?id=7&sort=asc", b"1.1"));
    assert_eq!(record.content_length, Some(12));
    assert_eq!(record.address(Field::LocalAddress), Some(IpAddr::from([192, 0, 2, 1])));
    let response = &record.response;
    assert_eq!((response.state, response.status, response.server_status), (State::NORMAL, Some(200), Some(404)));
    assert_eq!((response.frontend, response.backend), (&b"www"[..], &b"api"[..]));
    assert_eq!((response.server, response.tls_version), (Server::Real(b"api1"), &b"TLSv1.3"[..]));
    assert_eq!((response.server_ip, response.server_port), (Some(IpAddr::from([10, 0, 0, 7])), Some(8080)));
    assert_eq!((response.client_ip, response.client_port), (Some(IpAddr::from([192, 0, 2, 9])), Some(51234)));
    assert_eq!(response.frontend_port, Some(443));
    let timers = Timers {
        handshake: Some(4),
        idle: Some(0),
        request_headers: Some(1),
        queue: Some(2),
        connect: Some(3),
        response_headers: Some(25),
    };
    assert_eq!(response.timers, timers);
    assert_eq!(response.retries, Retries { count: 2, redispatched: true });
    let stamps = Stamps { left: Some(1), connected: Some(2), answered: Some(3), forwarded: Some(4) };
    assert_eq!(response.stamps, stamps);
    assert_eq!((response.client_http_major, response.server_http_major), (Some(1), Some(1)));
    assert_eq!((response.connection_reused, response.server_tls), (Some(false), Some(true)));
    assert_eq!((response.bytes_in, response.bytes_out), (Some(0), Some(7)));
    assert_eq!(response.rpc_status, b"5");
    assert_eq!(response.sent.request(&record.request), RequestLine::new(b"POST", b"/b", b"1.1"));
    assert_eq!(response.sent.host, b"h");
}

#[test]
fn absent_values_are_none() {
    let mut sample = Sample::bare();
    sample.head.parent = [0; 8];
    let payload = sample.payload();
    let record = Record::parse(&payload, END).unwrap();
    assert_eq!((record.parent, record.link, record.content_length), (None, None, None));
    assert_eq!((record.host, record.user_agent, record.tracestate), (&b""[..], &b""[..], &b""[..]));
    assert_eq!(record.request, RequestLine::default());
    assert_eq!(record.start_unix_nanos, START);
    let response = &record.response;
    assert_eq!((response.status, response.server_status), (None, None));
    assert_eq!((response.server, response.server_ip, response.client_ip), (Server::None, None, None));
    assert_eq!((response.server_port, response.client_port, response.frontend_port), (None, None, None));
    assert_eq!((response.timers.handshake, response.timers.response_headers), (None, None));
    assert_eq!(response.stamps, Stamps::default());
    assert_eq!((response.client_http_major, response.server_http_major), (None, None));
    assert_eq!((response.connection_reused, response.server_tls), (None, None));
    assert_eq!((response.bytes_in, response.bytes_out), (None, None));
    assert_eq!((response.rpc_status, response.sent), (&b""[..], Sent::default()));
    assert_eq!(response.gathered.values(3), [None; 3]);
    for status in [1, 99, 1000, u16::MAX] {
        assert_eq!(Record::parse(&Sample::default().status(status).payload(), 0).unwrap().response.status, None);
    }
}

#[test]
fn what_is_not_ours_is_refused_with_its_reason() {
    let mut unrecorded = Sample::default();
    unrecorded.head.verdict.recorded = false;
    for (payload, reason) in [
        (Vec::new(), RecordError::Head),
        (Sample::default().payload()[..HEAD_LEN - 1].to_vec(), RecordError::Head),
        (unrecorded.payload(), RecordError::Unrecorded),
        (Sample::default().begun().as_bytes().to_vec(), RecordError::End),
        (Sample::default().begun().as_bytes()[..HEAD_LEN].to_vec(), RecordError::End),
        (Sample::bare().carrying(Field::Numbers, b"--").begun().as_bytes().to_vec(), RecordError::End),
    ] {
        assert_eq!(Record::parse(&payload, END).unwrap_err(), reason);
    }
}

#[test]
fn what_was_asked_is_found_without_a_whole_record() {
    let sample = Sample::bare().carrying(Field::TraceState, b"a=1").carrying(Field::Header, b"\x01v");
    assert_eq!(asked(sample.begun().as_bytes()), [b""; 3]);
    let sample = sample.line("GET /a?b HTTP/1.1");
    assert_eq!(asked(sample.begun().as_bytes()), [&b"GET"[..], b"/a?b", b""]);
    let ordered = [(Field::Method, &b"PUT"[..]), (Field::Target, b"/b"), (Field::Host, b"h"), (Field::Version, b"1.1")];
    let sample = ordered.iter().fold(Sample::bare(), |sample, (field, value)| sample.carrying(*field, value));
    let payload = sample.carrying(Field::UserAgent, b"curl").payload();
    assert_eq!(asked(&payload), [&b"PUT"[..], b"/b", b"h"]);
    assert!(has_field(&payload, Field::UserAgent) && !has_field(&payload, Field::Rpc));
    for cut in 0..payload.len() {
        let _ = (asked(&payload[..cut]), has_field(&payload[..cut], Field::Rpc));
    }
    assert!(!is_only_measured(&payload) && !is_only_measured(b""));
}

#[test]
fn names_of_servers_and_applets_are_told_apart() {
    for (name, server) in [
        ("", Server::None),
        ("<NOSRV>", Server::None),
        ("<STATS>", Server::Applet(b"<STATS>")),
        ("api1", Server::Real(b"api1")),
    ] {
        assert_eq!(Record::parse(&Sample::default().server(name).payload(), 0).unwrap().response.server, server);
    }
}

#[test]
fn an_address_has_four_bytes_or_sixteen() {
    let read = |bytes: &[u8]| {
        let payload = Sample::default().with(Field::ClientAddress, bytes).payload();
        Record::parse(&payload, 0).unwrap().response.client_ip.map(|address| address.to_string())
    };
    assert_eq!(read(&[192, 0, 2, 1]).as_deref(), Some("192.0.2.1"));
    let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets();
    assert_eq!(read(&mapped).as_deref(), Some("::ffff:192.0.2.1"));
    for bytes in [&mapped[..3], &mapped[..5], &mapped[..15], b""] {
        assert_eq!(read(bytes), None);
    }
}

#[test]
fn a_length_is_digits_and_nothing_else() {
    for (text, number) in [
        ("0", Some(0)),
        ("0012", Some(12)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("", None),
        ("+1", None),
        ("-1", None),
        ("1 ", None),
        ("1, 1", None),
    ] {
        assert_eq!(decimal(text.as_bytes()), number, "{text}");
    }
}

#[test]
fn a_link_and_attributes_are_read_back_and_what_has_no_room_is_counted() {
    let caller = Traceparent { trace_id: [b'1'; 32], parent_id: [b'2'; 16], flags: 1 };
    let mut writer = Sample::bare().begun();
    writer.link(&caller);
    let long = [b'v'; 600];
    writer.attribute(b"app.text", AttributeValue::Text(&long));
    writer.attribute(b"app.number", AttributeValue::Integer(-7));
    writer.attribute(b"app.flag", AttributeValue::Bool(true));
    let had = writer.as_bytes().len();
    let left_out = crate::stats::ATTRIBUTES_LEFT_OUT.value();
    for name in [&b""[..], "\u{e9}".as_bytes(), &[b'n'; 256]] {
        assert!(!is_name(name));
        writer.attribute(name, AttributeValue::Bool(true));
    }
    assert_eq!(writer.as_bytes().len(), had);
    let mut added = 0;
    while writer.as_bytes().len() + 3 + 2 + 3 + 512 <= MAX_START {
        writer.attribute(b"big", AttributeValue::Text(&long));
        added += 1;
    }
    writer.attribute(b"big", AttributeValue::Text(&long));
    assert!(writer.as_bytes().len() <= MAX_START);
    // Others count at the same time.
    assert!(crate::stats::ATTRIBUTES_LEFT_OUT.value() >= left_out + 4);
    writer.end();
    writer.numbers(&Numbers::default());
    let record = Record::parse(writer.as_bytes(), END).unwrap();
    assert_eq!(record.link, Some(Link { trace_id: [0x11; 16], span_id: [0x22; 8], flags: 1 }));
    let attributes: Vec<_> = record.attributes().collect();
    assert_eq!(attributes.len(), 3 + added);
    let expected = [
        (&b"app.text"[..], AttributeValue::Text(&long[..512])),
        (b"app.number", AttributeValue::Integer(-7)),
        (b"app.flag", AttributeValue::Bool(true)),
    ];
    assert_eq!(attributes[..3], expected);
}

#[test]
fn an_attribute_that_is_not_of_this_modules_writing_ends_them() {
    for broken in [&b""[..], b"s", b"s\x00", b"s\x05ab", b"s\x02\xc3\xa9x", b"i\x01a123", b"b\x01a", b"?\x01ax"] {
        let sample = Sample::bare().ruled("first", AttributeValue::Bool(false)).carrying(Field::Attribute, broken);
        let payload = sample.ruled("last", AttributeValue::Bool(true)).payload();
        let record = Record::parse(&payload, END).unwrap();
        assert_eq!(record.attributes().collect::<Vec<_>>(), [(&b"first"[..], AttributeValue::Bool(false))]);
    }
}

#[test]
fn a_writer_gives_memory_back_and_starts_anew() {
    let mut writer = Sample::default().begun();
    writer.end();
    while writer.field(Field::Target, &[b'x'; 1024]) {}
    assert!(writer.as_bytes().len() > MAX_START && writer.as_bytes().len() <= MAX_LEN);
    writer.shrink();
    assert!(writer.as_bytes().is_empty() && !writer.is_recorded());
    writer.begin(&Sample::default().head);
    assert!(writer.is_recorded());
    while writer.field(Field::Target, &[b'x'; 1024]) {}
    assert!(writer.as_bytes().len() <= MAX_START, "the bound is the start's again");
}
