"""The processes of a measurement: the proxy, the server behind it, the collector. None outlives its `with`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from .failure import Failed
from .load import connect, exchange, requests

DEADLINE_SECONDS = 30


class Process:
    """A program that listens on `port`, with its output in a file."""

    def __init__(self, command, log, environment, port):
        self.log, self.port = Path(log), port
        with self.log.open("wb") as output:
            inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
            self.process = subprocess.Popen(
                [str(word) for word in command],
                env=inherited | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def wait_until_ready(self, answers=True):
        """Until it answers a request, or accepts a connection."""
        end = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                with connect(self.port) as connection:
                    if answers:
                        exchange(connection, next(requests("tcp", self.port)))
                    return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise Failed(f"HAProxy does not answer:\n{self.tail()}") from None
                time.sleep(0.05)

    def soft_stop(self):
        """What is still queued is exported, and counted."""
        self.process.send_signal(signal.SIGUSR1)
        try:
            status = self.process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed(f"HAProxy does not stop:\n{self.tail()}") from None
        if status != 0:
            raise Failed(f"HAProxy ended with status {status}:\n{self.tail()}")
        if re.search(r"\[ALERT\]|panicked", self.log.read_text(errors="replace")):
            raise Failed(f"HAProxy's log:\n{self.tail()}")

    def cpu_seconds(self):
        """CPU time of all threads, those that ended too, user and kernel, to the nanosecond."""
        # The clock of a process as the kernel numbers it: CPUCLOCK_SCHED of all its threads.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def tail(self):
        return "\n".join(line[:300] for line in self.log.read_text(errors="replace").splitlines()[-20:])


class Sink:
    """The collector."""

    def command(self):
        return [sys.executable, Path(__file__).with_name("sink.py")]

    def __enter__(self):
        self.process = subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = self.answer()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def spans(self):
        """How many it has got."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed("the collector died")
        return int(line)


def free_port():
    """The kernel chooses. A connection left in TIME_WAIT keeps it from giving the port to somebody else, and does not keep
    a listener with SO_REUSEADDR, as HAProxy's are, from taking it."""
    with socket.socket() as listener, socket.socket() as client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.connect(listener.getsockname())
        with listener.accept()[0]:
            return listener.getsockname()[1]
