"""Says how likely the strong model is to win over the weak one on a prompt, and why.

"Wins" means that the strong model does strictly better: it is right where the weak one is wrong. Where both do equally
well, neither wins. Inference needs numpy alone, opens no network, and may be shared by threads.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proxy.learned import guard, platt
from proxy.learned.features import Batch, Features, extract, text_of
from proxy.learned.hashing import named
from proxy.learned.lexical import NAMES
from proxy.learned.weights import Panel, Weights, WeightsUnusable, packed, read, short_hash

__all__ = ["Explanation", "LearnedRouter", "PairRouter", "Scored", "WeightsUnusable"]

CLIP = 4.0
FARTHEST = 700.0  # of logits from 0: what lies beyond has no exponential
CALIBRATION = "calibration: how often such scores won"
GUARD = "guard: unlike the training data"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """What the router says of one prompt."""

    score: float  # the probability that the strong model wins, 0 to 1
    unfamiliar: float  # 0: like the training data, 1: unlike all of it, and the score is that of the mean prompt
    guarded: bool  # whether the score was drawn towards the mean because the prompt is unfamiliar


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score and where it comes from: bias + the sum of the contributions = logit; score = 1 / (1 + exp(-logit))."""

    score: float
    unfamiliar: float
    guarded: bool
    logit: float
    bias: float
    contributions: tuple[tuple[str, float], ...]  # (name, signed value), the largest first


class LearnedRouter:
    """The weights of one file."""

    def __init__(self, weights: Weights, name: str | None = None) -> None:
        self._weights = weights
        self.card: Mapping[str, Any] = weights.card
        self.models = weights.models
        self.hash = name or short_hash(packed(weights))

    @classmethod
    def load(cls, path: Path | None = None) -> "LearnedRouter":
        """The router in a file; None: the shipped one. Raises WeightsUnusable."""
        return cls(*read(path))

    def pair(self, strong: str | None = None, weak: str | None = None) -> "PairRouter":
        """The router between two models; None: the weights' default. Raises ValueError for models without heads."""
        strong, weak = strong or self._weights.default[0], weak or self._weights.default[1]
        if strong == weak:
            raise ValueError(f"name two different models, not {strong!r} twice")
        for model in (strong, weak):
            if model not in self.models:
                raise ValueError(f"no head for the model {model!r}; there are heads for {', '.join(self.models)}")
        panels = [panel for panel in self._weights.panels if {strong, weak} <= set(panel.models)]
        if not panels:
            raise ValueError(
                f"{strong!r} and {weak!r} were not trained on the same prompts, so they cannot be compared"
            )
        return PairRouter(self._weights, max(panels, key=lambda panel: panel.rows), strong, weak)


class PairRouter:
    """Scores prompts for one strong and one weak model."""

    def __init__(self, weights: Weights, panel: Panel, strong: str, weak: str) -> None:
        self.strong, self.weak = strong, weak
        first, second = panel.models.index(strong), panel.models.index(weak)
        gains = panel.outputs[:, first].astype(np.float64) - panel.outputs[:, second]
        wins = (panel.outcomes[:, first] > panel.outcomes[:, second]).astype(np.float64)
        self._curve = platt.fit(gains, wins)
        slope, intercept = self._curve.slope, self._curve.intercept
        logits = np.sort([self._curve.corrected(margin) for margin in slope * gains + intercept])
        self._mix = platt.probability(logits)
        self._neutral = float(logits.mean())
        lexical = panel.lexical[first].astype(np.float64) - panel.lexical[second]
        hashed = panel.hashed[first] * np.float64(panel.scale[first]) - panel.hashed[second] * np.float64(
            panel.scale[second]
        )
        rarity = weights.rarity.astype(np.float64)
        self.bias = float(slope * (float(panel.bias[first]) - float(panel.bias[second])) + intercept)
        self._center, self._spread = weights.center.astype(np.float64), weights.spread.astype(np.float64)
        self._lexical = slope * lexical
        self._hashed = slope * hashed * rarity
        self._rarity_squared = rarity**2
        self._familiar = panel.familiar.astype(np.float64) / guard.UNIT
        self._bounds = panel.bounds

    def score(self, prompt: str, *, guard: bool = True) -> Scored:
        """What the router says of one prompt. Without `guard` unfamiliar prompts count like any others."""
        return self._scored(extract(prompt), guard)[0]

    def scores(self, prompts: Iterable[str], *, guard: bool = True) -> Floats:
        """The scores of many prompts, in their order."""
        return np.array([self.score(prompt, guard=guard).score for prompt in prompts], np.float64)

    def scores_of(self, batch: Batch, *, guard: bool = True) -> Floats:
        """The scores of prompts whose features are known."""
        rows = (batch[row] for row in range(len(batch)))
        return np.array([self._scored(row, guard)[0].score for row in rows], np.float64)

    def explain(self, prompt: str) -> Explanation:
        """What the router says of one prompt, and what each of its features did to that."""
        features = extract(prompt)
        scored, logit, corrected, drawn = self._scored(features, True)
        measures, words = self._contributions(features)
        names = named(text_of(prompt)[1])
        parts = [*zip(NAMES, measures.tolist(), strict=True)]
        parts += [
            (names[bucket], value) for bucket, value in zip(features.buckets.tolist(), words.tolist(), strict=True)
        ]
        parts += [(CALIBRATION, corrected), (GUARD, drawn)]
        told = sorted((part for part in parts if part[1]), key=lambda part: -abs(part[1]))
        return Explanation(scored.score, scored.unfamiliar, scored.guarded, logit, self.bias, tuple(told))

    def threshold(self, strong_share: float) -> float:
        """The score from which on the strong model answers, so that it answers this share of the calibrated mix."""
        if strong_share <= 0:
            return inf
        return float(np.quantile(self._mix, 1 - min(1.0, strong_share))) if strong_share < 1 else 0.0

    def share(self, score: float) -> float:
        """The strong share of the calibrated mix, 0 to 1, when this score is the threshold."""
        return 1 - float(np.searchsorted(self._mix, score, side="left")) / max(1, len(self._mix))

    def _scored(self, features: Features, guarded: bool) -> tuple[Scored, float, float, float]:
        """The score, its logit, and what of that are the corrections of the calibration and of the guard."""
        standard = self._standard(features)
        length = float(self._rarity_squared[features.buckets].sum()) ** 0.5 or 1.0
        margin = self.bias + float(standard @ self._lexical) + float(self._hashed[features.buckets].sum()) / length
        corrected = self._curve.corrected(margin) - margin
        strange = guard.unfamiliar(guard.distance(standard, self._familiar), self._bounds) if guarded else 0.0
        drawn = strange * (self._neutral - margin - corrected)
        logit = self._neutral if strange == 1 else margin + corrected + drawn  # equal to the last bit: a tie
        score = 1 / (1 + exp(min(-logit, FARTHEST)))
        return Scored(score, strange, strange > 0), logit, corrected, drawn

    def _standard(self, features: Features) -> Floats:
        return np.asarray(np.clip((features.lexical - self._center) / self._spread, -CLIP, CLIP), np.float64)

    def _contributions(self, features: Features) -> tuple[Floats, Floats]:
        length = float(self._rarity_squared[features.buckets].sum()) ** 0.5 or 1.0
        return self._standard(features) * self._lexical, self._hashed[features.buckets] / length
