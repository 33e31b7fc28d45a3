"""Finds the threshold for a wanted share or quality on a sample of prompts, and the file that keeps it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from proxy.learned.measures import Floats, Ints, Ranking, Run, resampled

VERSION = 1  # of the file
LEAST = 200  # prompts; with so many, a share of 30 % is known to 6 points either way
PARTS = 200  # of the table of quantiles: steps of 0.5 %
NORMAL = 1.96  # standard errors on each side of a 95 % interval


class TooFewPrompts(ValueError):
    """A calibration needs more prompts than were given."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"{count} prompts are too few for a threshold that holds: give at least {LEAST}, of the traffic that "
            "the router will see."
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """The file, as JSON: how a router's scores are spread over a sample of prompts."""

    version: int
    router_hash: str  # of the weights that gave the scores; under other weights the file means nothing
    strong: str  # the models whose heads gave the scores, or the tiers
    weak: str
    made: str  # the day, ISO 8601
    data_hash: str  # of the prompts
    n: int
    quantiles: Sequence[float]  # 201 scores: at 0, 0.5 %, … 100 % of the sample


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which score on the strong model answers, and how sure that is."""

    wanted: float  # strong share
    value: float
    low: float  # 95 % interval of the value
    high: float
    share: float  # of the sample, at this threshold; equal scores can keep it from what was wanted
    share_low: float  # 95 % interval of the share of further prompts of the same kind
    share_high: float


@dataclass(frozen=True, slots=True)
class Kept:
    """The smallest strong share that surely keeps a quality, on labelled prompts."""

    quality: float  # wanted part of the strong model's
    share: float
    expected: float  # part of the strong model's quality that was measured at this share
    low: float  # and the lower end of its 95 % interval: at least what was wanted


def calibration(scores: Floats, *, router_hash: str, strong: str, weak: str, made: str, data_hash: str) -> Calibration:
    """Raises TooFewPrompts."""
    _enough(scores)
    quantiles = np.quantile(scores, np.linspace(0, 1, PARTS + 1))
    rounded = [float(f"{value:.7g}") for value in quantiles]
    return Calibration(VERSION, router_hash, strong, weak, made, data_hash, len(scores), rounded)


def threshold_for(scores: Floats, strong_share: float) -> Threshold:
    """For a share of 0 to 1, with the interval that order statistics give. Raises TooFewPrompts."""
    _enough(scores)
    ordered, count = np.sort(scores), len(scores)
    error = NORMAL * sqrt(strong_share * (1 - strong_share) / count)
    value = float(np.quantile(ordered, 1 - strong_share)) if strong_share > 0 else inf
    low, high = (float(np.quantile(ordered, min(max(1 - strong_share + each, 0), 1))) for each in (-error, error))
    share = float((scores >= value).mean())
    error = NORMAL * sqrt(share * (1 - share) / count)
    return Threshold(strong_share, value, low, high, share, max(share - error, 0.0), min(share + error, 1.0))


def keeping(run: Run, quality: float, *, draws: int = 1000, seed: int = 0) -> Kept:
    """The smallest share whose lower bound has this part of the strong model's quality. Raises TooFewPrompts."""
    _enough(run.scores)
    ranking, grid = Ranking(run.scores, run.strong, run.weak), np.linspace(0, 1, PARTS + 1)
    names, places = np.unique(run.key, return_inverse=True)
    curves = [ranking.curve(counts[places]) for counts in resampled(len(names), draws, seed)]
    parts = np.array([curve.at(grid) / curve.strong for curve in curves if curve.strong > 0])
    low = np.quantile(parts, 0.025, axis=0)
    low[-1] = 1.0  # all calls to the strong model are its quality, whatever the rounding
    holds = low >= quality
    first = int(np.flatnonzero(~holds)[-1]) + 1 if not holds.all() else 0  # from here on every share holds
    whole = ranking.curve()
    expected = float(whole.at(grid[first : first + 1])[0]) / whole.strong
    return Kept(quality, float(grid[first]), expected, float(low[first]))


def _enough(scores: Floats | Ints) -> None:
    if len(scores) < LEAST:
        raise TooFewPrompts(len(scores))
