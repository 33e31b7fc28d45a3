"""A server that speaks chat completions: llama.cpp, Ollama, LM Studio, most clouds; and what vLLM and LocalAI share."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from msgspec.structs import force_setattr

from backends import embeddings_dialect, streamed
from backends.base import Embeddings, Model
from backends.capabilities import Capabilities
from backends.chat_decode import Decoder
from backends.chat_encode import encode
from backends.chat_errors import count, retry_after
from backends.errors import BackendError, InvalidRequest, NotReady, ProtocolViolation
from backends.http import Transport
from backends.http_backend import HttpBackend, now
from backends.http_options import HEADER_NAME, HttpOptions, WrongKey, keys_of
from backends.json import dumps
from backends.limits import spoken
from backends.presets import fitted, presets
from backends.provider_errors import classify
from backends.registry import Parts
from backends.request import EmbeddingRequest, Request

ABLE = {"function_calling": "tools", "vision": "images"}  # Mistral's names: ours
EMBEDDINGS_LIMIT = 64 * 1024 * 1024  # bytes: 2000 vectors of 1536 numbers, with room


class ChatOptions(HttpOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a server has whatever its name is."""

    api_key_header: Annotated[
        str | None,
        Meta(description="Another header for the key, which is then sent bare.", examples=["X-API-Key"]),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.api_key_header is not None and not HEADER_NAME.fullmatch(self.api_key_header):
            raise WrongKey(
                "api_key_header", 'expected the name of a header, such as "X-API-Key"'
            )  # it may hold the key by mistake


class Options(
    ChatOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="openai_compatible"
):
    """One server that speaks chat completions: llama.cpp, Ollama, LM Studio, a cloud provider."""

    base_url: Annotated[
        str,
        Meta(
            description="Where its API begins: what comes before /chat/completions. A preset knows it.",
            examples=["http://127.0.0.1:1234/v1"],
        ),
    ] = ""
    preset: Annotated[
        str | None,
        Meta(description="A server or cloud that is known by name; docs/presets.md lists them.", examples=["groq"]),
    ] = None
    account: Annotated[
        str | None,
        Meta(description="The account's id, where the preset's URL has a place for it.", examples=["0123abc"]),
    ] = None

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in presets():
            near = get_close_matches(self.preset, presets(), 1)
            hint = f"did you mean {near[0]}? Known" if near else "expected one of"
            raise WrongKey("preset", f"{hint}: {', '.join(presets())}")
        if not self.base_url:
            force_setattr(self, "base_url", self._known_url())
        super().__post_init__()

    def _known_url(self) -> str:
        if self.preset is None:
            raise WrongKey("base_url", "expected an http(s) URL, or a preset that knows it")
        url = presets()[self.preset].base_url
        if "{account}" in url and not re.fullmatch(r"[\w-]{1,64}", self.account or "", re.ASCII):
            raise WrongKey("account", f"expected the id of your account there, which the preset {self.preset} needs")
        return url.format(account=self.account)


class OpenAICompatible(HttpBackend):
    """One such server, as a Backend. The kinds that differ a little are its subclasses.

    `ready_path` is beside the API, where a server has it: 503 there means that it is not ready.
    """

    ready_path: ClassVar[str | None] = None
    chunks: ClassVar[type[Decoder]] = Decoder

    def __init__(self, options: ChatOptions, transport: Transport) -> None:
        super().__init__(options.name, options.base_url, transport, keys_of(options), options.models)
        preset = options.preset if isinstance(options, Options) else None
        self._preset = None if preset is None else presets()[preset]
        self._root = self.url.removesuffix("/v1")
        self._key_header = None if options.api_key_header is None else options.api_key_header.lower()
        self._vectors_as: embeddings_dialect.Format = "base64"

    def target(self, request: Request) -> str:
        return self.place(f"/{'chat/' if request.prompt is None else ''}completions", request.model)

    def place(self, path: str, model: str = "") -> str:
        """The URL of `path`; `model` is whom it is asked for, where it is asked for one."""
        return f"{self.url}{path}"

    def body(self, request: Request) -> Mapping[str, Any]:
        if self._preset is None:
            return encode(request)
        return fitted(encode(request, thoughts=self._preset.wants_thoughts), request, self._preset)

    def decoder(self, request: Request) -> streamed.Decoder:
        return self.chunks(request.model, request.top_logprobs, now)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        return classify(status, headers, body, model=model, now=now())

    async def headers(self, method: str, url: str, body: bytes, key: str | None) -> Mapping[str, str]:
        if key is not None and self._key_header is not None:
            return {self._key_header: key}
        return await super().headers(method, url, body, key)

    async def models(self) -> Sequence[Model]:
        await self._ready()
        return await super().models()

    async def listed(self) -> Sequence[Model]:
        if self._preset is None:
            return await self._list("/models")
        if not self._preset.lists_models:
            return ()
        lacks = Capabilities(**dict.fromkeys(self._preset.lacks, False))
        found = await self._list("/models")
        return [replace(model, capabilities=model.capabilities.otherwise(lacks)) for model in found]

    async def _ready(self) -> None:
        """Raises NotReady when the server says so. One that has no such path is taken as ready."""
        if self.ready_path is not None:
            status, headers, _ = await self.get(f"{self._root}{self.ready_path}")
            if status == 503:
                raise NotReady(retry_after(headers, now()))

    async def _list(self, path: str) -> tuple[Model, ...]:
        found = await self.ask_json(self.place(path))
        try:
            return tuple(model_of(entry) for entry in found["data"] or ())  # Ollama without a model says null
        except (KeyError, TypeError):
            raise ProtocolViolation("a list of models that is none") from None

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        encode = embeddings_dialect.encode
        try:
            body, limits = await self._post("/embeddings", encode(request, self._vectors_as), request)
        except InvalidRequest:
            if self._vectors_as == "float":
                raise
            body, limits = await self._post("/embeddings", encode(request, "float"), request)
            self._vectors_as = "float"  # this server refuses base64
        return await embeddings_dialect.decode(body, request, limits)

    async def _post(
        self, path: str, body: Mapping[str, Any], request: EmbeddingRequest
    ) -> tuple[bytes, Mapping[str, str]]:
        if self._preset is not None:
            body = fitted(body, request, self._preset)
        callers = request.keys.get(self.name)
        url = self.place(path, request.model)
        async with self.exchange("POST", url, dumps(body), model=request.model, callers=callers) as response:
            return await response.read(EMBEDDINGS_LIMIT), spoken(response.headers)


def model_of(entry: Any) -> Model:
    """Raises KeyError or TypeError for what is no model."""
    if not isinstance(entry["id"], str):
        raise TypeError
    meta = entry.get("meta")
    places = (
        entry.get("max_model_len"),
        entry.get("context_window"),  # Groq
        entry.get("max_context_length"),  # Mistral
        entry.get("context_length"),
        entry.get("context_size"),
        meta.get("n_ctx") if isinstance(meta, dict) else None,
    )
    able = entry.get("capabilities")
    known = {
        ours: able[theirs] for theirs, ours in ABLE.items() if isinstance(able, dict) and type(able.get(theirs)) is bool
    }
    context = next((found for place in places if (found := count(place))), None)
    return Model(entry["id"], context, Capabilities(**known), count(entry.get("max_completion_tokens")) or None)


def build(options: Options, parts: Parts) -> OpenAICompatible:
    """A backend over the shared transport."""
    return OpenAICompatible(options, parts.transport)
