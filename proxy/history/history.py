"""Keeps what was routed, and what people think of it, in streamlane.db: written behind, so that no call waits.

    observe ──▸ the group that waits ──▸ one task: features (in a thread), then one transaction ──▸ file
    rate, delete ──▸ the same task, after the group: who asks for it waits for the file

What cannot be written is lost, said in the log and counted.
"""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import structlog
from msgspec import Struct

from backends.request import Request
from proxy.errors import NothingToRate, StoreFailed, TooMuchFeedback
from proxy.history.entry import Entry, Line, question_key
from proxy.outcome import Outcome
from proxy.store.database import Database, Tables
from proxy.store.sqlite_file import StoreUnusable
from proxy.wire.extras import wish_of
from quota.file_lock import StillLocked
from quota.writer import NotWriting

log = structlog.get_logger()
EXPECTED = (sqlite3.Error, OSError, StillLocked, StoreUnusable, NotWriting, OverflowError, ValueError)
WAITING = 4096  # calls that may wait to be written
RUNNING = 16_384  # questions of calls that run
RECENT = 4096  # questions that were answered a moment ago, and ids of deleted responses
AGAIN = 600.0  # seconds in which who asks another model the same was not content with the first
DAY = 86_400.0  # seconds
SWEEP = 3600.0  # seconds between two deletions of what is too old
FLUSH = 10.0  # seconds that the last group gets when the gateway stops

Rating: TypeAlias = Literal["up", "down"]
VALUES = {"up": 1, "down": -1}
K = TypeVar("K")
V = TypeVar("V")


class Bounds(Struct, frozen=True):
    """How long and how many calls are kept, and how many answers one principal may rate a day."""

    days: float = 90.0
    max_rows: int = 200_000
    feedback_per_day: int = 100


class _Asked(Struct, frozen=True):
    """A question whose call runs."""

    key: Hashable
    at: float
    learn: bool
    text: bool


class _Answered(Struct, frozen=True):
    """Who answered a question, until when."""

    response_id: str
    model: str  # the name that was asked for
    target: tuple[str | None, str | None]
    at: float


UNKNOWN = _Asked(None, 0.0, False, False)


