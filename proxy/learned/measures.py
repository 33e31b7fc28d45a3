"""Measures how well a router orders prompts: the cost-quality curve, what is read off it, and how sure that is.

Every prompt has a score of the router, and for two models how well each did (0 to 1). The prompts are sorted by score,
highest first; sending the first part of them, a share c, to the strong model and the rest to the weak one gives a
quality Q(c), from Q(0), the weak model's, to Q(1), the strong one's. As RouteLLM defines it (arXiv 2406.18665, 3.2):

    PGR(c)  = (Q(c) - Q(0)) / (Q(1) - Q(0))        the part of the quality gap that is recovered
    APGR    = the integral of PGR(c) over c from 0 to 1; a random order has 0.5
    CPT(x)  = the smallest share c with PGR(c) >= x; a random order has x

RouteLLM's program takes eleven thresholds and draws straight lines between them. Here every threshold counts. Prompts
with the same score are in random order; what is expected of that is a straight line, so the measures are exact.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

SURE = 0.95  # of an interval
ROUNDING = 1e-9  # qualities so near to each other are the same
FEW = 0.05  # of the samples: when the strong model is not the better one in more of them, there is no interval


@dataclass(frozen=True, slots=True)
class Curve:
    """The quality at each share of strong calls. Straight lines join the points."""

    share: Floats  # rises from 0 to 1
    quality: Floats  # mean score of the answers

    @property
    def weak(self) -> float:
        """The quality of the weak model alone."""
        return float(self.quality[0])

    @property
    def strong(self) -> float:
        """The quality of the strong model alone."""
        return float(self.quality[-1])

    @property
    def gap(self) -> float:
        """How much better the strong model is than the weak one."""
        return self.strong - self.weak

    def at(self, share: Floats) -> Floats:
        """The quality at these shares."""
        return np.asarray(np.interp(share, self.share, self.quality))

    def share_for(self, quality: float) -> float:
        """The smallest share with at least this quality; NaN where no share has it."""
        reached = np.flatnonzero(self.quality >= quality - ROUNDING)
        if not reached.size:
            return float("nan")
        after = int(reached[0])
        if after == 0:
            return 0.0
        (start, end), (low, high) = self.share[after - 1 : after + 1], self.quality[after - 1 : after + 1]
        return float(start + (end - start) * min((quality - low) / (high - low), 1.0))


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost. The defaults are those of RouteLLM's paper: GPT-4 of November 2023, Mixtral 8x7B."""

    strong: float = 24.7
    weak: float = 0.24

    def cost(self, share: float) -> float:
        """What a million tokens cost when this share of them goes to the strong model."""
        return share * self.strong + (1 - share) * self.weak

    def saving(self, share: float) -> float:
        """The part of the strong model's price that is saved, 0 to 1."""
        return 1 - self.cost(share) / self.strong


class Ranking:
    """Prompts in the order of their scores, and how well two models did on them. Sorts once, measures often."""

    def __init__(self, scores: Floats, strong: Floats, weak: Floats) -> None:
        """Arrays of one length, at least 1. Raises ValueError when a value is not a number."""
        if not (len(scores) == len(strong) == len(weak) > 0):
            raise ValueError("Scores and outcomes must be of the same prompts, and of at least one.")
        if not all(np.isfinite(each).all() for each in (scores, strong, weak)):
            raise ValueError("Scores and outcomes must be numbers, but one is missing or infinite.")
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._ties = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))  # where each group begins
        self._weak = weak
        self._gain = (strong - weak)[self._order]

    def __len__(self) -> int:
        return len(self._order)

    def curve(self, weights: Floats | None = None) -> Curve:
        """The curve, with each prompt counted so many times. Weights must not all be 0."""
        counts = np.ones(len(self)) if weights is None else weights
        ordered = counts[self._order]
        total = ordered.sum()
        calls = np.add.reduceat(ordered, self._ties).cumsum() / total
        gained = np.add.reduceat(ordered * self._gain, self._ties).cumsum() / total
        calls[-1] = 1.0  # the sum of many parts misses it by a rounding
        weak = float((counts * self._weak).sum() / total)  # no dot product: its threads wait for each other
        return Curve(np.concatenate(([0.0], calls)), weak + np.concatenate(([0.0], gained)))


