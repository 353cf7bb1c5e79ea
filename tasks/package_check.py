"""What tasks/package-check needs beside Debian: an origin, load, and looks into what came of it. Only Python's own library.

origin PORT            answers every request with 200 and some bytes
load PORT FILE         sends requests over connections that are kept, until FILE exists; prints what came of them. Where the
                       server closes a kept connection before it answers anything, the request is sent again, once, on a
                       fresh one, as every client does (RFC 9110, section 9.2.2): a proxy that stops closes what is idle
progress FILE COUNT    waits until `load` has written that many into FILE
spans LOG COUNT        waits until rotel's LOG tells of COUNT spans, and then for none more; prints how many it tells of
socket PATH COMMAND    HAProxy's stats socket
agent PORT LINE        one line for the agent, and its answer
"""

import http.client
import http.server
import os
import re
import socket
import sys
import threading
import time

WORKERS = 8
# Before a byte of an answer.
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
# How long anything may take.
SECONDS = 30


def origin(port):
    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            body = b"x" * 128
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    http.server.ThreadingHTTPServer.request_queue_size = 128
    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Answer).serve_forever()


def load(port, stop):
    counts = {"requests": 0, "failed": 0, "again": 0, "connections": 0}
    lock = threading.Lock()
    problems = []

    def count(**more):
        with lock:
            for name, number in more.items():
                counts[name] += number

    def answer(connection):
        """The connection for the next request, if this one can be used again."""
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise OSError(f"status {response.status}")
        return None if response.will_close else connection

    def connect():
        count(connections=1)
        return http.client.HTTPConnection("127.0.0.1", int(port), timeout=SECONDS)

    def once(kept):
        if kept:
            try:
                return answer(kept)
            except CLOSED:
                count(again=1)
        return answer(connect())

    def work():
        kept = None
        while not os.path.exists(stop):
            try:
                kept = once(kept)
                count(requests=1)
            except (OSError, http.client.HTTPException) as error:
                kept = None
                count(failed=1)
                problems.append(repr(error))

    def tell():
        while True:
            with open(f"{stop}.count.new", "w", encoding="ascii") as file:
                file.write(str(counts["requests"]))
            os.replace(f"{stop}.count.new", f"{stop}.count")
            time.sleep(0.05)

    threading.Thread(target=tell, daemon=True).start()
    workers = [threading.Thread(target=work) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(*counts.values(), "; ".join(problems[:5]))


def progress(stop, more):
    def count():
        try:
            with open(f"{stop}.count", encoding="ascii") as file:
                return int(file.read())
        except FileNotFoundError:
            return 0

    wanted = count() + int(more)
    until(lambda: count() >= wanted, f"{more} more requests")


def spans(log, wanted):
    # Colours stand between the name and the number.
    def told():
        with open(log, encoding="utf-8", errors="replace") as file:
            text = re.sub(r"\x1b\[[0-9;]*m", "", file.read())
        return sum(int(number) for number in re.findall(r"Received traces.* spans=(\d+)", text))

    deadline = time.monotonic() + SECONDS
    while told() < int(wanted) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    print(told())


def stats(path, command):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(command.encode() + b"\n")
        told = everything(peer)
    if told.startswith("Unknown command"):
        sys.exit(told.splitlines()[0])
    sys.stdout.write(told)


def agent(port, line):
    with socket.create_connection(("127.0.0.1", int(port)), timeout=SECONDS) as peer:
        peer.sendall(line.encode() + b"\n")
        # It keeps the connection for another line.
        sys.stdout.write(peer.makefile(encoding="utf-8").readline())


def everything(peer):
    return b"".join(iter(lambda: peer.recv(65536), b"")).decode()


def until(what, name):
    deadline = time.monotonic() + SECONDS
    while not what():
        if time.monotonic() > deadline:
            sys.exit(f"waited {SECONDS} s for {name}")
        time.sleep(0.02)


TASKS = {"origin": origin, "load": load, "progress": progress, "spans": spans, "socket": stats, "agent": agent}

TASKS[sys.argv[1]](*sys.argv[2:])
