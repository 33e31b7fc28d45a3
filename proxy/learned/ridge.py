"""Fits several linear heads on the same rows at once: ridge regression by conjugate gradients, with scipy. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]

ROUNDS = 100
CLOSE = 1e-3  # of the first residual: more digits change no order of prompts


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as the heads see them: standardised measures, and words weighed by rarity with length 1."""

    lexical: Floats  # [rows, measures]
    words: csr_matrix  # [rows, buckets]

    def take(self, rows: NDArray[np.intp]) -> "Table":
        """These rows only."""
        return Table(self.lexical[rows], self.words[rows])


@dataclass(frozen=True, slots=True)
class Heads:
    """Linear heads: output = bias + lexical . measures + hashed . words."""

    bias: Floats  # [heads]
    lexical: Floats  # [heads, measures]
    hashed: Floats  # [heads, buckets]

    def outputs(self, table: Table) -> Floats:
        """What each head says of each row: [rows, heads]."""
        said = self.bias + table.lexical @ self.lexical.T + table.words @ self.hashed.T
        return np.asarray(said, np.float64)


def fit(
    table: Table, targets: Floats, weight: Floats, *, pull: float, share: float, start: Heads | None = None
) -> Heads:
    """One head for each column of `targets` [rows, heads].

    Minimises the weighted squares of the misses plus `pull` times those of the weights, where a lexical weight counts
    1 / share² as much as a hashed one. With `start`, the pull is towards those heads in place of zero.
    """
    sizes = (targets.shape[1], table.lexical.shape[1]), (targets.shape[1], table.words.shape[1])
    start = start or Heads(np.zeros(targets.shape[1]), np.zeros(sizes[0]), np.zeros(sizes[1]))
    missed = targets - start.outputs(table)
    each = weight[:, None] / weight.sum()
    centre = (each * table.lexical).sum(0)
    mean = (each * missed).sum(0)
    lexical = share * (table.lexical - centre)
    known = np.unique(table.words.indices)  # the weights of all other buckets stay as they are
    words = table.words[:, known]
    across = words.T.tocsr()
    measures = lexical.shape[1]

    def seen(found: Floats) -> Floats:
        return np.asarray(lexical @ found[:measures] + words @ found[measures:])

    def back(rows: Floats) -> Floats:
        weighed = weight[:, None] * rows
        return np.vstack([lexical.T @ weighed, across @ weighed])

    found = np.zeros((measures + words.shape[1], targets.shape[1]))
    left = back(missed - mean)
    step, size = left, (left**2).sum(0)
    enough = CLOSE**2 * size
    for _ in range(ROUNDS):
        if (size <= enough).all():
            break
        turned = back(seen(step)) + pull * step
        along = size / np.maximum((step * turned).sum(0), 1e-30)
        found, left = found + along * step, left - along * turned
        size, before = (left**2).sum(0), size
        step = left + size / np.maximum(before, 1e-30) * step
    own = share * found[:measures].T
    hashed = start.hashed.copy()
    hashed[:, known] += found[measures:].T
    return Heads(start.bias + mean - own @ centre, start.lexical + own, hashed)
