//! The native engine: HAProxy's own hooks, registered from the Lua module, calling plain functions.
//!
//! HAProxy exports its functions to what it loads. Nothing is linked: they are looked up by name, and HAProxy's version says how its
//! memory is laid out (`abi` has the table). What is not as expected is an answer, [`Unavailable`], and never a crash.
//!
//! Rules: this folder and `raw` are the only places with unsafe code. Every callback goes through one `fence`: nothing unwinds into
//! HAProxy. `handlers` and what they call are safe code.

mod abi;
mod action;
mod beside;
mod capture;
mod ending;
mod faults;
mod fence;
mod fetch;
mod filter;
mod fork;
mod handlers;
mod line;
mod live;
mod message;
mod registry;
mod retired;
mod section;
mod selftest;
mod side;
mod stopping;
mod stream;
mod symbols;
mod trailers;
mod ways;
mod words;

use std::sync::OnceLock;

pub(super) use self::fork::comes as fork_comes;

use self::abi::Layout;
use self::symbols::Symbols;

/// Why there is no native engine in this HAProxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unavailable {
    /// HAProxy exports no such function or variable.
    #[error("this HAProxy has no `{0}`")]
    Symbol(&'static str),
    /// Its memory is not known.
    #[error("HAProxy {0} is not known")]
    Version(String),
    /// Something is not as its version says.
    #[error("self-test failed: {0}")]
    SelfTest(&'static str),
}

/// What is known of this HAProxy.
struct Engine {
    symbols: Symbols,
    layout: Layout,
    version: String,
}

/// Looks HAProxy's functions up, tries them, and registers the filter, the actions and the hooks of sections: once per process, while
/// HAProxy reads its configuration. Lua must not register the same names: HAProxy would take our actions for Lua's.
pub(super) fn register() -> Result<(), Unavailable> {
    let mut first = false;
    let found = ENGINE.get_or_init(|| {
        first = true;
        find()
    });
    let engine = found.as_ref().map_err(Clone::clone)?;
    if first {
        filter::register(engine, filter::NAME);
        action::register(engine);
        capture::Capture::prepare();
    }
    Ok(())
}

/// A section that HAProxy has read before the loader's line, and so without our hooks.
pub(super) fn read_before() -> Option<String> {
    engine().and_then(section::read_before)
}

/// What serves whichever hooks are used: HAProxy's parser says what to write in place of words that are gone, and a worker that leaves
/// is not killed by being told so again. Once per process, while HAProxy reads its configuration. In an HAProxy that is not known
/// nothing is done.
pub(super) fn prepare() {
    if let Ok(engine) = known() {
        stopping::register(&engine.symbols);
        retired::register(engine.symbols);
    }
}

fn find() -> Result<Engine, Unavailable> {
    let engine = known()?;
    selftest::run(&engine)?;
    section::register(&engine)?;
    Ok(engine)
}

fn known() -> Result<Engine, Unavailable> {
    let version = symbols::version()?;
    let unknown = || Unavailable::Version(version.clone());
    let (major, minor) = symbols::release(&version).ok_or_else(unknown)?;
    let mut layout = Layout::of(major, minor).ok_or_else(unknown)?;
    let symbols = Symbols::find()?;
    layout.htx.positions = symbols.htx_positions().ok_or(Unavailable::SelfTest("an empty message"))?;
    if !symbols::keep_loaded() {
        return Err(Unavailable::SelfTest("the module stays loaded"));
    }
    Ok(Engine { symbols, layout, version })
}

/// The engine, once it is registered.
fn engine() -> Option<&'static Engine> {
    ENGINE.get()?.as_ref().ok()
}

static ENGINE: OnceLock<Result<Engine, Unavailable>> = OnceLock::new();
