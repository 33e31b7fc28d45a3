"""What `streamlane doctor` finds on a machine that lacks this or that, word for word, and what it says to do."""

import asyncio
import errno
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from backends.fake import FakeBackend
from proxy import __version__
from proxy.cli.doctor import lines
from proxy.doctor.examine import examine
from proxy.doctor.finding import Finding
from tests.gateway import ROOT, answers, gateway
from tests.gguf_files import tiny_model
from tests.providers.azure_openai import AzureOpenAI
from tests.providers.cohere import Cohere
from tests.providers.ollama import Ollama
from tests.upstream import Script, Seen, Upstream, plain

KEY = "sk-sl-0123456789abcdefghijklmnop"
FREE = "server.port = 0\nops.port = 0\n"
FAKE = '[[backends]]\nname = "f"\nkind = "fake"\nmodels = ["one", "two"]\n'
IN_USE = os.strerror(errno.EADDRINUSE)


async def found(folder: Path, text: str | None, ports: Collection[int] = ()) -> dict[str, tuple[str, str, str]]:
    """What each finding is about → its state, text and step. The last one counts where there are several.

    How long a backend took is left out.
    """
    if text is not None:
        (folder / "streamlane.toml").write_text(text)
    findings = await examine(None, {"HOME": str(folder)}, folder, ports)
    return {
        finding.about: (finding.state, re.sub(r"^Up in \d+ ms", "Up", finding.text), finding.step)
        for finding in findings
    }


