"""Instructions per proxied request of each scenario over the plain proxy's under the same load: `tasks/cost`."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rig import build, callgrind
from rig.failure import Failed
from rig.load import Client
from rig.process import Process, Sink, free_port
from rig.scenario import FOLDER, ROOT, scenarios

# Requests of the smaller run: pools are filled and connections made within them.
BASE = 300
# A result at most this far over its budget is measured again, so often at most; the lowest counts. What varies, by about
# 0.3 %, is how often HAProxy's loop goes round.
MARGIN_PERCENT = 3
AGAIN = 5
# Of a profile's lists.
LINES = 30
# What stands before the paths of the standard library and of crates.
FOREIGN = r"^/rustc/[0-9a-f]+/|^/.*/registry/src/[^/]+/"
COLUMNS = ("name", "instructions_per_request", "over_plain", "budget", "verdict", "spans_per_request")


def main():
    parser = argparse.ArgumentParser(
        prog="tasks/cost",
        description="Counts what HAProxy executes in user space (callgrind, one proxy thread, every thread of the "
        "process) for two numbers of requests, one after the other. Their difference per request is the result: start-up cancels out. "
        "Results: a table, and target/cost.json. Fails when a measurement fails or a budget is exceeded.",
    )
    parser.add_argument(
        "--requests", type=int, default=1000, metavar="N", help="the difference of the two numbers (%(default)s)"
    )
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="measure each N times, the lowest counts (%(default)s)"
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="instead: where one scenario's instructions go; target/profile/NAME/ keeps it"
    )
    parser.add_argument("names", nargs="*", metavar="SCENARIO", help="of benches/cost/scenarios.toml (all of them)")
    options = parser.parse_args()
    known = scenarios()
    wanted = [options.profile] if options.profile else options.names or list(known)
    for name in wanted:
        if name not in known:
            parser.error(f"no scenario `{name}`; there are: {' '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(wanted)]
    options.haproxy = build.haproxy()
    options.module = build.module_with_symbols() if options.profile else build.module()
    return profile(options, chosen[0]) if options.profile else table(options, chosen)


def table(options, chosen):
    budgets = json.loads((FOLDER / "budgets.json").read_text())["over_plain"]
    unknown = budgets.keys() - scenarios().keys()
    if unknown:
        raise Failed(f"budgets.json: no scenario {', '.join(sorted(unknown))}")
    bench = Bench(options, fresh(ROOT / "target/cost"))
    rows = []
    print_row("scenario", "per-request", "over-plain", "budget", "verdict", "spans")
    for row in bench.rows(chosen, budgets):
        rows.append(row)
        print_row(*("-" if row[column] is None else row[column] for column in COLUMNS))
    result = {
        "haproxy": version(options.haproxy),
        "valgrind": build.printed("valgrind", "--version"),
        "requests": {"base": BASE, "difference": options.requests},
        "scenarios": rows,
    }
    (ROOT / "target/cost.json").write_text(json.dumps(result, indent=2) + "\n")
    bad = [row["name"] for row in rows if row["verdict"] in ("over", "failed")]
    if bad:
        raise Failed(f"over budget or not measured: {', '.join(bad)}")


def print_row(*row):
    print("{:<22} {:>12} {:>12} {:>8} {:>8} {:>7}".format(*row), flush=True)


@dataclass
class Measurement:
    instructions: int
    spans: int


class Bench:
    """Runs a proxy under callgrind."""

    def __init__(self, options, folder, lua=ROOT / "lua"):
        self.options, self.folder, self.lua = options, folder, lua
        self.plain = {}

    def rows(self, chosen, budgets):
        """The plain proxy under each load before the first scenario that needs it."""
        for scenario in chosen:
            if scenario.load not in self.plain:
                row = self.row(scenario.plain, None, None)
                self.plain[scenario.load] = row["instructions_per_request"]
                yield row
            yield self.row(scenario, budgets.get(scenario.name), self.plain[scenario.load])

    def row(self, scenario, budget, plain):
        row = {"name": scenario.name, "load": scenario.load}
        row |= dict.fromkeys(("instructions_per_request", "over_plain", "verdict", "spans_per_request")) | {
            "budget": budget
        }
        try:
            lowest, spans = self.lowest(scenario, self.options.repeat)
            over = lowest - (lowest if plain is None else plain)
            for _ in range(AGAIN):
                if budget is None or over <= budget or over * 100 > budget * (100 + MARGIN_PERCENT):
                    break
                again, _ = self.lowest(scenario, 1)
                lowest, over = min(lowest, again), min(over, again - plain)
        except Failed as problem:
            if scenario.is_plain:
                raise
            print(f"error: {scenario.name}: {problem}", file=sys.stderr)
            return row | {"verdict": "failed"}
        verdict = None if budget is None else "ok" if over <= budget else "over"
        spans = None if scenario.is_plain else spans / self.options.requests
        return row | {
            "instructions_per_request": lowest,
            "over_plain": over,
            "verdict": verdict,
            "spans_per_request": spans,
        }

    def lowest(self, scenario, times):
        """Instructions per request, and the spans that reached the collector."""
        results = []
        for _ in range(times):
            few, many = self.run(scenario, BASE), self.run(scenario, BASE + self.options.requests)
            spans = many.spans - few.spans
            self.check_spans(scenario, spans)
            results.append(((many.instructions - few.instructions) // self.options.requests, spans))
        return min(results)

    def check_spans(self, scenario, got):
        """A tracer that makes no spans is cheap."""
        if scenario.is_plain or scenario.spans_per_request is None:
            return
        expected = scenario.spans_per_request * self.options.requests
        if got != expected:
            raise Failed(f"{got} spans of {self.options.requests} requests reached the collector, not {expected}")

    def run(self, scenario, requests, *arguments):
        port, upstream = free_port(), free_port()
        log = self.folder / f"{scenario.name}.{requests}"
        proxy_file, upstream_file = log.with_suffix(f".{requests}.cfg"), self.folder / "upstream.cfg"
        proxy_file.write_text(scenario.configuration(port, upstream, self.options.module, self.lua))
        upstream_file.write_text(scenario.upstream_configuration(upstream))
        valgrind = [
            "valgrind",
            "--tool=callgrind",
            f"--log-file={log}.valgrind",
            f"--callgrind-out-file={log}.callgrind",
            *arguments,
        ]
        haproxy = [self.options.haproxy, "-db", "-f"]
        with (
            Sink() as sink,
            Process([*haproxy, upstream_file], self.folder / "upstream.haproxy", {}, upstream) as server,
            Process(
                [*valgrind, *haproxy, proxy_file], f"{log}.haproxy", scenario.environment(sink.port), port
            ) as proxy,
        ):
            server.wait_until_ready(answers=False)
            proxy.wait_until_ready()
            client = Client(scenario.load, port, sampled=scenario.sampled)
            client.run(requests)
            client.close()
            proxy.soft_stop()
            return Measurement(collected(log), sink.spans())


def collected(log):
    """Of all threads."""
    text = Path(f"{log}.valgrind").read_text(errors="replace")
    found = re.findall(r"Collected : (\d+)", text)
    if not found:
        raise Failed(f"callgrind wrote no sum:\n{text}")
    return int(found[-1])


def profile(options, scenario):
    bench = Bench(options, fresh(ROOT / "target/profile" / scenario.name))
    this, plain = (profile_of(bench, one) for one in (scenario, scenario.plain))
    out = bench.folder / "profile.txt"
    with out.open("w") as file:
        for line in report(scenario, this, plain):
            print(line)
            print(line, file=file)
    print(f"\n{out.relative_to(ROOT)}; for callgrind_annotate or KCachegrind: *.callgrind-* beside it")


def profile_of(bench, scenario):
    few, many = BASE, BASE + bench.options.requests
    spans = (
        bench.run(scenario, many, "--separate-threads=yes").spans
        - bench.run(scenario, few, "--separate-threads=yes").spans
    )
    bench.check_spans(scenario, spans)
    files = (bench.folder / f"{scenario.name}.{requests}.callgrind" for requests in (many, few))
    return callgrind.read(next(files)).per_request(callgrind.read(next(files)), bench.options.requests)


def report(scenario, this, plain):
    groups, plain_groups = this.groups(), plain.groups()
    total, plain_total = sum(groups.values()), sum(plain_groups.values())
    yield (
        f"{scenario.name}: {total:.0f} instructions per request, "
        f"{scenario.plain.name} {plain_total:.0f}, over plain {total - plain_total:.0f}"
    )
    yield f"\n{'per request':>12} {'over plain':>11}"
    for key in sorted(groups | plain_groups, key=lambda key: plain_groups[key] - groups[key]):
        yield f"{groups[key]:>12.0f} {groups[key] - plain_groups[key]:>11.0f}  {place(*key)}"
    for title, costs, plain_costs in (("self", this.own, plain.own), ("inclusive", this.inclusive, plain.inclusive)):
        over = {key: cost - plain_costs.get(key, 0) for key, cost in costs.items()}
        yield f"\n{title:>12} {'over plain':>11}"
        for proxy, kind, name in top(over):
            yield f"{costs[proxy, kind, name]:>12.0f} {over[proxy, kind, name]:>11.0f}  {name}  [{place(proxy, kind)}]"
    for title, wanted in (("into the module", True), ("out of the module", False)):
        yield f"\n{'inclusive':>12} {'calls':>11}  {title}"
        crossed = {
            key: cost
            for key, cost in this.called.items()
            if callgrind.MODULE in key and (key[2] == callgrind.MODULE) == wanted
        }
        for key in top(crossed):
            proxy, kind, called, name = key
            where = f"{place(proxy, kind)} to {called}"
            yield f"{crossed[key]:>12.0f} {this.calls[key]:>11.2f}  {name}  [{where}]"
    yield f"\n{'self':>12}  source files of the module"
    files = {key: cost for key, cost in this.files.items() if key[1] == callgrind.MODULE}
    for proxy, kind, name in top(files):
        yield f"{files[proxy, kind, name]:>12.0f}  {re.sub(FOREIGN, '', name.removeprefix(f'{ROOT}/'))}  [{place(proxy, kind)}]"


def top(costs):
    """Without what does not come with every request."""
    return [key for key in sorted(costs, key=costs.get, reverse=True)[:LINES] if costs[key] >= 1]


def place(proxy, kind):
    return f"{kind}, {'HAProxy' if proxy else 'other'} threads"


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def version(haproxy):
    return re.search(r"HAProxy version (\S+)", build.printed(haproxy, "-v")).group(1)


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.CalledProcessError) as problem:
        sys.exit(f"error: {problem}")
