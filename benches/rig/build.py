"""What is measured: the programs that the other tasks find or build."""

import os
import subprocess
from pathlib import Path

from .scenario import ROOT


def haproxy():
    return Path(printed("tasks/haproxy"))


def module():
    """The folder of haproxy_vitals.so."""
    return Path(os.environ.get("VITALS_MODULE_DIR") or Path(printed("tasks/build")).parent)


def module_with_symbols():
    """The same code, with the names of functions and the lines of sources."""
    target = ROOT / "target/symbols"
    wanted = {"CARGO_PROFILE_RELEASE_STRIP": "none", "CARGO_PROFILE_RELEASE_DEBUG": "1"}
    command = ["cargo", "build", "--locked", "--release", "--package", "haproxy-vitals-module", "--target-dir", target]
    subprocess.run(command, cwd=ROOT, env=os.environ | wanted, check=True)
    module = target / "module/haproxy_vitals.so"
    module.parent.mkdir(exist_ok=True)
    module.unlink(missing_ok=True)
    module.hardlink_to(target / "release/libhaproxy_vitals.so")
    return module.parent


def printed(*command):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
