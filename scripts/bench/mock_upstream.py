"""A fast OpenAI-compatible upstream whose every token carries the time at which it was sent.

POST /v1/chat/completions answers with `max_tokens` content deltas, each the text " t<ns>" (CLOCK_MONOTONIC, one clock
for all processes of a machine); the first is " t<ns>w<ns>", where w is how long this server itself waited before it.
A client thus knows what the road between cost: token by token, and for the first token without the upstream's share.
GET /stats counts requests, finished and aborted streams, and tokens. A client that goes is counted at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any, cast

import httptools
import uvloop

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ENVELOPE = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"mock",%b}\n\n'
CHOICE = ENVELOPE % b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]'
TOKEN = CHOICE % (b'{"content":" t%b"}', b"null")
MODELS = {"object": "list", "data": [{"id": "mock", "object": "model", "owned_by": "mock", "created": 1700000000}]}


def chunk(data: bytes) -> bytes:
    """Frame `data` as one chunk of a chunked HTTP body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


ROLE = chunk(CHOICE % (b'{"role":"assistant","content":""}', b"null"))
STOP = chunk(CHOICE % (b"{}", b'"stop"'))
LAST = chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": tokens + 10}


class MockUpstream:
    """What the server knows: its pace, and what it has counted.

    `ttft` and `interval` are seconds; interval 0 means a burst, as fast as the socket takes the tokens.
    """

    def __init__(self, ttft: float, interval: float) -> None:
        self.ttft = ttft
        self.interval = interval
        self.stats = {"requests": 0, "finished": 0, "aborted": 0, "tokens": 0}

    async def listen(self, port: int) -> asyncio.Server:
        """Listen on loopback; port 0 takes a free one."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Connection(self), "127.0.0.1", port, backlog=4096)


class Connection(asyncio.Protocol):
    """One keep-alive connection: requests in, one answer after the other out."""

    def __init__(self, upstream: MockUpstream) -> None:
        self.upstream = upstream
        self.stream: Stream | None = None
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's classes are not asyncio's
        # A burst leaves in large pieces. With asyncio's 64 KiB, nginx now and then falls into a rhythm of small reads,
        # and costs 1.7 µs a token in one round and 8 µs in the next.
        self.transport.set_write_buffer_limits(high=4 << 20)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream is not None:
            self.stream.abort()
            self.upstream.stats["aborted"] += 1

    def pause_writing(self) -> None:
        if self.stream is not None:
            self.stream.paused = True

    def resume_writing(self) -> None:
        if self.stream is not None:
            self.stream.resume()

    # What httptools calls while it parses.

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect" and value.lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        path = self.url.partition(b"?")[0]
        if self.parser.get_method() == b"POST" and path.endswith(b"/chat/completions"):
            self.complete()
        elif path == b"/stats":
            self.answer("200 OK", self.upstream.stats)
        elif path.endswith(b"/models"):
            self.answer("200 OK", MODELS)
        elif path == b"/health":
            self.answer("200 OK", {"status": "ok"})
        else:
            self.answer("404 Not Found", {"error": {"message": "no such route", "type": "invalid_request_error"}})

    def complete(self) -> None:
        received = time.monotonic_ns()
        request = json.loads(self.body)
        self.upstream.stats["requests"] += 1
        tokens = int(request.get("max_tokens") or request.get("max_completion_tokens") or 64)
        if request.get("stream"):
            wants_usage = (request.get("stream_options") or {}).get("include_usage", False)
            self.stream = Stream(self, tokens, received, wants_usage)
        else:
            message = {"role": "assistant", "content": "hi " * tokens}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "mock"}
            self.answer("200 OK", answer | {"choices": [choice], "usage": usage(tokens)})

    def answer(self, status: str, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


class Stream:
    """One streamed answer. Keeps its own pace with the loop's timers, which uvloop rounds to a millisecond."""

    def __init__(self, connection: Connection, tokens: int, received: int, wants_usage: bool) -> None:
        self.connection = connection
        self.upstream = connection.upstream
        self.write = connection.transport.write
        self.tokens = self.left = tokens
        self.received = received
        self.wants_usage = wants_usage
        self.paused = False
        self.loop = asyncio.get_running_loop()
        self.write(STREAM_HEAD + ROLE)
        self.due = self.loop.time() + self.upstream.ttft
        step = self.tick if self.upstream.interval else self.burst
        self.timer = self.loop.call_at(self.due, step)

    def tick(self) -> None:
        self.send()
        if self.left:
            # A late timer must not lose its place: the pace is measured from the due time, not from now.
            self.due += self.upstream.interval
            self.timer = self.loop.call_at(self.due, self.tick)

    def burst(self) -> None:
        while self.left and not self.paused:
            self.send()

    def send(self) -> None:
        now = time.monotonic_ns()
        stamp = b"%d" % now if self.left < self.tokens else b"%dw%d" % (now, now - self.received)
        self.write(chunk(TOKEN % stamp))
        self.upstream.stats["tokens"] += 1
        self.left -= 1
        if not self.left:
            self.finish()

    def finish(self) -> None:
        tail = STOP
        if self.wants_usage:
            tail += chunk(ENVELOPE % (b'"choices":[],"usage":%b' % json.dumps(usage(self.tokens)).encode()))
        self.write(tail + LAST)
        self.upstream.stats["finished"] += 1
        self.connection.stream = None

    def resume(self) -> None:
        self.paused = False
        if not self.upstream.interval:
            self.burst()

    def abort(self) -> None:
        self.timer.cancel()
        self.left = 0


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0 (default): a free one")
    parser.add_argument("--ttft-ms", type=float, default=5, help="wait before the first token (default 5)")
    parser.add_argument("--interval-ms", type=float, default=20, help="between tokens (default 20); 0: burst")
    arguments = parser.parse_args()
    server = await MockUpstream(arguments.ttft_ms / 1000, arguments.interval_ms / 1000).listen(arguments.port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
