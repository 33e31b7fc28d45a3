"""How many requests one backend bears at once, read off its times to the first token, never off total times. Pure.

It is the gradient of Netflix's concurrency-limits and of Envoy: limit = gradient x concurrency + headroom. The gradient
is the time that would be well, by the one that was seen; the concurrency is that at which the request was begun, so
that what was begun long ago says nothing of now. A median of many decides.

A time is compared with its like only: the same model, a prompt of about the same length. It is well up to TOLERANCE
times the usual, and always up to BUFFER seconds above it: machines stutter. There is no limit before times grow.
"""

from collections.abc import Callable
from math import inf, sqrt
from statistics import median

from msgspec import Struct

BUFFER = 1.0  # seconds
TOLERANCE = 2.0
LEAST = 4  # of a limit that adapts: below it nothing can be measured
FEW = 10  # times of a kind, before one more is judged by them
WINDOW = (4, 12)  # times that a decision needs: as many as the limit, within these bounds
SOON, LATE = 1 / 16, 1 / 64  # how much a shorter, and a longer time says of the usual
CROWD = 1.5  # times as many as usual: what takes longer among them says nothing of what is usual
MEASURE = 300.0  # seconds in use after which the usual is measured again, by half the requests for a moment
KINDS = 256  # that are remembered
FORGOTTEN = 60.0  # seconds without a first token after which a limit that was found is doubled
ENOUGH = 4096.0  # a limit beyond it is none that was found


class Bounds(Struct, frozen=True):
    """What an operator says of one backend's limit. `most` None sets none."""

    least: int = LEAST
    most: int | None = None
    adaptive: bool = True


class Usual:
    """The usual time to the first token of one kind of request, in seconds, and among how many; `count` were seen."""

    __slots__ = ("among", "count", "seconds")

    def __init__(self) -> None:
        self.count, self.seconds, self.among = 0, 0.0, 0.0

    @property
    def well(self) -> float:
        """The longest time that is no sign of too many requests."""
        return max(TOLERANCE * self.seconds, self.seconds + BUFFER)

    def learn(self, seconds: float, among: int, pressed: bool) -> None:
        """One more time. What is long while there are many requests is not usual."""
        well = self.well
        if self.count and seconds > well:
            seconds = well
        else:
            self.among += (among - self.among) * (SOON if self.count else 1)
        self.count += 1
        if self.count <= FEW:
            self.seconds += (seconds - self.seconds) / self.count
        elif seconds < self.seconds:
            self.seconds += (seconds - self.seconds) * SOON
        elif not pressed and among <= CROWD * self.among:
            self.seconds += (seconds - self.seconds) * LATE


class Limit:
    """The limit of one backend: `value`, from `least` to `most`, infinite for none. `dice` gives 0 to 1."""

    def __init__(self, bounds: Bounds, dice: Callable[[], float]) -> None:
        self.most = inf if bounds.most is None else float(bounds.most)
        self.least = min(float(bounds.least), self.most)
        self.adaptive, self._dice = bounds.adaptive, dice
        self._usual: dict[tuple[str, int], Usual] = {}
        self._targets: list[float] = []
        self._measure_at: float | None = None
        self._seen = -inf  # when a first token came last
        self.value = self.most

    def at(self, now: float) -> float:
        """The limit now. What was found of a backend that nobody asks since says less and less."""
        while self.value < self.most and now >= self._seen + FORGOTTEN:
            self._seen += FORGOTTEN
            self.value = min(self.most, self.value * 2) if self.value < ENOUGH else self.most
        return self.value

    def first(self, kind: tuple[str, int], seconds: float, among: int, now: float) -> None:
        """A request's first token came `seconds` after it was begun, as one `among` so many."""
        if not self.adaptive:
            return
        self._seen = now
        if (usual := self._usual.get(kind)) is None:
            if len(self._usual) >= KINDS:
                del self._usual[next(iter(self._usual))]
            usual = self._usual[kind] = Usual()
        pressed = 2 * among >= self.value
        if usual.count >= FEW:
            well, least = usual.well, min(max(WINDOW[0], self.value), WINDOW[1])
            self._targets.append(self._target(well, seconds, among))
            # What goes wrong is answered as soon as half of a decision's times say so.
            if len(self._targets) >= (least / 2 if seconds > well else least):
                self._decide()
        usual.learn(seconds, among, pressed and self.value > self.least)
        if pressed:
            self._measure(now)
        else:
            self._measure_at = None

    def given_up(self, kind: tuple[str, int], seconds: float, among: int) -> None:
        """A request was given up so long after it was begun, without a first token: it would have taken longer."""
        usual = self._usual.get(kind)
        if self.adaptive and usual is not None and usual.count >= FEW and seconds > usual.well:
            self._targets.append(self._target(usual.well, seconds, among))
            if len(self._targets) >= min(max(WINDOW[0], self.value), WINDOW[1]) / 2:
                self._decide()

    def _decide(self) -> None:
        value = min(max(median(self._targets), self.least), self.most)
        if value != self.value or len(self._targets) >= WINDOW[1]:
            self.value = value
            self._targets.clear()

    def _target(self, well: float, seconds: float, among: int) -> float:
        """What one time says of the limit. It is only raised from where it was in use."""
        if seconds > well:
            return min(self.value, among * well / seconds)
        return max(self.value, among + sqrt(among))

    def _measure(self, now: float) -> None:
        """In use for long, nobody knows any more what is usual: then half as many are let in until the next decision.

        The dice keep several gateways from doing so at once.
        """
        if self._measure_at is None:
            self._measure_at = now + MEASURE * (0.85 + 0.3 * self._dice())
        elif now >= self._measure_at:
            self._measure_at = None
            self._targets.clear()
            self.value = max(self.least, self.value / 2)
