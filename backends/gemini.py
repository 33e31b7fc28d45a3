"""Google's Gemini API, in its own words."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta

from backends.base import Embeddings, Model
from backends.capabilities import Capabilities
from backends.chat_errors import count
from backends.errors import BackendError, ProtocolViolation
from backends.gemini_decode import Decoder
from backends.gemini_embeddings import BATCH, LIMIT, vectors
from backends.gemini_encode import embedding_requests, encode, method_of
from backends.gemini_errors import classify
from backends.http import Transport
from backends.http_backend import HttpBackend, now
from backends.http_options import HttpOptions, keys_of
from backends.json import JsonError, dumps, loads
from backends.model_path import segment
from backends.registry import Parts
from backends.request import EmbeddingRequest, Request

PAGE = 1000  # models; the most that the API gives at once
MOST_PAGES = 20


class Options(HttpOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="gemini"):
    """Google's Gemini API. A key comes from https://aistudio.google.com/apikey."""

    base_url: Annotated[str, Meta(description="Where its API begins.")] = (
        "https://generativelanguage.googleapis.com/v1beta"
    )


class Gemini(HttpBackend):
    """The Gemini API, as a Backend. It also embeds, and counts tokens."""

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options.name, options.base_url, transport, keys_of(options), options.models)

    def target(self, request: Request) -> str:
        return self._method(request.model, method_of(request))

    def body(self, request: Request) -> Mapping[str, Any]:
        return encode(request)

    def decoder(self, request: Request) -> Decoder:
        return Decoder(request.model, request.top_logprobs)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        return classify(status, headers, body, model=model, now=now())

    async def headers(self, method: str, url: str, body: bytes, key: str | None) -> Mapping[str, str]:
        return {} if key is None else {"x-goog-api-key": key}

    async def listed(self) -> Sequence[Model]:
        found: list[Model] = []
        token = ""
        for _ in range(MOST_PAGES):
            more = f"&pageToken={quote(token, safe='')}" if token else ""
            page = await self.ask_json(f"{self.url}/models?pageSize={PAGE}{more}")
            try:
                found += [model for entry in page.get("models") or () if (model := model_of(entry))]
                token = str(page.get("nextPageToken") or "")
            except (AttributeError, KeyError, TypeError):
                raise ProtocolViolation("a list of models that is none") from None
            if not token:
                break
        return found

    async def count_tokens(self, request: Request) -> int:
        """Tokens of the prompt, tools and system message included."""
        asked = {"generateContentRequest": {"model": f"models/{request.model}", **encode(request)}}
        return tokens_of(await self._post("countTokens", asked, request))

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """In as many requests as it takes: one holds a hundred texts."""
        entries = embedding_requests(request)
        answers = [
            await self._post("batchEmbedContents", {"requests": entries[start : start + BATCH]}, request)
            for start in range(0, len(entries), BATCH)
        ]
        return await vectors(answers, len(entries))

    async def _post(self, method: str, body: Mapping[str, Any], request: Request | EmbeddingRequest) -> bytes:
        url, callers = self._method(request.model, method), request.keys.get(self.name)
        async with self.exchange("POST", url, dumps(body), model=request.model, callers=callers) as response:
            return await response.read(LIMIT)

    def _method(self, model: str, method: str) -> str:
        folder, bare = "models", model
        if model.startswith("tunedModels/"):
            folder, _, bare = model.partition("/")
        return f"{self.url}/{folder}/{segment(bare)}:{method}"


def model_of(entry: Any) -> Model | None:
    """None for a model that neither answers nor embeds. Raises KeyError, TypeError or AttributeError for no model."""
    methods = entry.get("supportedGenerationMethods") or ()
    answers, embeds = "generateContent" in methods, "embedContent" in methods
    if not (answers or embeds):
        return None
    # A false is left out, and so is what the server does not know of.
    can = Capabilities(completions=False, embeddings=embeds, reasoning=entry.get("thinking") is True or None)
    limits = count(entry.get("inputTokenLimit")), count(entry.get("outputTokenLimit"))
    return Model(entry["name"].removeprefix("models/"), limits[0] or None, can, limits[1] or None)


def tokens_of(body: bytes) -> int:
    """The number in an answer to countTokens. Raises ProtocolViolation."""
    try:
        found = count(loads(body).get("totalTokens", 0))  # a 0 is left out
    except (JsonError, AttributeError):
        found = None
    if found is None:
        raise ProtocolViolation("a count of tokens that is none")
    return found


def build(options: Options, parts: Parts) -> Gemini:
    """A backend over the shared transport."""
    return Gemini(options, parts.transport)
