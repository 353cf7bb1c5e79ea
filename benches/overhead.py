"""CPU time of the whole HAProxy process per request, each door beside the plain proxy, in interleaved rounds.

Ratios of one run: absolute times of a shared machine say little. The configurations are those of the cost table.
"""

import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = ["plain", "profile-0", "profile-100", "actions-100"]
DEADLINE_SECONDS = 30
CONNECTIONS = 16


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--haproxy", required=True)
    arguments.add_argument("--module", required=True)
    arguments.add_argument("--requests", type=int, default=30_000)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    figures = {name: [] for name in SCENARIOS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name in SCENARIOS:
                figures[name].append(measure(options, name, Path(folder)))
    plain = statistics.median(figures["plain"])
    print(f"{'scenario':<14} {'CPU us/request':>15} {'over plain':>11}   {options.rounds} rounds, {options.requests} requests each")
    for name in SCENARIOS:
        median = statistics.median(figures[name])
        print(f"{name:<14} {median:>15.2f} {'x' + format(median / plain, '.2f'):>11}")


def measure(options, name, folder):
    """Microseconds of CPU per request."""
    template = (ROOT / "benches/cost" / f"{name}.cfg").read_text()
    port, upstream_port = free_port(), free_port()
    sink = subprocess.Popen([sys.executable, ROOT / "benches/cost/sink.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    collector = sink.stdout.readline().strip()
    values = {
        "@PORT@": port,
        "@UPSTREAM@": upstream_port,
        "@COLLECTOR@": collector,
        "@MODULE@": options.module,
        "@LUA@": ROOT / "lua",
        "@PROFILE@": (ROOT / "lua/otel.cfg").read_text(),
    }
    sampler = re.search(r"^#sampler (\S+)", template, re.MULTILINE)
    environment = os.environ | {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
        "OTEL_TRACES_SAMPLER": sampler.group(1) if sampler else "always_off",
    }
    processes = [sink]
    try:
        upstream = (ROOT / "benches/cost/upstream.cfg").read_text()
        processes.append(start(options.haproxy, folder / "upstream.cfg", upstream, values, environment, upstream_port))
        proxy = start(options.haproxy, folder / f"{name}.cfg", template, values, environment, port)
        processes.append(proxy)
        load(port, options.requests // 10)
        before = cpu_seconds(proxy.pid)
        load(port, options.requests)
        return (cpu_seconds(proxy.pid) - before) * 1e6 / options.requests
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_SECONDS)


def start(haproxy, path, template, values, environment, port):
    for mark, value in values.items():
        template = template.replace(mark, str(value))
    path.write_text(template)
    process = subprocess.Popen([haproxy, "-db", "-f", path], env=environment, stderr=subprocess.DEVNULL)
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            if time.monotonic() > end or process.poll() is not None:
                sys.exit(f"HAProxy does not start with {path.name}")
            time.sleep(0.05)


def load(port, requests):
    command = ["h2load", "--h1", "-n", requests, "-c", CONNECTIONS, "-t", 1, f"http://127.0.0.1:{port}/api/items/7?x=1"]
    told = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True).stdout
    if f"{requests} 2xx" not in told:
        sys.exit(f"not every request succeeded:\n{told}")


def cpu_seconds(pid):
    """All threads of the process, user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":
    main()
