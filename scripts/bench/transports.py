"""The clients of the load generator: one stream at a time over HTTP (SSE) or WebSocket, measured token by token."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Protocol, cast
from urllib.parse import urlsplit

import httptools
import picows

STAMP = re.compile(rb" t(\d+)(?:w(\d+))?")
NUMBER = re.compile(rb'"sl_seq":(\d+)}$')
EVENT = re.compile(rb'"type": ?"(error|response\.(?:output_text\.delta|completed|incomplete|failed))"')


class Tally:
    """What one phase of the run collects from all its streams; `done` is set when the last of them has ended."""

    def __init__(self, streams: int, tokens: int) -> None:
        self.pending = streams
        self.tokens_each = tokens
        self.tokens = 0
        self.latencies: list[int] = []
        self.firsts: list[int] = []
        self.errors: list[str] = []
        self.done = asyncio.Event()

    def end(self, tokens: int, error: str) -> None:
        self.tokens += tokens
        self.pending -= 1
        if error or tokens != self.tokens_each:
            self.errors.append(error or f"{tokens} tokens arrived, expected {self.tokens_each}")
        if not self.pending:
            self.done.set()


class Stream:
    """The measuring of one answer, the same for every transport."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.tokens = 0
        self.ended = False
        self.asked = time.monotonic_ns()

    def take(self, text: bytes) -> None:
        """Read the stamps of one or more whole events that have arrived now."""
        now = time.monotonic_ns()
        for sent, waited in STAMP.findall(text):
            self.tokens += 1
            self.tally.latencies.append(now - int(sent))
            if waited:  # the first token; what the upstream itself waited is not the gateway's doing
                self.tally.firsts.append(now - self.asked - int(waited))

    def end(self, error: str = "") -> None:
        if not self.ended:
            self.ended = True
            self.tally.end(self.tokens, error)


class Client(Protocol):
    def ask(self, tally: Tally) -> None: ...
    def close(self) -> None: ...


class SseClient(asyncio.Protocol):
    """One keep-alive HTTP connection."""

    def __init__(self, url: str) -> None:
        self.url = urlsplit(url)
        self.stream: Stream | None = None

    async def connect(self) -> SseClient:
        address = self.url.hostname or "127.0.0.1", self.url.port or 80
        await asyncio.get_running_loop().create_connection(lambda: self, *address)
        return self

    def ask(self, tally: Tally) -> None:
        request = {
            "model": "mock",
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": tally.tokens_each,
            "messages": [{"role": "user", "content": prompt()}],
        }
        body = json.dumps(request).encode()
        head = (
            f"POST {self.url.path} HTTP/1.1\r\nhost: {self.url.netloc}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.parser = httptools.HttpResponseParser(self)
        self.rest = b""
        self.stream = Stream(tally)
        self.transport.write(head.encode() + body)

    def close(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's classes are not asyncio's

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream is not None:
            self.stream.end("the server closed the connection")

    def on_body(self, body: bytes) -> None:
        assert self.stream is not None
        events, newline, self.rest = (self.rest + body).rpartition(
            b"\n"
        )  # a stamp may be cut anywhere, also by a chunk
        if newline:
            self.stream.take(events)

    def on_message_complete(self) -> None:
        assert self.stream is not None
        status = self.parser.get_status_code()
        self.stream.end("" if status == 200 else f"HTTP status {status}")


class WsClient(picows.WSListener):
    """One WebSocket. `first_number` is the `sl_seq` of the answer's first delta, 0 without a session."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lost = False
        self.stream: Stream | None = None
        self.first_number = self.first_tokens = 0

    async def connect(self) -> WsClient:
        await picows.ws_connect(lambda: self, self.url, websocket_handshake_timeout=30)
        return self

    def ask(self, tally: Tally) -> None:
        request = {
            "type": "response.create",
            "model": "mock",
            "max_output_tokens": tally.tokens_each,
            "store": False,
            "input": prompt(),
        }
        body = json.dumps(request).encode()
        self.stream = Stream(tally)
        self.transport.send(picows.WSMsgType.TEXT, body)

    def close(self) -> None:
        self.transport.disconnect()

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != picows.WSMsgType.TEXT or self.stream is None:
            return  # pings are answered by picows; a close frame is followed by on_ws_disconnected
        payload = frame.get_payload_as_bytes()
        event = EVENT.search(payload)
        if event is None:
            return
        if event[1] == b"response.output_text.delta":  # the others repeat the text: their stamps are not read
            first = not self.stream.tokens
            self.stream.take(payload)
            if first and (number := NUMBER.search(payload)):
                self.first_number, self.first_tokens = int(number[1]), self.stream.tokens
        elif event[1] in {b"response.completed", b"response.incomplete"}:
            self.stream.end()
        else:
            self.stream.end(payload[:300].decode(errors="replace"))

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self.lost = True
        if self.stream is not None:
            self.stream.end("the server closed the socket")


def prompt() -> str:
    """Different every time: no cache may answer."""
    return f"hello {time.monotonic_ns()}"
