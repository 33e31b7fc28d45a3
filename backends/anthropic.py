"""Anthropic's own API: Messages, with its tools, thinking, documents and counts of tokens."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta

from backends.anthropic_decode import Decoder
from backends.anthropic_encode import EXTRAS, encode, prompt_of
from backends.anthropic_errors import classify
from backends.base import Model
from backends.capabilities import Capabilities
from backends.chat_errors import count
from backends.errors import BackendError, ProtocolViolation
from backends.http import Transport
from backends.http_backend import HttpBackend, now
from backends.http_options import HttpOptions, keys_of
from backends.json import JsonError, dumps, loads
from backends.registry import Parts
from backends.request import Request

VERSION = "2023-06-01"  # 2026-10-21 takes less: no temperature any more, which models up to 4.6 still have
MOST_PAGES = 100  # of models, 1000 each
ABILITIES = {
    "images": "image_input",
    "files": "pdf_input",
    "json_schema": "structured_outputs",
    "reasoning": "thinking",
}
NEVER = Capabilities(audio=False, logprobs=False, completions=False, embeddings=False)  # the API has no place for them


class Options(HttpOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="anthropic"):
    """Anthropic's API, with a key from platform.claude.com."""

    base_url: Annotated[str, Meta(description="Where its API begins.")] = "https://api.anthropic.com/v1"


class Anthropic(HttpBackend):
    """Anthropic's API, as a Backend and TokenCounter."""

    extras = EXTRAS

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options.name, options.base_url, transport, keys_of(options), options.models)

    def target(self, request: Request) -> str:
        return f"{self.url}/messages"

    def body(self, request: Request) -> Mapping[str, Any]:
        return encode(request)

    def decoder(self, request: Request) -> Decoder:
        return Decoder(request.model)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> BackendError:
        return classify(status, headers, body, model=model, now=now())

    async def headers(self, method: str, url: str, body: bytes, key: str | None) -> Mapping[str, str]:
        return {"anthropic-version": VERSION} | ({} if key is None else {"x-api-key": key})

    async def listed(self) -> Sequence[Model]:
        found: list[Model] = []
        after = ""
        for _ in range(MOST_PAGES):
            page = await self.ask_json(f"{self.url}/models?limit=1000{after}")
            try:
                found += [model_of(entry) for entry in page["data"]]
                more, last = page.get("has_more"), page.get("last_id")
            except (KeyError, TypeError, AttributeError):
                raise ProtocolViolation("a list of models that is none") from None
            if not more or not isinstance(last, str):
                break
            after = f"&after_id={quote(last, safe='')}"
        return found

    async def count_tokens(self, request: Request) -> int:
        body = dumps(prompt_of(encode(request)))
        callers = request.keys.get(self.name)
        url = f"{self.target(request)}/count_tokens"
        async with self.exchange("POST", url, body, model=request.model, callers=callers) as response:
            answer = await response.read()
        try:
            tokens = count(loads(answer)["input_tokens"])
        except (JsonError, KeyError, TypeError):
            tokens = None
        if tokens is None:
            raise ProtocolViolation("a count of tokens that is none")
        return tokens


def model_of(entry: Any) -> Model:
    """Raises KeyError, TypeError or AttributeError for what is no model."""
    if not isinstance(entry["id"], str):
        raise TypeError
    told = entry.get("capabilities") or {}
    known = {ours: able for ours, theirs in ABILITIES.items() if (able := supported(told.get(theirs))) is not None}
    return Model(
        entry["id"],
        count(entry.get("max_input_tokens")),
        Capabilities(**known).otherwise(NEVER),
        count(entry.get("max_tokens")),
    )


def supported(told: object) -> bool | None:
    """None where it does not say."""
    able = told.get("supported") if isinstance(told, dict) else None
    return able if isinstance(able, bool) else None


def build(options: Options, parts: Parts) -> Anthropic:
    """A backend over the shared transport."""
    return Anthropic(options, parts.transport)
