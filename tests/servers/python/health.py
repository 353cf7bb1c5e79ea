"""grpcio's health service as a process that a test steers.

Arguments: [--host ADDRESS] --port N [--cert FILE --key FILE [--client-ca FILE]] [--max-age MS] [--no-health]
Reads lines: `set STATUS [SERVICE]`, `stop` (gracefully: GOAWAY, then the end).
Writes lines: `ready`; `done` after each order; `asked METHOD` for each call.
SIGUSR1 is `set NOT_SERVING`, SIGUSR2 `set SERVING`, without a line: for containers.
"""

import argparse
import signal
import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

# More than any test asks for at once.
WORKERS = 16
# How long calls under way may go on after `stop`.
GRACE_SECONDS = 5

output = threading.Lock()


def tell(line):
    with output:
        print(line, flush=True)


class Journal(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        tell(f"asked {details.method.rsplit('/', 1)[-1]}")
        return continuation(details)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--client-ca")
    parser.add_argument("--max-age", type=int)
    parser.add_argument("--no-health", action="store_true")
    return parser.parse_args()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def listen(server, asked):
    address = f"{asked.host}:{asked.port}"
    if not asked.cert:
        return server.add_insecure_port(address)
    ca = read(asked.client_ca) if asked.client_ca else None
    pair = (read(asked.key), read(asked.cert))
    credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)
    return server.add_secure_port(address, credentials)


def main():
    asked = arguments()
    options = [("grpc.max_connection_age_ms", asked.max_age)] if asked.max_age else []
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS), interceptors=[Journal()], options=options)
    servicer = health.HealthServicer()
    if not asked.no_health:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    listen(server, asked)
    for number, name in ((signal.SIGUSR1, "NOT_SERVING"), (signal.SIGUSR2, "SERVING")):
        status = health_pb2.HealthCheckResponse.ServingStatus.Value(name)
        signal.signal(number, lambda *_, status=status: servicer.set("", status))
    server.start()
    tell("ready")
    for line in sys.stdin:
        order, *words = line.split()
        if order == "set":
            status = health_pb2.HealthCheckResponse.ServingStatus.Value(words[0])
            servicer.set(words[1] if len(words) > 1 else "", status)
            tell("done")
        elif order == "stop":
            tell("done")
            server.stop(GRACE_SECONDS).wait()
            return
        else:
            sys.exit(f"unknown order {order}")
    server.stop(None)


main()
