//! What becomes of a query. HTTP semantic conventions, `url.query` and `url.full`.

use crate::config::{AttributesConfig, QueryMode};
use crate::trace::record::scan::split_once;

/// Which values of a query are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::trace) enum QueryRules {
    /// Those of [`SECRETS`].
    #[default]
    Conventions,
    /// Those of these parameters.
    Redact(Vec<Vec<u8>>),
    /// Those of all but these; a parameter without a value counts as one.
    Allow(Vec<Vec<u8>>),
    /// The query is left out.
    Drop,
}

impl QueryRules {
    pub(super) fn new(config: &AttributesConfig) -> Self {
        match (config.query, &config.redact_query) {
            (QueryMode::Redact, None) => Self::Conventions,
            (QueryMode::Redact, Some(list)) => Self::Redact(super::bytes_of(list)),
            (QueryMode::AllowList, _) => Self::Allow(super::bytes_of(&config.query_allowed)),
            (QueryMode::Drop, _) => Self::Drop,
        }
    }

    /// Appends a query with what must be replaced as `REDACTED`.
    pub(in crate::trace) fn push(&self, out: &mut Vec<u8>, query: &[u8]) {
        let mut rest = query;
        while let Some((parameter, after)) = split_once(rest, b'&') {
            self.push_parameter(out, parameter);
            out.push(b'&');
            rest = after;
        }
        self.push_parameter(out, rest);
    }

    fn push_parameter(&self, out: &mut Vec<u8>, parameter: &[u8]) {
        // Every secret's first letter.
        if matches!(self, Self::Conventions) && !matches!(parameter.first(), Some(b'X' | b's')) {
            out.extend_from_slice(parameter);
        } else {
            self.push_suspect(out, parameter);
        }
    }

    #[inline(never)]
    fn push_suspect(&self, out: &mut Vec<u8>, parameter: &[u8]) {
        let Some(key) = self.kept_key(parameter) else { return out.extend_from_slice(parameter) };
        if !key.is_empty() {
            out.extend_from_slice(key);
            out.push(b'=');
        }
        out.extend_from_slice(b"REDACTED");
    }

    /// The key of a parameter whose value is replaced; empty if all of it is. `None`: nothing is.
    fn kept_key<'p>(&self, parameter: &'p [u8]) -> Option<&'p [u8]> {
        match self {
            Self::Conventions => {
                let is_key = |key: &&&[u8]| parameter.get(key.len()) == Some(&b'=') && parameter.starts_with(key);
                SECRETS.iter().find(is_key).copied()
            }
            Self::Redact(list) => {
                let (key, _) = split_once(parameter, b'=')?;
                list.iter().any(|secret| secret == key).then_some(key)
            }
            Self::Allow(list) => {
                let (key, kept) = split_once(parameter, b'=').map_or((parameter, &b""[..]), |(key, _)| (key, key));
                (!parameter.is_empty() && !list.iter().any(|allowed| allowed == key)).then_some(kept)
            }
            Self::Drop => Some(b""),
        }
    }
}

/// Query parameters whose values are credentials. HTTP semantic conventions, `url.query`: case-sensitive.
const SECRETS: [&[u8]; 5] =
    [b"X-Amz-Signature", b"X-Amz-Credential", b"X-Amz-Security-Token", b"sig", b"X-Goog-Signature"];

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(rules: &QueryRules, query: &str) -> String {
        let mut out = Vec::new();
        rules.push(&mut out, query.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_are_replaced_and_nothing_else() {
        let cases = [
            ("", ""),
            ("a=1&b=2", "a=1&b=2"),
            ("sig=abc", "sig=REDACTED"),
            ("a=1&sig=abc==&b=&", "a=1&sig=REDACTED&b=&"),
            ("sig=", "sig=REDACTED"),
            ("sig&SIG=1&sigs=2&xsig=3", "sig&SIG=1&sigs=2&xsig=3"),
            ("sig=a\"b&t=\u{e9}&u=#22", "sig=REDACTED&t=\u{e9}&u=#22"),
            (
                "X-Amz-Signature=1&X-Amz-Credential=2&X-Amz-Security-Token=3&X-Goog-Signature=4",
                "X-Amz-Signature=REDACTED&X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED\
                 &X-Goog-Signature=REDACTED",
            ),
        ];
        for (query, expected) in cases {
            assert_eq!(pushed(&QueryRules::Conventions, query), expected);
        }
    }

    #[test]
    fn a_list_of_ones_own_replaces_the_conventions() {
        let rules = QueryRules::Redact(vec![b"token".to_vec()]);
        assert_eq!(pushed(&rules, "token=1&sig=2&token"), "token=REDACTED&sig=2&token");
    }

    #[test]
    fn what_is_not_allowed_is_replaced_with_or_without_a_key() {
        let rules = QueryRules::Allow(vec![b"page".to_vec(), b"all".to_vec()]);
        assert_eq!(pushed(&rules, "page=2&q=secret&all&token&&=x"), "page=2&q=REDACTED&all&REDACTED&&REDACTED");
    }
}
