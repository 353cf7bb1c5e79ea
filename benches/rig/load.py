"""The client: requests over kept connections, each answer looked at; HTTP/2 is left to h2load."""

import random
import socket
import subprocess

from .failure import Failed

DEADLINE_SECONDS = 30
ANSWER_END = b"\r\n\r\nhello world"
LONG_URL_BYTES = 1000
MANY_HEADERS = 60

TINY = ["user-agent: curl/7.88.1", "accept: */*"]
# With `host` twelve, as a browser sends them for a page that a link on the same site leads to.
BROWSER = [
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "accept-language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
    "accept-encoding: gzip, deflate, br, zstd",
    "referer: https://shop.example.com/catalogue/garden?page=3&sort=price",
    "cookie: session=6f1c0d2e9a7b4835b1c2d3e4f5a69788; consent=essential; basket=41c7; _ga=GA1.2.1094837265.1716823456",
    "upgrade-insecure-requests: 1",
    "sec-fetch-dest: document",
    "sec-fetch-mode: navigate",
    "sec-fetch-site: same-origin",
    "sec-fetch-user: ?1",
]
TRACESTATE = "tracestate: vendor=t61rcWkgMzE,congo=ucfJifl5GNE"


class Client:
    """Sends one kind of request over `connections` connections, each of which has at most one request open.

    `sampled` is the flag in the `traceparent` that every second request of the loads `browser` and `60-headers` carries.
    """

    def __init__(self, load, port, connections=1, sampled=True):
        self.load, self.port, self.sampled = load, port, sampled
        self.requests = requests(load, port, sampled)
        self.count = connections
        self.connections = []

    def run(self, number):
        """Sends `number` requests and reads their answers."""
        if self.load == "h2":
            h2load(self.port, number)
        elif self.load == "tcp":
            for _ in range(number):
                with connect(self.port) as connection:
                    exchange(connection, next(self.requests))
                    if connection.recv(1):
                        raise Failed("bytes after the answer")
        else:
            self.run_kept(number)

    def run_kept(self, number):
        while len(self.connections) < min(self.count, number):
            self.connections.append(connect(self.port))
        # The next request goes out as soon as the connection's answer is there: all others are still open.
        open_now = self.connections[:number]
        for connection in open_now:
            connection.sendall(next(self.requests))
        left = number - len(open_now)
        while open_now:
            still_open = []
            for connection in open_now:
                answer(connection)
                if left:
                    left -= 1
                    connection.sendall(next(self.requests))
                    still_open.append(connection)
            open_now = still_open

    def close(self):
        for connection in self.connections:
            connection.close()
        self.connections = []


def requests(load, port, sampled=True):
    """Endless bytes of requests. The same ones in every run."""
    lines = [f"GET {url(load)} HTTP/1.1", f"host: {'shop.example.com' if load in CARRIERS else f'127.0.0.1:{port}'}"]
    if load in CARRIERS:
        lines += BROWSER
        if load == "60-headers":
            lines += [f"x-context-{n:02}: value {n:02} of a service" for n in range(MANY_HEADERS - len(lines) + 1)]
    else:
        lines += TINY
    if load == "tcp":
        lines.append("connection: close")
    alone = "\r\n".join([*lines, "", ""]).encode()
    if load not in CARRIERS:
        while True:
            yield alone
    before = "\r\n".join([*lines, "traceparent: 00-"]).encode()
    after = f"-{'01' if sampled else '00'}\r\n{TRACESTATE}\r\n\r\n".encode()
    ids = random.Random(1)
    while True:
        yield b"%b%032x-%016x%b" % (before, ids.randrange(1, 1 << 128), ids.randrange(1, 1 << 64), after)
        yield alone


CARRIERS = ("browser", "60-headers")
LOADS = ("tiny", *CARRIERS, "long-url", "h2", "tcp")


def url(load):
    if load != "long-url":
        return "/api/items/7?x=1"
    text = "/api/items/7/variants?"
    return (text + "&".join(f"filter{n}=some+value" for n in range(LONG_URL_BYTES)))[:LONG_URL_BYTES]


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS)
    if connection.getsockname() == connection.getpeername():
        connection.close()
        raise ConnectionRefusedError("nothing listens, and the kernel chose the same port for this side")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exchange(connection, request):
    connection.sendall(request)
    answer(connection)


def answer(connection):
    """Reads one."""
    got = connection.recv(65536)
    while not got.endswith(ANSWER_END):
        more = connection.recv(65536)
        if not more:
            break
        got += more
    if not got.startswith(b"HTTP/1.1 200 ") or not got.endswith(ANSWER_END):
        raise Failed(f"not the answer of the server: {got[:200]!r}")


def h2load(port, number):
    """One connection, one stream at a time."""
    headers = [word for header in TINY for word in ("-H", header)]
    command = [
        "h2load",
        "-n",
        str(number),
        "-c",
        "1",
        "-t",
        "1",
        "-m",
        "1",
        *headers,
        f"http://127.0.0.1:{port}{url('h2')}",
    ]
    told = subprocess.run(command, capture_output=True, text=True)
    if told.returncode != 0 or f" {number} succeeded, 0 failed, 0 errored, 0 timeout" not in told.stdout:
        raise Failed(f"h2load:\n{told.stdout[-1000:]}{told.stderr[-1000:]}")
    if f"status codes: {number} 2xx" not in told.stdout:
        raise Failed(f"not every request succeeded:\n{told.stdout[-1000:]}")
