"""Servers on this machine that nobody has named: what they are by their answers, and that looking costs nothing."""

import socket
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from backends import registry
from backends.json import loads
from proxy import local_servers
from proxy.local_servers import MODELS, SIGNS, Reply, Server, find, identify
from tests.gateway import answers, gateway
from tests.upstream import HOLD, RESET, Script, Seen, Upstream, plain
from tests.wire.recorded import LLAMA, LOCALAI, VLLM, recorded

ORIGIN = "http://127.0.0.1:8000"
ABSENT = (404, {"detail": "Not Found"})
OLLAMA = {"object": "list", "data": [{"id": "llama3:8b", "object": "model", "created": 1, "owned_by": "library"}]}
LOCKED = (401, {"error": {"message": "no key", "code": 401}})


def listed(*ids: str, **more: Any) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model", **more} for name in ids]}


def of(name: str) -> Reply:
    """What a recorded server answered."""
    status, _, body = recorded(name)
    return status, loads(body) if body[:1] in b"{[" and body else None


def replies(models: Reply, **signs: Reply) -> dict[str, Reply]:
    """`signs` by the last word of their path."""
    found = dict.fromkeys(SIGNS, ABSENT)
    paths = {"ready": "/readyz", "props": "/props", "ollama": "/api/version", "version": "/version"}
    return {**found, **{paths.get(name, "/v1/responses"): reply for name, reply in signs.items()}, MODELS: models}


KNOWN: dict[str, tuple[dict[str, Reply], Server | None]] = {
    "vllm": (
        replies(of(f"{VLLM}/models"), version=of(f"{VLLM}/version")),
        Server("vLLM", "vllm", "vllm", ORIGIN, ("smollm2",)),
    ),
    "llama.cpp": (
        replies(of(f"{LLAMA}/models"), props=of(f"{LLAMA}/props")),
        Server("llama.cpp", "openai_compatible", "llama-cpp", ORIGIN, ("smollm2-135m-instruct-f16.gguf",)),
    ),
    "llama.cpp, named by its properties": (
        replies((200, listed("m", owned_by="me")), props=of(f"{LLAMA}/props")),
        Server("llama.cpp", "openai_compatible", "llama-cpp", ORIGIN, ("m",)),
    ),
    "localai": (
        replies(of(f"{LOCALAI}/models"), ready=(200, None), version=(200, {"version": "v3 (a1b2)"})),
        Server("LocalAI", "localai", "localai", ORIGIN, ("smollm2",)),
    ),
    "localai, starting, without a model": (
        replies((200, listed()), ready=(503, None), ollama=(200, {"version": "0.6"})),
        Server("LocalAI", "localai", "localai", ORIGIN),
    ),
    "ollama": (
        replies((200, OLLAMA), ollama=(200, {"version": "0.12.3"})),
        Server("Ollama", "ollama", "ollama", ORIGIN, ("llama3:8b",)),
    ),
    "ollama without a model": (
        replies((200, {"object": "list", "data": None}), ollama=(200, {"version": "0.12.3"})),
        Server("Ollama", "ollama", "ollama", ORIGIN),
    ),
    "another one": (
        replies((200, listed("m", owned_by="me"))),
        Server("a server", "openai_compatible", "port-8000", ORIGIN, ("m",)),
    ),
    "another one without a model": (replies((200, listed())), None),
    "vllm with a key": (
        replies((401, {"error": "Unauthorized"}), version=(200, {"version": "0.32.0"}), responses=LOCKED),
        Server("vLLM", "vllm", "vllm", ORIGIN, locked=True),
    ),
    "localai with a key": (
        replies(of(f"{LOCALAI}/error_no_key"), ready=(200, None), version=LOCKED),
        Server("LocalAI", "localai", "localai", ORIGIN, locked=True),
    ),
    "llama.cpp with a key": (
        replies(of(f"{LLAMA}/models"), props=LOCKED),
        Server("llama.cpp", "openai_compatible", "llama-cpp", ORIGIN, ("smollm2-135m-instruct-f16.gguf",), locked=True),
    ),
    "another one with a key": (
        replies(LOCKED, responses=LOCKED),
        Server("a server", "openai_compatible", "port-8000", ORIGIN, locked=True),
    ),
    "a web server": (replies((404, None)), None),
    "a web page for every path": (replies((200, None), ready=(200, None), props=(200, None)), None),
    "a list of something": (replies((200, {"data": "models"})), None),
    "a broken one": (replies((500, {"error": "no"})), None),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_server_is_known_by_what_it_answers(name: str) -> None:
    given, expected = KNOWN[name]
    assert identify(ORIGIN, given) == expected


@pytest.mark.parametrize(
    ("server", "line"),
    [
        (Server("vLLM", "vllm", "vllm", ORIGIN, ("a", "b")), "Found vLLM at http://127.0.0.1:8000 (2 models)"),
        (Server("a server", "vllm", "v", ORIGIN, ("a",)), "Found a server at http://127.0.0.1:8000 (1 model)"),
        (Server("Ollama", "vllm", "v", ORIGIN), "Found Ollama at http://127.0.0.1:8000 (no model yet)"),
        (
            Server("a server", "vllm", "v", ORIGIN, locked=True),
            (
                "Found a server at http://127.0.0.1:8000, which wants a key: "
                "name it and its api_key in a file (streamlane config init)"
            ),
        ),
    ],
)
def test_what_is_said_of_it(server: Server, line: str) -> None:
    assert str(server) == line


@pytest.mark.parametrize(
    ("kind", "place"),
    [("vllm", f"{ORIGIN}/v1"), ("localai", f"{ORIGIN}/v1"), ("openai_compatible", f"{ORIGIN}/v1"), ("ollama", ORIGIN)],
)
def test_it_becomes_a_backend(kind: str, place: str) -> None:
    options = Server("x", kind, "here", ORIGIN).options()
    assert options == registry.load(kind).Options(name="here", base_url=place)


def serving(given: dict[str, Reply]) -> Upstream:
    def script(seen: Seen) -> Script:
        return plain(*given.get(seen.path, ABSENT))

    return Upstream(default=script)


async def test_all_are_found_in_the_order_of_the_ports() -> None:
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(serving(KNOWN[name][0])) for name in ("ollama", "vllm", "another one")
        ]
        found = await find([server.port for server in servers])
    assert [server.title for server in found] == ["Ollama", "vLLM", "a server"]
    assert [server.origin for server in found] == [server.origin for server in servers]


