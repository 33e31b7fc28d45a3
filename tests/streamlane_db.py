"""Opens streamlane.db for tests of who keeps something in it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.store.database import database
from proxy.store.memory import MemoryStore
from proxy.store.sqlite import SqliteStore
from proxy.store.sqlite import opened as opened_in


@asynccontextmanager
async def opened(
    path: Path, memory: MemoryStore, queue_bytes: int, now: Callable[[], float]
) -> AsyncIterator[SqliteStore]:
    """A store of responses in the file at `path`, alone."""
    async with database(path) as file, opened_in(file, memory, queue_bytes, now) as store:
        yield store
