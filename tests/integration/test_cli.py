"""The program as a user runs it: exit codes, messages, files."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from backends.fake import FakeBackend
from proxy import __version__
from proxy.cli import main
from tests.providers.chat import Chat

ROOT = Path(__file__).parents[2]
KEY = "sk-sl-0123456789abcdefghijklmnop"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended, and what it said."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program in an empty folder, without any STREAMLANE_ variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("STREAMLANE_CONFIG", raising=False)
    monkeypatch.setattr("proxy.local_servers.PORTS", {1: "nobody"})
    for name in os.environ:
        if name.endswith(("_API_KEY", "_TOKEN")):
            monkeypatch.delenv(name)

    def ended(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["streamlane", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        code = caught.value.code
        return Ended(code if isinstance(code, int) else 0, said.out, said.err)

    return ended


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_names_every_command(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == 0
    for command in ("serve", "models", "config", "doctor"):
        assert f"\n  {command} " in ended.out


@pytest.mark.parametrize("arguments", [["config", "-h"], ["config"], ["serve", "-h"], ["models", "-h"]])
def test_each_command_has_help(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: streamlane {arguments[0]}")


def test_version(run: Run) -> None:
    assert run("--version") == Ended(0, f"streamlane {__version__}\n", "")


def test_an_unknown_command_is_a_sentence(run: Run) -> None:
    ended = run("sevre")
    assert ended.code == 2
    assert "No such command 'sevre'" in ended.err


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["--config", "my.toml", "config", "check"], "streamlane config check --config …"),
        (["config", "--config=my.toml", "check"], "streamlane config check --config …"),
        (["--port", "9000", "serve"], "streamlane serve --port …"),
    ],
)
def test_an_option_before_its_command_is_told_its_place(run: Run, arguments: list[str], right: str) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.err.endswith(f"Error: Options come after the command: {right}\n")


def test_an_option_that_no_command_has_is_only_refused(run: Run) -> None:
    ended = run("--confgi", "my.toml", "serve")
    assert ended.code == 2
    assert "No such option" in ended.err


def test_init_writes_a_file_that_check_accepts(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "streamlane.toml"
    assert run("config", "init").code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ended = run("config", "check")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"ok: {file} (listens on 127.0.0.1:8765, backends: 0, aliases: 0, keys: 0)\n")


def test_init_names_what_it_finds(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-0123456789abcdefghij")
    ended = run("config", "init")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "Found GROQ_API_KEY")
    text = (tmp_path / "streamlane.toml").read_text()
    assert "gsk-" not in text
    table = {"name": "groq", "kind": "openai_compatible", "preset": "groq", "api_key": "${GROQ_API_KEY}"}
    assert tomllib.loads(text)["backends"] == [table]
    assert "backends: 1," in run("config", "check").out
    monkeypatch.delenv("GROQ_API_KEY")
    assert "the environment variable GROQ_API_KEY is not set" in run("config", "check").err


async def test_init_names_the_servers_that_run_here(tmp_path: Path) -> None:
    async with Chat(FakeBackend("behind")) as provider, asyncio.timeout(60):
        port = urlsplit(provider.url).port
        program = f"from proxy import local_servers; local_servers.PORTS = {{{port}: 'it'}}"
        command = [sys.executable, "-c", f"{program}; from proxy.cli import main; main()", "config", "init"]
        environ = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
        child = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE)
        out, _ = await child.communicate()
    assert out.decode().startswith(f"Found a server at http://127.0.0.1:{port} (1 model)\n")
    assert tomllib.loads((tmp_path / "streamlane.toml").read_text())["backends"] == [
        {"name": f"port-{port}", "kind": "openai_compatible", "base_url": f"http://127.0.0.1:{port}/v1"}
    ]


def test_init_overwrites_only_when_forced(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("precious")
    assert run("config", "init", "my.toml") == Ended(
        2, "", "my.toml: already there. Overwrite it with --force, or name another file.\n"
    )
    assert file.read_text() == "precious"
    assert run("config", "init", "my.toml", "--force").code == 0
    assert "server" in tomllib.loads(file.read_text())


def test_init_says_why_it_cannot_write(run: Run) -> None:
    ended = run("config", "init", "nowhere/my.toml")
    assert ended == Ended(2, "", "nowhere/my.toml: cannot be written: No such file or directory.\n")


def test_check_lists_every_problem(run: Run, tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text("server.prot = 1\nlimits.lanes = 0")
    assert run("config", "check") == Ended(
        2,
        "",
        'streamlane.toml: server.prot: unknown key. Did you mean "port"?\n'
        "streamlane.toml: limits.lanes: expected a whole number >= 1\n",
    )


def test_check_names_files_of_keys_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text(
        '[[backends]]\nname = "v"\nkind = "vertex"\nproject = "p"\ncredentials_file = "gone.json"\n'
        '[[backends]]\nname = "o"\nkind = "openai"\napi_key_file = "gone.txt"\n'
    )
    assert run("config", "check") == Ended(
        2,
        "",
        f"streamlane.toml: backends[0].credentials_file: The file '{tmp_path}/gone.json' cannot be used. "
        "The credentials_file cannot be read (No such file or directory). Check its path and its rights.\n"
        f"streamlane.toml: backends[1].api_key_file: The file '{tmp_path}/gone.txt' cannot be used: "
        "No such file or directory.\n",
    )


def test_check_warns_of_a_key_that_is_missing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text('[[backends]]\nname = "a"\nkind = "anthropic"\n')
    ended = run("config", "check")
    assert (ended.code, ended.out[:3]) == (0, "ok:")
    assert ended.err == 'warning: backends[0] "a": no api_key; api.anthropic.com needs one: ${ANTHROPIC_API_KEY}\n'


def test_check_without_a_file_says_so(run: Run) -> None:
    assert run("config", "check").out.startswith("ok: no file, defaults and the environment (listens on")


@pytest.mark.parametrize("command", [["serve"], ["config", "check"], ["config", "show"], ["models", "list"]])
def test_a_wrong_configuration_ends_every_command_with_2(run: Run, command: list[str]) -> None:
    ended = run(*command, "--config", "nope.toml")
    assert ended == Ended(2, "", "nope.toml: no such file. Write one with: streamlane config init nope.toml\n")


def test_show_masks_secrets(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLANE_SERVER_API_KEYS", KEY)
    text = run("config", "show").out
    assert 'api_keys        = ["sk-sl-…op"]  # STREAMLANE_SERVER_API_KEYS' in text
    data = json.loads(run("config", "show", "--json").out)
    assert data["config"]["server"]["api_keys"] == ["sk-sl-…op"]
    assert data["origins"]["server.api_keys"] == "STREAMLANE_SERVER_API_KEYS"
    assert data["config"]["data_dir"].startswith(str(tmp_path))


def test_schema_is_json(run: Run) -> None:
    assert json.loads(run("config", "schema").out)["title"] == "streamlane.toml"


@pytest.mark.parametrize(
    ("flag", "value", "problem"),
    [
        ("--port", "70000", "--port: expected a whole number <= 65535\n"),
        ("--ops-port", "70000", "--ops-port: expected a whole number <= 65535\n"),
        ("--port", "8766", "streamlane.toml: ops.port: 8766 is the server's port too. Choose another.\n"),
        ("--log-level", "loud", '--log-level: expected one of "debug", "info", "warning", "error", got "loud"\n'),
    ],
)
def test_flags_are_checked_like_the_file(run: Run, tmp_path: Path, flag: str, value: str, problem: str) -> None:
    (tmp_path / "streamlane.toml").touch()
    assert run("serve", flag, value) == Ended(2, "", problem)


def test_a_bind_outside_loopback_without_a_key_is_refused(run: Run) -> None:
    ended = run("serve", "--host", "0.0.0.0")
    assert ended.code == 2
    assert ended.err.startswith('--host: "0.0.0.0" can be reached from other machines')


def test_the_module_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"streamlane {__version__}\n"


FAKE = '[[backends]]\nname = "f"\nkind = "fake"\n'


def test_help_loads_nothing_heavy() -> None:
    """Help answers at once because it leaves these alone; a limit in milliseconds would fail on a busy machine."""
    script = """
import sys
from proxy.cli import app
app(["--help"], standalone_mode=False)
heavy = {"aiohttp", "msgspec", "orjson", "rich", "structlog", "uvloop", "websockets", "numpy", "gguf", "asyncio"}
sys.exit(", ".join(sorted(heavy & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Usage:")
    assert done.stderr.strip() == ""


def test_generated_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/docs", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_data_dir_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "my.toml").write_text('data_dir = "file/data"\nserver.port = 0\nops.port = 0\n' + FAKE)
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(tmp_path / "my.toml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    problem = f"data_dir: {tmp_path}/file/data is not a folder. Remove the file, or set another data_dir.\n"
    assert (done.returncode, done.stderr) == (2, problem)
