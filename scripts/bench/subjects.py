"""What is measured: how nginx and Streamlane are configured and started in front of the mock upstream."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from processes import free_port, running, tree, wait_for_port

BENCH = Path(__file__).parent
ROOT = BENCH.parents[1]

NGINX = """\
{user}worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path client_body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""

STREAMLANE = """\
data_dir = "{folder}"
[server]
port = {port}
[ops]
port = {ops}
[[backends]]
name = "mock"
kind = "openai_compatible"
base_url = "http://127.0.0.1:{upstream}/v1"
models = ["mock"]
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """One running server, ready to be measured. `start_s` is the time from its start until it listened."""

    name: str
    transport: str
    url: str
    pids: list[int]
    start_s: float

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the measured servers, and the core of the mock and the load generator."""

    server: int
    harness: int


def choose_cores() -> Cores:
    """The last and the first core that we may use; the same one when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(server=allowed[-1], harness=allowed[0])


def find_nginx() -> str | None:
    """Debian keeps nginx in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def mock_upstream(folder: Path, cores: Cores, ttft_ms: float, interval_ms: float) -> Iterator[Subject]:
    """The mock; it is also a subject itself: asked directly, it shows what the harness costs without a gateway."""
    port, log = free_port(), folder / "mock.log"
    command = [sys.executable, str(BENCH / "mock_upstream.py"), "--port", str(port)]
    command += ["--ttft-ms", str(ttft_ms), "--interval-ms", str(interval_ms)]
    began = time.monotonic()
    with running(command, core=cores.harness, log=log, cwd=folder) as process:
        wait_for_port(process, port, log)
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        yield Subject("direct", "sse", url, [process.pid], time.monotonic() - began)


@contextmanager
def nginx(program: str, folder: Path, cores: Cores, upstream: int) -> Iterator[Subject]:
    """One worker, unbuffered, keep-alive on both sides; everything that it writes stays in its own prefix folder."""
    port, log, prefix = free_port(), folder / "nginx.log", folder / "nginx"
    prefix.mkdir()
    # Started by root, the worker would become another user, who cannot enter our private folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (prefix / "nginx.conf").write_text(NGINX.format(user=user, upstream=upstream, port=port))
    command = [program, "-p", f"{prefix}/", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
    began = time.monotonic()
    with running(command, core=cores.server, log=log, cwd=prefix) as process:
        wait_for_port(process, port, log)
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        yield Subject("nginx", "sse", url, tree(process.pid), time.monotonic() - began)


@contextmanager
def streamlane(folder: Path, cores: Cores, upstream: int) -> Iterator[Subject]:
    """The gateway with its defaults and one backend. The environment is bare: no keys, no settings of the user."""
    port, log, home = free_port(), folder / "streamlane.log", folder / "home"
    home.mkdir()
    config = folder / "streamlane.toml"
    config.write_text(STREAMLANE.format(folder=home / "data", port=port, ops=free_port(), upstream=upstream))
    env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ} | {"HOME": str(home)}
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    began = time.monotonic()
    with running(command, core=cores.server, log=log, cwd=ROOT, env=env) as process:
        wait_for_port(process, port, log)
        url = f"ws://127.0.0.1:{port}/v1/responses"
        yield Subject("streamlane", "ws", url, tree(process.pid), time.monotonic() - began)
