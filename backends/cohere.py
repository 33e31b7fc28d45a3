"""Cohere: chat with tools and citations, and vectors, by version 2 of its API."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from backends.base import Embeddings, Model, Vector
from backends.capabilities import Capabilities
from backends.cohere_decode import Decoder, count_of
from backends.cohere_encode import batches, encode, encode_embedding
from backends.cohere_errors import classify
from backends.embeddings_dialect import vector_of
from backends.errors import BackendError, ProtocolViolation
from backends.http import Transport
from backends.http_backend import HttpBackend, now
from backends.http_options import HttpOptions, keys_of
from backends.json import SHAPE_ERRORS, decoder, dumps
from backends.limits import NOTHING, spoken
from backends.registry import Parts
from backends.request import EmbeddingRequest, Request
from backends.unhurried import unhurried

EMBEDDINGS_LIMIT = 16 * 1024 * 1024  # bytes: 96 vectors of 1536 numbers, with room
SERVED = {"chat", "embed"}  # of its endpoints


class Options(HttpOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="cohere"):
    """Cohere, by its own API: at api.cohere.com, or a deployment of your own."""

    base_url: Annotated[str, Meta(description="Where it is: what comes before /v2.")] = "https://api.cohere.com"


class Floats(msgspec.Struct):
    floats: tuple[msgspec.Raw, ...] = msgspec.field(default=(), name="float")


class Vectors(msgspec.Struct):
    embeddings: Floats
    meta: Any = None


vectors_of = decoder(Vectors)


class Cohere(HttpBackend):
    """Cohere, as a Backend."""

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options.name, options.base_url, transport, keys_of(options), options.models)
        self.url = self.url.removesuffix("/v2")
        self._thoughtless: frozenset[str] = frozenset()  # models that are known not to think

    def target(self, request: Request) -> str:
        return f"{self.url}/v2/chat"

    def body(self, request: Request) -> Mapping[str, Any]:
        return encode(request, request.model not in self._thoughtless)

    def decoder(self, request: Request) -> Decoder:
        return Decoder(request.model)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        return classify(status, headers, body, model=model, now=now())

    async def listed(self) -> Sequence[Model]:
        """Those that chat, and those that make vectors."""
        found = await self.ask_json(f"{self.url}/v1/models?page_size=1000")
        try:
            models = [model_of(entry) for entry in found["models"] if SERVED & set(entry.get("endpoints") or ())]
        except (KeyError, TypeError, AttributeError):
            raise ProtocolViolation("a list of models that is none") from None
        # Where the list says of one that it thinks, the others do not.
        thinking = {model.id for model in models if model.capabilities.reasoning}
        self._thoughtless = frozenset(model.id for model in models if thinking and model.id not in thinking)
        return models

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        vectors: list[Vector] = []
        tokens: int | None = 0
        limits: Mapping[str, str] = NOTHING
        for texts in batches(request):
            found, limits = await self._vectors(request, texts)
            vectors += await unhurried(map(vector_of, found.embeddings.floats))
            billed = found.meta.get("billed_units") if isinstance(found.meta, dict) else None
            more = count_of(billed.get("input_tokens")) if isinstance(billed, dict) else None
            tokens = None if tokens is None or more is None else tokens + more
        return Embeddings(vectors, tokens, limits)

    async def _vectors(self, request: EmbeddingRequest, texts: Sequence[str]) -> tuple[Vectors, Mapping[str, str]]:
        body = dumps(encode_embedding(request, texts))
        callers = request.keys.get(self.name)
        url = f"{self.url}/v2/embed"
        async with self.exchange("POST", url, body, model=request.model, callers=callers) as response:
            answer, limits = await response.read(EMBEDDINGS_LIMIT), spoken(response.headers)
        try:
            found = vectors_of(answer)
        except SHAPE_ERRORS:
            raise ProtocolViolation("embeddings that are none") from None
        if len(found.embeddings.floats) != len(texts):
            raise ProtocolViolation("not one vector per input")
        return found, limits


def model_of(entry: Any) -> Model:
    """Raises KeyError or TypeError for what is no model. A feature that is not named may be there all the same."""
    if not isinstance(entry["name"], str):
        raise TypeError
    features, endpoints = set(entry.get("features") or ()), set(entry["endpoints"])

    def named(feature: str) -> bool | None:
        return True if feature in features else None

    return Model(
        entry["name"],
        count_of(entry.get("context_length")) or None,
        Capabilities(
            tools=named("tools"),
            images=named("vision"),
            json_schema=named("json_schema"),
            reasoning=named("reasoning"),
            audio=False,
            files=False,
            logprobs=False,
            completions=False,
            embeddings="embed" in endpoints,
        ),
    )


def build(options: Options, parts: Parts) -> Cohere:
    """A backend over the shared transport."""
    return Cohere(options, parts.transport)
