"""When a second backend is asked the same, before the first has answered. Pure: somebody else asks, and has the clock.

A hedge buys a shorter wait for a request that is slower than nearly all others, and is paid twice. So it is off unless
somebody wants it, and is taken by a few requests in a hundred at most: in an overload all are late, and hedging them
all would double the load.
(Dean and Barroso, The Tail at Scale, 2013: a hedge after the 95th percentile adds about 5 % of load.)
"""

from collections import deque

BLOCKS = 10  # pieces of the window: it slides by one at a time


class Hedges:
    """At most `share` of the requests of a window of `window` seconds are hedged: 0.02 to 0.05.

    `after` is how long to wait for the first token, in seconds. None of it waits, and `now` is in seconds of any clock
    that only goes forward.
    """

    def __init__(self, share: float, after: float, window: float = 60.0) -> None:
        self._share, self._after = share, after
        self._block = window / BLOCKS
        self._blocks: deque[list[int]] = deque(maxlen=BLOCKS)  # number of the block, requests in it, hedges in it

    def due(self, now: float) -> float:
        """A request begins, and counts in the window: how long to wait for its first token before `take` is asked."""
        self._at(now)[1] += 1
        return self._after

    def take(self, now: float) -> bool:
        """The wait is over, and nothing has come: whether this one may be hedged. If so it counts as that."""
        block = self._at(now)
        requests, hedges = (sum(each[index] for each in self._blocks) for index in (1, 2))
        if hedges + 1 > self._share * requests:
            return False
        block[2] += 1
        return True

    def _at(self, now: float) -> list[int]:
        """The block of now; those that have left the window are forgotten."""
        number = int(now // self._block)
        while self._blocks and self._blocks[0][0] <= number - BLOCKS:
            self._blocks.popleft()
        if not self._blocks or self._blocks[-1][0] < number:
            self._blocks.append([number, 0, 0])
        return self._blocks[-1]
