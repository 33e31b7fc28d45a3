"""Looks at the history without changing it: it works beside a gateway that runs, and without one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from backends.json import loads_own
from proxy.history.labels import Kept
from proxy.store.sqlite_file import MIGRATIONS, StoreUnusable, file_of, queries
from quota.sqlite_file import BUSY, trouble

NAME = "streamlane.db"  # within data_dir


class HistoryFile:
    """One file, open. Blocks. Raises StoreUnusable."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def newest(self, limit: int = -1) -> Iterator[Kept]:
        """So many calls, all for -1, newest first."""
        with said(self._path):
            for row in self._database.execute(queries()["get_history"], (limit,)):
                yield _kept(*row)

    def rated(self) -> Iterator[Kept]:
        """The calls of which something was said, or done next, newest first."""
        with said(self._path):
            for row in self._database.execute(queries()["get_rated_history"]):
                yield _kept(*row)


@contextmanager
def reading(folder: Path) -> Iterator[HistoryFile]:
    """The history in that data_dir. Raises StoreUnusable."""
    path = folder / NAME
    if not path.exists():
        raise StoreUnusable(
            f"{path} is not there: nothing was routed here yet. Ask the gateway for auto, or for a model of a rule."
        )
    with said(path):
        database = sqlite3.connect(file_of(path).reading, uri=True, timeout=BUSY, isolation_level=None)
    with closing(database):
        with said(path):
            version = database.execute("PRAGMA user_version").fetchone()[0]
        if version != len(MIGRATIONS):
            step = (
                "Update Streamlane."
                if version > len(MIGRATIONS)
                else "Start the gateway and let it route a call: that brings the file up to date."
            )
            other = "newer" if version > len(MIGRATIONS) else "older"
            raise StoreUnusable(f"{path} is of {other} Streamlane (schema {version}). {step}")
        yield HistoryFile(path, database)


@contextmanager
def said(path: Path) -> Iterator[None]:
    """Raises StoreUnusable where SQLite cannot go on."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnusable(trouble(path, error)) from error


def _kept(*row: Any) -> Kept:
    (
        at, principal, response_id, asked, rule, profile, score, threshold, guarded, sets, backend, model, status,
        error, failed, first_event, cost, features, question, again, rating, preferred,
    ) = row  # fmt: skip
    return Kept(
        at=at,
        principal=principal,
        response_id=response_id,
        asked=asked,
        rule=rule,
        profile=profile,
        score=score,
        threshold=threshold,
        guarded=bool(guarded),
        sets=tuple(loads_own(sets.encode())),
        answered=None if backend is None else f"{backend}/{model}",
        status=status,
        error=error,
        failed=tuple((one, other, why) for one, other, why in loads_own(failed.encode())),
        first_event=first_event,
        cost=cost,
        features=features,
        question=question,
        again=again,
        rating=rating,
        preferred=preferred,
    )
