"""Joins the learned router to its evaluation: trains it on some rows of a file, and scores others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proxy.learned.features import Batch
from proxy.learned.measures import Floats, Ints
from proxy.learned.router import LearnedRouter, PairRouter
from proxy.learned.rows import Row
from proxy.learned.training import LEAST, STRONG, WEAK, examples, fit


@dataclass(frozen=True, slots=True)
class Trained:
    """A router that some of the rows have trained. An evaluation.Fitted."""

    pair: PairRouter
    batch: Batch  # the features of all rows

    def scores(self, rows: Ints, *, guard: bool = True) -> Floats:
        """The scores of these rows."""
        return self.pair.scores_of(self.batch.take(rows), guard=guard)

    def threshold(self, strong_share: float) -> float:
        """From which score on the strong model answers, for this share."""
        return self.pair.threshold(strong_share)


class Learner:
    """Trains routers for one pair of models on parts of the same rows. Computes their features once."""

    def __init__(self, rows: Sequence[Row], strong: str, weak: str, *, seed: int = 0) -> None:
        self._pair = strong, weak
        self._seed = seed
        self._data = examples(rows)

    def fit(self, train: Ints) -> Trained:
        """An evaluation.Fit. Where these rows have no outcomes of the pair, the heads of the tiers stand in for it.

        Raises TooFewRows.
        """
        data = self._data.take(train)
        known = [data.models.index(each) for each in self._pair if each in data.models]
        both = len(known) == 2 and np.isfinite(data.outcomes[:, known]).all(1).sum() >= LEAST
        pair = self._pair if both else (STRONG, WEAK)
        weights = fit(data, seed=self._seed, models=pair, default=pair)
        return Trained(LearnedRouter(weights, "trained for an evaluation").pair(*pair), self._data.batch)
