//! `[traces]`.

use super::{Key, Show, key, list, plain, text, word};
use crate::config::tree::{Config, Frontends, Propagator};

pub(in crate::config) static KEYS: &[Key<Config>] = &[
    key!("traces.enabled", traces.enabled, flag(), plain),
    key!("traces.engine", traces.engine, word(), word),
    key!("traces.frontends", traces.frontends, frontends(), frontends),
    key!("traces.sampler", traces.sampler, word(), word),
    key!("traces.ratio", traces.ratio, share(), plain),
    key!("traces.recent", traces.recent, whole(0..=10_000), plain),
    key!("traces.ring_bytes", traces.ring_bytes, whole(64 * 1024..=64 * 1024 * 1024), plain),
    key!("traces.propagators", traces.propagators, propagators(), propagators),
    key!("traces.trust", traces.trust, word(), word),
    Key {
        name: "traces.trust_of",
        set: |tree, setting| {
            let frontend = setting.frontend(tree.traces.trust_of.len())?;
            tree.traces.trust_of.push((frontend, setting.word()?));
            Ok(())
        },
        show: Show::Each(|tree| tree.traces.trust_of.iter().map(|(name, trust)| (name.clone(), word(trust))).collect()),
    },
    key!("traces.baggage_attributes", traces.baggage_attributes, baggage_keys(), texts),
    key!("traces.response_header", traces.response_header, word(), word),
    key!("traces.variables", traces.variables, flag(), plain),
];

fn frontends(frontends: &Frontends) -> String {
    match frontends {
        Frontends::Auto => text("auto"),
        Frontends::List(names) => texts(names),
    }
}

fn propagators(propagators: &[Propagator]) -> String {
    if propagators.is_empty() {
        return list([text("none")]);
    }
    list(propagators.iter().map(word))
}

fn texts(texts: &[String]) -> String {
    list(texts.iter().map(|one| text(one)))
}
