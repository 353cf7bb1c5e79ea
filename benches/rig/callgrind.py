"""What callgrind wrote with --separate-threads=yes: costs by function, by source file, and between objects."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

MODULE, HAPROXY, LIBC, LUA = "module", "HAProxy", "libc and allocator", "Lua"
OBJECTS = {
    MODULE: r"haproxy_vitals\.so$",
    HAPROXY: r"/haproxy$",
    LIBC: r"/(libc|libjemalloc|libm|libpthread|libgcc_s|ld-linux[^/]*)\.so[^/]*$",
    LUA: r"/liblua[^/]*$",
}
COST_LINE = re.compile(r"[0-9+*-]")
# Of Rust's older mangling; and callgrind's mark of a function that is called within itself.
HASH, AGAIN = re.compile(r"::h[0-9a-f]{16}"), re.compile(r"'\d+$")


@dataclass
class Profile:
    """Instructions; keys begin with (whether on HAProxy's own thread, object)."""

    own: Counter = field(default_factory=Counter)
    inclusive: Counter = field(default_factory=Counter)
    files: Counter = field(default_factory=Counter)
    # From one object into another: keys (on HAProxy's own thread, object, called object, called function).
    calls: Counter = field(default_factory=Counter)
    called: Counter = field(default_factory=Counter)

    def per_request(self, fewer, requests):
        """What each of `requests` more requests cost."""
        return Profile(
            *({key: (mine[key] - less[key]) / requests for key in mine | less} for mine, less in self.beside(fewer))
        )

    def beside(self, other):
        return [(getattr(self, name), getattr(other, name)) for name in self.__dataclass_fields__]

    def groups(self):
        totals = Counter()
        for (proxy, kind, _), cost in self.own.items():
            totals[proxy, kind] += cost
        return totals


def read(path):
    """One run: the files of all its threads."""
    profile = Profile()
    parts = sorted(Path(path).parent.glob(f"{Path(path).name}-*"))
    for part in parts:
        read_thread(part, profile)
    return profile


def read_thread(path, profile):
    names = {"ob": {}, "fl": {}, "fn": {}}
    proxy = True
    kind = file = function = called = None
    calls = 0
    for line in path.read_text(errors="replace").splitlines():
        if COST_LINE.match(line):
            cost = int(line.split()[1])
            key = (proxy, kind, AGAIN.sub("", function))
            if not calls:
                profile.own[key] += cost
                profile.files[proxy, kind, file] += cost
            elif called[0] != kind:
                profile.calls[(proxy, kind, *called)] += calls
                profile.called[(proxy, kind, *called)] += cost
            if not AGAIN.search(function):
                profile.inclusive[key] += cost
            calls, called = 0, None
            continue
        what, _, value = line.partition("=")
        if what == "ob":
            kind = kind_of(named(names["ob"], value))
        elif what in ("fl", "fi", "fe"):
            file = named(names["fl"], value)
        elif what == "fn":
            function = HASH.sub("", named(names["fn"], value))
        elif what == "cob":
            called = kind_of(named(names["ob"], value))
        elif what in ("cfi", "cfl"):
            named(names["fl"], value)
        elif what == "cfn":
            # Without an object of its own: the caller's.
            called = (called or kind, AGAIN.sub("", HASH.sub("", named(names["fn"], value))))
        elif what == "calls":
            calls = int(value.split()[0])
        elif line.startswith("thread: "):
            # One proxy thread, which is the process's first.
            proxy = line == "thread: 1"


def named(known, value):
    """Names are written once, after their number."""
    number, _, name = value.partition(" ")
    if name:
        known[number] = name
    return known[number]


def kind_of(path):
    return next((kind for kind, pattern in OBJECTS.items() if re.search(pattern, path)), Path(path).name)
