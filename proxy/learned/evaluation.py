"""Measures a way of learning on prompts that it has not seen: which rows train, which test, and what comes of it. Pure.

Learning itself is an argument, so that every protocol here holds for any router.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from proxy.learned.measures import (
    Curve,
    Estimate,
    Floats,
    Ints,
    Prices,
    Ranking,
    Run,
    apgr,
    calibration_error,
    cpt,
    estimates,
    interval,
    of_oracle,
    of_random,
    resampled,
    share_at,
)

FOLDS = 5  # of groups, and of questions where the rows name no fold
FEW = 1_500  # training prompts: as many as RouteLLM's routers saw of MMLU
DRAWS = 5
TARGETS = (0.2, 0.5, 0.8)  # strong shares that are asked for
QUALITY = 0.95  # of the strong model's
STEPS = 101  # points of the band around the curve
LEAST = 30  # prompts on each side of a split; fewer decide nothing


class Fitted(Protocol):
    """A router that was trained on some rows."""

    def scores(self, rows: Ints, *, guard: bool = True) -> Floats:
        """The scores of these rows; without the guard, also of prompts that are unlike those it was trained on."""
        ...

    def threshold(self, strong_share: float) -> float:
        """From which score on the strong model answers, for this share of prompts like those it was trained on."""
        ...


Fit: TypeAlias = Callable[[Ints], Fitted]  # the numbers of the rows to train on


@dataclass(frozen=True, slots=True)
class Rows:
    """What an evaluation needs to know of each row. Outcomes are NaN where a model of the pair did not answer it."""

    strong: Floats
    weak: Floats
    key: Ints  # one per question
    fold: Ints  # the same for all rows of a question
    bench: NDArray[np.str_]
    group: NDArray[np.str_]

    def labelled(self, benches: Sequence[str] = ()) -> Ints:
        """The rows that both models answered, of these benchmarks (or of all)."""
        both = np.isfinite(self.strong) & np.isfinite(self.weak)
        return np.flatnonzero(both & np.isin(self.bench, benches) if benches else both)

    def run(self, rows: Ints, scores: Floats) -> Run:
        """These rows with what a router said of them."""
        return Run(scores, self.strong[rows], self.weak[rows], self.key[rows])


@dataclass(frozen=True, slots=True)
class Split:
    """Which rows train and which test, for one fit."""

    protocol: str
    train: Ints
    test: Ints


@dataclass(frozen=True, slots=True)
class Line:
    """What was measured under one protocol. Shares and savings are parts of 1."""

    protocol: str
    bench: str
    prompts: int
    apgr: Estimate
    cpt50: Estimate
    cpt80: Estimate
    share95: Estimate
    saving95: Estimate


@dataclass(frozen=True, slots=True)
class Share:
    """A strong share that was asked for, and the one that prompts of the same mix got."""

    wanted: float
    got: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that an evaluation found."""

    strong_quality: float
    weak_quality: float
    lines: Sequence[Line]
    shares: Sequence[Share]
    calibration_error: float
    router: Curve
    oracle: Curve
    low: Floats  # of the router's quality, at equal steps of the share from 0 to 1
    high: Floats


IN_DOMAIN = "folds by question"
LITTLE = f"{FEW:,} training prompts"
GROUPS = "whole groups left out"
BENCH = "benchmark left out"
UNGUARDED = "benchmark left out, no guard"
AS_IT_IS = "these weights"


def splits(rows: Rows, benches: Sequence[str], *, quick: bool = False, seed: int = 0) -> list[Split]:
    """Every split that these rows allow; only the folds when it must be quick.

    The folds train on all rows, whichever models answered them, as the shipped weights were. Few prompts and groups
    keep to the rows of the pair in its largest benchmark: others may hold the same subjects under other names.
    """
    every = np.arange(len(rows.key))
    tested = rows.labelled(benches)
    parts = [(every[rows.fold != fold], every[rows.fold == fold]) for fold in np.unique(rows.fold)]
    found = [Split(IN_DOMAIN, without(rows, train, test), test) for train, test in parts]
    if not quick:
        main = tested[rows.bench[tested] == largest(rows, tested)]
        found += _few(rows, main, np.random.default_rng(seed))
        found += _groups(rows, main, np.random.default_rng(seed))
        for bench in names(rows.bench[tested]):
            test = tested[rows.bench[tested] == bench]
            found.append(Split(BENCH, without(rows, every[rows.bench != bench], test), test))
    return [each for each in found if min(len(each.train), len(np.intersect1d(each.test, tested))) >= LEAST]


def _few(rows: Rows, main: Ints, dice: np.random.Generator) -> Iterator[Split]:
    if len(main) < FEW + LEAST:
        return
    for _ in range(DRAWS):
        train = np.sort(dice.choice(main, FEW, replace=False))
        yield Split(LITTLE, train, without(rows, main, train))


def _groups(rows: Rows, main: Ints, dice: np.random.Generator) -> Iterator[Split]:
    groups = dice.permutation(np.unique(rows.group[main]))
    if len(groups) < FOLDS:
        return
    for first in range(FOLDS):
        out = np.isin(rows.group[main], groups[first::FOLDS])
        yield Split(GROUPS, without(rows, main[~out], main[out]), main[out])


def names(benches: NDArray[np.str_]) -> list[str]:
    """Each benchmark once, that with the most rows first."""
    found, counts = np.unique(benches, return_counts=True)
    return [str(name) for name in found[np.argsort(-counts, kind="stable")]]


