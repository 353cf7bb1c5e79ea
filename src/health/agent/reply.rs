//! Words that HAProxy understands (`agent-check` in its manual). Every reply ends in LF, or HAProxy would ignore it.
//!
//! Never `ready`, `drain` or `maint`: they would undo what operators have set. A server that drains gets the weight 0 instead, and
//! its own weight back afterwards.

use crate::config::OnAgentError;
use crate::health::oracle::{Verdict, phrase};

/// The reply that brings a server to this state, and says nothing about what is not known.
pub(super) fn of(verdict: &Verdict) -> String {
    match verdict {
        // Explicit each time: a proxy that has just started, or that lost a reply, gets it too.
        Verdict::Up { drains: false } => "up\n".to_owned(),
        Verdict::Up { drains: true } => "up 100%\n".to_owned(),
        Verdict::Drain => "up 0%\n".to_owned(),
        // The space is needed: `down#...` would be an unknown word.
        Verdict::Down(reason) => format!("down #{}\n", phrase(reason)),
        Verdict::Unsure(reason) => format!("# {}\n", phrase(reason)),
    }
}

/// The reply to what cannot be answered.
pub(super) fn problem(problem: &str, on_error: OnAgentError) -> String {
    match on_error {
        OnAgentError::Keep => format!("# error: {}\n", phrase(problem)),
        OnAgentError::Down => format!("down #error: {}\n", phrase(problem)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::oracle::MAX_REASON;
    use proptest::prelude::*;

    #[test]
    fn every_state_has_its_reply() {
        assert_eq!(of(&Verdict::Up { drains: false }), "up\n");
        assert_eq!(of(&Verdict::Up { drains: true }), "up 100%\n");
        assert_eq!(of(&Verdict::Drain), "up 0%\n");
        assert_eq!(of(&Verdict::Down("refused".into())), "down #refused\n");
        assert_eq!(of(&Verdict::Unsure("busy".into())), "# busy\n");
        assert_eq!(problem("what?", OnAgentError::Keep), "# error: what?\n");
        assert_eq!(problem("what?", OnAgentError::Down), "down #error: what?\n");
    }

    proptest! {
        /// `maxconn` has a fault in HAProxy (a negative one is four thousand million); the words of operators are theirs.
        #[test]
        fn no_reply_says_more_than_up_down_and_two_weights(reason: String, kind in 0..5_usize) {
            let verdicts = [
                Verdict::Up { drains: false },
                Verdict::Up { drains: true },
                Verdict::Drain,
                Verdict::Down(reason.clone()),
                Verdict::Unsure(reason),
            ];
            let reply = of(&verdicts[kind]);
            let said = reply.split('#').next().unwrap();
            prop_assert!(said.split_whitespace().all(|word| ["up", "down", "0%", "100%"].contains(&word)), "{}", reply);
        }

        #[test]
        fn no_reason_makes_a_second_line_or_a_word(reason in "\\PC*|.*|[\r\n\u{0}]{1,9}") {
            let reply = of(&Verdict::Down(reason));
            prop_assert!(reply.starts_with("down #") && reply.len() <= MAX_REASON + 7);
            prop_assert!(reply.bytes().all(|b| (b' '..0x7f).contains(&b) || b == b'\n'));
            prop_assert_eq!(reply.find('\n'), Some(reply.len() - 1));
        }
    }
}
