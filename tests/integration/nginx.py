"""Starts the real nginx with the files that we ship, in front of gateways of a test."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SHIPPED = Path(__file__).parents[2] / "nginx"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"


@dataclass(frozen=True)
class Nginx:
    """One nginx that runs. `access` is its access log."""

    base_url: str
    pid: int
    folder: Path

    @property
    def access(self) -> str:
        return (self.folder / "access.log").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / "error.log").read_text()

    def reload(self) -> None:
        """As `nginx -s reload`: new workers take over, old ones end within worker_shutdown_timeout."""
        os.kill(self.pid, signal.SIGHUP)


def placed(text: str, *changes: tuple[str, str]) -> str:
    """`text` with each change made exactly once: a file that no longer has the line is a test that no longer fits."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def configured(folder: Path, port: int, gateways: Sequence[str], shutdown: float = 60, idle: float = 120) -> None:
    """Our files, moved to `folder`: other ports, files that any user may write, and shorter waits (seconds)."""
    servers = "".join(f"    server {urlsplit(url).netloc} max_fails=0;\n" for url in gateways)
    shipped = "".join(f"    server 127.0.0.1:{each} max_fails=0;\n" for each in (8775, 8776))
    temporary = "".join(f"    {name}_temp_path {name};\n" for name in TEMPORARY)
    user = "user root;\n" if os.geteuid() == 0 else ""  # the worker would become one who cannot enter our folder
    main = placed(
        (SHIPPED / "nginx.conf").read_text(),
        ("worker_processes auto;", f"{user}pid nginx.pid;\nworker_processes 2;"),
        ("error_log stderr warn;", "error_log error.log warn;"),
        ("worker_shutdown_timeout 60s;", f"worker_shutdown_timeout {shutdown * 1000:.0f}ms;"),
        ("http {\n", f"http {{\n{temporary}"),
    )
    site = placed(
        (SHIPPED / "streamlane.conf").read_text(),
        (shipped, servers),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/dev/stdout", "access.log"),
        ("error_log stderr crit;", "error_log error.log crit;"),
        ("proxy_read_timeout 120s;", f"proxy_read_timeout {idle * 1000:.0f}ms;"),
    )
    (folder / "nginx.conf").write_text(main)
    (folder / "streamlane.conf").write_text(site)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@asynccontextmanager
async def nginx(folder: Path, gateways: Sequence[str], **waits: float) -> AsyncIterator[Nginx]:
    """nginx before the gateways at these base URLs. `waits` are those of `configured`."""
    port = free_port()
    configured(folder, port, gateways, **waits)
    command = [PROGRAM, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log", "-g", "daemon off;"]
    child = await asyncio.create_subprocess_exec(*command, cwd=folder)
    try:
        await listening(port, child, folder)
        yield Nginx(f"http://127.0.0.1:{port}/v1", child.pid, folder)
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def listening(port: int, child: asyncio.subprocess.Process, folder: Path) -> None:
    async with asyncio.timeout(30):
        while child.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
    raise AssertionError(f"nginx did not start:\n{(folder / 'error.log').read_text()}")
