"""Maps the output of a head to a probability: a logistic curve of two parameters, after Platt. Pure."""

import numpy as np
from numpy.typing import NDArray

ROUNDS = 50

Floats = NDArray[np.float64]


def fit(outputs: Floats, won: Floats) -> tuple[float, float]:
    """The slope (positive) and the intercept that make sigmoid(slope * output + intercept) the probability of `won`.

    `won` is 0 to 1. A weak pull of the slope towards that of the data's own spread keeps few rows from a wild answer.
    """
    spread = float(outputs.std()) or 1.0
    scaled = (outputs - outputs.mean()) / spread
    slope, intercept = 0.5, 0.0
    for _ in range(ROUNDS):  # Newton's method
        chance = 1 / (1 + np.exp(-np.clip(slope * scaled + intercept, -30, 30)))
        curve, miss = chance * (1 - chance), chance - won
        gradient = np.array([(miss * scaled).sum() + slope - 0.5, miss.sum() + 0.01 * intercept])
        mixed = (curve * scaled).sum()
        hessian = np.array([[(curve * scaled**2).sum() + 1, mixed], [mixed, curve.sum() + 0.01]])
        step = np.clip(np.linalg.solve(hessian, gradient), -2, 2)
        slope, intercept = slope - step[0], intercept - step[1]
        if np.abs(step).max() < 1e-10:
            break
    slope = max(float(slope), 0.05) / spread  # the order of the prompts is the head's: a curve never turns it around
    return slope, float(intercept) - slope * float(outputs.mean())
