"""One socket of the Responses API at a server that stands in for OpenAI's: lanes by `stream_id`, each in its order.

Source: developers.openai.com/api/docs/guides/websocket-mode, read in November 2026.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, get_args

from aiohttp import WSMsgType, web

from backends.errors import BackendError, ContextLengthExceeded, ModelNotFound, StreamBroken
from backends.events import Event, Finished
from backends.json import dumps, loads
from tests.providers.base import Fault, Refusal, Seen, reset
from tests.providers.responses_words import Composed, Invalid, request_of

if TYPE_CHECKING:
    from tests.providers.openai import OpenAI

ACTIVE = 16  # answers at once; the next one waits


class Refused(Exception):
    """Ends one answer before its first token."""

    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body
        super().__init__(status)


class Socket:
    """`serve` it. `cancels`: it knows response.cancel, as OpenAI does not; `cancelled` are the ids that it was told."""

    ids = count(1)

    def __init__(self, provider: "OpenAI", request: web.Request, *, cancels: bool) -> None:
        self._provider, self._request, self._cancels = provider, request, cancels
        self._socket = web.WebSocketResponse()
        self._lanes: dict[str | None, asyncio.Task[None]] = {}
        self._active = asyncio.Semaphore(ACTIVE)
        self.cancelled: list[str] = []

    async def serve(self) -> web.WebSocketResponse:
        await self._socket.prepare(self._request)
        try:
            async for message in self._socket:
                if message.type == WSMsgType.TEXT:
                    await self._read(loads(message.data))
        finally:
            for task in self._lanes.values():
                task.cancel()
            await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        return self._socket

    async def limit(self) -> None:
        """Its hour is over."""
        words = "Responses websocket connection limit reached (60 minutes). Create a new websocket connection."
        await self._say([error_event(400, words, "websocket_connection_limit_reached")], None)
        await self._socket.close()

    def reset(self) -> None:
        """Break the connection as a crash does."""
        reset(self._request, web.StreamResponse())

    async def _read(self, message: dict[str, Any]) -> None:
        lane = message.pop("stream_id", None)
        match message.pop("type"):
            case "response.create":
                self._lanes[lane] = asyncio.create_task(self._create(lane, message, self._lanes.get(lane)))
            case "response.cancel" if self._cancels:
                self.cancelled.append(message["response_id"])
                self._lanes[lane].cancel()
            case other:
                await self._say([error_event(400, f"Invalid value: '{other}'.", "invalid_value")], None)

    async def _create(self, lane: str | None, body: dict[str, Any], before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await asyncio.wait({before})
        seen = Seen("socket", dict(self._request.headers), body)
        self._provider.seen.append(seen)
        faults = self._provider.faults
        fault = (faults.popleft() if faults else self._provider.always) or Fault("slow")
        composed = Composed(body, lambda: f"resp_{next(self.ids)}")
        try:
            async with self._active:
                await self._answer(lane, body, composed, seen, fault)
        except Refused as refused:
            await self._say([{"type": "error", "status": refused.status, **refused.body}], lane)
        except asyncio.CancelledError:
            seen.left_early = True
            composed.response |= {"status": "cancelled", "incomplete_details": {"reason": "cancelled"}}
            with suppress(ConnectionError):  # the socket may be gone
                await self._say(
                    [{"type": "response.incomplete", "sequence_number": 0, "response": composed.response}], lane
                )
        except (ConnectionError, StreamBroken):
            seen.left_early = True
        except Exception:
            self.reset()  # a mistake of a test, or here: nobody should wait for more
            raise
        finally:
            seen.gone.set()

    async def _answer(
        self, lane: str | None, body: Mapping[str, Any], composed: Composed, seen: Seen, fault: Fault
    ) -> None:
        try:
            asked = request_of(body)
        except Invalid as error:
            raise Refused(*error.answer()) from None
        if fault.name in get_args(Refusal):
            self._refuse(fault.name, fault, None)  # type: ignore[arg-type]  # just looked
        if fault.name.startswith("reset"):
            self.reset()
            return
        try:
            async with self._provider.behind.stream(asked) as batches:
                batch = await anext(batches)
                await self._say(composed.begin(), lane)
                if fault.name == "slow":
                    await asyncio.sleep(fault.seconds)
                while not (batch and isinstance(batch[-1], Finished)):
                    for event in batch:
                        if not await self._said(event, lane, composed, seen, fault):
                            return
                    batch = await anext(batches)
                for event in batch[:-1]:
                    if not await self._said(event, lane, composed, seen, fault):
                        return
                if fault.name not in {"no_done", "half_json"}:
                    await self._say(composed.finish(batch[-1]), lane)
        except ModelNotFound as error:
            self._refuse("unknown_model", fault, error)
        except ContextLengthExceeded as error:
            self._refuse("context_overflow", fault, error)

    async def _said(self, event: Event, lane: str | None, composed: Composed, seen: Seen, fault: Fault) -> bool:
        """Say one token, or do what goes wrong before it; whether more may follow."""
        if fault.name == "error_in_200" or (seen.tokens == fault.at and fault.name == "error_in_stream"):
            await self._say(composed.failed(), lane)
            return False
        if seen.tokens == fault.at:
            match fault.name:
                case "cut":
                    self.reset()
                    return False
                case "stall":
                    await asyncio.sleep(fault.seconds)
                case "bad_chunk":
                    await self._socket.send_str("{not json")
        await self._say(composed.event(event), lane)
        seen.tokens += 1
        return True

    def _refuse(self, kind: Refusal, fault: Fault, error: BackendError | None) -> None:
        status, body = self._provider.refusal(kind, fault, error)
        if fault.retry_after is not None:
            body["error"]["headers"] = {"retry-after": f"{fault.retry_after:g}"}
        raise Refused(status, body)

    async def _say(self, events: list[Any], lane: str | None) -> None:
        tag = {} if lane is None else {"stream_id": lane}
        for event in events:
            await self._socket.send_str(dumps(event | tag).decode())


def error_event(status: int, message: str, code: str) -> dict[str, Any]:
    error = {"type": "invalid_request_error", "code": code, "message": message, "param": None, "headers": {}}
    return {"type": "error", "status": status, "error": error}
