"""What every backend that is asked over HTTP shares: keys, the exchange, and its end. A kind adds what differs."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from backends.base import Batches, Model
from backends.errors import AuthenticationFailed, BackendError, ProtocolViolation
from backends.http import Transport
from backends.http_connection import Exchange
from backends.json import JsonError, dumps, loads
from backends.keys import Keys
from backends.request import Request, Secret
from backends.sse import SseDecoder
from backends.streamed import Decoder, Framing, Streamed, once

JSON = {"content-type": "application/json"}


class HttpBackend(ABC):
    """A Backend that sends one POST per answer. `url` is where its API begins; `models` are listed instead of its own.

    `framing` cuts the body of a streamed answer into messages, for the decoder of that answer.
    """

    slots: int | None = None
    extras: frozenset[str] = frozenset()
    framing: ClassVar[Callable[[], Framing]] = SseDecoder

    def __init__(self, name: str, url: str, transport: Transport, keys: Keys, models: Sequence[str] = ()) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._transport = transport
        self._keys = keys
        self._models = tuple(Model(model) for model in models)
        self._open: set[Exchange] = set()

    # What a kind says.

    @abstractmethod
    def target(self, request: Request) -> str:
        """The URL that answers this request."""

    @abstractmethod
    def body(self, request: Request) -> Mapping[str, Any]:
        """The JSON of this request. Raises UnsupportedFeature for what the API has no place for."""

    @abstractmethod
    def decoder(self, request: Request) -> Decoder:
        """What reads the answer to this request."""

    @abstractmethod
    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        """The error that an answer means whose status is not 200. Nothing of the body enters it."""

    @abstractmethod
    async def listed(self) -> Sequence[Model]:
        """What the server says it serves."""

    async def headers(self, method: str, url: str, body: bytes, key: str | None) -> Mapping[str, str]:
        """The headers that a request needs beside its content type, its signature among them."""
        return {} if key is None else {"authorization": f"Bearer {key}"}

    # What they share.

    async def start(self) -> None:  # noqa: B027  # a kind that needs more says so
        """Nothing to open: connections are made when they are needed."""

    async def close(self) -> None:
        for exchange in list(self._open):
            exchange.abort()

    async def models(self) -> Sequence[Model]:
        return self._models or await self.listed()

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Batches]:
        body = dumps(self.body(request))
        callers = request.keys.get(self.name)
        async with self.exchange("POST", self.target(request), body, model=request.model, callers=callers) as response:
            decoder = self.decoder(request)
            kind = response.headers.get("content-type", "").lower()
            if kind.startswith("text/html"):
                raise ProtocolViolation("a web page")
            if kind.startswith("application/json"):
                # A server that does not stream, or an error that came as a 200.
                yield once(decoder.feed(await response.read()) + decoder.end())
            else:
                yield Streamed(response, type(self).framing(), decoder)

    @asynccontextmanager
    async def exchange(
        self, method: str, url: str, body: bytes = b"", *, model: str = "", callers: Secret | None = None
    ) -> AsyncIterator[Exchange]:
        """One request with the next key, and its response once its head has come. Raises BackendError.

        `model` and `callers` are those of the request: whom an error names, and the caller's own key. A key of ours
        that is refused is not used again.
        """
        async with self._sent(method, url, body, callers) as (response, key):
            if response.status != 200:
                error = self.failure(response.status, response.headers, await response.read(), model)
                if isinstance(error, AuthenticationFailed) and error.status == 401:
                    self._keys.refused(key)
                raise error
            yield response

    async def ask_json(self, url: str) -> Any:
        """What a GET gives. Raises BackendError."""
        async with self.exchange("GET", url) as response:
            body = await response.read()
        try:
            return loads(body)
        except JsonError:
            raise ProtocolViolation("an answer that is not JSON where JSON was expected") from None

    async def get(self, url: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, whatever they are. Raises BackendError only when there are none."""
        async with self._sent("GET", url, b"", None) as (response, _):
            return response.status, response.headers, await response.read()

    @asynccontextmanager
    async def _sent(
        self, method: str, url: str, body: bytes, callers: Secret | None
    ) -> AsyncIterator[tuple[Exchange, str | None]]:
        key = self._keys.choose(callers)
        headers = {**(JSON if body else {}), **await self.headers(method, url, body, key)}
        exchange = self._transport.request(method, url, headers, body)
        self._open.add(exchange)
        try:
            async with exchange as response:
                yield response, key
        finally:
            self._open.discard(exchange)


def now() -> float:
    """Unix time, for dates in headers."""
    return time.time()
