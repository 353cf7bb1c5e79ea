"""Python's own HTTP server: answers with the headers that came, one `name: value` a line.

Arguments: [--host ADDRESS] --port N
`/missing` is a 404, `/slow` takes 300 ms. Writes `ready`. Ends when its input does.
"""

import argparse
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two wait for the peer's delayed acknowledgement.
    wbufsize = -1

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/slow":
            time.sleep(0.3)
        body = "".join(f"{name.lower()}: {value}\n" for name, value in self.headers.items()).encode()
        self.send_response(404 if path == "/missing" else 200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    server = ThreadingHTTPServer((asked.host, asked.port), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


main()
