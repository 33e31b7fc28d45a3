"""The synchronous client: the asynchronous one's socket, on an event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Literal, Self

from streamlane_client import http
from streamlane_client.address import address
from streamlane_client.events import Event, Model, Pool, Response
from streamlane_client.lanes import Input, Record, body
from streamlane_client.link import Link, OnState, State


class Answer:
    """One answer: iterate over it for its events. Leaving `with answer:` early stops it.

    Events wait here until they are taken, so several answers may run at once and be read one after the other. Any
    thread may call `cancel`, and so may a signal handler.
    """

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop, body: bytes) -> None:
        self._link, self._loop = link, loop
        self._news = threading.Condition()
        self._record = Record(body, self._wake)
        loop.call_soon_threadsafe(link.begin, self._record)

    @property
    def id(self) -> str | None:
        """The response's id; None until `response.created` came."""
        return self._record.id

    def cancel(self) -> None:
        """Stop it. Its events go on to the last one, `response.incomplete`; without effect when it has ended."""
        if not self._record.ended:
            with suppress(RuntimeError):  # the client was closed at this moment, and ended it
                self._loop.call_soon_threadsafe(self._link.cancel, self._record)

    def close(self) -> None:
        """Stop it and forget its events: the iteration ends."""
        self.cancel()
        with self._news:  # another thread may be taking an event
            self._record.drop()

    def response(self) -> Response:
        """Wait for the end; the final response object, also of an answer that was cancelled. Raises StreamlaneError."""
        self._wait_for_end()
        return self._record.final()

    def text(self) -> str:
        """Wait for the end; all that was said, also by an answer that was cancelled. Raises StreamlaneError."""
        self._wait_for_end()
        return self._record.text()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        with self._news:
            self._news.wait_for(lambda: self._record.ready)
            event = self._record.take()
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_for_end(self) -> None:
        with self._news:
            self._news.wait_for(lambda: self._record.ended)

    def _wake(self) -> None:
        with self._news:
            self._news.notify_all()


class Client:
    """One socket to a gateway, for any number of threads. It opens with the first answer, and again when it was lost.

    `base_url` and `api_key` default to $STREAMLANE_BASE_URL (http://127.0.0.1:8765/v1) and $STREAMLANE_API_KEY.
    `on_state` is told each change of `state`, with the error that led to it or None, on the client's own thread.
    """

    def __init__(
        self, base_url: str | None = None, api_key: str | None = None, *, on_state: OnState | None = None
    ) -> None:
        self._address = address(base_url, api_key)
        self._link = Link(self._address, on_state)
        self._loop = asyncio.new_event_loop()
        self._asking = threading.RLock()  # so that nothing is asked of a loop that is about to stop
        self._closed = False
        # A daemon: a program that forgets to close its client ends all the same.
        self._thread = threading.Thread(target=self._run, name="streamlane-client", daemon=True)
        self._thread.start()

    @property
    def base_url(self) -> str:
        """Where the gateway is."""
        return self._address.base_url

    @property
    def state(self) -> State:
        """Of the socket: "connecting", "open", "waiting" (it is tried again soon) or "closed"."""
        return self._link.state

    def create(self, *, model: str, input: Input, **more: Any) -> Answer:  # noqa: A002  # the API's word
        """Ask. `more` is whatever else `response.create` takes: instructions, max_output_tokens, temperature and so on.

        At most 16 answers run at once; more wait here. Raises TypeError or ValueError for what JSON cannot say.
        """
        asked = body(model, input, more)
        with self._asking:
            self._check_open()
            return Answer(self._link, self._loop, asked)

    def models(self) -> list[Model]:
        """What can be asked for as `model`. Raises StreamlaneError."""
        return http.models(self._address)

    def quota(self) -> list[Pool]:
        """What is left of the gateway's accounts. Raises StreamlaneError."""
        return http.quota(self._address)

    def rate(
        self, response_id: str, rating: Literal["up", "down"] | None, *, preferred_model: str | None = None
    ) -> None:
        """Say whether an answer was good, or with None take that back, so that the gateway's router can learn from it.

        `preferred_model` is who would have been better than one that is rated "down". Raises StreamlaneError: the code
        is "response_not_found" for an answer whose model the gateway did not choose.
        """
        http.rate(self._address, response_id, rating, preferred_model)

    def open(self) -> None:
        """Connect now instead of with the first answer. Raises StreamlaneError."""
        with self._asking:
            self._check_open()
            opened = self._start(self._link.open())
        opened.result()

    def close(self) -> None:
        """Close the socket, for good. Answers that have not ended stop, and raise ConnectionLost."""
        with self._asking:
            if not self._closed:
                self._closed = True
                self._start(self._leave())
        if threading.current_thread() is not self._thread:  # `on_state` may close the client too
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def _leave(self) -> None:
        try:
            await self._link.close()
        finally:
            self._loop.stop()

    def _start(self, what: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(what, self._loop)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("This client was closed. Make another.")