def run(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user runs it."""
    (folder / "streamlane.toml").write_text(text)
    environ = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-m", "proxy", "doctor", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[int]:
    """`app` on a free port of this machine."""
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def model_server(owner: str = "vllm") -> AsyncIterator[int]:
    """A server that lists one model."""
    app = web.Application()
    entries = {"object": "list", "data": [{"id": "llama", "object": "model", "owned_by": owner}]}

    async def models(_: web.Request) -> web.Response:
        return web.json_response(entries)

    app.router.add_get("/v1/models", models)
    async with listening(app) as port:
        yield port


def test_a_gateway_that_lacks_nothing(tmp_path: Path) -> None:
    ended = run(tmp_path, FREE + FAKE)
    said = ended.stdout.splitlines()
    assert ended.returncode == 0, ended.stdout
    for line in (
        f"ok    Streamlane        {__version__}",
        f"ok    Configuration     {tmp_path / 'streamlane.toml'}",
        "ok    Port              127.0.0.1, on a free port.",
        f"ok    Pulled models     None in {tmp_path}/.local/share/streamlane/models.",
        "ok    Backend f         Up, with 2 models: one, two.",
    ):
        assert line in said
    assert said[-1].startswith("Nothing must be fixed")
    assert "\x1b" not in ended.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "streamlane.toml"]  # it has only looked


def test_what_must_be_fixed_is_counted_and_is_the_exit_code(tmp_path: Path) -> None:
    text = f"""
data_dir = "./streamlane.toml"
server.api_keys = ["{KEY}"]
{FREE}
[[backends]]
name = "gpu"
kind = "vllm"
base_url = "http://127.0.0.1:1/v1"
api_key = "canary-upstream-key"
"""
    ended = run(tmp_path, text)
    assert ended.returncode == 1
    assert ended.stderr == ""
    said = ended.stdout.splitlines()
    at = said.index(f"fix   Data folder       {tmp_path / 'streamlane.toml'} is a file.")
    assert said[at + 1] == " " * 24 + "→ Remove it, or set another data_dir."
    assert (
        'fix   Backend gpu       The backend "gpu" does not answer at http://127.0.0.1:1/v1 (connection refused). '
        "Start it, or correct its base_url."
    ) in said
    assert said[-1] == "2 things to fix."
    assert KEY not in ended.stdout
    assert "canary" not in ended.stdout


def test_programs_read_json(tmp_path: Path) -> None:
    ended = run(tmp_path, FREE + FAKE, "--json")
    told = json.loads(ended.stdout)
    assert told["ok"] is True
    assert {"about": "Backend f", "state": "ok", "text": "Up, with 2 models: one, two.", "step": ""} in told["findings"]


async def test_a_wrong_configuration_does_not_keep_the_rest_from_being_looked_at(tmp_path: Path) -> None:
    told = await found(tmp_path, "server.prot = 1")
    assert told["Configuration"] == (
        "fix",
        'streamlane.toml: server.prot: unknown key. Did you mean "port"?',
        "",
    )
    assert told["Engines"][0] in {"ok", "note"}
    assert "Data folder" not in told


def test_the_port_may_be_given_as_to_serve(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    ended = run(tmp_path, FREE + FAKE, "--port", str(port))
    assert f"ok    Port              127.0.0.1:{port} is free." in ended.stdout.splitlines()


async def test_a_port_that_another_program_has(tmp_path: Path) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        told = await found(tmp_path, f"server.port = {port}\nops.port = 0\n" + FAKE)
    assert told["Port"] == (
        "fix",
        f"Cannot listen on 127.0.0.1:{port} ({IN_USE}).",
        "Free the port, or set another server.port (--port, STREAMLANE_SERVER_PORT).",
    )


async def test_a_port_that_a_gateway_of_ours_has(tmp_path: Path) -> None:
    async with gateway(backends=[answers()]) as started:
        port, ops = started.base_url.split(":")[2].removesuffix("/v1"), started.ops_url.split(":")[2]
        told = await found(tmp_path, f"server.port = {port}\nops.port = {ops}\n" + FAKE)
    assert told["Port"] == ("ok", f"A Streamlane gateway is running at 127.0.0.1:{port}.", "")
    assert told["Ops port"] == ("ok", f"A Streamlane gateway is running at 127.0.0.1:{ops}.", "")


async def test_an_ops_port_that_another_gateway_has(tmp_path: Path) -> None:
    async with gateway(backends=[answers()]) as started:
        ops = started.ops_url.split(":")[2]
        told = await found(tmp_path, f"server.port = 0\nops.port = {ops}\n" + FAKE)
    assert told["Ops port"] == (
        "fix",
        f"Another Streamlane gateway has 127.0.0.1:{ops}: a second one cannot start.",
        "Set another ops.port (--ops-port, STREAMLANE_OPS_PORT).",
    )


async def test_an_address_that_is_not_this_machines(tmp_path: Path) -> None:
    told = await found(tmp_path, f'server.host = "192.0.2.1"\nserver.api_keys = ["{KEY}"]\n' + FAKE)
    assert told["Port"][:1] == ("fix",)
    assert told["Port"][1].startswith("Cannot listen on 192.0.2.1:8765 (")


async def test_nothing_to_serve_says_three_ways_out(tmp_path: Path) -> None:
    state, text, step = (await found(tmp_path, FREE))["Backends"]
    models = tmp_path / ".local" / "share" / "streamlane" / "models"
    assert (state, text) == ("fix", f"There is nothing to serve: no backend, no model in {models}, no server.")
    assert step == (
        "Pull a model (streamlane models pull smollm2), start a server (vLLM on port 8000, LocalAI or llama.cpp on "
        "port 8080 and Ollama on port 11434), set a provider's key, or name yours in a file (streamlane config init)."
    )


async def test_the_key_of_a_provider_in_the_environment(tmp_path: Path) -> None:
    keys = {"AZURE_OPENAI_API_KEY": AzureOpenAI.key, "OPENAI_API_KEY": "sk-0123456789abcdefghij"}
    async with AzureOpenAI(FakeBackend("behind", models=("fake",)), keyed=True) as provider:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and never listens: there is no network
            text = f'{FREE}transport.proxy = "http://127.0.0.1:{nobody.getsockname()[1]}"\n'
            (tmp_path / "streamlane.toml").write_text(text)
            environ = {"HOME": str(tmp_path), **keys, "AZURE_OPENAI_ENDPOINT": provider.url}
            findings = {each.about: each for each in await examine(None, environ, tmp_path, [])}
    azure = findings["AZURE_OPENAI_API_KEY, for azure_openai/MODEL"]
    assert (azure.state, "1 model: fake" in azure.text) == ("ok", True)
    assert findings["OPENAI_API_KEY, for openai/MODEL"].state == "note", "without a network nothing needs mending"
    assert findings["Backends"].state == "ok"
    assert not any(key in str(findings) for key in keys.values())


async def test_a_key_that_is_not_used_is_told_with_why(tmp_path: Path) -> None:
    key = "sk-0123456789abcdefghij"
    environ = {"HOME": str(tmp_path), "OPENAI_API_KEY": key, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}
    (tmp_path / "streamlane.toml").write_text(FREE)
    notes = {each.about: each for each in await examine(None, environ, tmp_path, [])}
    assert notes["OPENAI_API_KEY"] == Finding(
        "OPENAI_API_KEY", "note", "Not used: OPENAI_BASE_URL is set, so the key may be for another server."
    )
    fake = '[[backends]]\nname = "f"\nkind = "fake"\n'
    (tmp_path / "streamlane.toml").write_text(FREE + fake + 'text = "${GROQ_API_KEY}"\n')
    environ = {"HOME": str(tmp_path), "OPENAI_API_KEY": key, "GROQ_API_KEY": key}
    notes = {each.about: each for each in await examine(None, environ, tmp_path, [])}
    assert "the configuration names others" in notes["OPENAI_API_KEY"].text
    assert "GROQ_API_KEY" not in notes, "the file refers to it"


async def test_a_wrong_key_of_azure_is_found_though_its_deployments_are_named(tmp_path: Path) -> None:
    async with AzureOpenAI(FakeBackend("behind"), keyed=True) as provider:
        table = f'{FREE}[[backends]]\nname = "az"\nkind = "azure_openai"\nbase_url = "{provider.url}"\n'
        wrong = await found(tmp_path, f'{table}api_key = "wrong"\ndeployments.chat = "gpt-4.1"\n')
        right = await found(tmp_path, f'{table}api_key = "{provider.key}"\ndeployments.chat = "gpt-4.1"\n')
    assert wrong["Backend az"][0] == "fix"
    assert "refuses its key (HTTP 401)" in wrong["Backend az"][1]
    assert right["Backend az"][0] == "ok"
    assert right["Backend az"][1].startswith("Up, with 1 model: chat.")


async def test_a_server_that_runs_here(tmp_path: Path) -> None:
    async with model_server() as port:
        alone = await found(tmp_path, FREE, [port])
        beside = await found(tmp_path, FREE + FAKE, [port])
        named = f'[[backends]]\nname = "gpu"\nkind = "openai_compatible"\nbase_url = "http://localhost:{port}/v1"\n'
        configured = await found(tmp_path, FREE + named, [port])
    server = f"Found vLLM at http://127.0.0.1:{port} (1 model)"
    assert alone["Local server"] == ("ok", f"{server}.", "")
    assert alone["Backends"] == ("ok", "None is configured. What is found is served.", "")
    assert beside["Local server"] == (
        "note",
        f"{server}; no backend of the configuration.",
        "To use it, name it as one of the [[backends]].",
    )
    assert configured["Local server"] == ("ok", f"{server}.", "")
    assert configured["Backend gpu"] == ("ok", "Up, with 1 model: llama.", "")


async def test_a_server_is_asked_even_when_the_configuration_names_its_models(tmp_path: Path) -> None:
    table = '[[backends]]\nname = "gpu"\nkind = "openai_compatible"\nmodels = ["mine"]\nbase_url = '
    gone = await found(tmp_path, f'{FREE}{table}"http://127.0.0.1:1/v1"')
    async with model_server() as port:
        other = await found(tmp_path, f'{FREE}{table}"http://127.0.0.1:{port}/v1"')
    async with listening(web.Application()) as port:  # has no list of models: there are such servers
        silent = await found(tmp_path, f'{FREE}{table}"http://127.0.0.1:{port}/v1"')
    assert gone["Backend gpu"][0] == "fix"
    assert other["Backend gpu"] == (
        "note",
        "It does not list what it would be asked for: mine.",
        "Its own list has: llama.",
    )
    assert silent["Backend gpu"] == ("ok", "Up, with 1 model: mine.", "")


def cohere(url: str, more: str = "") -> str:
    return f'{FREE}[[backends]]\nname = "co"\nkind = "cohere"\nbase_url = "{url}"\n{more}\n'


async def test_any_kind_of_backend_says_what_it_has_and_can(tmp_path: Path) -> None:
    async with Cohere(FakeBackend("behind", models=("a", "b"))) as provider, Ollama(FakeBackend("behind")) as other:
        text = cohere(provider.url, f'api_key = "{provider.key}"')
        told = await found(tmp_path, f'{text}[[backends]]\nname = "ol"\nkind = "ollama"\nbase_url = "{other.url}"\n')
        spoken = await asyncio.to_thread(run, tmp_path, text)
    able = "Known to have: tools, images, json_schema, embeddings."
    assert told["Backend co"] == ("ok", f"Up, with 2 models: a, b. {able}", "")
    able = "Known to have: tools, images, reasoning, completions, embeddings."
    assert told["Backend ol"] == ("ok", f"Up, with 1 model: fake. {able}", "")
    assert re.search(r"^ok    Backend co        Up in \d+ ms, with 2 models: a, b\.", spoken.stdout, re.MULTILINE)


async def test_each_key_is_tried_and_those_that_are_refused_are_counted(tmp_path: Path) -> None:
    async with Cohere(FakeBackend("behind")) as provider:
        (tmp_path / "keys").write_text(f"# two\nbad-key-2\n{provider.key}\n")
        several = f'api_key = "bad-key-1"\napi_key_file = "{tmp_path / "keys"}"'
        some = await found(tmp_path, cohere(provider.url, several))
        spoken = await asyncio.to_thread(run, tmp_path, cohere(provider.url, several), "--json")
        none = await found(tmp_path, cohere(provider.url, 'api_keys = ["bad-key-1", "bad-key-2"]'))
        whole = await found(tmp_path, cohere(provider.url, f'api_keys = ["{provider.key}", "{provider.key}"]'))
        lost = await found(tmp_path, cohere(provider.url, f'api_key_file = "{tmp_path / "absent"}"'))
        unset = await found(tmp_path, cohere(provider.url))
    state, text, step = some["Backend co"]
    assert (state, step) == ("note", "Correct or remove no. 1, 2, in the order api_key, api_keys, api_key_file.")
    assert text.endswith("It takes 1 of its 3 keys.")
    refused = f'The backend "co" at {provider.url} refuses its key (HTTP 401). Correct its api_key.'
    assert none["Backend co"] == ("fix", refused, "")
    missing = f'The backend "co" at {provider.url} wants a key, and none is set (HTTP 401). Set its api_key.'
    assert unset["Backend co"] == ("fix", missing, "")
    assert whole["Backend co"][0] == "ok"
    assert lost["Backend co"] == (
        "fix",
        f"Its api_key_file cannot be used: {os.strerror(errno.ENOENT)}.",
        "One key per line.",
    )
    assert "key" not in spoken.stderr
    assert "bad-key" not in spoken.stdout
    assert {each["about"]: each["state"] for each in json.loads(spoken.stdout)["findings"]}["Backend co"] == "note"


async def test_a_refused_key_does_not_hide_that_a_server_has_no_list(tmp_path: Path) -> None:
    def script(seen: Seen) -> Script:
        return plain(401 if seen.headers["authorization"] == "Bearer bad-key" else 404, {})

    async with Upstream(default=script) as upstream:
        several = 'models = ["m"]\napi_keys = ["bad-key", "good-key"]'
        state, text, _ = (await found(tmp_path, cohere(upstream.origin, several)))["Backend co"]
    assert (state, text) == ("note", "Up, with 1 model: m. It takes 1 of its 2 keys.")


@pytest.mark.parametrize(
    ("status", "state", "text"),
    [
        (403, "fix", "forbids this to its key (HTTP 403). Check that key's rights, or set another api_key."),
        (429, "note", "has reached its rate limit. Try again later."),
        (503, "note", "is overloaded. Try again in a moment."),
        (500, "fix", "failed (HTTP 500)."),
    ],
)
async def test_a_backend_that_refuses(tmp_path: Path, status: int, state: str, text: str) -> None:
    async with Upstream(default=lambda _: plain(status, {"message": "canary"})) as upstream:
        told = (await found(tmp_path, cohere(upstream.origin, 'api_key = "any-key"')))["Backend co"]
    assert told[0] == state
    assert text in told[1]
    assert "canary" not in str(told)


async def test_a_backend_that_is_asked_with_its_callers_keys(tmp_path: Path) -> None:
    async with Cohere(FakeBackend("behind")) as provider:
        state, text, _ = (await found(tmp_path, cohere(provider.url, 'key_source = "caller"')))["Backend co"]
        named = await found(tmp_path, cohere(provider.url, 'key_source = "caller"\nmodels = ["m"]'))
    assert state == "note"
    assert text.endswith("lists its models only for a key of its callers. Name them in its models.")
    assert named["Backend co"] == ("ok", "Up, with 1 model: m.", "")


async def test_a_model_file_that_is_missing_or_damaged(tmp_path: Path) -> None:
    models = tmp_path / ".local" / "share" / "streamlane" / "models"
    models.mkdir(parents=True)
    tiny_model(models / "good.gguf")
    (models / "bad.gguf").write_bytes(b"\x89PNG\r\n\x1a\n")
    table = '[[backends]]\nname = "local"\nkind = "llama_cpp"\nmodel = '
    missing = await found(tmp_path, f'{FREE}{table}"smollm2"')
    assert missing["Backend local"] == (
        "fix",
        f"The model 'smollm2' is not pulled in {models} (pulled: bad, good). Run: streamlane models pull smollm2",
        "",
    )
    assert missing["Pulled models"][0] == "fix"
    assert missing["Pulled models"][1].startswith(f"bad: '{models / 'bad.gguf'}' is not a GGUF model file.")
    (models / "bad.gguf").unlink()
    whole = await found(tmp_path, f'{FREE}{table}"good"')
    assert whole["Pulled models"] == ("ok", "good", "")


async def test_an_alias_that_leads_nowhere(tmp_path: Path) -> None:
    aliases = '[models.a]\ntargets = ["f/gone"]\n[models.b]\ntargets = ["f/gone", "f/one"]\n'
    told = await found(tmp_path, FREE + FAKE + aliases)
    step = "Correct its targets, or load the model there."
    assert told["Alias a"] == ("fix", "No such model: f/gone.", step)
    assert told["Alias b"] == ("note", "No such model: f/gone.", step)


@pytest.mark.parametrize("width", [60, 90, 200])
def test_on_a_terminal_no_line_is_too_long_and_no_path_is_broken(width: int) -> None:
    path = "/a/very/long/path/to/some/model-file.gguf"
    shown = list(lines(Finding("Pulled models", "fix", f"The file {path} is not whole. " * 3, f"Fetch {path}"), width))
    plain = [line.replace("\x1b[31m\x1b[1m", "").replace("\x1b[0m", "") for line in shown]
    assert all(len(line) <= width or path in line for line in plain)
    assert sum(line.count(path) for line in plain) == 4
