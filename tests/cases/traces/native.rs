//! HAProxy's own hooks: tracing without a line in any section, and what only they see.

mod beside;
mod calls;
mod faults;
mod leg;
mod life;
mod sections;
mod streams;
mod times;

use haproxy_vitals_tests::haproxy::Builder;
use haproxy_vitals_tests::vitals::{self, Door};

/// Every way by native hooks.
const DOORS: [Door; 3] = [Door::ZeroLines, Door::Filter, Door::Actions];

/// The loader's line, and sections after one `defaults` section.
fn whole(sections: &str) -> Builder {
    vitals::whole(&format!("global\n  nbthread 2\n{}{DEFAULTS}{sections}{BACK}", vitals::LOAD))
}

const DEFAULTS: &str = "
defaults
  mode http
  timeout connect 100ms
  timeout client 5s
  timeout server 2s
";

const BACK: &str = "
backend back
  server one ${upstream}
";
