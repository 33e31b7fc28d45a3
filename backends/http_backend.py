"""What every backend that is asked over HTTP shares: keys, the exchange, and its end. A kind adds what differs."""

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, ClassVar

import structlog

from backends.base import Batches, Model
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    CallerKeyNeeded,
    Lacking,
    ProtocolViolation,
    QuotaExhausted,
    RateLimited,
)
from backends.http import Transport
from backends.http_connection import Exchange
from backends.json import JsonError, dumps, loads
from backends.key_file import KeyFile, KeyFileUnusable
from backends.keys import PAUSES, KeyCounts, Keys
from backends.request import Request, Secret
from backends.sse import SseDecoder
from backends.streamed import Decoder, Framing, Streamed, Whole, note

log = structlog.get_logger()
JSON = {"content-type": "application/json"}
ANSWER_LIMIT = 16 * 1024 * 1024  # bytes of an answer that is not streamed; log probabilities take most of it


class HttpBackend(ABC):
    """A Backend that sends one POST per answer. `url` is where its API begins; `models` are listed instead of its own.

    `framing` cuts the body of a streamed answer into messages, for the decoder of that answer.
    """

    slots: int | None = None
    extras: frozenset[str] = frozenset()
    framing: ClassVar[Callable[[], Framing]] = SseDecoder
    keyless: ClassVar[Lacking] = "key"  # what it lacks where it refuses what was asked without a key

    def __init__(self, name: str, url: str, transport: Transport, keys: Keys, models: Sequence[str] = ()) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self._transport = transport
        self._keys = keys
        self._key_file = None if keys.file is None else KeyFile(keys.file, time.monotonic)
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

    async def start(self) -> None:
        """Nothing to open: connections are made when they are needed."""
        self._read_key_file()

    async def close(self) -> None:
        for exchange in list(self._open):
            exchange.abort()

    async def models(self) -> Sequence[Model]:
        return self._models or await self.listed()

    def stream(self, request: Request) -> AbstractAsyncContextManager[Batches]:
        return Answering(self, request)

    async def batches(self, request: Request, response: Exchange) -> Batches:
        """What an answer says whose head has come."""
        decoder = self.decoder(request)
        kind = response.headers.get("content-type", "").lower()
        if kind.startswith("text/html"):
            raise ProtocolViolation("a web page")
        if kind.startswith("application/json"):
            # A server that does not stream, or an error that came as a 200.
            return Whole(decoder.feed(await response.read(ANSWER_LIMIT)) + decoder.end(), response.headers)
        return Streamed(response, type(self).framing(), decoder)

    @property
    def key_counts(self) -> KeyCounts:
        """How many keys of ours it takes, and how many it refused. A caller's is never among them."""
        self._read_key_file()
        return self._keys.counts

    def holds(self, key: str | None) -> bool:
        """Whether `key` is still one of ours; None is, where there are none."""
        self._read_key_file()
        return self._keys.holds(key)

    def key(self, callers: Secret | None = None, *, of_ours: bool = False) -> str | None:
        """The key for the next attempt, as Keys.choose has it."""
        self._read_key_file()
        ours = of_ours or (self._keys.source == "hybrid" and self.keyless == "credentials")  # they stand in for a key
        return self._keys.choose(callers, now=time.monotonic(), of_ours=ours)

    def answered(self, key: str | None, error: BackendError | None) -> None:
        """What the server said to `key`. One of ours that it refused waits while another is usable; that is logged."""
        if not (isinstance(error, AuthenticationFailed) and error.status == 401):
            if error is None and (place := self._keys.accepted(key)) is not None:  # a 503 says nothing of the key
                log.info("key_accepted", backend=self.name, key=place)
            if isinstance(error, RateLimited | QuotaExhausted):
                error.other_keys = self._keys.limited(key, error.retry_after, time.monotonic())
            return
        place = self._keys.refused(key, time.monotonic())
        usable, refused = self._keys.counts
        error.other_keys = usable > 0
        if place is not None:
            wait = None if usable else PAUSES[0]
            hint = "Correct it where it is configured. " + (
                "It is tried again when no other is left."
                if wait is None
                else f"No other is left: one is tried again in {wait:.0f} s, then less and less often."
            )
            counts = {"usable": usable, "refused": refused, "again_in_s": wait}
            log.error("key_refused", backend=self.name, key=place, hint=hint, **counts)

    def exchange(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        model: str = "",
        callers: Secret | None = None,
        of_ours: bool = False,
    ) -> AbstractAsyncContextManager[Exchange]:
        """One request with the next key, and its response once its head has come. On entering, raises BackendError.

        `model` and `callers` are those of the request: whom an error names, and the caller's own key. With `of_ours`
        it is no caller's request. A key of ours that is refused is not used again.
        """

        async def check(response: Exchange, key: str | None) -> None:
            if response.status == 200:
                self.answered(key, None)
                return
            error = self.failure(response.status, response.headers, await response.read(), model)
            note(error, response.headers)
            if callers is not None and key == callers.value:
                raise CallerKeyNeeded(refused=True) if isinstance(error, AuthenticationFailed) else error
            self.answered(key, error)
            if key is None and self._keys.source != "gateway" and isinstance(error, AuthenticationFailed):
                raise CallerKeyNeeded
            if key is None and isinstance(error, AuthenticationFailed):
                error.lacking = self.keyless
            raise error

        return Sent(self._open, partial(self._request, method, url, body, callers, of_ours=of_ours), check)

    async def ask_json(self, url: str) -> Any:
        """What a GET gives that no caller asked for, with whichever key of ours is good. Raises BackendError."""
        while True:  # each refusal leaves one key fewer
            try:
                async with self.exchange("GET", url, of_ours=True) as response:
                    body = await response.read()
                break
            except AuthenticationFailed as error:
                if not error.other_keys:
                    raise
        try:
            return loads(body)
        except JsonError:
            raise ProtocolViolation("an answer that is not JSON where JSON was expected") from None

    async def get(self, url: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, whatever they are. Raises BackendError only when there are none."""
        self._read_key_file()
        async with Sent(self._open, partial(self._with, "GET", url, b"", self._keys.any_of_ours())) as response:
            return response.status, response.headers, await response.read()

    async def _request(
        self, method: str, url: str, body: bytes, callers: Secret | None, *, of_ours: bool
    ) -> tuple[Exchange, str | None]:
        """What is to be sent, and the key in it."""
        return await self._with(method, url, body, self.key(callers, of_ours=of_ours))

    async def _with(self, method: str, url: str, body: bytes, key: str | None) -> tuple[Exchange, str | None]:
        headers = {**(JSON if body else {}), **await self.headers(method, url, body, key)}
        return self._transport.request(method, url, headers, body), key

    def _read_key_file(self) -> None:
        """What was known stays when the file cannot be used any more, and that is said once."""
        if self._key_file is None:
            return
        try:
            keys = self._key_file.news()
        except KeyFileUnusable as error:
            log.error("key_file_unusable", backend=self.name, reason=str(error), usable=self._keys.counts.usable)
            return
        if keys is not None:
            self._keys.from_file(keys)
            log.info("key_file_read", backend=self.name, keys=len(keys))


# Contexts that every call enters: classes, because generators cost a call about three times as much.


class Answering:
    """The answer to one request: its exchange, and what is read from it."""

    __slots__ = ("_backend", "_exchange", "_request")

    def __init__(self, backend: HttpBackend, request: Request) -> None:
        self._backend, self._request = backend, request
        self._exchange: AbstractAsyncContextManager[Exchange]

    async def __aenter__(self) -> Batches:
        backend, request = self._backend, self._request
        body, callers = dumps(backend.body(request)), request.keys.get(backend.name)
        url = backend.target(request)
        self._exchange = backend.exchange("POST", url, body, model=request.model, callers=callers)
        response = await self._exchange.__aenter__()
        try:
            return await backend.batches(request, response)
        except BaseException as error:
            if isinstance(error, BackendError):
                note(error, response.headers)
            await self._exchange.__aexit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)


class Sent:
    """One request, entered once its response has passed `check`.

    `make` gives the exchange and the key that it is asked with. While it is entered, it is among `exchanges`.
    """

    __slots__ = ("_check", "_exchange", "_exchanges", "_make")

    def __init__(
        self,
        exchanges: set[Exchange],
        make: Callable[[], Awaitable[tuple[Exchange, str | None]]],
        check: Callable[[Exchange, str | None], Awaitable[None]] | None = None,
    ) -> None:
        self._exchanges, self._make, self._check = exchanges, make, check
        self._exchange: Exchange

    async def __aenter__(self) -> Exchange:
        self._exchange, key = await self._make()
        self._exchanges.add(self._exchange)
        try:
            response = await self._exchange.__aenter__()
            if self._check is not None:
                await self._check(response, key)
        except BaseException:
            await self.__aexit__()
            raise
        return response

    async def __aexit__(self, *_: object) -> None:
        self._exchanges.discard(self._exchange)
        await self._exchange.__aexit__(None, None, None)


def now() -> float:
    """Unix time, for dates in headers."""
    return time.time()
