"""CPU time of the whole process per request, each way to trace beside the plain proxy: `tasks/overhead`.

Ratios of one run: absolute times of a shared machine say little. All proxies run all the time, and get the load in turns:
plain, one, plain, the next, and so on. Each turn is compared with the plain ones before and after it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rig import build, nginx
from rig.failure import Failed
from rig.load import Client
from rig.process import Process, Sink, free_port
from rig.scenario import ROOT, Scenario, scenarios

MEASURED = ("native-100", "native-1", "native-0", "native-actions-100", "lua-filter-100")
# Of an older module, which traces `frontend F from otel`.
PROFILE = tuple(Scenario(f"profile-{share}", sampler=f"always_{state}") for share, state in ((100, "on"), (0, "off")))
LOADS = ("tiny", "browser")
# Pools are filled and connections made within this part of a turn.
WARM_UP = 0.5
# What is queued at the end of the last turn is exported a little later: at most the SDK's schedule delay.
LAST_EXPORT_SECONDS = 5.5
# Then nothing happens: what a proxy spends all the same, in its timers, is no request's.
IDLE_SECONDS = 3


def main():
    options = parsed()
    share_one_cpu()
    result = {"rounds": options.rounds, "requests": options.requests, "connections": options.connections, "loads": {}}
    for load in options.loads:
        rows = result["loads"][load] = measure(options, load)
        print(
            f"\n{load}: {options.rounds} rounds, {options.requests} requests a turn, {options.connections} connections"
        )
        print(
            f"{'':<22} {'CPU us':>7} {'ratio':>7} {'quartiles':>15} {'excess us':>10} {'quartiles':>15} {'spans':>6} {'idle us/s':>9}"
        )
        for row in rows:
            print_row(row)
    out = ROOT / "target/overhead.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")


def share_one_cpu():
    """This client, the proxies, the servers: in turns, none interrupting another.

    How many requests a proxy finds each time it wakes up decides its cost by as much as a factor of two. On several CPUs that
    depends on who happens to be faster; here each finds what all connections sent.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def parsed():
    parser = argparse.ArgumentParser(
        prog="tasks/overhead",
        description="CPU time per request, all threads, user and kernel, beside the plain proxy. Results: a table of medians "
        "with quartiles, and target/overhead.json. No verdict.",
    )
    parser.add_argument("--requests", type=int, default=4000, metavar="N", help="of a turn (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="turns of each proxy (%(default)s)")
    parser.add_argument(
        "--connections", type=int, default=16, metavar="N", help="kept, each with one request open (%(default)s)"
    )
    parser.add_argument("--load", dest="loads", action="append", choices=LOADS, help="only this one")
    parser.add_argument(
        "--baseline-module",
        type=Path,
        metavar="DIR",
        help="also an older build with its profile: haproxy_vitals.so and lua/",
    )
    parser.add_argument("--nginx", action="store_true", help="also nginx with nginx-otel, beside nginx without it")
    parser.add_argument(
        "--nginx-module",
        type=Path,
        metavar="FILE",
        help="ngx_otel_module.so, where no package brings it; implies --nginx",
    )
    parser.add_argument(
        "names", nargs="*", metavar="SCENARIO", help=f"of benches/cost/scenarios.toml ({' '.join(MEASURED)})"
    )
    options = parser.parse_args()
    options.loads = options.loads or LOADS
    options.names = options.names or MEASURED
    options.known = scenarios()
    for name in options.names:
        if name not in options.known:
            parser.error(f"no scenario `{name}`; there are: {' '.join(options.known)}")
    if options.baseline_module and not (options.baseline_module / "lua/otel.cfg").is_file():
        parser.error(f"{options.baseline_module} has no lua/otel.cfg")
    options.nginx = nginx.find(options.nginx_module) if options.nginx or options.nginx_module else None
    options.haproxy = build.haproxy()
    options.module = build.module()
    return options


@dataclass
class Candidate:
    """A proxy that runs; its turns."""

    name: str
    process: Process
    client: Client
    sink: object = None
    expected: float | None = None
    # The proxy without tracing.
    plain: "Candidate | None" = None
    # CPU seconds at the begin of each turn, and when all is exported; the wall clock's seconds without load after each.
    begins: list = field(default_factory=list)
    pauses: list = field(default_factory=list)
    # Of a plain proxy: each turn's microseconds per request.
    turns: list = field(default_factory=list)
    # For each turn, those of the plain proxy around it.
    around: list = field(default_factory=list)

    def begin(self):
        """Of a turn: the end of the pause after the one before."""
        self.begins.append(self.process.cpu_seconds())
        if self.pauses:
            self.pauses[-1] += time.monotonic()


def measure(options, load):
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        rig = Rig(options, load, folder, stack)
        families = [rig.family(rig.haproxies())]
        if options.nginx:
            families.append(rig.family(rig.nginxes()))
        return [row for family in families for row in rounds(options, family)]


class Rig:
    """Starts everything for one load."""

    def __init__(self, options, load, folder, stack):
        self.options, self.load, self.folder, self.stack = options, load, folder, stack
        self.lua = ROOT / "lua"

    def haproxies(self):
        """Name, scenario, and the folders of the module and of its scripts."""
        yield Scenario("plain", sampler=None), self.haproxy(self.options.module, self.lua)
        for name in self.options.names:
            yield self.options.known[name], self.haproxy(self.options.module, self.lua)
        older = self.options.baseline_module and self.options.baseline_module.resolve()
        for scenario in PROFILE if older else ():
            yield scenario, self.haproxy(older, older / "lua", profile=True)

    def nginxes(self):
        yield Scenario("nginx", sampler=None), self.nginx
        yield Scenario("nginx-otel-100", spans=1), self.nginx

    def family(self, members):
        """The plain one first."""
        family = [self.candidate(*member) for member in members]
        for one in family[1:]:
            one.plain = family[0]
        return family

    def candidate(self, scenario, start):
        scenario = scenario.under(self.load)
        upstream = free_port()
        path = self.written(f"{scenario.name}.upstream.cfg", scenario.upstream_configuration(upstream))
        server = self.process([self.options.haproxy, "-db", "-f", path], path, {}, upstream)
        server.wait_until_ready(answers=False)
        process, sink = start(scenario, upstream)
        process.wait_until_ready()
        client = Client(self.load, process.port, self.options.connections, scenario.sampled)
        return Candidate(scenario.name, process, client, sink, scenario.spans_per_request)

    def haproxy(self, module, lua, profile=False):
        def start(scenario, upstream):
            sink = None if scenario.is_plain else self.stack.enter_context(Sink())
            port = free_port()
            text = scenario.configuration(port, upstream, module, lua)
            if profile:
                text = with_profile(text, (lua / "otel.cfg").read_text())
            path = self.written(f"{scenario.name}.cfg", text)
            command = [self.options.haproxy, "-db", "-f", path]
            return self.process(command, path, scenario.environment(sink.port) if sink else {}, port), sink

        return start

    def nginx(self, scenario, upstream):
        sink = None if scenario.is_plain else self.stack.enter_context(nginx.GrpcSink())
        port = free_port()
        program, module = self.options.nginx
        path = self.written(f"{scenario.name}.conf", nginx.configuration(port, upstream, self.folder, module, sink))
        return self.process([program, "-c", path], path, {}, port), sink

    def written(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def process(self, command, path, environment, port):
        return self.stack.enter_context(Process(command, path.with_suffix(".log"), environment, port))


def with_profile(text, profile):
    text = text.replace("\ndefaults\n", f"\n{profile}\ndefaults\n")
    return text.replace("\nfrontend f\n", "\nfrontend f from otel\n  timeout client 60s\n")


def rounds(options, family):
    """The rows of one plain proxy and those that are compared with it."""
    plain, others = family[0], family[1:]
    for one in family:
        one.client.run(max(1, int(options.requests * WARM_UP)))
    before = turn(options, plain)
    for number in range(options.rounds):
        # Nobody has always the same neighbours.
        shift = number % len(others)
        for one in others[shift:] + others[:shift]:
            one.begin()
            one.client.run(options.requests)
            one.pauses.append(-time.monotonic())
            after = turn(options, plain)
            one.around.append((before + after) / 2)
            before = after
    time.sleep(LAST_EXPORT_SECONDS)
    for one in others:
        one.begin()
        one.pauses.append(-time.monotonic())
    time.sleep(IDLE_SECONDS)
    yield row(plain.name, plain.turns, plain.turns)
    for one in others:
        # From one turn's begin to the next one's: with the export that follows a turn.
        idle = (one.process.cpu_seconds() - one.begins[-1]) / (time.monotonic() + one.pauses.pop())
        windows = zip(one.begins, one.begins[1:], one.pauses)
        turns = [(end - begin - idle * pause) * 1e6 / options.requests for begin, end, pause in windows]
        # The warm-up and the question whether it is ready have spans too.
        spans = one.sink.spans() / (1 + max(1, int(options.requests * WARM_UP)) + options.rounds * options.requests)
        if one.expected is not None and abs(spans - one.expected) > one.expected / 100:
            raise Failed(f"{one.name}: {spans:.3f} spans per request reached the collector, not {one.expected}")
        yield row(one.name, turns, one.around) | {
            "spans_per_request": round(spans, 3),
            "idle_us_per_second": idle * 1e6,
        }


def turn(options, plain):
    begin = plain.process.cpu_seconds()
    plain.client.run(options.requests)
    plain.turns.append((plain.process.cpu_seconds() - begin) * 1e6 / options.requests)
    return plain.turns[-1]


def row(name, turns, around):
    pairs = list(zip(turns, around))
    return {
        "name": name,
        "cpu_us": spread(turns),
        "ratio": spread([this / plain for this, plain in pairs]),
        "excess_us": spread([this - plain for this, plain in pairs]),
        "mean_ratio": statistics.fmean(turns) / statistics.fmean(around),
    }


def spread(values):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": middle, "quartiles": [low, high]}


def print_row(row):
    def quartiles(of, digits):
        return "..".join(f"{value:.{digits}f}" for value in row[of]["quartiles"])

    spans, idle = (row.get(of) for of in ("spans_per_request", "idle_us_per_second"))
    print(
        f"{row['name']:<22} {row['cpu_us']['median']:>7.2f} {'x' + format(row['ratio']['median'], '.3f'):>7}"
        f" {quartiles('ratio', 3):>15} {row['excess_us']['median']:>10.2f} {quartiles('excess_us', 2):>15}"
        f" {'-' if spans is None else spans:>6} {'-' if idle is None else round(idle):>9}"
    )


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.CalledProcessError) as problem:
        sys.exit(f"error: {problem}")
