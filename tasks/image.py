"""Runs an image as its user would, and looks at what it does. For tasks/image.

image.py proxy|ingress|agent IMAGE ARCH WORK ROTEL
image.py config VERSION ARCH    looks at the configuration of an image, as a registry would hand it out, on standard input

Read-only root, no capability, the image's own user, its own start. Around it: an origin that keeps the headers it gets, a gRPC
health server by others, a collector by others. Only Python's own library; the two others are programs.
"""

import http.client
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

# Emulated machines are slow.
SECONDS = 60
HEALTH = os.path.join(os.path.dirname(__file__), "../tests/servers/python/health.py")
LABELS = ["title", "description", "version", "revision", "source", "licenses"]
# Never heard of us.
CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s

frontend www
    bind 127.0.0.1:{front}
    http-request return status 200 if {{ path /grpc }} {{ nbsrv(grpc) gt 0 }}
    http-request return status 503 if {{ path /grpc }}
    default_backend app

backend app
    server app1 127.0.0.1:{origin}

backend grpc
    server grpc1 127.0.0.1:{grpc} proto h2
"""
SETTINGS = '[[health.backend]]\nname = "grpc"\ninterval = "2s"\n'


def main():
    if sys.argv[1] == "config":
        config(*sys.argv[2:])
        return
    kind, image, arch, work, rotel = sys.argv[1:]
    os.makedirs(work, exist_ok=True)
    scene, container = Scene(work, rotel), Container(image, arch, work)
    try:
        {"proxy": proxy, "ingress": ingress, "agent": agent}[kind](container, scene)
    except BaseException:
        container.tell()
        raise
    finally:
        container.remove()
        scene.end()


def config(version, arch):
    image = json.load(sys.stdin)
    about = image["config"]
    labels = about["Labels"]
    if image["architecture"] != arch:
        fail(f"the image for {arch} says {image['architecture']}")
    missing = [name for name in LABELS if name != "source" and not labels.get(f"org.opencontainers.image.{name}")]
    if missing or labels["org.opencontainers.image.version"] != version:
        fail(f"labels: {missing} are missing of {labels}")
    user = about["User"].split(":")[0]
    if not user.isdigit() or user == "0":
        fail(f"user {about['User']!r}: expected a number that is not root's")
    if not about.get("StopSignal") or not about.get("Healthcheck"):
        fail(f"no STOPSIGNAL or HEALTHCHECK: {about}")
    say(f"{arch}: user {about['User']}, {about['StopSignal']}, HEALTHCHECK {' '.join(about['Healthcheck']['Test'][1:])}")


def proxy(container, scene):
    configuration, settings = scene.files()
    container.run(
        ["--volume", f"{configuration}:/usr/local/etc/haproxy/haproxy.cfg:ro", *scene.traced(settings)],
    )
    traced(container, scene)
    container.healthy()
    container.stop()


def ingress(container, scene):
    configuration, settings = scene.files()
    nothing = scene.write("haproxy-aux.cfg", "")
    # The controller, which writes this file, is not in the stand-in: so its health check has nobody to ask.
    container.run(
        ["--volume", f"{configuration}:/usr/local/etc/haproxy/haproxy.cfg:ro", "--volume", f"{scene.folder('run')}:/run",
         "--volume", f"{nothing}:/usr/local/etc/haproxy/haproxy-aux.cfg:ro", *scene.traced(settings)],
    )
    traced(container, scene)
    container.stop()


def agent(container, scene):
    port = free_port()
    container.run(["--env", f"HAPROXY_AGENT_SERVER_PORT={port}", "--env", "HAPROXY_AGENT_SERVER_BIND=127.0.0.1",
                   "--env", f"HAPROXY_AGENT_METRICS_PORT={free_port()}"])

    def ask():
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            stream.sendall(f"127.0.0.1 {scene.grpc} no-ssl image.test\n".encode())
            return stream.makefile().readline()

    until("the agent says up", lambda: container.lives() and ask().startswith("up"))
    scene.serving("NOT_SERVING")
    until("the agent says down", lambda: ask().startswith("down"))
    say("gRPC health check: up, then down when the server said so")
    container.healthy()
    container.stop()


def traced(container, scene):
    """A request and a gRPC health check through a HAProxy whose configuration never heard of us."""
    until("the image answers", lambda: container.lives() and scene.ask("/").status == 200)
    scene.origin.headers.clear()
    answer = scene.ask("/traced")
    if answer.status != 200 or not scene.origin.headers:
        fail(f"status {answer.status} instead of the origin's 200")
    parent = scene.origin.headers[-1].get("traceparent", "")
    match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-0[13]", parent)
    if not match:
        fail(f"traceparent at the origin: {parent!r}")
    trace, client = match.groups()
    until("both spans are with the collector", lambda: scene.spans(trace) == 2)
    if client not in scene.received():
        fail("the span that the origin was told of is not with the collector")
    say(f"request: 200, trace {trace}: two spans with the collector, the origin was told of the second")
    until("the gRPC server is up", lambda: scene.ask("/grpc").status == 200)
    scene.serving("NOT_SERVING")
    until("the gRPC server is down", lambda: scene.ask("/grpc").status == 503)
    say("gRPC health check: up, then down when the server said so")


class Container:
    """An image that runs in the host's network."""

    def __init__(self, image, arch, work):
        self.image, self.arch = image, arch
        self.name = f"vitals-image-{os.getpid()}"
        self.log = os.path.join(work, "container.log")
        self.process = None

    def run(self, options):
        command = [
            "podman", "--runtime", "runc", "run", "--rm", "--name", self.name, "--arch", self.arch, "--network", "host",
            "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges",
            # Without systemd nobody would run it; it is run below. Not more than this machine's own limits.
            "--no-healthcheck", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096", *options, self.image,
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def lives(self):
        if self.process.poll() is not None:
            fail(f"the container ended with exit code {self.process.returncode}")
        return True

    def healthy(self):
        """The command of HEALTHCHECK, in the container."""
        image = json.loads(subprocess.check_output(["podman", "image", "inspect", self.image]))[0]
        how, *command = image["Healthcheck"]["Test"]
        if how != "CMD":
            fail(f"HEALTHCHECK is {how}")
        subprocess.run(["podman", "exec", self.name, *command], check=True, timeout=SECONDS)
        say(f"HEALTHCHECK {' '.join(command)}: 0")

    def stop(self):
        """By the image's own signal: nothing is killed, and the exit code says so."""
        start = time.monotonic()
        subprocess.run(["podman", "stop", "--time", "30", self.name], check=True, stdout=subprocess.DEVNULL)
        status = self.process.wait(SECONDS)
        if status != 0:
            fail(f"stopped with exit code {status}:\n{open(self.log).read()}")
        say(f"stopped in {time.monotonic() - start:.1f} s, exit code 0")

    def tell(self):
        if self.process:
            print(open(self.log, encoding="utf-8", errors="replace").read()[-4000:], file=sys.stderr)

    def remove(self):
        subprocess.run(["podman", "rm", "--force", "--time", "0", self.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Scene:
    """What is around an image."""

    def __init__(self, work, rotel):
        self.work, self.beside = work, []
        self.front, self.otlp, self.grpc = free_port(), free_port(), free_port()
        self.origin = Origin()
        self.log = os.path.join(work, "rotel.log")
        with open(self.log, "wb") as log:
            self.beside.append(subprocess.Popen(
                [rotel, "start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed",
                 "--otlp-http-endpoint", f"127.0.0.1:{self.otlp}", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
                 "--pid-file", os.path.join(work, "rotel.pid")], stdout=log, stderr=log))
        self.health = subprocess.Popen([sys.executable, HEALTH, "--port", str(self.grpc)], stdin=subprocess.PIPE,
                                       stdout=subprocess.DEVNULL, text=True)
        self.beside.append(self.health)
        self.serving("SERVING")
        until("the collector listens", lambda: socket.create_connection(("127.0.0.1", self.otlp), timeout=5).close() is None)

    def serving(self, status):
        self.health.stdin.write(f"set {status}\n")
        self.health.stdin.flush()

    def write(self, name, text):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)
        return path

    def folder(self, name):
        """For anybody to write into, as what Kubernetes mounts."""
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o777)
        return path

    def files(self):
        text = CONFIGURATION.format(front=self.front, origin=self.origin.port, grpc=self.grpc)
        return self.write("haproxy.cfg", text), self.write("vitals.toml", SETTINGS)

    def traced(self, settings):
        return ["--volume", f"{settings}:/etc/vitals.toml:ro", "--env", "HAPROXY_VITALS_CONFIG=/etc/vitals.toml",
                "--env", f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{self.otlp}", "--env", "OTEL_SERVICE_NAME=image"]

    def ask(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.front, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer

    def received(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def spans(self, trace):
        return len(re.findall(rf"Trace ID\s*: {trace}", self.received()))

    def end(self):
        for process in self.beside:
            process.kill()
            process.wait()


class Origin:
    """Answers 200 and keeps the headers that it gets."""

    def __init__(self):
        self.headers = headers = []

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                headers.append(self.headers)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, holds):
    """The one place that waits."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            if holds():
                return
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            fail(f"not within {SECONDS} s: {what}")
        time.sleep(0.1)


def say(text):
    print(f"  {text}", flush=True)


def fail(text):
    raise SystemExit(f"error: {text}")


main()
