"""Starting: quick without a model, and one clear sentence when it cannot be."""

import asyncio
import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.gateway import ROOT, answers, gateway, process
from tests.gguf_files import tiny_model

FAKE = '[[backends]]\nname = "f"\nkind = "fake"'


async def test_ready_within_a_second() -> None:
    async def start() -> float:
        began = time.perf_counter()
        async with process(FAKE):
            return time.perf_counter() - began

    tries = [await start()]
    while min(tries) > 1.0 and len(tries) < 10:  # a busy machine makes a start slower, never faster
        tries.append(await start())
    assert min(tries) <= 1.0


def environ(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}


def serve(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """`streamlane serve` that is expected to end by itself."""
    (folder / "streamlane.toml").write_text(text)
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0"]
    return subprocess.run(
        command, cwd=folder, env=environ(folder), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign"])
def test_a_model_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "model.gguf"
    if damage == "truncated":
        whole = tiny_model(file).read_bytes()
        file.write_bytes(whole[: len(whole) - 100])
    elif damage == "foreign":
        file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(4096))
    ended = serve(tmp_path, f'ops.port = 0\n[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "{file}"')
    assert ended.returncode == 1
    assert re.fullmatch(r'Cannot start: backend "local": .*model\.gguf.*\.\n', ended.stderr), ended.stderr


async def test_it_begins_with_the_chat_page(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("wb") as stderr:
        command = [sys.executable, "-m", "proxy", "serve", "--port", "0", "--ops-port", "0"]
        (tmp_path / "streamlane.toml").write_text(FAKE)
        child = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environ(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=stderr
        )
    assert child.stdout is not None
    lines = []
    async with asyncio.timeout(60):
        while line := await child.stdout.readline():
            lines.append(line.decode())
            if line.startswith(b"Health: "):
                break
    child.terminate()
    await child.communicate()
    page = re.fullmatch(r"Chat page: (http://127\.0\.0\.1:\d+)/\n", lines[0])
    assert page, lines
    origin = page[1]
    assert lines[1:4] == [
        f"API base URL: {origin}/v1 (described at {origin}/docs)\n",
        "Models: fake\n",
        f"In a terminal: streamlane chat --base-url {origin}/v1\n",
    ]
    assert re.fullmatch(r"Health: http://127\.0\.0\.1:\d+/health\. Stop the gateway with Ctrl\+C\.\n", lines[-1])


async def test_a_port_of_another_gateway_is_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    tiny_model(tmp_path / "model.gguf")
    async with gateway(backends=[answers()]) as started:
        port = started.ops_url.rpartition(":")[2]
        text = f'ops.port = {port}\n[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = "model.gguf"'
        ended = await asyncio.to_thread(serve, tmp_path, text)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        f"Cannot start: cannot listen on 127.0.0.1:{port} ({os.strerror(errno.EADDRINUSE)}). "
        "Free the port, or set another ops.port (--ops-port, STREAMLANE_OPS_PORT).\n"
        "A Streamlane gateway already runs there.\n"
    )
