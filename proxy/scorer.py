"""A learned router as the choice sees it: its score, and where that lies in the mix that it was calibrated on."""

from bisect import bisect_right
from collections.abc import Sequence

from proxy.learned.router import PairRouter
from proxy.routing.values import Scored


class LearnedScorer:
    """`quantiles` are scores of the operator's own prompts in order, evenly spaced; None: those of the weights."""

    def __init__(self, pair: PairRouter, quantiles: Sequence[float] | None = None) -> None:
        self._pair, self._quantiles = pair, quantiles

    def scored(self, question: str) -> Scored:
        """What it says of a prompt. Called from any thread."""
        found = self._pair.score(question)
        if self._quantiles is None:
            share = 1 - self._pair.share(found.score)
        else:
            share = bisect_right(self._quantiles, found.score) / len(self._quantiles)  # as calibrate counts equal ones
        return Scored(found.score, share, found.unfamiliar, found.guarded)
