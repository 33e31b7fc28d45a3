"""A server that speaks chat completions: llama.cpp, Ollama, LM Studio, most clouds; and what vLLM and LocalAI share."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from backends import embeddings_dialect
from backends.base import Batches, Embeddings, Model, Pushing, Sink
from backends.chat_decode import Decoder
from backends.chat_encode import encode
from backends.chat_errors import classify, count, retry_after
from backends.errors import BackendError, InvalidRequest, NotReady, ProtocolViolation
from backends.events import Event, Finished
from backends.http import Transport
from backends.http_connection import Exchange
from backends.json import JsonError, dumps, loads
from backends.registry import Parts
from backends.request import EmbeddingRequest, Request
from backends.sse import SseDecoder

EMBEDDINGS_LIMIT = 64 * 1024 * 1024  # bytes: 2000 vectors of 1536 numbers, with room
HEADER_NAME = re.compile(r"(?!content-|host$|accept)[a-z][a-z0-9-]{0,63}", re.IGNORECASE)  # none that we set


class Options(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="openai_compatible"
):
    """One server that speaks chat completions: llama.cpp, Ollama, LM Studio, a cloud provider."""

    name: str
    base_url: Annotated[
        str,
        Meta(
            description="Where its API begins: what comes before /chat/completions.",
            examples=["http://127.0.0.1:1234/v1"],
        ),
    ]
    api_key: Annotated[
        str | None,
        Meta(description="Sent as Authorization: Bearer KEY. Unset: nothing is sent.", examples=["${GPU_API_KEY}"]),
    ] = None
    api_key_header: Annotated[
        str | None,
        Meta(description="Another header for the key, which is then sent bare.", examples=["X-API-Key"]),
    ] = None
    models: Annotated[
        tuple[str, ...], Meta(description="Ids that it serves. Empty: the server is asked.", examples=["llama-3-8b"])
    ] = ()

    def __post_init__(self) -> None:
        if not valid_url(self.base_url):
            # What follows any of these may be a secret.
            got = "" if set("@?#") & set(self.base_url) else f", got '{self.base_url}'"
            raise ValueError(f"expected an http(s) URL without user, query and fragment{got}")
        if self.api_key is not None and not printable(self.api_key):
            raise ValueError("expected an api_key of visible ASCII characters; it holds others, or spaces")
        if self.api_key_header is not None and not HEADER_NAME.fullmatch(self.api_key_header):
            raise ValueError('expected the name of a header, such as "X-API-Key"')  # it may hold the key by mistake

    def __repr__(self) -> str:
        return f"Options(name={self.name!r}, base_url={self.base_url!r})"  # not the key


def printable(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def valid_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # the port is checked when it is asked for
    except ValueError:
        return False
    extras = parts.query or parts.fragment or "@" in parts.netloc
    return parts.scheme in {"http", "https"} and bool(host) and not extras and printable(url)


class OpenAICompatible:
    """One such server, as a Backend. The kinds that differ a little are its subclasses.

    `ready_path` is beside the API, where a server has it: 503 there means that it is not ready.
    """

    slots = None
    ready_path: ClassVar[str | None] = None
    decoder: ClassVar[type[Decoder]] = Decoder

    def __init__(self, options: Options, transport: Transport) -> None:
        self.name = options.name
        self.url = options.base_url.rstrip("/")
        self._root = self.url.removesuffix("/v1")
        self._models = tuple(Model(name) for name in options.models)
        self._transport = transport
        self._open: set[Exchange] = set()
        self._vectors_as: embeddings_dialect.Format = "base64"
        self._headers = {"content-type": "application/json"}
        if options.api_key is not None and options.api_key_header is None:
            self._headers["authorization"] = f"Bearer {options.api_key}"
        elif options.api_key is not None and options.api_key_header is not None:
            self._headers[options.api_key_header.lower()] = options.api_key

    async def start(self) -> None:
        """Nothing to open: connections are made when they are needed."""

    async def close(self) -> None:
        for exchange in list(self._open):
            exchange.abort()

    async def models(self) -> Sequence[Model]:
        await self._ready()
        return self._models or await self._listed("/models")

    async def _ready(self) -> None:
        """Raises NotReady when the server says so. One that has no such path is taken as ready."""
        if self.ready_path is not None:
            status, headers, _ = await self._get(f"{self._root}{self.ready_path}")
            if status == 503:
                raise NotReady(retry_after(headers, time.time()))

    async def _listed(self, path: str) -> tuple[Model, ...]:
        status, headers, body = await self._get(f"{self.url}{path}")
        if status != 200:
            raise classify(status, headers, body, now=time.time())
        try:
            return tuple(model_of(entry) for entry in loads(body)["data"] or ())  # Ollama without a model says null
        except (JsonError, KeyError, TypeError):
            raise ProtocolViolation("a list of models that is none") from None

    async def _get(self, url: str) -> tuple[int, Mapping[str, str], bytes]:
        async with self._transport.request("GET", url, self._headers) as response:
            return response.status, response.headers, await response.read()

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        url, encode = f"{self.url}/embeddings", embeddings_dialect.encode
        try:
            body = await self._post(url, encode(request, self._vectors_as), request.model)
        except InvalidRequest:
            if self._vectors_as == "float":
                raise
            body = await self._post(url, encode(request, "float"), request.model)
            self._vectors_as = "float"  # this server refuses base64
        return await embeddings_dialect.decode(body, request)

    async def _post(self, url: str, body: dict[str, Any], model: str) -> bytes:
        exchange = self._transport.request("POST", url, self._headers, dumps(body))
        self._open.add(exchange)
        try:
            async with exchange as response:
                if response.status != 200:
                    found = await response.read()
                    raise classify(response.status, response.headers, found, model=model, now=time.time())
                return await response.read(EMBEDDINGS_LIMIT)
        finally:
            self._open.discard(exchange)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Batches]:
        path = "/chat/completions" if request.prompt is None else "/completions"
        exchange = self._transport.request("POST", f"{self.url}{path}", self._headers, dumps(encode(request)))
        self._open.add(exchange)
        try:
            async with exchange as response:
                if response.status != 200:
                    body = await response.read()
                    raise classify(response.status, response.headers, body, model=request.model, now=time.time())
                decoder = self.decoder(request.model, request.top_logprobs)
                kind = response.headers.get("content-type", "").lower()
                if kind.startswith("text/html"):
                    raise ProtocolViolation("a web page")
                if kind.startswith("application/json"):
                    # A server that does not stream, or an error that came as a 200.
                    yield once(decoder.feed(await response.read()) + decoder.end())
                else:
                    yield Streamed(response, decoder)
        finally:
            self._open.discard(exchange)


class Streamed(Pushing):
    """The batches of an event stream, one per network read: to be iterated, or pushed."""

    def __init__(self, response: Exchange, decoder: Decoder) -> None:
        self._response, self._decoder = response, decoder
        self._sse = SseDecoder()
        self._error: BackendError | None = None
        self._held: asyncio.Future[None] | None = None

    def __aiter__(self) -> "Streamed":
        return self

    async def __anext__(self) -> Sequence[Event]:
        if self._error is not None:
            raise self._error
        if self._decoder.finished:
            raise StopAsyncIteration
        try:
            data = await self._response.__anext__()
        except StopAsyncIteration:
            return self._decoder.end()
        return self._decode(data)

    async def into(self, sink: Sink) -> Finished:
        """Pushing: the chain from the socket's read to `sink` is plain calls."""
        loop, response = asyncio.get_running_loop(), self._response
        ended: asyncio.Future[Finished] = loop.create_future()

        def read() -> None:
            more = True
            while more and self._held is None and not ended.done():
                try:
                    if self._error is not None:
                        raise self._error
                    data = response.take()
                    if data == b"":
                        return
                    batch = self._decoder.end() if data is None else self._decode(data)
                    held = sink(batch) if batch else None
                except Exception as error:  # noqa: BLE001  # whoever awaits the end gets it
                    ended.set_exception(error)
                    return
                if self._decoder.finished:
                    last = batch[-1]
                    assert isinstance(last, Finished)
                    ended.set_result(last)
                elif held is not None:
                    self._held = held
                    response.pause(True)
                    held.add_done_callback(go_on)
                more = response.over or self._error is not None  # nobody will call again

        def go_on(_: object) -> None:
            self._held = None
            if ended.done():  # left while it was held back: the connection may be another's by now
                return
            response.heard_at = loop.time()
            response.pause(False)
            read()

        response.listen(read)
        read()
        try:
            return await ended
        finally:
            response.listen(None)
            if ended.done() and not ended.cancelled():
                ended.exception()  # seen, should this task be cancelled in the very turn in which it was set

    def silent_since(self) -> float | None:
        return None if self._held is not None else self._response.heard_at

    def _decode(self, data: bytes) -> list[Event]:
        decoder = self._decoder
        messages = self._sse.feed(data)
        if len(messages) == 1:
            events = decoder.feed(messages[0])
            if decoder.finished:
                self._response.forgo()
            return events
        events = []
        try:
            for message in messages:
                events += decoder.feed(message)
        except BackendError as error:
            if not events:
                raise
            self._error = error  # what was understood before it comes first
        if decoder.finished:
            self._response.forgo()
        return events


async def once(events: Sequence[Event]) -> AsyncIterator[Sequence[Event]]:
    yield events


def model_of(entry: Any) -> Model:
    """Raises KeyError or TypeError for what is no model."""
    if not isinstance(entry["id"], str):
        raise TypeError
    meta = entry.get("meta")
    places = (
        entry.get("max_model_len"),
        entry.get("context_length"),
        entry.get("context_size"),
        meta.get("n_ctx") if isinstance(meta, dict) else None,
    )
    return Model(entry["id"], next((found for place in places if (found := count(place))), None))


def build(options: Options, parts: Parts) -> OpenAICompatible:
    """A backend over the shared transport."""
    return OpenAICompatible(options, parts.transport)
