"""The Dockerfile is carried out, and its container run: read-only, without root, without any capability."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.gateway import ROOT, announced, connected, text_of
from tests.integration.container import Builder, Stage, builder, context
from tests.models import models_dir

KEY = "sk-a-key-for-the-container"
FAKE = """
[[backends]]
name = "f"
kind = "fake"
text = "Contained and well."
"""
# A build fetches what the image needs: half a minute on two idle cores.
pytestmark = pytest.mark.timeout(600)
IMAGE = pytest.mark.needs("overlay")


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_what_the_wheel_is_made_of_goes_to_the_builder() -> None:
    names = context(ROOT)
    assert {name.split("/")[0] for name in names} == {
        *("LICENSE", "README.md", "pyproject.toml"),
        *("backends", "clients", "proxy", "quota"),
    }
    assert {"clients/web/vendor/smd.js", "proxy/edge/pages.py"} <= {*names}
    assert not [name for name in names if "__pycache__" in name or "node_modules" in name]


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    with builder(tmp_path_factory.mktemp("image"), ROOT) as begun:
        yield begun


@pytest.fixture(scope="module")
def slim(building: Builder) -> Stage:
    return building.build((ROOT / "Dockerfile").read_text(), "slim")


class Container:
    """A container that was started, and what can be run in it beside its command."""

    def __init__(self, building: Builder, image: Stage, environ: dict[str, str], files: dict[str, str]) -> None:
        self._building = building
        self._image = image
        self._environ = environ
        self._root = building.started(image, files)

    def command(self, *command: str) -> list[str]:
        return self._building.entering(self._building.inside(self._root, self._image, command, **self._environ))

    def run(self, *command: str, given: bytes = b"") -> tuple[int, str]:
        """Its exit code, and what it printed."""
        done = subprocess.run(
            self.command(*command), input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        return done.returncode, done.stdout.decode()

    @asynccontextmanager
    async def serving(self, log: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
        """The image's own command; its base URL, and the process, which gets the stop signal in the end."""
        with log.open("wb") as stderr:
            child = await asyncio.create_subprocess_exec(
                *self.command(*self._image.entrypoint, *self._image.command),
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        try:
            yield (await announced(child, log)).replace("0.0.0.0", "127.0.0.1"), child
        finally:
            child.send_signal(signal.Signals[self._image.stop_signal])
            await child.communicate()


def a_free_port() -> str:
    """The containers share this machine's network, unlike real ones."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def environ(**more: str) -> dict[str, str]:
    return {"STREAMLANE_SERVER_PORT": a_free_port(), "STREAMLANE_OPS_PORT": "0", **more}


@IMAGE
@pytest.mark.slow
async def test_a_container_answers_read_only_and_without_rights(building: Builder, slim: Stage, tmp_path: Path) -> None:
    given = environ(STREAMLANE_SERVER_API_KEYS=KEY)
    container = Container(building, slim, given, {"/etc/streamlane/streamlane.toml": FAKE})
    assert container.run(*slim.healthcheck)[0] == 1
    async with container.serving(tmp_path / "stderr") as (base_url, child):
        assert base_url.endswith(f":{given['STREAMLANE_SERVER_PORT']}/v1")
        assert await asyncio.to_thread(container.run, *slim.healthcheck) == (0, "")
        async with connected(base_url, additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
            await client.create()
            assert text_of(await client.until()) == "Contained and well."

        status = dict(line.split(":", 1) for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
        assert status["Uid"].split() == status["Gid"].split() == ["10001"] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        places = ("/note", "/etc/streamlane/note", "/opt/streamlane/note")
        written = await asyncio.to_thread(container.run, "touch", *places)
        assert written[1].count("Read-only file system") == len(places)
        ours = await asyncio.to_thread(container.run, "python", "-c", "import proxy; print(proxy.__file__)")
        assert ours[1].startswith("/opt/streamlane/")
    assert child.returncode == 0, (tmp_path / "stderr").read_text()


@IMAGE
@pytest.mark.slow
def test_a_container_without_a_key_says_what_to_do(building: Builder, slim: Stage) -> None:
    container = Container(building, slim, environ(), {"/etc/streamlane/streamlane.toml": FAKE})
    code, said = container.run(*slim.entrypoint, *slim.command)
    assert code == 2
    assert "STREAMLANE_SERVER_API_KEYS" in said
    assert "Traceback" not in said


@IMAGE
@pytest.mark.slow
@pytest.mark.model
async def test_the_full_image_runs_a_model(building: Builder, tmp_path: Path) -> None:
    """It fetches the engine, and takes the demo model from the tests' cache."""
    full = building.build((ROOT / "Dockerfile").read_text(), "full")
    container = Container(building, full, environ(STREAMLANE_SERVER_API_KEYS=KEY), {})
    model = (models_dir() / "smollm2.gguf").read_bytes()
    container.run("sh", "-c", "mkdir /data/models; cat >/data/models/smollm2.gguf", given=model)
    async with container.serving(tmp_path / "stderr") as (base_url, _):
        async with connected(base_url, additional_headers={"Authorization": f"Bearer {KEY}"}) as client:
            await client.create("smollm2", "What is the capital of France?", temperature=0)
            assert "Paris" in text_of(await client.until())
