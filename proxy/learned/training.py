"""Learns the router's weights from rows of prompts and outcomes. The same rows and seed give the same weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from proxy.learned import guard, ridge
from proxy.learned.features import Batch, extract_all
from proxy.learned.hashing import BUCKETS
from proxy.learned.ridge import Heads, Table
from proxy.learned.rows import Row
from proxy.learned.weights import PERCENT, Panel, Weights

CLIP = 4.0  # standard deviations: one strange prompt bends no head
PULL = 10.0  # of the ridge; chosen by cross-validation on the development data
LEXICAL = 0.2  # the lexical measures' share in it
FOLDS = 5  # to learn what heads say of rows that they have not seen
LEAST = 30  # rows of a panel
STRONG, WEAK = "strong", "weak"  # the heads of the tiers

Floats = NDArray[np.float64]
Progress = Callable[[str], None]


class TooFewRows(ValueError):
    """There is too little to learn from."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows with their features, which take longer to compute than anything that is learned from them."""

    batch: Batch
    models: tuple[str, ...]
    outcomes: Floats  # [rows, models]; NaN where a model did not answer
    weight: Floats
    fold: NDArray[np.intp]  # the same for rows of the same question

    def __len__(self) -> int:
        return len(self.fold)

    def take(self, rows: NDArray[np.intp]) -> "Examples":
        """These rows only."""
        return Examples(self.batch.take(rows), self.models, self.outcomes[rows], self.weight[rows], self.fold[rows])


def examples(rows: Sequence[Row]) -> Examples:
    """The rows as a table. Their folds come from their keys, so that a question is on one side of each split."""
    models = tuple(sorted({model for row in rows for model in row.scores}))
    return Examples(
        batch=extract_all(row.prompt for row in rows),
        models=models,
        outcomes=np.array([[row.scores.get(model, np.nan) for model in models] for row in rows], np.float64),
        weight=np.array([row.weight for row in rows], np.float64),
        fold=np.array([sum(row.key.encode()) % FOLDS for row in rows], np.intp),
    )


def fit(
    data: Examples | Sequence[Row],
    *,
    seed: int = 0,
    models: Sequence[str] | None = None,
    default: tuple[str, str] | None = None,
    base: Weights | None = None,
    like: Mapping[str, str] | None = None,
    card: Mapping[str, Any] | None = None,
    progress: Progress = lambda _: None,
) -> Weights:
    """The weights that these rows teach.

    Outcomes may be anything from 0 to 1. `models` keeps to the heads of these, on rows that all of them answered, to
    save time. `default` is the strong and the weak model meant when none are named; without it, the better and the
    worse tier of all rows.
    With `base` the heads are pulled towards those of the same name there, or of the name that `like` gives for them;
    heads that only the base has are kept. Raises TooFewRows.
    """
    data = data if isinstance(data, Examples) else examples(data)
    if not data.weight.all():
        data = data.take(np.flatnonzero(data.weight))  # what counts nothing teaches nothing
    if len(data) < LEAST:
        raise TooFewRows(f"{len(data)} rows are too few to learn from; give at least {LEAST}")
    shared = Shared.of(data.batch, base)
    table = shared.table(data.batch)
    panels = []
    for names, rows, outcomes in panels_of(data, models):
        progress(f"{', '.join(names)}: {len(rows):,} rows")
        start = _start(names, base, like or {})
        lesson = Lesson(table.take(rows), outcomes, data.weight[rows], start)
        panels.append(_panel(names, lesson, data.fold[rows], seed))
    if not panels:
        raise TooFewRows(f"no {LEAST} rows were answered by the same model; give more of them")
    kept = [panel for panel in (base.panels if base else ()) if panel.models not in {new.models for new in panels}]
    return Weights(
        center=shared.center.astype(np.float32),
        spread=shared.spread.astype(np.float32),
        rarity=shared.rarity.astype(np.float16).astype(np.float32),
        panels=(*panels, *kept),
        default=default or (base.default if base else (STRONG, WEAK)),
        card=card or {},
    )