async def test_two_of_a_kind_have_names_of_their_own() -> None:
    async with serving(KNOWN["vllm"][0]) as first, serving(KNOWN["vllm"][0]) as second:
        assert [server.name for server in await find([first.port, second.port])] == ["vllm", f"vllm-{second.port}"]


@contextmanager
def closed_ports(count: int) -> Iterator[list[int]]:
    """Ports on which nobody listens: bound, so that nobody else takes them."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        yield [each.getsockname()[1] for each in sockets]


async def test_nothing_is_found_at_once_where_nobody_listens() -> None:
    async def look(ports: list[int]) -> float:
        began = time.perf_counter()
        assert await find(ports) == []
        return time.perf_counter() - began

    with closed_ports(3) as ports:
        assert min([await look(ports) for _ in range(3)]) < 0.3  # best of many: a busy machine only makes it slower


@pytest.mark.parametrize("script", [[HOLD], [RESET], [b"SSH-2.0-OpenSSH_9.9\r\n", HOLD]], ids=["mute", "reset", "ssh"])
async def test_what_listens_and_does_not_speak_http_is_passed_over(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_servers, "WITHIN", 0.5)
    async with Upstream(default=lambda _: script) as upstream, serving(KNOWN["vllm"][0]) as other:
        assert [server.title for server in await find([upstream.port, other.port])] == ["vLLM"]


async def test_a_sign_that_never_comes_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_servers, "WITHIN", 0.5)
    known = KNOWN["vllm"][0]

    def script(seen: Seen) -> Script:
        return [HOLD] if seen.path == "/props" else plain(*known.get(seen.path, ABSENT))

    async with Upstream(default=script) as upstream:
        assert [server.title for server in await find([upstream.port])] == ["vLLM"]


@pytest.mark.parametrize("text", ["", 'server.api_keys = ["sk-sl-0123456789abcdef"]'])
async def test_another_streamlane_is_never_found(text: str) -> None:
    async with gateway(text, [answers()]) as started:
        ports = [urlsplit(url).port for url in (started.base_url, started.ops_url)]
        assert await find(ports) == []
