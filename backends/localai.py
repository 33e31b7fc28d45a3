"""LocalAI: chat completions, whether it is ready, and the errors that it sends as if they were answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any

from msgspec import Meta

from backends import chat_decode, openai_compatible
from backends.base import Load, Model, Observable
from backends.chat_decode import chunk_of
from backends.chat_errors import classify
from backends.errors import BackendError, ModelNotFound, NotReady, ProtocolViolation
from backends.events import Event
from backends.http_connection import Exchange
from backends.json import SHAPE_ERRORS, JsonError, dumps, loads
from backends.openai_compatible import OpenAICompatible
from backends.registry import Parts
from backends.request import Request, Secret

APOLOGY = "Internal error: "
JOBS = 2.0  # seconds for its list of jobs, while somebody waits for an error
EXTRAS = frozenset({"ignore_eos", "repetition_penalty"})
NAMES = {"repetition_penalty": "repeat_penalty"}  # ours, which is vLLM's: its own


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
        text = choice.delta and choice.delta.content
        if choice.finish_reason is not None and isinstance(text, str) and text.startswith(APOLOGY):
            return text
    return None


class LocalAI(OpenAICompatible, Observable):
    """One LocalAI server, as a Backend. A model that its gallery installs just now is not ready, and not unknown."""

    ready_path = "/readyz"  # 200, or 503 while it starts and while it stops
    chunks = Decoder
    extras = EXTRAS

    def body(self, request: Request) -> Mapping[str, Any]:
        return {
            **super().body(request),
            **{NAMES.get(name, name): value for name, value in request.extras.items() if name in EXTRAS},
        }

    @asynccontextmanager
    async def exchange(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        model: str = "",
        callers: Secret | None = None,
        of_ours: bool = False,
    ) -> AsyncIterator[Exchange]:
        sent = super().exchange(method, url, body, model=model, callers=callers, of_ours=of_ours)
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(sent)
            except ModelNotFound:
                if model and await self._installs(model):
                    raise NotReady from None
                raise
            yield response

    async def _installs(self, model: str) -> bool:
        """Whether its gallery puts that model in place now, as far as it tells: only administrators may ask."""
        try:
            async with asyncio.timeout(JOBS):
                status, _, body = await self.get(f"{self._root}/models/jobs")
        except (BackendError, TimeoutError):
            return False
        return status == 200 and installs(body, model)

    async def listed(self) -> Sequence[Model]:
        try:
            return await self._list("/models/capabilities")  # the same list, with the context
        except (ModelNotFound, ProtocolViolation):  # older versions do not have it
            return await super().listed()

    async def load(self) -> Load | None:
        await self._ready()
        return None  # it does not say


def installs(jobs: bytes, model: str) -> bool:
    """Whether one of its jobs installs `model`: objects by their ids, https://localai.io/docs/models/."""
    try:
        found = loads(jobs)
    except JsonError:
        return False
    return isinstance(found, dict) and any(isinstance(job, dict) and at_work(job, model) for job in found.values())


def at_work(job: dict[str, Any], model: str) -> bool:
    name = job.get("gallery_element_name")
    named = isinstance(name, str) and name.rpartition("@")[2] == model  # GALLERY@MODEL
    return named and not (job.get("processed") or job.get("cancelled") or job.get("deletion") or job.get("error"))


def build(options: Options, parts: Parts) -> LocalAI:
    """A backend over the shared transport."""
    return LocalAI(options, parts.transport)
