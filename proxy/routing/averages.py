"""Averages in which what is older counts less. Pure: the time is given."""

HALF_LIFE = 60.0  # seconds
FORGOTTEN = 300.0  # seconds after which the newest value says nothing any more


class Average:
    """The mean of values, each of which counts half as much after HALF_LIFE seconds."""

    __slots__ = ("_at", "_mean", "_weight")

    def __init__(self) -> None:
        self._mean = self._weight = self._at = 0.0

    def learn(self, value: float, now: float) -> None:
        """One more."""
        self._weight = self._weight * 0.5 ** (max(0.0, now - self._at) / HALF_LIFE) + 1.0
        self._mean += (value - self._mean) / self._weight
        self._at = max(now, self._at)

    def value(self, now: float) -> float | None:
        """The mean; None where there was no value lately."""
        return self._mean if self._weight and now - self._at < FORGOTTEN else None
