"""A server for tests that says exactly the bytes it is told to, and tells what its clients asked and when they left.

    async with Upstream([SSE_HEAD, token("Hi"), HOLD]) as upstream:
        ...                                   # a backend with base_url = upstream.url
        seen = await upstream.seen(0)         # the first request: method, path, headers, json()
        await seen.gone.wait()                # the client closed the connection before the script's end

The nth request gets the nth script, later ones what `default` makes of them: by default the mock's answer, max_tokens
tokens and a stop. A script is any iterable of steps, a generator too.
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self, TypeAlias

from backends.json import dumps, loads


class End(Enum):
    """How a script ends when the connection does not stay open for the next request."""

    CLOSE = "in order, after what was sent"
    RESET = "with a TCP reset"
    HOLD = "never: silence until the client leaves"


CLOSE, RESET, HOLD = End


@dataclass(frozen=True)
class Trickle:
    """Bytes that are sent one by one, each as its own write."""

    data: bytes


Step: TypeAlias = bytes | Trickle | asyncio.Event | float | End  # send, send slowly, wait for, sleep seconds, end
Script: TypeAlias = Iterable[Step]

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SSE_HEAD_UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
LAST = b"0\r\n\r\n"  # the end of a chunked body


def chunk(data: bytes) -> bytes:
    """`data` as one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def message(value: object) -> bytes:
    """`value` as one server-sent message."""
    return b"data: " + (value if isinstance(value, bytes) else dumps(value)) + b"\n\n"


def chat_chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    """The message of one chat completion chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return message({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more})


def token(text: str) -> bytes:
    """One text delta, as an HTTP chunk."""
    return chunk(chat_chunk({"content": text}))


def ending(tokens_in: int = 3, tokens_out: int = 2, reason: str = "stop") -> bytes:
    """Finish reason, usage, [DONE] and the end of the chunked body."""
    usage = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    last = message({"object": "chat.completion.chunk", "choices": [], "usage": usage})
    return chunk(chat_chunk({}, reason)) + chunk(last) + chunk(message(b"[DONE]")) + LAST


def answer(*texts: str) -> list[Step]:
    """A whole streamed answer, one write per text."""
    role = chat_chunk({"role": "assistant", "content": ""})
    return [SSE_HEAD + chunk(role), *(token(text) for text in texts), ending(tokens_out=len(texts))]


def plain(status: int, body: object, *headers: str) -> list[Step]:
    """A whole answer that is not streamed. `body` is bytes, or what becomes JSON."""
    data = body if isinstance(body, bytes) else dumps(body)
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(data)}", *headers]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + data]


@dataclass(eq=False)
class Seen:
    """One request that came. `gone_at` is the loop's time when the client left before the script's end."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    gone_at: float = 0.0

    def json(self) -> Any:
        return loads(self.body)


def mock(seen: Seen) -> Script:
    """`max_tokens` tokens of text, or the list of the one model."""
    if seen.method == "GET":
        return plain(200, {"object": "list", "data": [{"id": "mock", "object": "model"}]})
    return answer(*(f" t{i}" for i in range(seen.json().get("max_tokens", 16))))


class Upstream:
    """The server. `requests` are those that came so far, `connections` counts those that were opened."""

    def __init__(
        self,
        *scripts: Script,
        default: Callable[[Seen], Script] = mock,
        tls: ssl.SSLContext | None = None,
        eager: bytes = b"",  # said to every new connection, unasked
    ) -> None:
        self._scripts, self._default, self._tls, self.eager = list(scripts), default, tls, eager
        self._arrived = asyncio.Condition()
        self._open: set[Peer] = set()
        self.requests: list[Seen] = []
        self.connections = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Peer(self), "127.0.0.1", 0, backlog=1024, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.origin}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        peers = list(self._open)
        for peer in peers:
            peer.transport.abort()
        await asyncio.gather(*(peer.lost.wait() for peer in peers))

    async def seen(self, index: int) -> Seen:
        """The request of that number, waited for."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) > index)
        return self.requests[index]

    async def arrive(self, seen: Seen) -> Script:
        index = len(self.requests)
        self.requests.append(seen)
        async with self._arrived:
            self._arrived.notify_all()
        return self._scripts[index] if index < len(self._scripts) else self._default(seen)

    def idle(self) -> int:
        """How many connections are open now."""
        return len(self._open)


class Peer(asyncio.Protocol):
    """One connection of a client."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream socket's transport is a Transport
        self._upstream.connections += 1
        self._number = self._upstream.connections
        self._upstream._open.add(self)
        self.transport.write(self._upstream.eager)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self._upstream._open.discard(self)
        self.lost.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None and (seen := self._request()) is not None:
            self._task = asyncio.get_running_loop().create_task(self._play(seen))

    def _request(self) -> Seen | None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        method, path, _ = re.split(" ", line)
        return Seen(method, path, headers, rest[:length], self._number)

    async def _play(self, seen: Seen) -> None:
        try:
            for step in await self._upstream.arrive(seen):
                await self._do(step)
            seen.done.set()
        except asyncio.CancelledError:
            seen.gone_at = asyncio.get_running_loop().time()
            seen.gone.set()
            raise
        self._task = None
        self.data_received(b"")  # a request that came meanwhile

    async def _do(self, step: Step) -> None:
        match step:
            case bytes():
                await self._send(step)
            case Trickle():
                for i in range(len(step.data)):
                    await self._send(step.data[i : i + 1])
            case asyncio.Event():
                await step.wait()
            case float() | int():
                await asyncio.sleep(step)
            case End.HOLD:
                await asyncio.Event().wait()
            case End.CLOSE:
                self._task = None  # what follows is ours, so nobody is gone
                self.transport.close()
            case End.RESET:
                self._task = None
                raw = self.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()

    async def _send(self, data: bytes) -> None:
        self.transport.write(data)
        await asyncio.sleep(0)
        await self._writable.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition()`."""
    async with asyncio.timeout(5):
        while not condition():  # it is the loop's own progress that we wait for
            await asyncio.sleep(0)