class History:
    """`features` makes of a question what may be learned from it, and may block. `prompts`: texts are kept, too.

    `now` is in Unix seconds.
    """

    def __init__(
        self,
        *,
        database: Database,
        features: Callable[[str], bytes | None],
        prompts: bool,
        bounds: Bounds,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._features = features
        self._prompts = prompts
        self._bounds = bounds
        self._now = now
        self._asked: OrderedDict[str, _Asked] = OrderedDict()  # by response
        self._answered: OrderedDict[Hashable, _Answered] = OrderedDict()  # by question
        self._gone: OrderedDict[str, None] = OrderedDict()  # responses that were deleted
        self._waiting: list[Entry] = []
        self._calls: list[tuple[Callable[[Tables], Any], asyncio.Future[Any]]] = []  # and who waits for it
        self._work = asyncio.Event()
        self._begun = False  # something was kept, or will be when it is written
        self._closing = False
        self._full = False
        self.lost = 0

    # What is fed: neither waits nor raises.

    def asked(self, response_id: str, principal: str, request: Request, *, stored: bool) -> None:
        """A response begins. Not `stored`: its client wants that no text of it is kept."""
        learn = wish_of(request).data == "any"
        key = question_key(principal, request) if learn else None
        put(self._asked, response_id, _Asked(key, self._now(), learn, stored and self._prompts), RUNNING)

    def observe(self, outcome: Outcome) -> None:
        """A call has ended. It is kept if who answers was chosen here, or chosen by a person after such an answer."""
        asked = self._asked.pop(outcome.response_id, UNKNOWN)
        first = self._first(asked, outcome)
        if outcome.response_id in self._gone or (outcome.routed is None and first is None):
            return
        now = self._now()
        if asked.key is not None and outcome.first_event is not None:
            target = (outcome.backend, outcome.backend_model)
            answered = _Answered(outcome.response_id, outcome.model, target, now)
            put(self._answered, asked.key, answered, RECENT)
        if len(self._waiting) >= WAITING:
            self.lost += 1
            if not self._full:
                self._full = True
                log.error("history_not_written", reason="the disk is too slow: the queue is full")
            return
        again_of = None if first is None else first.response_id
        self._waiting.append(Entry(now, outcome, asked.learn, asked.text, again_of))
        self._begun = True
        self._work.set()

    def forget(self, response_id: str) -> None:
        """A response is being deleted: nothing that still comes of it is kept."""
        put(self._gone, response_id, None, RECENT)
        self._waiting = [each for each in self._waiting if each.outcome.response_id != response_id]

    # What waits for the file.

    async def rate(self, principal: str, response_id: str, rating: Rating, preferred: str | None = None) -> None:
        """What a principal thinks of an answer; the newest word counts. `preferred` is BACKEND/MODEL.

        Raises NothingToRate, TooMuchFeedback or StoreFailed.
        """
        now = self._now()

        def rated(tables: Tables) -> int | None:
            """How many it has rated today beside this; None where there is nothing to rate."""
            if not tables.find("find_rated", response_id, principal):
                return None
            [[count]] = tables.find("count_rated", principal, now - DAY, response_id)
            assert isinstance(count, int)
            if count < self._bounds.feedback_per_day:
                tables.run("rate", VALUES[rating], preferred, now, response_id, principal)
            return count

        count = await self._done(response_id, rated)
        if count is None:
            raise NothingToRate
        if count >= self._bounds.feedback_per_day:
            raise TooMuchFeedback(self._bounds.feedback_per_day)

    async def take_back(self, principal: str, response_id: str) -> None:
        """As if it had never been rated. Raises NothingToRate or StoreFailed."""

        def unrated(tables: Tables) -> int:
            return tables.run("rate", None, None, None, response_id, principal)

        if not await self._done(response_id, unrated):
            raise NothingToRate

    async def delete(self, principal: str, response_id: str) -> bool:
        """Keep nothing of a response; whether there was something. Raises StoreFailed."""

        def deleted(tables: Tables) -> int:
            return tables.delete("delete_history", response_id, principal)

        return bool(await self._done(response_id, deleted))

    async def delete_all(self, principal: str) -> None:
        """Keep nothing of a principal. Raises StoreFailed."""
        await self._done("", lambda tables: tables.delete("delete_history_of_principal", principal))

    async def run(self) -> None:
        """The writer: groups grow while one is written. Until `close`, and everything is."""
        sweep_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(sweep_at):
                    await self._work.wait()
            self._work.clear()
            old = loop.time() >= sweep_at and self._database.exists
            if loop.time() >= sweep_at:
                sweep_at = loop.time() + SWEEP
            if self._waiting or self._calls or old:
                await self._write(old)
            if self._closing and not self._waiting and not self._calls:
                return

    def close(self) -> None:
        """Let `run` write what waits, then end."""
        self._closing = True
        self._work.set()

    async def _write(self, old: bool) -> None:
        """One group, in one transaction: new calls, then what is asked of them."""
        group, self._waiting = self._waiting, []
        calls, self._calls = self._calls, []
        try:
            lines = await asyncio.to_thread(self._lines, group) if group else []
            write = partial(self._group, lines, [each for each in group if each.again_of], [each for each, _ in calls])
            answers = await self._database.write(partial(write, self._now() if old else None))
        except Exception as error:  # whatever it is, the next group has its turn
            self.lost += len(group)
            facts = {"reason": str(error), "calls": len(group), "waited": len(calls)}
            if isinstance(error, EXPECTED):
                log.error("history_not_written", **facts)
            else:
                log.exception("history_not_written", **facts)
            for _, waiter in calls:
                if not waiter.done():
                    waiter.set_exception(StoreFailed())
        else:
            self._full = False
            for (_, waiter), answer in zip(calls, answers, strict=True):
                if not waiter.done():  # who waited has left
                    waiter.set_result(answer)

    def _lines(self, group: Sequence[Entry]) -> list[Line]:
        return [each.line(self._features(each.question) if each.question else None) for each in group]

    def _group(
        self,
        lines: Sequence[Line],
        again: Sequence[Entry],
        calls: Sequence[Callable[[Tables], Any]],
        now: float | None,
        tables: Tables,
    ) -> list[Any]:
        """In the writer's thread."""
        if now is not None:
            tables.delete("delete_old_history", now - self._bounds.days * DAY)
            tables.delete("delete_more_history", self._bounds.max_rows)
        tables.put("put_history", lines)
        for each in again:
            made = each.outcome
            if made.status == "completed":
                tables.run("put_again", f"{made.backend}/{made.backend_model}", each.again_of, made.principal)
            if made.routed is None:
                tables.run("copy_features", made.response_id, made.principal)
        return [call(tables) for call in calls]

    async def _done(self, response_id: str, call: Callable[[Tables], V]) -> V | None:
        """None where nothing was ever kept. Raises StoreFailed."""
        if self._closing:
            raise StoreFailed
        # None of ours otherwise; SQLite takes no half of a surrogate pair.
        if not response_id.isascii() or not (self._begun or self._database.exists):
            return None
        waiter: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._calls.append((call, waiter))
        self._work.set()
        return await waiter

    def _first(self, asked: _Asked, outcome: Outcome) -> _Answered | None:
        """The answer that was not enough: this is the same question, under another name and with another answerer."""
        first = self._answered.get(asked.key) if asked.key is not None else None
        if first is None or not 0 <= asked.at - first.at <= AGAIN or outcome.first_event is None:
            return None
        other = first.model != outcome.model and first.target != (outcome.backend, outcome.backend_model)
        return first if other else None


@asynccontextmanager
async def kept(history: History) -> AsyncIterator[History]:
    """A history whose task runs; leaving writes what waits."""
    task = asyncio.create_task(history.run(), name="history writer")
    try:
        yield history
    finally:
        history.close()
        try:
            async with asyncio.timeout(FLUSH):
                await task
        except TimeoutError:
            log.error("history_not_written", reason="the disk is too slow to stop in time")


def put(held: "OrderedDict[K, V]", key: K, value: V, most: int) -> None:
    """As the newest of at most so many."""
    held[key] = value
    held.move_to_end(key)
    if len(held) > most:
        held.popitem(last=False)
