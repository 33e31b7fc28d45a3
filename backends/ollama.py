"""Ollama by its own API, on a machine of yours or at ollama.com: thinking, tools, and what each model can do."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from backends.base import Embeddings, Model
from backends.capabilities import Capabilities
from backends.chat_errors import count
from backends.embeddings_dialect import vector_of
from backends.errors import BackendError, ProtocolViolation
from backends.http import Transport
from backends.http_backend import HttpBackend, now
from backends.http_options import HttpOptions, keys_of
from backends.json import SHAPE_ERRORS, decoder, dumps
from backends.ndjson import LineDecoder
from backends.ollama_decode import Decoder
from backends.ollama_encode import LEVELS, NO_LEVELS, encode, encode_embedding
from backends.ollama_errors import classify
from backends.registry import Parts
from backends.request import EmbeddingRequest, Request
from backends.unhurried import unhurried

EMBEDDINGS_LIMIT = 64 * 1024 * 1024  # bytes: 2000 vectors of 1536 numbers, with room
AT_ONCE = 8  # models that are asked about at the same time
ABILITIES = {"tools": "tools", "vision": "images", "thinking": "reasoning", "embedding": "embeddings"}  # theirs: ours


class Options(HttpOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="ollama"):
    """One Ollama server, by its own API. At ollama.com, with a key, too."""

    base_url: Annotated[
        str,
        Meta(description="Where it is: what comes before /api.", examples=["https://ollama.com"]),
    ] = "http://127.0.0.1:11434"
    num_ctx: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Context that its models are loaded with, in tokens. Unset: as the server does it."),
    ] = None
    keep_alive: Annotated[
        str | None,
        Meta(
            description="How long a model stays loaded after an answer. Unset: as the server does it.", examples=["30m"]
        ),
    ] = None


class Details(msgspec.Struct):
    """What /api/show says of one model, as far as we read it."""

    capabilities: tuple[str, ...] | None = None
    parameters: str | None = None  # of its Modelfile, one a line
    model_info: dict[str, Any] | None = None
    thinking: Any = None
    details: Any = None


NOTHING = Details()


class Vectors(msgspec.Struct):
    embeddings: tuple[msgspec.Raw, ...] | None = None
    prompt_eval_count: Any = None


details_of = decoder(Details)
vectors_of = decoder(Vectors)


class Ollama(HttpBackend):
    """One Ollama server, as a Backend."""

    framing = LineDecoder

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options.name, options.base_url, transport, keys_of(options), options.models)
        self.url = re.sub(r"/(?:v1|api)$", "", self.url)  # where its other API begins, and what its documentation says
        self._num_ctx, self._keep_alive = options.num_ctx, options.keep_alive
        self._known: dict[tuple[str, str], Details] = {}  # by name and digest: what is known of it stays true
        self._levels: dict[str, frozenset[str] | None] = {}  # by name: see ollama_encode.encode

    def target(self, request: Request) -> str:
        return f"{self.url}/api/{'chat' if request.prompt is None else 'generate'}"

    def body(self, request: Request) -> Mapping[str, Any]:
        levels = self._levels.get(request.model, NO_LEVELS)
        return encode(request, num_ctx=self._num_ctx, keep_alive=self._keep_alive, levels=levels)

    def decoder(self, request: Request) -> Decoder:
        return Decoder(request.model, request.top_logprobs)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        return classify(status, headers, body, model=model, now=now())

    async def listed(self) -> Sequence[Model]:
        """What is pulled, and what each model can do, as far as its server's version tells."""
        found = await self.ask_json(f"{self.url}/api/tags")
        try:
            names = [(name_of(entry), str(entry.get("digest"))) for entry in found["models"] or ()]
        except (KeyError, TypeError, AttributeError):
            raise ProtocolViolation("a list of models that is none") from None
        slots = asyncio.Semaphore(AT_ONCE)

        async def look(name: str, digest: str) -> Details:
            async with slots:
                return self._known.get((name, digest)) or await self._details(name)

        details = await asyncio.gather(*(look(*each) for each in names))
        told = list(zip(names, details, strict=True))
        self._known = {key: each for key, each in told if each != NOTHING}
        self._levels = {name: levels_of(each) for (name, _), each in told}
        return [model_of(name, each, self._num_ctx) for (name, _), each in told]

    async def _details(self, name: str) -> Details:
        """Empty where the server does not tell: one model that is broken must not hide the others."""
        url = f"{self.url}/api/show"
        try:
            async with self.exchange("POST", url, dumps({"model": name}), model=name, of_ours=True) as response:
                return details_of(await response.read())
        except (BackendError, *SHAPE_ERRORS):
            return NOTHING

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        body = dumps(encode_embedding(request, num_ctx=self._num_ctx, keep_alive=self._keep_alive))
        callers = request.keys.get(self.name)
        url = f"{self.url}/api/embed"
        async with self.exchange("POST", url, body, model=request.model, callers=callers) as response:
            answer = await response.read(EMBEDDINGS_LIMIT)
        try:
            found = vectors_of(answer)
        except SHAPE_ERRORS:
            raise ProtocolViolation("embeddings that are none") from None
        raw = found.embeddings or ()
        if len(raw) != len(request.inputs):
            raise ProtocolViolation("not one vector per input")
        return Embeddings(await unhurried(map(vector_of, raw)), count(found.prompt_eval_count))


def name_of(entry: Any) -> str:
    """Raises KeyError or TypeError for what is no model."""
    name = entry["name"]
    if not isinstance(name, str):
        raise TypeError
    return name


def model_of(name: str, details: Details, num_ctx: int | None) -> Model:
    """Its context is the longest that it can be: how much of it a server loads by itself depends on its memory."""
    facts = (details.model_info or {}).items()
    trained = next((count(value) for key, value in facts if key.endswith(".context_length")), None)
    set_to = re.search(r"^num_ctx\s+(\d{1,9})$", details.parameters or "", re.MULTILINE)
    asked = num_ctx or (int(set_to[1]) if set_to else None)
    context = min(filter(None, (trained, asked)), default=None)
    return Model(name, context, capabilities_of(details.capabilities))


def capabilities_of(theirs: Sequence[str] | None) -> Capabilities:
    """Nothing is known where the server does not say it: versions before 0.6.4."""
    if theirs is None:
        return Capabilities(audio=False, files=False)
    told = {ours: name in theirs for name, ours in ABILITIES.items()}
    return Capabilities(audio=False, files=False, completions="completion" in theirs, **told)


def levels_of(details: Details) -> frozenset[str] | None:
    """Those of thinking that the model knows; None where it is known not to think."""
    if details.capabilities is not None and "thinking" not in details.capabilities:
        return None
    if isinstance(details.thinking, dict) and isinstance(values := details.thinking.get("values"), list):
        return frozenset(value for value in values if isinstance(value, str))
    family = details.details.get("family") if isinstance(details.details, dict) else None
    return frozenset(LEVELS.values()) if family in {"gptoss", "gpt-oss"} else NO_LEVELS


def build(options: Options, parts: Parts) -> Ollama:
    """A backend over the shared transport."""
    return Ollama(options, parts.transport)
