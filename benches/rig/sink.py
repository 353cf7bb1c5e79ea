"""An OTLP/HTTP receiver that answers 200 to everything and counts spans; with `--grpc FOLDER`, where grpcio is, OTLP/gRPC.

Prints its port when it listens; prints the number of spans it has received for every line on standard input.
"""

import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SPAN = (1, 2, 2)  # ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans


class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    spans = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/v1/traces"):
            with Sink.lock:
                Sink.spans += count(body, SPAN)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def count(message, path):
    """How many fields a protobuf message has at the end of `path`."""
    if not path:
        return 1
    return sum(count(value, path[1:]) for number, value in fields(message) if number == path[0])


def fields(message):
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        size = 0
        if tag & 7 == VARINT:
            _, at = varint(message, at)
        elif tag & 7 == BYTES:
            size, at = varint(message, at)
            yield tag >> 3, message[at : at + size]
        else:
            size = {FIXED64: 8, FIXED32: 4}[tag & 7]
        at += size


def varint(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def serve_http():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def serve_grpc(folder):
    sys.path.insert(0, folder)
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    def export(request, _):
        with Sink.lock:
            Sink.spans += count(request, SPAN)
        return b""

    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    handlers = {"Export": grpc.unary_unary_rpc_method_handler(export)}
    serve_grpc.server = grpc.server(ThreadPoolExecutor(2), [grpc.method_handlers_generic_handler(service, handlers)])
    port = serve_grpc.server.add_insecure_port("127.0.0.1:0")
    serve_grpc.server.start()
    return port


def main():
    print(serve_grpc(sys.argv[2]) if sys.argv[1:2] == ["--grpc"] else serve_http(), flush=True)
    for _ in sys.stdin:
        print(Sink.spans, flush=True)


main()