def apgr(curve: Curve) -> float:
    """The average performance gap recovered. NaN when the strong model is not the better one."""
    if curve.gap <= ROUNDING:
        return float("nan")
    area = float(((curve.quality[1:] + curve.quality[:-1]) / 2 * np.diff(curve.share)).sum())
    return (area - curve.weak) / curve.gap


def cpt(curve: Curve, part: float) -> float:
    """The share of strong calls that recovers this part of the gap. NaN when the strong model is not the better one."""
    return curve.share_for(curve.weak + part * curve.gap) if curve.gap > ROUNDING else float("nan")


def share_at(curve: Curve, quality: float) -> float:
    """The smallest share of strong calls with this part of the strong model's quality, such as 0.95."""
    return curve.share_for(quality * curve.strong)


def of_random(strong: float, weak: float) -> Curve:
    """The curve of a router that knows nothing, from the qualities of the two models: a straight line."""
    return Curve(np.array([0.0, 1.0]), np.array([weak, strong]))


def of_oracle(strong: Floats, weak: Floats) -> Curve:
    """The curve of a router that knows every outcome beforehand."""
    return Ranking(strong - weak, strong, weak).curve()


def calibration_error(probabilities: Floats, outcomes: Floats, bins: int = 10) -> float:
    """The expected calibration error: the mean distance of what was said from what happened, over bins of equal size.

    Equal size, not equal width: scores crowd together, and bins of equal width would hide most of them in one. Prompts
    of one score stay in one bin.
    """
    order = np.argsort(probabilities, kind="stable")
    said, happened = probabilities[order], outcomes[order]
    cuts = np.searchsorted(said, said[(np.arange(1, bins) * len(said)) // bins])
    starts = np.unique(np.concatenate(([0], cuts)))
    return float(np.abs(np.add.reduceat(said - happened, starts)).sum() / len(said))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value and its 95 % interval. NaN is what could not be measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Run:
    """What a router said of prompts that it was not trained on. Prompts of one key are one question, for resampling."""

    scores: Floats
    strong: Floats
    weak: Floats
    key: Ints


def resampled(keys: int, draws: int, seed: int) -> Iterator[Floats]:
    """How often each of so many questions is in each of `draws` bootstrap samples."""
    dice = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(dice.integers(keys, size=keys), minlength=keys).astype(np.float64)


def estimates(
    runs: Sequence[Run], read: Callable[[Curve], Sequence[float]], *, draws: int = 1000, seed: int = 0
) -> list[Estimate]:
    """What `read` says of the curve, as the mean over the runs, with bootstrap intervals (percentiles).

    Whole questions are drawn, the same for every run: rows of one question are never independent, nor are runs that
    share their questions.
    """
    ranked = [Ranking(run.scores, run.strong, run.weak) for run in runs]
    names, places = np.unique(np.concatenate([run.key for run in runs]), return_inverse=True)
    ends = np.cumsum([len(run.key) for run in runs])
    questions = np.split(places, ends[:-1])

    def means(counts: Floats) -> Floats:
        weights = [counts[each] for each in questions]
        drawn = [each for each in zip(ranked, weights, strict=True) if each[1].any()]
        return np.asarray(np.mean([read(ranking.curve(weight)) for ranking, weight in drawn], axis=0), dtype=np.float64)

    values = means(np.ones(len(names)))
    samples = np.array([means(counts) for counts in resampled(len(names), draws, seed)]).reshape(draws, len(values))
    return [Estimate(float(value), *interval(column)) for value, column in zip(values, samples.T, strict=True)]


def interval(samples: Floats) -> tuple[float, float]:
    """The middle 95 % of the samples, without those that could not be measured where these are few."""
    known = samples[np.isfinite(samples)]
    if len(known) < (1 - FEW) * len(samples) or not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - SURE) / 2, (1 + SURE) / 2])
    return float(low), float(high)