@dataclass(frozen=True, slots=True)
class Shared:
    """What all heads have in common: how measures are standardised, and how rare each bucket is."""

    center: Floats
    spread: Floats
    rarity: Floats

    @classmethod
    def of(cls, batch: Batch, base: Weights | None) -> "Shared":
        """Learned from the rows, or that of `base`, whose heads would mean nothing under another."""
        if base:
            return cls(base.center.astype(np.float64), base.spread.astype(np.float64), base.rarity.astype(np.float64))
        seen = np.bincount(batch.buckets, minlength=BUCKETS)
        lexical = batch.lexical.astype(np.float64)
        rarity = np.where(seen > 0, np.log((len(batch) + 1) / (seen + 0.5)), 0)
        return cls(lexical.mean(0), lexical.std(0) + 1e-3, rarity.astype(np.float16).astype(np.float64))

    def table(self, batch: Batch) -> Table:
        """Rows as the heads see them."""
        lexical = np.clip((batch.lexical - self.center) / self.spread, -CLIP, CLIP)
        rarity = self.rarity[batch.buckets]
        words = csr_matrix((rarity, batch.buckets, batch.ends), shape=(len(batch), BUCKETS))
        lengths = np.sqrt(np.asarray(words.multiply(words).sum(1)).ravel())
        scale = np.repeat(1 / np.where(lengths > 0, lengths, 1), np.diff(batch.ends))
        return Table(lexical, csr_matrix((rarity * scale, batch.buckets, batch.ends), shape=words.shape))


def panels_of(data: Examples, wanted: Sequence[str] | None) -> list[tuple[tuple[str, ...], NDArray[np.intp], Floats]]:
    """The models, rows and outcomes of each panel: one for each set of models that answered the same rows, and one of
    the two tiers, for all rows that several models answered."""
    answered = np.isfinite(data.outcomes)
    sets, which = np.unique(answered, axis=0, return_inverse=True)
    which = which.ravel()
    found, tiers = [], np.full((len(data), 2), np.nan)
    for number, members in enumerate(sets):
        columns = np.flatnonzero(members)
        rows = np.flatnonzero(answered[:, columns].all(1))
        if not columns.size or len(rows) < LEAST:
            continue
        if len(columns) > 1:
            order = columns[np.argsort(data.outcomes[rows][:, columns].mean(0), kind="stable")]
            own, half = which == number, len(order) // 2
            tiers[own, 0] = data.outcomes[own][:, order[-half:]].mean(1)
            tiers[own, 1] = data.outcomes[own][:, order[:half]].mean(1)
        if wanted is not None:
            columns = np.array([each for each in columns if data.models[each] in wanted], np.intp)
        if wanted is None or len(columns) == len(set(wanted)):
            found.append((tuple(data.models[each] for each in columns), rows, data.outcomes[np.ix_(rows, columns)]))
    both = np.flatnonzero(np.isfinite(tiers).all(1))
    if len(both) >= LEAST and (wanted is None or set(wanted) <= {STRONG, WEAK}):
        found.append(((STRONG, WEAK), both, tiers[both]))
    return found


@dataclass(frozen=True, slots=True)
class Lesson:
    """What the heads of one panel learn from."""

    table: Table
    outcomes: Floats  # [rows, models]
    weight: Floats
    start: Heads | None

    def learned(self, rows: NDArray[np.intp]) -> Heads:
        """Heads that have seen these rows only."""
        some = self.table.take(rows), self.outcomes[rows], self.weight[rows]
        return ridge.fit(*some, pull=PULL, share=LEXICAL, start=self.start)


def _panel(names: tuple[str, ...], lesson: Lesson, fold: NDArray[np.intp], seed: int) -> Panel:
    outputs = np.zeros_like(lesson.outcomes)
    for each in np.unique(fold):
        inside, outside = np.flatnonzero(fold != each), np.flatnonzero(fold == each)
        if inside.size:
            outputs[outside] = lesson.learned(inside).outputs(lesson.table.take(outside))
    heads = lesson.learned(np.arange(len(fold)))
    scale = np.maximum(np.abs(heads.hashed).max(1), 1e-12) / 127
    familiar = guard.prototypes(lesson.table.lexical, seed)
    return Panel(
        models=names,
        rows=len(fold),
        bias=heads.bias.astype(np.float32),
        lexical=heads.lexical.astype(np.float32),
        hashed=np.rint(heads.hashed / scale[:, None]).astype(np.int8),
        scale=scale.astype(np.float32),
        outputs=outputs.astype(np.float16),
        outcomes=np.rint(lesson.outcomes * PERCENT).astype(np.uint8),
        familiar=familiar,
        bounds=guard.bounds(lesson.table.lexical, familiar),
    )


def _start(names: tuple[str, ...], base: Weights | None, like: Mapping[str, str]) -> Heads | None:
    if base is None:
        return None
    wanted = [like.get(name, name) for name in names]
    heads = Heads(np.zeros(len(names)), np.zeros((len(names), len(base.center))), np.zeros((len(names), BUCKETS)))
    for panel in sorted(base.panels, key=lambda panel: (len(set(wanted) & set(panel.models)), panel.rows)):
        for row, name in enumerate(wanted):
            if name in panel.models:
                column = panel.models.index(name)
                heads.bias[row] = panel.bias[column]
                heads.lexical[row] = panel.lexical[column]
                heads.hashed[row] = panel.hashed[column] * np.float64(panel.scale[column])
    return heads
