"""What an event loop sees of a ledger in a file: the Book as it is on the disk, for plain calls that cannot wait."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from quota.book import Book
from quota.ledger import Cooldown, Headroom
from quota.pool import SECOND, Micros
from quota.rows import Rows

FRESH = 1.0  # seconds for which others' acts may not be seen
SOON: Micros = SECOND // 10  # for which what time alone gives back may not be seen


class LedgerView:
    """Shown rows by the writer as soon as they are on the disk; `read` gives what all processes wrote since a seq."""

    def __init__(self, read: Callable[[int], Awaitable[Rows]]) -> None:
        self._read = read
        self._book = Book(lambda _: None)
        self._asked = asyncio.Event()
        self._headroom: dict[str, Headroom] = {}  # to work it out for all pools takes milliseconds
        self._holds: dict[str, Micros] = {}  # until when each of it does

    @property
    def time(self) -> Micros:
        """The ledger's time, as far as it has been seen."""
        return self._book.time

    def show(self, news: Sequence[Rows]) -> None:
        """Take what the writer saw or wrote, in its order."""
        for rows in news:
            self._load(rows)

    def headroom(self, now: Micros) -> Mapping[str, Headroom]:
        """Every pool."""
        self._asked.set()
        if old := [name for name, end in self._holds.items() if end <= now]:
            for name, room in self._book.headroom(now, old).items():
                ends = (now + SOON, room.opens_at, room.resets_at, room.closed_until)
                self._headroom[name] = room
                self._holds[name] = min(end for end in ends if end is not None)
        return dict(self._headroom)

    def cooldowns(self, now: Micros) -> Mapping[str, Cooldown]:
        """Those that have not ended."""
        self._asked.set()
        return self._book.cooldowns(now)

    async def run(self) -> None:
        """Refresh while somebody asks, at most once in FRESH seconds. Until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            with suppress(Exception):  # what is known stays; who writes hears of it
                await self.refresh()
            await asyncio.sleep(FRESH)

    async def refresh(self) -> None:
        """Look at the file. Raises LedgerUnusable."""
        self._load(await self._read(self._book.seq))

    def _load(self, rows: Rows) -> None:
        if rows.seq > self._book.seq:  # what the writer shows and what is read may overtake each other
            self._book.load(rows)
            self._holds.update((row.pool.id, 0) for row in rows.pools)
