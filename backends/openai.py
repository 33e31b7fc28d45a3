"""OpenAI itself: chat completions, or the Responses API over one warm socket."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from msgspec import Meta

from backends import chat_decode, openai_encode, responses_encode
from backends.base import Batches
from backends.http import Transport
from backends.http_options import printable
from backends.openai_compatible import ChatOptions, OpenAICompatible
from backends.registry import Parts
from backends.request import Request
from backends.responses_decode import Decoder
from backends.responses_lanes import Lane
from backends.responses_socket import ResponsesSocket
from backends.streamed import Decoder as AnyDecoder


class Options(ChatOptions, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="openai"):
    """OpenAI's own API."""

    base_url: Annotated[str, Meta(description="Where its API begins.")] = "https://api.openai.com/v1"
    organization: Annotated[str | None, Meta(description="The organization that is billed.", examples=["org-123"])] = (
        None
    )
    project: Annotated[str | None, Meta(description="The project that is billed.", examples=["proj_123"])] = None
    upstream: Annotated[
        Literal["chat", "responses"],
        Meta(
            description="What it is asked in: chat completions, or the Responses API over one socket that stays open, "
            "which keeps what a model thought between turns. Stop strings, recordings and raw prompts go the first way."
        ),
    ] = "chat"
    reasoning_summary: Annotated[
        Literal["auto", "concise", "detailed"] | None,
        Meta(
            description='With upstream "responses": ask for a summary of what a model thought. '
            "OpenAI gives some only to verified organizations.",
            examples=["auto"],
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(printable(name) for name in (self.organization, self.project) if name is not None):
            raise ValueError("expected visible ASCII characters in organization and project")


class OpenAI(OpenAICompatible):
    """OpenAI's API, as a Backend."""

    def __init__(self, options: Options, transport: Transport) -> None:
        super().__init__(options, transport)
        account = {"openai-organization": options.organization, "openai-project": options.project}
        self._account = {name: value for name, value in account.items() if value is not None}
        self._summary = options.reasoning_summary
        self._responses = options.upstream == "responses"
        self._socket: ResponsesSocket | None = None
        self._socket_key: str | None = None  # of the newest one
        if self._responses and options.key_source != "caller":  # it is opened with a key of ours
            url = self.place("/responses")
            self._socket = ResponsesSocket(
                self.name, url, self._handshake, transport, allowed=self._socket_allowed, now=time.monotonic
            )
        self._own_keys_only = options.key_source == "gateway"

    async def start(self) -> None:
        """Open the socket in the background: nobody waits for it."""
        await super().start()
        if self._socket is not None:
            self._socket.start()

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        await super().close()

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Batches]:
        lane = await self._lane(request)
        if lane is None:
            async with super().stream(request) as batches:
                yield batches
            return
        try:
            yield lane
        finally:
            lane.leave()

    def target(self, request: Request) -> str:
        return self.place("/responses") if self._by_responses(request) else super().target(request)

    def body(self, request: Request) -> Mapping[str, Any]:
        if self._by_responses(request):
            return responses_encode.encode(request, self._summary) | {"stream": True}
        return openai_encode.encode(request)

    def decoder(self, request: Request) -> AnyDecoder:
        kind = Decoder if self._by_responses(request) else chat_decode.Decoder
        return kind(request.model, request.top_logprobs)

    async def headers(self, method: str, url: str, body: bytes, key: str | None) -> Mapping[str, str]:
        return {**await super().headers(method, url, body, key), **self._account}

    def _by_responses(self, request: Request) -> bool:
        return self._responses and responses_encode.expressible(request)

    async def _lane(self, request: Request) -> Lane | None:
        """A lane of the socket, on which it is asked; None where it must go by HTTP.

        The socket is opened with a key of ours, so what is asked with a caller's goes by HTTP.
        """
        callers = None if self._own_keys_only else request.keys.get(self.name)
        if self._socket is None or callers is not None or not self._by_responses(request):
            return None
        body = responses_encode.encode(request, self._summary)
        return await self._socket.lane(body, Decoder(request.model, request.top_logprobs))

    async def _handshake(self) -> Mapping[str, str]:
        """The headers that the socket is opened with. Raises AuthenticationFailed."""
        self._socket_key = self.key(of_ours=True)
        return await self.headers("GET", self.place("/responses"), b"", self._socket_key)

    def _socket_allowed(self) -> bool:
        return self.holds(self._socket_key)


def build(options: Options, parts: Parts) -> OpenAI:
    """A backend over the shared transport."""
    return OpenAI(options, parts.transport)
