"""A desk at which a test asks a Book: every change is stored at once, and the words are a caller's."""

from quota.ledger import Attempt, Denied, Headroom, Observation, Settled
from quota.pool import DAY, MINUTE, SECOND, Concurrent, Fixed, Gcra, Micros, Pool, Rolling, Window
from tests.quota_storage import Storage

MORNING: Micros = 1_805_040_000 * SECOND  # 2027-03-14 16:00 UTC: 09:00 in Los Angeles, in a day of 23 hours
DAY_END: Micros = 1_805_094_000 * SECOND  # 2027-03-15 07:00 UTC: midnight there
LOS_ANGELES = Fixed("day", "America/Los_Angeles", guard=MINUTE)


class Desk:
    """`now` is the time of all that is asked."""

    def __init__(self, *pools: Pool, now: Micros = MORNING) -> None:
        self.now = now
        self.storage = Storage()
        self.book = self.storage.book()
        self.book.define(now, pools)
        self.count = 0
        self.write()

    def write(self) -> None:
        self.storage.write(self.book.take())
        self.storage.check()

    def kinds(self) -> list[str]:
        return [operation.kind for operation in self.storage.operations]

    def ask(self, tag: str = "", **amounts: int) -> Attempt | Denied:
        self.count += 1
        attempt = Attempt(str(self.count))
        answer = self.book.reserve(self.now, attempt, amounts, tag=tag, owner="", lease_end=self.now + MINUTE)
        self.write()
        return answer if isinstance(answer, Denied) else attempt

    def take(self, tag: str = "", **amounts: int) -> Attempt:
        attempt = self.ask(tag, **amounts)
        assert isinstance(attempt, Attempt)
        return attempt

    def refuse(self, **amounts: int) -> Denied:
        denied = self.ask(**amounts)
        assert isinstance(denied, Denied)
        return denied

    def settle(self, attempt: Attempt, answered_at: Micros | None = None, **used: int) -> Settled:
        settled = self.book.settle(self.now, attempt, used, answered_at)
        self.write()
        assert settled is not None
        return settled

    def spend(self, tag: str = "", **amounts: int) -> None:
        self.settle(self.take(tag, **amounts))

    def observe(self, pool: str = "p", **said: int | None) -> None:
        self.book.observe(self.now, Observation(pool, self.now, "header", **said))
        self.write()

    def refused(self, resets_at: Micros | None = None) -> None:
        self.book.observe(self.now, Observation("p", self.now, "refusal", resets_at=resets_at, refused=True))
        self.write()

    def lapse(self) -> int:
        lapsed = self.book.lapse(self.now, self.storage.opened())
        self.write()
        return lapsed

    def at(self, pool: str = "p") -> Headroom:
        """How it stands, for this Book and for one that only knows what is stored."""
        self.write()
        stands = self.book.headroom(self.now)[pool]
        assert self.storage.book().headroom(self.now)[pool] == stands
        return stands


def desk(window: Window, cap: int = 10, **more: int) -> Desk:
    return Desk(Pool("p", cap, window, **more))


EVERY_WINDOW = [LOS_ANGELES, Fixed("ever"), Rolling(MINUTE), Gcra(MINUTE), Gcra(DAY), Concurrent()]
COUNTED = [window for window in EVERY_WINDOW if not isinstance(window, Concurrent)]
