"""What an event loop sees of a ledger in a file: in whichever order news reach it, the newest is what it shows."""

from quota.ledger_view import LedgerView
from quota.pool import MINUTE, SECOND, Micros, Pool, Rolling
from quota.rows import Bucket, PoolRow, Rows

NOON: Micros = 1_795_262_400 * SECOND


def rows(seq: int, used: int) -> Rows:
    """A pool of which so much was used by then."""
    bucket = Bucket("p", NOON, NOON + 5 * SECOND, NOON + 65 * SECOND, used, seq)
    return Rows(seq, NOON, [PoolRow(Pool("p", 10, Rolling(MINUTE)), 10, "catalog", seq=seq)], [bucket])


async def test_what_was_read_meanwhile_is_newer_than_what_the_writer_shows() -> None:
    async def read(since: int) -> Rows:
        return rows(9, used=7)

    view = LedgerView(read)
    view.show([rows(5, used=2)])
    assert view.headroom(NOON)["p"].used == 2
    await view.refresh()
    view.show([rows(8, used=3)])
    assert view.headroom(NOON + SECOND)["p"].used == 7


async def test_what_the_writer_showed_meanwhile_is_newer_than_what_was_read() -> None:
    async def read(since: int) -> Rows:
        view.show([rows(9, used=7)])
        return rows(8, used=3)

    view = LedgerView(read)
    await view.refresh()
    assert view.headroom(NOON)["p"].used == 7
