"""Tells how unlike its training a prompt is, so that the router does not guess where it knows nothing. Pure.

The rows that heads were trained on are summed up as prototypes: centres of clusters of their standardised measures.
A prompt's distance is that to the nearest prototype. Up to the first bound nothing changes; from there on the score is
drawn towards the mean of the training mix, and beyond the second bound it is that mean.
"""

import numpy as np
from numpy.typing import NDArray

UNIT = 32.0  # prototypes are stored in 8 bits: this many steps per standard deviation
PROTOTYPES = 96  # at most,
EACH = 10  # and one for so many rows
ROUNDS = 8
INSIDE = 0.995  # of the training rows lie within the first bound
RAMP = 1.25  # the second bound, as a multiple of the first

Floats = NDArray[np.float64]


def unfamiliar(distance: float, bounds: tuple[float, float]) -> float:
    """0 for a prompt like those of the training, up to 1 for one that is unlike them all."""
    begin, end = bounds
    return min(1.0, max(0.0, (distance - begin) / (end - begin)))


def distance(standard: NDArray[np.floating], familiar: NDArray[np.floating]) -> float:
    """The root mean square difference between a prompt's standardised measures and the nearest prototype's."""
    gaps = familiar - standard
    return float(np.sqrt(np.einsum("ij,ij->i", gaps, gaps).min() / gaps.shape[1]))


def prototypes(standard: Floats, seed: int) -> NDArray[np.int8]:
    """The centres of clusters of these rows (k-means), in 8 bits."""
    dice = np.random.default_rng(seed)
    some = standard[np.sort(dice.permutation(len(standard))[: 40 * PROTOTYPES])]
    centres = some[dice.permutation(len(some))[: min(PROTOTYPES, max(1, len(some) // EACH))]]
    for _ in range(ROUNDS):
        nearest = _nearest(some, centres)[0]
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, some)
        sizes = np.bincount(nearest, minlength=len(centres))[:, None]
        centres = np.where(sizes > 0, sums / np.maximum(sizes, 1), centres)
    return np.clip(np.rint(centres * UNIT), -127, 127).astype(np.int8)


def bounds(standard: Floats, familiar: NDArray[np.int8]) -> tuple[float, float]:
    """Where the guard begins and ends, from rows like those that a router will be asked about."""
    begin = float(np.quantile(_nearest(standard, familiar / UNIT)[1], INSIDE))
    return begin, RAMP * begin + 1e-6


def _nearest(rows: Floats, centres: Floats) -> tuple[NDArray[np.intp], Floats]:
    squares = (rows**2).sum(1)[:, None] - 2 * rows @ centres.T + (centres**2).sum(1)[None]
    nearest = squares.argmin(1)
    return nearest, np.sqrt(np.maximum(squares[np.arange(len(rows)), nearest], 0) / rows.shape[1])
