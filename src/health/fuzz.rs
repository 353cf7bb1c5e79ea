//! Servers' answers and addresses, for `fuzz/`: the doors to what is read from others here.

use bytes::BytesMut;
use http::{HeaderMap, Response};

use super::address::Address;
use super::call::{self, Answer};
use super::fault::LinkFault;
use super::outcome::CheckResult;
use super::policy::Policy;
use super::servers_state;
use crate::config::BackendConfig;

/// What each part of one answer says about the server by the default settings: its head, its messages, its trailers.
pub fn results(head: &Response<()>, body: &[u8], trailers: &HeaderMap) -> Vec<CheckResult> {
    let policy = Policy::new(&BackendConfig::named("fuzz"));
    let result = |answer: Result<Answer, LinkFault>| match answer {
        Ok(answer) => policy.result(&answer),
        Err(fault) => fault.result(&policy),
    };
    let code = |(code, message)| Answer::Code(code, message);
    let first = call::read_head(head).map(|end| end.map(code)).transpose();
    let mut results: Vec<_> = first.map(result).into_iter().collect();
    let mut buffer = BytesMut::from(body);
    while let Some(message) = call::message(&mut buffer).transpose() {
        let status = message.and_then(call::status);
        let broken = status.is_err();
        results.push(result(status.map(Answer::Status)));
        if broken {
            break;
        }
    }
    results.extend(call::code(trailers).map(code).map(Ok).map(result));
    results
}

/// The `:authority` of a server with this address, where there is one.
pub fn authority(text: &str) -> Option<String> {
    Address::parse(text).ok().map(|address| address.authority())
}

/// The servers that an answer of HAProxy's stats socket tells of, where it is one: backend, server and name of each.
pub fn servers_state(text: &str) -> Option<Vec<(&str, &str, Option<&str>)>> {
    let answer = servers_state::Answer::parse(text).ok()?;
    Some(answer.rows.iter().map(|row| (row.backend, row.server, row.name)).collect())
}
