"""A session whose connection breaks, and how long it takes to come back to all that was lost."""

from __future__ import annotations

import asyncio
import time

from transports import Stream, Tally, WsClient


class Session:
    """A session, named in `url`, with one answer, of which all but the first delta gets lost.

    Whether it was sent and lost, or never sent, a client cannot know. The first is more work for the gateway, which has
    to undo each frame: so the answer is read to its end, and then the client behaves as if it had not been.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = WsClient(url)

    async def ask(self, tally: Tally) -> None:
        """Begin the answer."""
        await self._client.connect()
        self._client.ask(tally)

    async def come_back(self, limit: float) -> tuple[int, str]:
        """Break the connection, and come back: how many nanoseconds until all was there, and what went wrong."""
        before = self._client
        assert before.stream is not None
        lost = Tally(1, before.stream.tokens - before.first_tokens)
        before.transport.disconnect(graceful=False)
        began = time.monotonic_ns()
        self._client = WsClient(f"{self._url}&sl_after={before.first_number}")
        self._client.stream = Stream(lost)
        await self._client.connect()
        try:
            async with asyncio.timeout(limit):
                await lost.done.wait()
        except TimeoutError:
            lost.errors.append(f"a session did not come back within {limit:.0f} s")
        return time.monotonic_ns() - began, " ".join(lost.errors)

    def close(self) -> None:
        self._client.close()
