"""Finds the model servers on this machine that no configuration names, by what their usual ports answer."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from backends import registry
from backends.errors import BackendError
from backends.http import Transport
from backends.json import JsonError, loads
from proxy.config import BackendOptions

PORTS: Mapping[int, str] = MappingProxyType({8000: "vLLM", 8080: "LocalAI or llama.cpp", 11434: "Ollama"})
WITHIN = 1.0  # seconds for all that a port is asked; where nobody listens, it takes none
MODELS = "/v1/models"
SIGNS = ("/readyz", "/props", "/api/version", "/version", "/v1/responses")  # each is known to one kind or two

Reply: TypeAlias = tuple[int, Any]
"""HTTP status, and the JSON in the body; None where it is none. Status 0: no answer."""


@dataclass(frozen=True, slots=True)
class Server:
    """One that was found: what it is, as which `kind` of backend it is served, under which `name`.

    A `locked` one wants a key, and so cannot be served before somebody names it.
    """

    title: str
    kind: str
    name: str
    origin: str
    models: tuple[str, ...] = ()
    locked: bool = False

    def __str__(self) -> str:
        found = f"Found {self.title} at {self.origin}"
        if self.locked:
            return f"{found}, which wants a key: name it and its api_key in a file (streamlane config init)"
        count = {0: "no model yet", 1: "1 model"}.get(len(self.models), f"{len(self.models)} models")
        return f"{found} ({count})"

    def table(self) -> Mapping[str, str]:
        """As [[backends]] in a file."""
        place = self.origin if self.kind == "ollama" else f"{self.origin}/v1"
        return {"name": self.name, "kind": self.kind, "base_url": place}

    def options(self) -> BackendOptions:
        """As that table would be read."""
        settings = {key: value for key, value in self.table().items() if key != "kind"}
        return cast(BackendOptions, registry.load(self.kind).Options(**settings))


async def find(ports: Iterable[int] = PORTS) -> list[Server]:
    """The servers on these ports of this machine, in their order; each has a name of its own."""
    transport = Transport(connect_deadline=WITHIN)
    try:
        origins = [f"http://127.0.0.1:{port}" for port in ports]
        found = await asyncio.gather(*(ask(transport, origin) for origin in origins))
    finally:
        transport.close()
    return named([server for server in found if server is not None])


async def ask(transport: Transport, origin: str) -> Server | None:
    """What listens at `origin`, None when nothing does that we could serve."""
    deadline = asyncio.get_running_loop().time() + WITHIN

    async def get(path: str) -> Reply:
        try:
            async with asyncio.timeout_at(deadline), transport.request("GET", f"{origin}{path}", {}) as response:
                status, body = response.status, await response.read()
        except (BackendError, TimeoutError):
            return 0, None
        try:
            return status, loads(body)
        except JsonError:
            return status, None

    models = await get(MODELS)
    if not models[0]:
        return None
    signs = await asyncio.gather(*map(get, SIGNS))
    return identify(origin, {MODELS: models, **dict(zip(SIGNS, signs, strict=True))})


def identify(origin: str, replies: Mapping[str, Reply]) -> Server | None:
    """What a server is by its replies to MODELS and SIGNS. None: no list of models, or another Streamlane."""
    status, listed = replies[MODELS]
    locked = status in {401, 403}
    entries = [] if locked else models_of(listed)
    if entries is None or (status != 200 and not locked) or is_streamlane(replies):
        return None
    owners = {owner if isinstance(owner, str | None) else "" for owner in (entry.get("owned_by") for entry in entries)}
    if "llamacpp" in owners or has(replies["/props"], "default_generation_settings"):
        # Its list of models is open to everybody; the rest wants the key.
        title, kind, name, locked = "llama.cpp", "openai_compatible", "llama-cpp", replies["/props"][0] == 401
    # It keeps only /v1 to itself. LocalAI has a version too.
    elif "vllm" in owners or (locked and has(replies["/version"], "version") and replies["/readyz"][0] == 404):
        title, kind, name = "vLLM", "vllm", "vllm"
    elif replies["/readyz"][0] in {200, 503} and owners <= {None}:  # its models say nothing of an owner
        title, kind, name = "LocalAI", "localai", "localai"
    elif has(replies["/api/version"], "version"):  # LocalAI has it too
        title, kind, name = "Ollama", "ollama", "ollama"
    elif entries or locked:
        title, kind, name = "a server", "openai_compatible", f"port-{origin.rpartition(':')[2]}"
    else:
        return None
    return Server(title, kind, name, origin, tuple(entry["id"] for entry in entries), locked)


def models_of(listed: Any) -> list[dict[str, Any]] | None:
    """The entries of a list of models; None where it is no such list. Ollama without a model says null."""
    entries = listed.get("data", 0) if isinstance(listed, dict) else 0
    if not isinstance(entries, list | None):
        return None
    return [entry for entry in entries or [] if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def is_streamlane(replies: Mapping[str, Reply]) -> bool:
    """Two that found each other would pass requests to and fro for ever."""
    _, value = replies["/v1/responses"]
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return False
    return error.get("code") == "upgrade_required" or "sk-sl-" in str(error.get("message"))


def has(reply: Reply, member: str) -> bool:
    return reply[0] == 200 and isinstance(reply[1], dict) and member in reply[1]


def looked_for() -> str:
    """The usual ports, in words."""
    *first, last = [f"{title} on port {port}" for port, title in PORTS.items()]
    return " and ".join(filter(None, (", ".join(first), last)))


def named(servers: Sequence[Server]) -> list[Server]:
    """The same, the second of a name with its port behind it."""
    taken: set[str] = set()
    unique = []
    for server in servers:
        name = f"{server.name}-{server.origin.rpartition(':')[2]}" if server.name in taken else server.name
        taken.add(name)
        unique.append(replace(server, name=name))
    return unique
