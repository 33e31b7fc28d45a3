"""One request to a gateway whose providers have faults, on each way in: what the client heard, and from whom."""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import aiohttp

from backends.fake import FakeBackend
from backends.json import loads
from backends.sse import SseDecoder
from proxy.app import Gateway
from tests.gateway import TERMINAL, client, gateway, text_of
from tests.providers.chat import Chat

PRIMARY, FALLBACK = ("".join(f"{name}{number} " for number in range(80)) for name in "pf")

Said: TypeAlias = Literal["primary", "fallback", "part", "nothing"]
Way: TypeAlias = Literal["socket", "SSE", "JSON"]
WAYS: tuple[Way, ...] = ("socket", "SSE", "JSON")


@dataclass(frozen=True)
class Heard:
    """What one request got: its HTTP status (None on a socket), the ends of its stream, text, error and wait."""

    status: int | None
    ends: tuple[str, ...]
    text: str
    code: str | None
    retry_after: str | None


def config(primary: Chat, fallback: Chat, settings: str = "") -> str:
    backends = "".join(
        f'[[backends]]\nname = "{name}"\nkind = "openai_compatible"\nbase_url = "{provider.url}"\nmodels = ["fake"]\n'
        for name, provider in (("primary", primary), ("fallback", fallback))
    )
    return f'{backends}[models.both]\ntargets = ["primary/fake", "fallback/fake"]\n{settings}\n'


class World:
    """A gateway, its two providers, and clients of it. `deadlines` are lines of its configuration, `more` is other
    tables of it.
    """

    def __init__(self, deadlines: str = "", more: str = "") -> None:
        self._settings = f"[deadlines]\n{deadlines}\n{more}"
        self._stack = AsyncExitStack()
        self.primary = Chat(FakeBackend("primary", text=PRIMARY))
        self.fallback = Chat(FakeBackend("fallback", text=FALLBACK))

    async def __aenter__(self) -> "World":
        await self._stack.enter_async_context(self.primary)
        await self._stack.enter_async_context(self.fallback)
        text = config(self.primary, self.fallback, self._settings)
        self.gateway = await self._stack.enter_async_context(gateway(text))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def ask(self, way: Way, model: str) -> Heard:
        return await ASK[way](self.gateway, model)

    @property
    def places(self) -> int:
        """How many places are held at all backends, or waited for."""
        return sum(each.running + each.waiting for each in self.gateway.generations._dispatcher.lines().values())

    async def metric(self, name: str, labels: str = "") -> int:
        """The sum of a metric over all its labels, or those that hold `labels`."""
        async with aiohttp.request("GET", f"{self.gateway.ops_url}/metrics") as answered:
            text = await answered.text()
        found = re.findall(rf"^streamlane_{name}{{[^}}]*{labels}[^}}]*}} (\S+)$", text, re.MULTILINE)
        assert found, "there is no such metric"
        return round(sum(map(float, found)))


async def on_a_socket(started: Gateway, model: str) -> Heard:
    async with client(started) as socket:
        await socket.create(model, max_output_tokens=100)
        events = await socket.until()
        await socket.send({"type": "no such event"})
        answer = await socket.next()
        assert answer["error"]["code"] == "invalid_event", "the response said something after its end"
    return heard(events, None)


async def as_a_stream(started: Gateway, model: str) -> Heard:
    async with posted(started, model, stream=True) as got:
        if got.status != 200:
            return refusal(got, loads(await got.read()))
        return heard([loads(message) for message in SseDecoder().feed(await got.read())], got)


async def as_json(started: Gateway, model: str) -> Heard:
    async with posted(started, model, stream=False) as got:
        body = loads(await got.read())
        if got.status != 200:
            return refusal(got, body)
        return Heard(200, (f"response.{body['status']}",), output_of(body), None, None)


ASK: Mapping[Way, Callable[[Gateway, str], Awaitable[Heard]]] = {
    "socket": on_a_socket,
    "SSE": as_a_stream,
    "JSON": as_json,
}


def posted(started: Gateway, model: str, *, stream: bool) -> Any:
    body = {"model": model, "input": "hi", "max_output_tokens": 100, "stream": stream}
    return aiohttp.request("POST", f"{started.base_url}/responses", json=body)


def heard(events: list[dict[str, Any]], got: aiohttp.ClientResponse | None) -> Heard:
    ends = tuple(event["type"] for event in events if event["type"] in TERMINAL)
    text, last = text_of(events), events[-1]["response"]
    assert output_of(last) == text, "the deltas and the whole differ"
    code = (last["error"] or {}).get("code")
    return Heard(None if got is None else got.status, ends, text, code, None)


def refusal(got: aiohttp.ClientResponse, body: dict[str, Any]) -> Heard:
    return Heard(got.status, (), "", body["error"]["code"], got.headers.get("Retry-After"))


def output_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


def said(text: str) -> Said:
    """Whose text it is: all of one provider's, or the beginning of the primary's."""
    if text in ("", PRIMARY.strip(), FALLBACK.strip(), PRIMARY, FALLBACK):
        return "nothing" if not text else "primary" if text[0] == "p" else "fallback"
    assert PRIMARY.startswith(text), "something was repeated, lost or mixed"
    return "part"
