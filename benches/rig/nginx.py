"""nginx with nginx-otel: another tracer inside a proxy, for comparison. On request only."""

import shutil
import subprocess
import sys
from pathlib import Path

from .failure import Failed
from .process import Sink
from .scenario import ROOT

PACKAGE = "libnginx-mod-http-otel"


def find(module):
    """The program, and nginx-otel's module for it. Debian has had no package of the module so far: then it must be named."""
    module = module and module.resolve() or unpacked(PACKAGE, "usr/lib/nginx/modules/ngx_otel_module.so")
    if not module or not module.exists():
        raise Failed(
            f"nginx-otel cannot be had: Debian has no package `{PACKAGE}` here. Build ngx_otel_module.so for Debian's nginx, "
            "and name it with --nginx-module"
        )
    program = shutil.which("nginx") or unpacked("nginx", "usr/sbin/nginx")
    if not program:
        raise Failed("no nginx, and Debian's package cannot be downloaded")
    return Path(program), module


def unpacked(package, file):
    """A file of Debian's package, beside the system: an installation would start a service."""
    folder = ROOT / ".local/nginx"
    if not (folder / file).exists():
        folder.mkdir(parents=True, exist_ok=True)
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if subprocess.run(["apt-get", "download", package], **quiet).returncode != 0:
            return None
        for archive in folder.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg", "-x", archive, folder], check=True)
    return folder / file


def configuration(port, upstream, folder, module, sink):
    """As the proxy of base.cfg: one thread, connections kept on both sides, no log."""
    tracing = (
        f"otel_exporter {{ endpoint 127.0.0.1:{sink.port}; }} otel_trace on; otel_trace_context propagate;"
        if sink
        else ""
    )
    return f"""\
daemon off;
master_process off;
pid {folder}/{port}.pid;
error_log {folder}/{port}.error.log;
{f"load_module {module};" if sink else ""}
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/{port}.1; proxy_temp_path {folder}/{port}.2; fastcgi_temp_path {folder}/{port}.3;
  uwsgi_temp_path {folder}/{port}.4; scgi_temp_path {folder}/{port}.5;
  {tracing}
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; keepalive_time 1h; }}
  server {{
    listen 127.0.0.1:{port} reuseport;
    keepalive_requests 1000000000;
    keepalive_time 1h;
    location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


class GrpcSink(Sink):
    """nginx-otel exports over gRPC only."""

    def command(self):
        third_party = subprocess.run(
            [ROOT / "tasks/third-party"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        return [sys.executable, Path(__file__).with_name("sink.py"), "--grpc", f"{third_party}/python"]
