"""A provider that stands in for the real one: speaks its native API in front of a fake model, with faults on demand.

A provider's module holds a subclass that reads its requests and writes its answers, exactly as its documentation and
recordings have them, and is believed once the provider's own SDK has talked to it (test_KIND_sdk.py).

    async with Anthropic(FakeBackend("behind", **TALE)) as provider:
        provider.faults.append(Fault("rate_limited", retry_after=2))  # for the next request; then none
        ...                                                           # a backend with base_url = provider.url
        provider.seen[0].body                                         # what it was asked
"""

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

from aiohttp import web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound, Overloaded
from backends.events import Event, Finished
from backends.fake import FakeBackend
from backends.request import Request

Refusal: TypeAlias = Literal[
    "rate_limited",  # 429
    "overloaded",  # 503, or the provider's own status for it
    "server_error",  # 500
    "context_overflow",
    "content_filter",
    "prefill_refused",  # a conversation must not end with the assistant's turn
    "bad_key",  # 401
    "unknown_model",
    "spent",  # no credit, or no free share, is left
]
Trouble: TypeAlias = Literal[
    "reset_before_headers",
    "reset_after_headers",
    "slow",  # `seconds` until the first token
    "cut",  # the connection breaks after `at` tokens
    "stall",  # silence of `seconds` after `at` tokens
    "bad_chunk",  # rubbish instead of token `at`
    "no_done",  # everything but the very last message
    "half_json",  # the last message breaks off
    "error_in_200",  # an error inside the stream, instead of the first token
    "error_in_stream",  # the same after `at` tokens
]


@dataclass(frozen=True)
class Said:
    """An answer as it stands, word for word; `body` is JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. With `said` it is answered so, whatever else it would be."""

    name: Refusal | Trouble
    at: int = 0
    seconds: float = 0.0
    retry_after: float | None = None
    said: Said | None = None


@dataclass
class Seen:
    """One request as the provider got it, `at` the loop's time. `tokens` were sent; `gone` is set once it is over."""

    path: str
    headers: Mapping[str, str]
    body: Any
    tokens: int = 0
    left_early: bool = False
    at: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Writer(ABC):
    """One answer in the provider's words. Each method gives the bytes of whole messages, framing included.

    One that is not streamed gives nothing until `finish`, which gives all of it, and has its own `content_type`.
    """

    content_type: ClassVar[str | None] = None  # None: that of the provider's streams

    def begin(self) -> bytes:
        """What comes before the first token."""
        return b""

    @abstractmethod
    def event(self, event: Event) -> bytes:
        """One event of content, or a Signature or Citation; b"" for what this API does not show."""

    @abstractmethod
    def finish(self, event: Finished) -> bytes:
        """The end: reason and usage."""

    def done(self) -> bytes:
        """What closes the stream after that, such as [DONE]."""
        return b""

    @abstractmethod
    def error(self) -> bytes:
        """An error of the provider's server inside the stream."""

    def rubbish(self) -> bytes:
        """A message that is none."""
        return b"data: {not json\n\n"


class Provider(ABC):
    """One such server, on a free port while entered. `prefix` is what `url` has behind the port.

    `faults` are for the next requests for an answer, one each (None: none); `always` for those after them. `limits` are
    headers of every answer that is no refusal.
    """

    prefix: ClassVar[str] = "/v1"
    content_type: ClassVar[str] = "text/event-stream"
    key: ClassVar[str] = "sk-provider-0123456789"  # the only one that is right, where it asks for one

    def __init__(self, behind: FakeBackend) -> None:
        self.behind = behind
        self.faults: deque[Fault | None] = deque()
        self.always: Fault | None = None
        self.limits: Mapping[str, str] = {}
        self.seen: list[Seen] = []
        self.url = ""

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Its paths. Those that answer a prompt call `answer`."""

    @abstractmethod
    def refusal(self, kind: Refusal, fault: Fault, error: BackendError | None) -> tuple[int, Any]:
        """Status and JSON of a refusal, in its own words. `error` has the numbers of a real one."""

    async def answer(self, request: web.Request, body: Any, asked: Request, writer: Writer) -> web.StreamResponse:
        """Stream what the model says to `asked`, with the next fault."""
        seen = Seen(request.path_qs, dict(request.headers), body)
        self.seen.append(seen)
        fault = (self.faults.popleft() if self.faults else self.always) or Fault("slow")
        try:
            if fault.said is not None:
                return web.json_response(fault.said.body, status=fault.said.status, headers=fault.said.headers)
            return await self._answer(request, asked, writer, fault, seen)
        except (asyncio.CancelledError, ConnectionError):
            seen.left_early = True
            raise
        finally:
            seen.gone.set()

    async def _answer(
        self, request: web.Request, asked: Request, writer: Writer, fault: Fault, seen: Seen
    ) -> web.StreamResponse:
        kind = writer.content_type or self.content_type
        response = web.StreamResponse(headers={**self.limits, "content-type": kind})
        if fault.name == "reset_before_headers":
            return reset(request, response)
        if fault.name in get_args(Refusal):
            return self.refused(fault.name, fault, None)  # type: ignore[arg-type]  # just looked
        if fault.name == "reset_after_headers":
            await response.prepare(request)
            return reset(request, response)
        if fault.name == "slow":
            await asyncio.sleep(fault.seconds)
        try:
            async with self.behind.stream(asked) as batches:
                batch = await anext(batches)
                await response.prepare(request)
                await response.write(writer.begin())
                while True:
                    for event in batch:
                        if isinstance(event, Finished):
                            return await end(response, writer, event, fault)
                        if await self._faulty(request, response, writer, fault, seen.tokens):
                            return response
                        await response.write(writer.event(event))
                        seen.tokens += 1
                    batch = await anext(batches)
        except ModelNotFound as error:
            return self.refused("unknown_model", fault, error)
        except ContextLengthExceeded as error:
            return self.refused("context_overflow", fault, error)
        except Overloaded as error:  # of a fake with `slots`
            return self.refused("overloaded", fault, error)

    async def _faulty(
        self, request: web.Request, response: web.StreamResponse, writer: Writer, fault: Fault, tokens: int
    ) -> bool:
        """Do what goes wrong before the next token; whether nothing follows."""
        if fault.name == "error_in_200" and tokens == 0:
            await response.write(writer.error())
            return True
        if tokens != fault.at:
            return False
        match fault.name:
            case "cut":
                reset(request, response)
                return True
            case "stall":
                await asyncio.sleep(fault.seconds)
            case "bad_chunk":
                await response.write(writer.rubbish())
            case "error_in_stream":
                await response.write(writer.error())
                return True
        return False

    def refused(self, kind: Refusal, fault: Fault, error: BackendError | None) -> web.Response:
        status, body = self.refusal(kind, fault, error)
        headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
        return web.json_response(body, status=status, headers=headers)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}{self.prefix}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()


async def end(response: web.StreamResponse, writer: Writer, event: Finished, fault: Fault) -> web.StreamResponse:
    last = writer.finish(event)
    if fault.name == "half_json":
        await response.write(last[: len(last) // 4])  # within its first message, where it has several
        return response
    await response.write(last)
    if fault.name != "no_done":
        await response.write(writer.done())
    return response


def reset(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Break the connection as a crash does: with a TCP reset."""
    assert request.transport is not None
    raw = request.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return response
