"""Bad configuration, dead backends, no backend at all: what a person sees then, word for word."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from backends.errors import (
    AuthenticationFailed,
    BackendError,
    ContextLengthExceeded,
    DeadlineExceeded,
    ModelLoadFailed,
    NotReady,
    Overloaded,
    ProtocolViolation,
    ServerFailed,
    StreamBroken,
    Unreachable,
)
from backends.fake import FakeBackend
from backends.registry import kinds
from tests.gateway import ROOT, announced, client, connected, gateway, text_of
from tests.providers.azure_openai import AzureOpenAI
from tests.upstream import Script, Seen, Upstream, answer, plain
from tests.wire.recorded import VLLM, recorded

PORTS = "from proxy import local_servers; local_servers.PORTS = {}; from proxy.cli import main; main()"
NOTHING = """\
Nothing to serve: {file}, no model is pulled in {models}, and no server on this machine can be used.
Looked for vLLM on port {port}. Do one of these, then serve again:

  start one of those servers, or set a provider's key, such as OPENAI_API_KEY
  streamlane models pull smollm2    a small model that runs inside Streamlane
  streamlane config init            a streamlane.toml to name your own servers in
"""


@contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and that nobody else gets."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        yield nobody.getsockname()[1]


@asynccontextmanager
async def command(
    folder: Path, ports: Mapping[int, str], *arguments: str, **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`streamlane …` in `folder`, with `ports` in place of the usual ones; ended with SIGTERM. stderr is a file."""
    env = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    env |= {"STREAMLANE_SERVER_PORT": "0", "STREAMLANE_OPS_PORT": "0", **environ}
    program = [sys.executable, "-c", PORTS.format(dict(ports)), *arguments]
    with (folder / "stderr").open("wb") as stderr:
        child = await asyncio.create_subprocess_exec(
            *program, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=stderr
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
        await child.communicate()


@dataclass(frozen=True)
class Ended:
    """How a command ended by itself, and what it said."""

    code: int | None
    out: str
    err: str


async def ended(folder: Path, port: int, *arguments: str) -> Ended:
    async with asyncio.timeout(60), command(folder, {port: "vLLM"}, *arguments) as child:
        out, _ = await child.communicate()
    return Ended(child.returncode, out.decode(), (folder / "stderr").read_text())


def nothing(home: Path, file: str, port: int) -> str:
    return NOTHING.format(models=home / ".local/share/streamlane/models", file=file, port=port)


# No backend at all.


async def test_nothing_to_serve(tmp_path: Path) -> None:
    with closed_port() as port:
        said = await ended(tmp_path, port, "serve")
    assert said == Ended(1, "", nothing(tmp_path, "there is no streamlane.toml here", port))


async def test_a_file_without_backends_and_nothing_here(tmp_path: Path) -> None:
    (tmp_path / "streamlane.toml").write_text("[limits]\nlanes = 8\n")
    with closed_port() as port:
        said = await ended(tmp_path, port, "serve")
        checked = await ended(tmp_path, port, "config", "check")
    assert said == Ended(1, "", nothing(tmp_path, f"{tmp_path}/streamlane.toml names no [[backends]]", port))
    assert checked == Ended(
        0,
        f"ok: {tmp_path}/streamlane.toml (listens on 127.0.0.1:0, backends: 0, aliases: 0, keys: 0)\n"
        f"There are no [[backends]]: serve takes what it finds here (vLLM on port {port}; a pulled model; keys).\n",
        "",
    )


def vllm(seen: Seen) -> Script:
    """A vLLM that serves smollm2."""
    paths = {"/v1/models": "models", "/version": "version", "/health": "health", "/metrics": "metrics"}
    if seen.method == "POST":
        return answer("Par", "is.")
    if seen.path not in paths:
        return plain(404, {"detail": "Not Found"})
    _, head, body = recorded(f"{VLLM}/{paths[seen.path]}")
    return [head + body]


def other(seen: Seen) -> Script:
    """A server of no kind that we know, with a model of the same name."""
    return plain(*(200, {"data": [{"id": "smollm2"}]}) if seen.path == "/v1/models" else (404, b"no"))


async def test_servers_of_this_machine_are_found_and_answer(tmp_path: Path) -> None:
    async with Upstream(default=vllm) as first, Upstream(default=other) as second:
        async with command(tmp_path, {first.port: "vLLM", second.port: "Ollama"}, "serve") as child:
            assert child.stdout is not None
            assert [(await child.stdout.readline()).decode() for _ in range(2)] == [
                f"Found vLLM at {first.origin} (1 model)\n",
                f"Found a server at {second.origin} (1 model)\n",
            ]
            base_url = await announced(child, tmp_path / "stderr")
            assert await child.stdout.readline() == f"Models: vllm/smollm2, port-{second.port}/smollm2\n".encode()
            async with connected(base_url) as one:
                await one.create("vllm/smollm2")
                assert text_of(await one.until()) == "Paris."


async def test_a_server_that_wants_a_key(tmp_path: Path) -> None:
    locked = plain(401, {"error": "Unauthorized"})
    async with Upstream(default=lambda seen: locked if seen.path == "/v1/models" else vllm(seen)) as upstream:
        said = await ended(tmp_path, upstream.port, "serve")
    file = "there is no streamlane.toml here"
    assert said == Ended(
        1,
        f"Found vLLM at {upstream.origin}, which wants a key: "
        "name it and its api_key in a file (streamlane config init)\n",
        nothing(tmp_path, file, upstream.port),
    )


async def test_keys_in_the_environment_are_asked_by_name_only(tmp_path: Path) -> None:
    with closed_port() as port:
        async with AzureOpenAI(FakeBackend("behind", text="Paris."), keyed=True) as provider:
            environ = {"AZURE_OPENAI_API_KEY": provider.key, "AZURE_OPENAI_ENDPOINT": provider.url}
            environ |= {"GROQ_API_KEY": "gsk-0123456789abcdefghij"}
            environ |= {"STREAMLANE_TRANSPORT_PROXY": f"http://127.0.0.1:{port}"}  # there is no network
            async with command(tmp_path, {}, "serve", **environ) as child:
                assert child.stdout is not None
                assert (await child.stdout.readline()).decode() == (
                    "Found in the environment: AZURE_OPENAI_API_KEY, GROQ_API_KEY. "
                    "Asked only for models named azure_openai/MODEL, groq/MODEL\n"
                )
                base_url = await announced(child, tmp_path / "stderr")
                async with connected(base_url) as one:
                    await one.create("azure_openai/fake")
                    assert text_of(await one.until()) == "Paris."
                    await one.create("fake")
                    [event] = await one.until()
                    assert (event["status"], event["error"]["code"]) == (404, "model_not_found")
                    await one.create("groq/llama")
                    failed = (await one.until())[-1]
                    assert failed["response"]["error"]["code"] == "backend_unreachable"
    log = (tmp_path / "stderr").read_text()
    assert "gsk-" not in log
    assert provider.key not in log
    assert '"level": "warning", "event": "backend_unavailable"' not in log


async def test_the_switches_of_what_is_looked_for(tmp_path: Path) -> None:
    off = {"STREAMLANE_DISCOVERY_ENVIRONMENT": "false", "STREAMLANE_DISCOVERY_LOCAL_SERVERS": "false"}
    environ = {"GROQ_API_KEY": "gsk-0123456789abcdefghij", **off}
    async with Upstream(default=vllm) as upstream:
        async with asyncio.timeout(60), command(tmp_path, {upstream.port: "vLLM"}, "serve", **environ) as child:
            out, _ = await child.communicate()
        assert (child.returncode, out) == (1, b"")
        assert not upstream.requests


async def test_a_model_when_no_backend_has_any() -> None:
    async with gateway() as started, client(started) as one:
        await one.create("gpt-5")
        [event] = await one.until()
    assert (event["type"], event["status"]) == ("error", 404)
    assert event["error"]["message"] == "The model 'gpt-5' does not exist. GET /v1/models lists what there is."


# Bad configuration.


@pytest.mark.parametrize("arguments", [["serve"], ["config", "check"]], ids=" ".join)
async def test_every_mistake_is_told_at_once(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "streamlane.toml").write_text(
        'server.prot = 1\n[[backends]]\nname = "gpu"\nkind = "vlm"\n[[backends]]\nname = "l"\nkind = "localai"\n'
        'base_url = "localhost:8080"\n[models.fast]\ntargets = ["gpuu/llama"]\n'
    )
    said = await ended(tmp_path, 1, *arguments)
    assert said == Ended(
        2,
        "",
        'streamlane.toml: server.prot: unknown key. Did you mean "port"?\n'
        'streamlane.toml: backends[0].kind: unknown kind "vlm". Did you mean "vllm"? '
        f"Known kinds: {', '.join(kinds())}.\n"
        'streamlane.toml: backends[1] "l".base_url: expected an http(s) URL without user, query and fragment, '
        "got 'localhost:8080'\n"
        'streamlane.toml: models.fast.targets[0]: no backend is named "gpuu". Did you mean "gpu"? Backends: gpu, l.\n',
    )


async def test_model_files_that_are_not_there_are_told_before_serving(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"not a model at all")
    (tmp_path / "streamlane.toml").write_text(
        "".join(
            f'[[backends]]\nname = "{name}"\nkind = "llama_cpp"\nmodel = "{model}"\n'
            for name, model in {"a": "./gone.gguf", "b": "./no.gguf", "c": "smollm2"}.items()
        )
    )
    assert await ended(tmp_path, 1, "config", "check") == Ended(
        2,
        "",
        f"streamlane.toml: backends[0].model: The model file '{tmp_path}/gone.gguf' cannot be read "
        "(No such file or directory). Check its path and your rights.\n"
        f"streamlane.toml: backends[1].model: '{tmp_path}/no.gguf' is not a GGUF model file. "
        "Point `model` to a .gguf file.\n"
        f"streamlane.toml: backends[2].model: The model 'smollm2' is not pulled in "
        f"{tmp_path}/.local/share/streamlane/models (pulled: none). "
        "Run: streamlane models pull smollm2\n",
    )


# Dead backends.


async def test_a_backend_whose_server_does_not_run(tmp_path: Path) -> None:
    with closed_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        (tmp_path / "streamlane.toml").write_text(
            f'[[backends]]\nname = "gpu"\nkind = "vllm"\nbase_url = "{url}"\n[models.fast]\ntargets = ["gpu/llama"]\n'
        )
        async with command(tmp_path, {}, "serve") as child:
            base_url = await announced(child, tmp_path / "stderr")
            assert child.stdout is not None
            assert await child.stdout.readline() == b"Models: fast (no answer yet from gpu)\n"
            [line] = [json.loads(line) for line in (tmp_path / "stderr").read_text().splitlines()]
            async with connected(base_url) as one:
                await one.create("fast")
                failed = (await one.until())[-1]
    assert (line["event"], line["reason"]) == (
        "backend_unavailable",
        f'The backend "gpu" does not answer at {url} (connection refused). Start it, or correct its base_url.',
    )
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"] == {
        "code": "backend_unreachable",
        "message": "The backend 'gpu' cannot be reached (connection refused). "
        "The operator must check that it runs, and its base_url.",
    }


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Unreachable("name not found"), ("cannot be reached (name not found). "
         "The operator must check that it runs, and its base_url.")),
        (NotReady(12), "is not ready: it is starting, or loading its model. Try again in 12 s."),
        (ModelLoadFailed("llama"), ("could not load the model 'llama'. "
         "Choose another model; the operator finds the reason in its log.")),
        (Overloaded(), "is overloaded. Try again in a moment."),
        (AuthenticationFailed(401), "refused this gateway's key (HTTP 401). The operator must check its api_key."),
        (ServerFailed(500), "failed (HTTP 500). Try again; if it lasts, the operator must look at its log."),
        (ProtocolViolation("a web page"), ("broke its protocol: a web page. "
         "The operator must check its kind and base_url.")),
        (StreamBroken(), "broke the connection before its answer was whole. Try again."),
        (DeadlineExceeded("connect", 5), ("took longer than the connect deadline of 5 s. "
         "Try again, or ask the operator to raise it.")),
    ],
    ids=repr,
)  # fmt: skip
async def test_a_client_reads_which_backend_failed_how_and_what_to_do(error: BackendError, message: str) -> None:
    gpu = FakeBackend("gpu", script=[error], models=("llama",))
    async with gateway("deadlines.retry = 0.05\n", [gpu]) as started:
        async with client(started) as one:
            await one.create("llama")
            failed = (await one.until())[-1]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"]["message"] == f"The backend 'gpu' {message}"


async def test_a_prompt_that_is_too_long_is_the_models_matter() -> None:
    backend = FakeBackend("gpu", script=[ContextLengthExceeded(9739, 8192)], models=("llama",))
    async with gateway(backends=[backend]) as started, client(started) as one:
        await one.create("llama")
        failed = (await one.until())[-1]
    assert failed["response"]["error"]["message"] == (
        "The prompt has 9739 tokens and does not fit this model's context of 8192 tokens. "
        "Shorten the input, or choose a model with a larger context."
    )
