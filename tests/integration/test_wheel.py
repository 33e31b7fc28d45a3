"""What a stranger gets: sdist and wheel are built, installed outside the repository, and run there."""

import asyncio
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import aiohttp
import pytest

from proxy.edge.pages import clients_dir
from tests.gateway import ROOT, announced

CONFIG = """
[[backends]]
name = "f"
kind = "fake"
text = "Installed and well."
tokens_per_second = 20
"""
ASK = """
import proxy, streamlane_client, sys

for module in (proxy, streamlane_client):
    assert module.__file__.startswith(sys.prefix), module.__file__
with streamlane_client.Client(sys.argv[1]) as client:
    answer = client.create(model="fake", input="How are you?")
    deltas = [event["delta"] for event in answer if event["type"] == "response.output_text.delta"]
    print(len(deltas), "".join(deltas))
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints. It sees neither the repository nor a variable of ours."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*arguments: str | Path, cwd: Path) -> None:
    run(sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *arguments, cwd=cwd)


def venv(folder: Path) -> Path:
    """A fresh environment; its Python. What we depend on comes from the one that runs the tests."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # A folder that a .pth names has its own .pth files left alone: an editable install there is not seen here.
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=ROOT, check=True)
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From the sdist, so that the sdist is complete."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", folder, sdist, cwd=folder)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_carries_packages_page_and_clients(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"backends", "proxy", "quota", "streamlane_client"}
    page = {path.relative_to(ROOT / "clients/web").as_posix() for path in files(ROOT / "clients/web")}
    assert {f"proxy/clients/web/{name}" for name in page} <= names
    assert {"proxy/clients/js/streamlane.js", "streamlane_client/py.typed", "proxy/store/queries.sql"} <= names


def test_the_sdist_has_what_the_tests_need_and_nothing_that_is_ignored(sdist: Path) -> None:
    with tarfile.open(sdist) as packed:
        names = {name.split("/", 1)[1] for name in packed.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "scripts/test", "tests/gateway.py", "clients/web/vendor/SHA256SUMS"} <= names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name or name.startswith(".venv")]


async def test_an_installed_wheel_serves_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    python = venv(tmp_path / "venv")
    pip("--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    empty, log = tmp_path / "empty", tmp_path / "stderr"
    empty.mkdir()
    (tmp_path / "streamlane.toml").write_text(CONFIG)
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(empty),
        "STREAMLANE_DATA_DIR": str(tmp_path / "data"),
        "STREAMLANE_SERVER_PORT": "0",
        "STREAMLANE_OPS_PORT": "0",
    }
    with log.open("wb") as stderr:
        child = await asyncio.create_subprocess_exec(
            *(python.parent / "streamlane", "serve", "--config", tmp_path / "streamlane.toml"),
            cwd=empty,
            env=env,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    try:
        base_url = await announced(child, log)
        origin = base_url.removesuffix("/v1")
        async with aiohttp.ClientSession() as session:
            for path, file in (("/", "web/index.html"), ("/static/streamlane.js", "js/streamlane.js")):
                async with session.get(f"{origin}{path}") as response:
                    assert (response.status, await response.read()) == (200, (ROOT / "clients" / file).read_bytes())
        assert await asyncio.to_thread(run, python, "-c", ASK, base_url, cwd=empty) == "3 Installed and well.\n"
    finally:
        child.terminate()
        await child.communicate()
    assert child.returncode == 0, log.read_text()
    assert not [*empty.iterdir()]


def test_an_editable_install_finds_everything_where_it_is(tmp_path: Path) -> None:
    python = venv(tmp_path / "venv")
    pip("--python", python, "install", "--no-build-isolation", "--no-deps", "--no-index", "-e", ROOT, cwd=tmp_path)
    code = "import streamlane_client; from proxy.edge.pages import clients_dir; print(clients_dir())"
    assert run(python, "-c", code, cwd=tmp_path).strip() == str(ROOT / "clients") == str(clients_dir())


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "node_modules" not in path.parts]
