"""Teaches the learned router what the history knows: new weights that begin as others, and are pulled towards them.

Feedback mostly tells of one model: of who answered. What the other would have done nobody knows, so there the weights
that training begins with speak, and only what was said moves them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from proxy.history.labels import Labelled, rows_for_training
from proxy.history.reading import reading
from proxy.learned.features import Features, together
from proxy.learned.packing import unpacked
from proxy.learned.ridge import Heads
from proxy.learned.training import FOLDS, LEAST, Examples, Shared, TooFewRows, fit
from proxy.learned.weights import Panel, Weights


def from_history(
    folder: Path, *, strong: Collection[str], weak: Collection[str], base: Weights, seed: int = 0
) -> tuple[Weights, int]:
    """What the history in that data_dir teaches, and of how many questions it has a label. The card says so, too.

    Raises StoreUnusable and TooFewRows.
    """
    with reading(folder) as file:
        labelled = list(rows_for_training(file.rated()))
    about = {"labelled": len(labelled), "strong": [*strong], "weak": [*weak]}
    card = {**base.card, "history": about}
    return learned(labelled, strong=strong, weak=weak, base=base, seed=seed, card=card), len(labelled)


def learned(
    labelled: Sequence[Labelled],
    *,
    strong: Collection[str],
    weak: Collection[str],
    base: Weights,
    seed: int = 0,
    card: Mapping[str, Any] | None = None,
) -> Weights:
    """The weights that `base` becomes. `strong` and `weak` are the models of each side, as BACKEND/MODEL; the new heads
    have the first one's name and are the file's default pair. Raises TooFewRows.
    """
    names = (next(iter(strong)), next(iter(weak)))
    rows: list[Features] = []
    known: list[tuple[float, float]] = []
    weights: list[float] = []
    folds: list[int] = []
    for each in labelled:
        features = unpacked(each.features)
        scores = (side(each.scores, strong), side(each.scores, weak))
        if features is None or scores == (None, None):
            continue
        rows.append(features)
        known.append((np.nan if scores[0] is None else scores[0], np.nan if scores[1] is None else scores[1]))
        weights.append(each.weight)
        folds.append(sha256(each.features).digest()[0] % FOLDS)  # the same question is on one side of a split
    if len(rows) < LEAST:
        raise TooFewRows(
            f"{len(rows)} labelled answers of these models are too few to learn from; {LEAST} are needed. Name the "
            "models of each side with --strong and --weak."
        )
    batch = together(rows)
    outcomes = np.array(known, np.float64)
    said = np.clip(default_heads(base).outputs(Shared.of(batch, base).table(batch)), 0, 1)
    outcomes = np.where(np.isnan(outcomes), said, outcomes)
    order = np.argsort(names)  # the columns of Examples are in the order of the alphabet
    data = Examples(
        batch=batch,
        models=tuple(names[each] for each in order),
        outcomes=outcomes[:, order],
        weight=np.array(weights, np.float64),
        fold=np.array(folds, np.intp),
    )
    like = dict(zip(names, base.default, strict=True))
    made = fit(data, seed=seed, models=names, default=names, base=base, like=like, card=card)
    panels = [
        also_familiar(each, default_panel(base)) if set(each.models) == set(names) else each for each in made.panels
    ]
    return replace(made, panels=tuple(panels))


def also_familiar(panel: Panel, base: Panel) -> Panel:
    """What the weights that training begins with know is familiar to the new ones as well."""
    familiar = np.concatenate([base.familiar, panel.familiar])
    return replace(
        panel, familiar=familiar, bounds=(max(base.bounds[0], panel.bounds[0]), max(base.bounds[1], panel.bounds[1]))
    )


def default_panel(weights: Weights) -> Panel:
    """That of the strong and the weak model that are meant when none are named."""
    panels = [each for each in weights.panels if set(weights.default) <= set(each.models)]
    return max(panels, key=lambda each: each.rows)


def default_heads(weights: Weights) -> Heads:
    """Of the strong and the weak model that are meant when none are named."""
    panel = default_panel(weights)
    heads = [panel.models.index(model) for model in weights.default]
    bias, lexical, hashed, scale = (
        each[heads].astype(np.float64) for each in (panel.bias, panel.lexical, panel.hashed, panel.scale)
    )
    return Heads(bias, lexical, hashed * scale[:, None])


def side(scores: Mapping[str, float], models: Collection[str]) -> float | None:
    """How well those of one side did; None where nothing is known of them."""
    found = [score for model, score in scores.items() if model in models]
    return sum(found) / len(found) if found else None
