"""Starting: quick without a model, and one clear sentence when it cannot be."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.gateway import ROOT, process
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


def serve(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """`streamlane serve` that is expected to end by itself."""
    environ = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    (folder / "streamlane.toml").write_text(text)
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0"]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


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
