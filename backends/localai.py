"""LocalAI: chat completions, whether it is ready, and the errors that it sends as if they were answers."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from backends import chat_decode, openai_compatible
from backends.base import Load, Model, Observable
from backends.chat_decode import chunk_of
from backends.chat_errors import classify
from backends.errors import ModelNotFound, ProtocolViolation
from backends.events import Event
from backends.json import SHAPE_ERRORS, dumps
from backends.openai_compatible import OpenAICompatible
from backends.registry import Parts

APOLOGY = "Internal error: "


class Options(
    openai_compatible.Options, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="localai"
):
    """One LocalAI server. It loads a model when it is first asked for, and keeps the request waiting meanwhile."""

    base_url: Annotated[str, Meta(description="Where its API begins.")] = "http://127.0.0.1:8080/v1"


class Decoder(chat_decode.Decoder):
    """In older versions an error inside a stream is text in the chunk that also holds the finish reason."""

    def feed(self, data: bytes) -> list[Event]:
        if b'"Internal error: ' in data and (text := apology(data)):
            raise classify(None, {}, dumps({"error": text}), model=self._model)
        return super().feed(data)


def apology(data: bytes) -> str | None:
    """The error in such a chunk. A model's own words never come in a chunk with the finish reason."""
    try:
        choices = chunk_of(data).choices or ()
    except SHAPE_ERRORS:
        return None
    for choice in choices:
        text = (choice.delta and choice.delta.content) or ""
        if choice.finish_reason is not None and text.startswith(APOLOGY):
            return text
    return None


class LocalAI(OpenAICompatible, Observable):
    """One LocalAI server, as a Backend."""

    ready_path = "/readyz"  # 200, or 503 while it starts and while it stops
    chunks = Decoder

    async def listed(self) -> Sequence[Model]:
        try:
            return await self._list("/models/capabilities")  # the same list, with the context
        except (ModelNotFound, ProtocolViolation):  # older versions do not have it
            return await super().listed()

    async def load(self) -> Load | None:
        await self._ready()
        return None  # it does not say


def build(options: Options, parts: Parts) -> LocalAI:
    """A backend over the shared transport."""
    return LocalAI(options, parts.transport)
