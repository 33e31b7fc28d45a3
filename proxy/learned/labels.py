"""Turns the rows of a file into what evaluations and calibrations measure on. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from proxy.learned.evaluation import FOLDS, Rows
from proxy.learned.rows import Row, key_of


def as_rows(rows: Sequence[Row], strong: str, weak: str) -> Rows:
    """What an evaluation needs of the rows. Where one has no fold, all folds come from the questions' keys."""
    keys, codes = np.unique([row.key for row in rows], return_inverse=True)
    folds = [row.fold for row in rows]
    made = np.array([int(key_of(key), 16) % FOLDS for key in keys])[codes]
    return Rows(
        strong=np.array([row.scores.get(strong, np.nan) for row in rows]),
        weak=np.array([row.scores.get(weak, np.nan) for row in rows]),
        key=codes.astype(np.int64),
        fold=made if None in folds else np.array(folds, np.int64),
        bench=np.array([row.bench or "prompts" for row in rows], np.str_),
        group=np.array([row.group for row in rows], np.str_),
    )


def usual_pair(rows: Sequence[Row]) -> tuple[str, str]:
    """Of the two models that most rows have together, the better and the worse. Raises ValueError when there is one."""
    counts = Counter(pair for row in rows for pair in combinations(sorted(row.scores), 2))
    if not counts:
        raise ValueError("No row has outcomes of two models, and a router is measured on both.")
    most = counts.most_common(1)[0][0]
    own = [row.scores for row in rows if row.scores.keys() >= set(most)]
    worse, better = sorted(most, key=lambda model: sum(scores[model] for scores in own))
    return better, worse


def decision_times(
    decide: Callable[[str], object], prompts: Sequence[str], clock: Callable[[], float]
) -> tuple[float, float]:
    """The median and the 99th percentile of the seconds that a decision takes, each prompt once, after a warm-up."""
    for prompt in prompts[:20]:
        decide(prompt)
    took = []
    for prompt in prompts:
        began = clock()
        decide(prompt)
        took.append(clock() - began)
    p50, p99 = np.quantile(took, [0.5, 0.99])
    return float(p50), float(p99)
