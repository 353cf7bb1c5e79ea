//! libFuzzer's door: runs the target that the program's own file name names. `tasks/fuzz` builds and links it.

#![no_main]

mod targets;

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

fuzz_target!(|data: &[u8]| chosen()(data));

fn chosen() -> Target {
    static CHOSEN: OnceLock<Target> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let program = std::env::args().next().unwrap_or_default();
        let name = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let target = TARGETS.iter().find(|(known, _)| *known == name);
        target.unwrap_or_else(|| panic!("no target is called `{name}`: link this program under a target's name")).1
    })
}