def largest(rows: Rows, tested: Ints) -> str:
    """The benchmark with the most of these rows."""
    return names(rows.bench[tested])[0]


def without(rows: Rows, some: Ints, others: Ints) -> Ints:
    """Those of `some` whose question is none of `others`."""
    return some[~np.isin(rows.key[some], rows.key[others])]


def evaluate(
    rows: Rows,
    fit: Fit,
    planned: Sequence[Split],
    benches: Sequence[str],
    prices: Prices,
    *,
    resamples: int = 1000,
    step: Callable[[Split], None] = lambda _: None,
) -> Report:
    """Fit and score every split, and measure. `step` is told of each split before it begins."""
    tested, answered = rows.labelled(benches), rows.labelled()
    runs: dict[tuple[str, str], list[tuple[Ints, Floats]]] = {}
    mixed: list[tuple[Floats, Fitted]] = []
    for split in planned:
        step(split)
        fitted = fit(split.train)
        scores = fitted.scores(split.test)
        if split.protocol == IN_DOMAIN:
            mixed.append((scores[np.isin(split.test, answered)], fitted))
        asked = np.isin(split.test, tested)
        test = split.test[asked]
        where = _named(rows, test if split.protocol != IN_DOMAIN else tested)
        runs.setdefault((split.protocol, where), []).append((test, scores[asked]))
        if split.protocol == BENCH:
            runs.setdefault((UNGUARDED, where), []).append((test, fitted.scores(test, guard=False)))
    shares = [_share(mixed, target) for target in TARGETS if mixed]
    return _report(rows, tested, runs, prices, resamples, shares=shares)


def measure(rows: Rows, scores: Floats, benches: Sequence[str], prices: Prices, *, resamples: int = 1000) -> Report:
    """What scores are worth that some router gave to all rows, which it should not have been trained on."""
    tested = rows.labelled(benches)
    runs = {(AS_IT_IS, _named(rows, tested)): [(tested, scores[tested])]}
    return _report(rows, tested, runs, prices, resamples)


def _report(
    rows: Rows,
    tested: Ints,
    runs: dict[tuple[str, str], list[tuple[Ints, Floats]]],
    prices: Prices,
    resamples: int,
    *,
    shares: Sequence[Share] = (),
) -> Report:
    (protocol, where), parts = next(iter(runs.items()))
    pooled = rows.run(*_pooled(parts))
    lines = [_line(protocol, where, [pooled], prices, resamples)]
    if len(benches := names(rows.bench[tested])) > 1:
        for bench in benches:
            own = rows.bench[_pooled(parts)[0]] == bench
            alone = Run(pooled.scores[own], pooled.strong[own], pooled.weak[own], pooled.key[own])
            lines.append(_line(protocol, bench, [alone], prices, resamples))
    for (other, bench), found in list(runs.items())[1:]:
        # Draws are tested on nearly the same rows: each is measured, and the mean of the measures told.
        apart = [rows.run(*each) for each in (found if other == LITTLE else [_pooled(found)])]
        lines.append(_line(other, bench, apart, prices, resamples))
    curve, oracle = Ranking(pooled.scores, pooled.strong, pooled.weak).curve(), of_oracle(pooled.strong, pooled.weak)
    return Report(
        strong_quality=curve.strong,
        weak_quality=curve.weak,
        lines=[*lines, *_bounds(where, pooled, curve, oracle, prices)],
        shares=shares,
        calibration_error=calibration_error(pooled.scores, (pooled.strong > pooled.weak).astype(np.float64)),
        router=curve,
        oracle=oracle,
        **_band(pooled, resamples),
    )


def read(prices: Prices) -> Callable[[Curve], Sequence[float]]:
    """What a line tells of a curve."""

    def values(curve: Curve) -> Sequence[float]:
        share = share_at(curve, QUALITY)
        return apgr(curve), cpt(curve, 0.5), cpt(curve, 0.8), share, prices.saving(share)

    return values


def _line(protocol: str, bench: str, runs: Sequence[Run], prices: Prices, resamples: int) -> Line:
    prompts = round(float(np.mean([len(run.key) for run in runs])))
    return Line(protocol, bench, prompts, *estimates(runs, read(prices), draws=resamples))


def _bounds(where: str, run: Run, curve: Curve, oracle: Curve, prices: Prices) -> Iterator[Line]:
    """What knowing nothing and what knowing everything would give on the same prompts."""
    for name, bound in (("random", of_random(curve.strong, curve.weak)), ("oracle", oracle)):
        exact = [Estimate(value, value, value) for value in read(prices)(bound)]
        yield Line(name, where, len(run.key), *exact)


def _pooled(parts: Sequence[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    return np.concatenate([rows for rows, _ in parts]), np.concatenate([scores for _, scores in parts])


def _named(rows: Rows, tested: Ints) -> str:
    return " + ".join(names(rows.bench[tested]))


def _share(mixed: Sequence[tuple[Floats, Fitted]], wanted: float) -> Share:
    got = [scores >= fitted.threshold(wanted) for scores, fitted in mixed]
    return Share(wanted, float(np.concatenate(got).mean()))


def _band(run: Run, resamples: int) -> dict[str, Floats]:
    ranking, grid = Ranking(run.scores, run.strong, run.weak), np.linspace(0, 1, STEPS)
    names, places = np.unique(run.key, return_inverse=True)
    drawn = [ranking.curve(counts[places]).at(grid) for counts in resampled(len(names), min(resamples, 300), 0)]
    low, high = np.array([interval(column) for column in np.array(drawn).T]).T
    return {"low": low, "high": high}
