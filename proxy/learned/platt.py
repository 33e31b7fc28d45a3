"""Maps the output of heads to a probability: a logistic curve, and a monotone correction of it. Pure.

The curve has two parameters (after Platt), so that a sum of contributions stays a sum. What it misses is corrected by a
table of logits: groups of equally many rows, of which each must win at least as often as the one before.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 50
LEAST = 120  # rows in a group of the correction
GROUPS = 12  # at most
SMOOTH = 20.0  # rows by which a group's rate is drawn to what the curve says
STRICT = 0.02  # of the curve's slope remains where the correction is flat, so that it makes no two scores equal

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """logit = margin + the correction there, where margin = slope * output + intercept."""

    slope: float  # positive
    intercept: float
    margins: Floats  # rising
    corrections: Floats  # of the margins; constant beyond their ends

    def corrected(self, margin: float) -> float:
        """The logit of a margin. Rises with it."""
        return margin + float(np.interp(margin, self.margins, self.corrections))


def fit(outputs: Floats, won: Floats) -> Curve:
    """The curve on which 1 / (1 + exp(-logit)) of an output is the probability of `won` (0 to 1)."""
    slope, intercept = logistic(outputs, won)
    margins = slope * outputs + intercept
    knots, corrections = correction(margins, won)
    return Curve(slope, intercept, knots, corrections)


def logistic(outputs: Floats, won: Floats) -> tuple[float, float]:
    """Slope and intercept, by Newton's method. A weak pull keeps few rows from a wild answer."""
    spread = float(outputs.std()) or 1.0
    scaled = (outputs - outputs.mean()) / spread
    slope, intercept = 0.5, 0.0
    for _ in range(ROUNDS):
        chance = probability(slope * scaled + intercept)
        curve, miss = chance * (1 - chance), chance - won
        gradient = np.array([(miss * scaled).sum() + slope - 0.5, miss.sum() + 0.01 * intercept])
        mixed = (curve * scaled).sum()
        hessian = np.array([[(curve * scaled**2).sum() + 1, mixed], [mixed, curve.sum() + 0.01]])
        step = np.clip(np.linalg.solve(hessian, gradient), -2, 2)
        slope, intercept = slope - step[0], intercept - step[1]
        if np.abs(step).max() < 1e-10:
            break
    slope = max(float(slope), 0.05) / spread  # the order of the prompts is the heads': a curve never turns it around
    return slope, float(intercept) - slope * float(outputs.mean())


def correction(margins: Floats, won: Floats) -> tuple[Floats, Floats]:
    """Knots among the margins, and what to add to the logit there."""
    count = min(GROUPS, len(margins) // LEAST)
    if count < 2:
        return np.zeros(1), np.zeros(1)
    order = np.argsort(margins, kind="stable")
    groups = np.array_split(order, count)
    knots = np.array([margins[group].mean() for group in groups])
    said = np.array([probability(margins[group]).mean() for group in groups])
    sizes = np.array([len(group) for group in groups], np.float64)
    found = np.array([won[group].sum() for group in groups])
    rates = rising((found + SMOOTH * said) / (sizes + SMOOTH), sizes)
    logits = np.log(rates / (1 - rates))
    spread = float(knots[-1] - knots[0]) or 1.0
    logits = (1 - STRICT) * logits + STRICT * (
        logits.mean() + (knots - knots.mean()) * (np.ptp(logits) / spread or 1.0)
    )
    return knots, logits - knots


def rising(values: Floats, sizes: Floats) -> Floats:
    """Isotonic regression: the rising values nearest to these, by weighted squares. Neighbours that fall are pooled."""
    pools: list[tuple[float, float, int]] = []  # mean, size, members
    for value, size in zip(values.tolist(), sizes.tolist(), strict=True):
        pools.append((value, size, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (first, weight, members), (second, more, others) = pools[-2], pools.pop()
            pools[-1] = ((first * weight + second * more) / (weight + more), weight + more, members + others)
    return np.repeat([mean for mean, _, _ in pools], [members for _, _, members in pools])


def probability(logit: Floats) -> Floats:
    """1 / (1 + exp(-logit)), of numbers of any size."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logit, -30, 30))), np.float64)
