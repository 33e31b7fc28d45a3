"""What the machine offers: Python, the engines, a folder to write to and its ledger, free ports, file descriptors."""

import asyncio
import errno
import os
import platform
import shutil
import sqlite3
import sys
from contextlib import closing, suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from backends.errors import BackendError
from backends.http import Transport
from backends.json import JsonError, loads
from backends.llama_cpp.engines import ENGINES
from proxy import __version__
from proxy.config import Ops, Server, variable
from proxy.doctor.finding import Finding, failed
from proxy.edge.listener import bind
from quota.sqlite_file import trouble

MODEL_SIZE = 2_000_000_000  # bytes: with less, hardly any model can be pulled
CLIENTS = 4096  # file descriptors, one per client: with fewer it is worth a word
ANSWER = 2.0  # seconds for what listens on a port of ours to say who it is


def programs() -> list[Finding]:
    """What runs."""
    python = platform.python_version()
    return [Finding("Python", "ok", f"{python} ({sys.executable})"), Finding("Streamlane", "ok", __version__)]


def engines() -> Finding:
    """Which llama.cpp can run models inside the gateway."""
    found = [f"{name} {released(name)}" for name, kind in ENGINES.items() if find_spec(kind.package)]
    if found:
        return Finding("Engines", "ok", ", ".join(found))
    step = "To run models inside Streamlane: pip install 'streamlane[llama-batched]'"
    return Finding("Engines", "note", "None is installed; models of other servers need none.", step)


def released(distribution: str) -> str:
    """The version that is installed."""
    with suppress(PackageNotFoundError):
        return version(distribution)
    return "(version unknown)"


def data_dir(path: Path) -> Finding:
    """Whether the folder can be made and written, and what fits in it."""
    about = "Data folder"
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir():
        return Finding(about, "fix", f"{there} is a file.", "Remove it, or set another data_dir.")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return Finding(about, "fix", f"Cannot write to {there}.", "Give this user the right, or set another data_dir.")
    free = shutil.disk_usage(there).free
    text = f"{path} ({free / 1e9:.1f} GB free{'' if there == path else '; will be made'})"
    if free < MODEL_SIZE:
        return Finding(about, "note", text, "Free some space before a model is pulled, or set another data_dir.")
    return Finding(about, "ok", text)


def ledger(data_dir: Path) -> list[Finding]:
    """Whether the ledger, where there is one, can be read: no account is asked without it."""
    path = data_dir / "quota.db"
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=ANSWER)) as database:
            database.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        return [failed("Ledger", trouble(path, error))]
    return [Finding("Ledger", "ok", str(path))]


async def ports(server: Server, ops: Ops) -> list[Finding]:
    """Both listeners. A gateway on the ops port alone is another one, and keeps this one from starting."""
    (public, runs), (private, taken) = await asyncio.gather(
        port("Port", "server", server.host, server.port), port("Ops port", "ops", ops.host, ops.port)
    )
    if taken and not runs:
        text = f"Another Streamlane gateway has {ops.host}:{ops.port}: a second one cannot start."
        private = Finding("Ops port", "fix", text, f"Set {another('ops')}.")
    return [public, private]


def another(table: str) -> str:
    """The ways to set another port."""
    flag = {"server": "--port", "ops": "--ops-port"}[table]
    return f"another {table}.port ({flag}, {variable(f'{table}.port')})"


async def port(about: str, table: str, host: str, number: int) -> tuple[Finding, bool]:
    """Whether we can listen there, and whether a gateway already does. `table` of the configuration says where."""
    where = f"{host}:{number}"
    try:
        if number:
            for taken in bind(host, number):
                taken.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and await is_ours(host, number):
            return Finding(about, "ok", f"A Streamlane gateway is running at {where}."), True
        step = f"Free the port, or set {another(table)}."
        return Finding(about, "fix", f"Cannot listen on {where} ({error.strerror or error}).", step), False
    return Finding(about, "ok", f"{where} is free." if number else f"{host}, on a free port."), False


async def is_ours(host: str, number: int) -> bool:
    """Whether who listens there answers as a gateway does."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # that is what is configured
    url = f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{number}/health/live"
    transport = Transport(connect_deadline=ANSWER)
    try:
        async with asyncio.timeout(ANSWER), transport.request("GET", url, {}) as response:
            return response.status == 200 and loads(await response.read()) == {"status": "ok"}
    except (BackendError, JsonError, TimeoutError):
        return False
    finally:
        transport.close()


def descriptors() -> Finding:
    """How many clients the system lets us have."""
    about = "File descriptors"
    try:
        import resource  # noqa: PLC0415  # Windows has none
    except ImportError:
        return Finding(about, "ok", "This system sets no limit.")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding(about, "ok", "No limit.")
    text = f"At most {hard:,}, one per client."
    if hard < CLIENTS:
        step = "For more clients raise the hard limit: ulimit -Hn, or LimitNOFILE= of the service."
        return Finding(about, "note", text, step)
    return Finding(about, "ok", text)
