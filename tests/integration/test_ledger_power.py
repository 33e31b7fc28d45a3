"""The power fails: of what was not synced any sectors are on the disk, and any are not.

With synchronous=full SQLite syncs the log in each COMMIT, the log before and the file after each checkpoint, and the
header of a log that begins anew before its frames (src/wal.c, walFrames). So in the middle of a COMMIT the disk holds
the old log with some sectors of the new one; or, when that was synced, the old file with some sectors of the new one.
Whatever it is, it opens with all that was answered before, and all or nothing of what was not.
"""

import random
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from quota.ledger import Attempt
from quota.sqlite_ledger import opened
from tests.quota_worker import budget

SECTOR = 512  # bytes that a disk writes whole
HEADER = 32  # bytes, of a log
TAKE = {"requests": 1, "tokens": 9}


@dataclass(frozen=True)
class Image:
    """The file and its log, as they were when a COMMIT had returned."""

    file: bytes
    log: bytes

    @classmethod
    def of(cls, path: Path) -> "Image":
        log = path.with_name(f"{path.name}-wal")
        return cls(path.read_bytes(), log.read_bytes() if log.exists() else b"")

    def write(self, path: Path) -> None:
        """As a machine finds them that starts again: the shared memory is gone."""
        path.parent.mkdir()
        path.write_bytes(self.file)
        if self.log:
            path.with_name(f"{path.name}-wal").write_bytes(self.log)


def torn(old: bytes, new: bytes, dice: random.Random) -> bytes:
    """Some sectors of the new one are on the disk. A file that grew may have grown, with nothing in it."""
    size = dice.choice([len(old), len(new), max(len(old), len(new)) - dice.randrange(SECTOR * 8)])
    size, share = max(size, min(len(old), len(new))), dice.random()
    old, new = old[:size].ljust(size, b"\0"), new[:size].ljust(size, b"\0")
    return b"".join((new if dice.random() < share else old)[at : at + SECTOR] for at in range(0, size, SECTOR))


def states(path: Path) -> dict[tuple[str, int], str]:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = database.execute("SELECT request_id, number, state FROM reservation")
        return {(request, number): state for request, number, state in found}


async def test_any_part_of_what_was_not_synced_may_be_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quota.sqlite_file.CHECKPOINT", 12)  # pages: every few commits
    images: list[Image] = []
    path = tmp_path / "quota.db"

    def at(point: str) -> None:
        if point == "committed":
            images.append(Image.of(path))

    async with opened(path, at=at) as ledger:
        await ledger.define([budget("requests", 10**6), budget("tokens", 10**6)])
        for number in range(16):
            await ledger.reserve(Attempt("request", number), TAKE)
            if number % 3:
                await ledger.settle(Attempt("request", number), {"tokens": number % 8})
    dice = random.Random(11)
    checkpoints = sum(old.file != new.file for old, new in pairwise(images))
    assert checkpoints >= 3
    for number, (old, new) in enumerate(pairwise(images)):
        before, after = [seen(image, tmp_path / f"{number}-{name}") for name, image in (("old", old), ("new", new))]
        lost = [Image(old.file, torn(new.log[:HEADER] + old.log[HEADER:], new.log, dice))]
        if new.file != old.file:
            lost.append(Image(torn(old.file, new.file, dice), new.log))
        for part, image in enumerate(lost):
            place = tmp_path / f"{number}-{part}" / "quota.db"
            image.write(place)
            assert states(place) in ([before, after] if part == 0 else [after])
            async with opened(place) as ledger:
                assert await ledger.reconcile() == []
                assert len(await ledger.history()) >= len(before)
            shutil.rmtree(place.parent)


def seen(image: Image, folder: Path) -> dict[tuple[str, int], str]:
    """All that was answered when it was taken."""
    image.write(folder / "quota.db")
    try:
        return states(folder / "quota.db")
    finally:
        shutil.rmtree(folder)
