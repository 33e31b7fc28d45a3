"""The asynchronous client."""

import asyncio
from typing import Any, Literal, Self

from streamlane_client import http
from streamlane_client.address import address
from streamlane_client.events import Event, Model, Pool, Response
from streamlane_client.lanes import Input, Record, body
from streamlane_client.link import Link, OnState, State


class AsyncAnswer:
    """One answer: iterate over it for its events. Leaving `with answer:` early stops it.

    Events wait here until they are taken, so an answer that nobody reads holds up no other.
    """

    def __init__(self, link: Link, body: bytes) -> None:
        self._link = link
        self._news = asyncio.Event()
        self._record = Record(body, self._news.set)
        link.begin(self._record)

    @property
    def id(self) -> str | None:
        """The response's id; None until `response.created` came."""
        return self._record.id

    def cancel(self) -> None:
        """Stop it. Its events go on to the last one, `response.incomplete`; without effect when it has ended."""
        self._link.cancel(self._record)

    def close(self) -> None:
        """Stop it and forget its events: the iteration ends."""
        self.cancel()
        self._record.drop()

    async def response(self) -> Response:
        """Wait for the end; the final response object, also of an answer that was cancelled. Raises StreamlaneError."""
        while not self._record.ended:
            await self._changed()
        return self._record.final()

    async def text(self) -> str:
        """Wait for the end; all that was said, also by an answer that was cancelled. Raises StreamlaneError."""
        while not self._record.ended:
            await self._changed()
        return self._record.text()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._record.ready:
            await self._changed()
        event = self._record.take()
        if event is None:
            raise StopAsyncIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _changed(self) -> None:
        self._news.clear()  # whoever waits besides us was woken when it was set
        await self._news.wait()


class AsyncClient:
    """One socket to a gateway, for one event loop. It opens with the first answer, and again when it was lost.

    `base_url` and `api_key` default to $STREAMLANE_BASE_URL (http://127.0.0.1:8765/v1) and $STREAMLANE_API_KEY.
    `on_state` is told each change of `state`, with the error that led to it or None.
    """

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, *, on_state: OnState | None = None
    ) -> None:
        self._address = address(base_url, api_key)
        self._link = Link(self._address, on_state)

    @property
    def base_url(self) -> str:
        """Where the gateway is."""
        return self._address.base_url

    @property
    def state(self) -> State:
        """Of the socket: "connecting", "open", "waiting" (it is tried again soon) or "closed"."""
        return self._link.state

    def create(self, *, model: str, input: Input, **more: Any) -> AsyncAnswer:  # noqa: A002  # the API's word
        """Ask. `more` is whatever else `response.create` takes: instructions, max_output_tokens, temperature and so on.

        At most 16 answers run at once; more wait here. Raises TypeError or ValueError for what JSON cannot say.
        """
        return AsyncAnswer(self._link, body(model, input, more))

    async def models(self) -> list[Model]:
        """What can be asked for as `model`. Raises StreamlaneError."""
        return await asyncio.to_thread(http.models, self._address)

    async def quota(self) -> list[Pool]:
        """What is left of the gateway's accounts. Raises StreamlaneError."""
        return await asyncio.to_thread(http.quota, self._address)

    async def rate(
        self, response_id: str, rating: Literal["up", "down"] | None, *, preferred_model: str | None = None
    ) -> None:
        """Say whether an answer was good, or with None take that back, so that the gateway's router can learn from it.

        `preferred_model` is who would have been better than one that is rated "down". Raises StreamlaneError: the code
        is "response_not_found" for an answer whose model the gateway did not choose.
        """
        await asyncio.to_thread(http.rate, self._address, response_id, rating, preferred_model)

    async def open(self) -> None:
        """Connect now instead of with the first answer. Raises StreamlaneError."""
        await self._link.open()

    async def close(self) -> None:
        """Close the socket. Answers that have not ended stop, and raise ConnectionLost. The next one opens another."""
        await self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
