"""A router learns from feedback: what was said moves it, the rest stays as the weights that it began with have it."""

from collections.abc import Sequence

import numpy as np
import pytest

from proxy.history.compact import compact
from proxy.history.labels import Labelled
from proxy.history.learning import learned
from proxy.learned.features import extract
from proxy.learned.packing import packed, unpacked
from proxy.learned.router import LearnedRouter
from proxy.learned.rows import Row
from proxy.learned.training import TooFewRows, fit
from proxy.learned.weights import Weights

STRONG, WEAK = "cloud/large", "local/small"
SUMS = [f"What is {number} plus {number * 3}?" for number in range(60)]
POEMS = [f"Write a poem about {word} and the number {number}." for number, word in enumerate(["rain", "snow"] * 30)]


@pytest.fixture(scope="module")
def base() -> Weights:
    """Knows nothing of poems: both do equally well on all."""
    rows = [Row(prompt, {"strong": 0.8, "weak": 0.5}, str(index)) for index, prompt in enumerate([*SUMS, *POEMS])]
    return fit(rows, models=("strong", "weak"), default=("strong", "weak"))


def said(prompts: Sequence[str], model: str, good: float) -> list[Labelled]:
    return [Labelled(compact(prompt), {model: good}, 1.0) for prompt in prompts]


def test_what_the_weak_model_is_blamed_for_goes_to_the_strong_one(base: Weights) -> None:
    labels = [*said(SUMS, WEAK, 1.0), *said(POEMS[:40], WEAK, 0.0)]
    weights = learned(labels, strong=[STRONG], weak=[WEAK], base=base)
    pair = LearnedRouter(weights).pair()
    assert (pair.strong, pair.weak) == (STRONG, WEAK)
    assert pair.scores(POEMS[40:]).mean() > pair.scores(SUMS).mean() + 0.2
    assert set(base.models) < set(weights.models), "what was there is kept"


def test_the_same_feedback_gives_the_same_weights(base: Weights) -> None:
    labels = [*said(SUMS, WEAK, 1.0), *said(POEMS, WEAK, 0.0), *said(POEMS, STRONG, 1.0)]
    one, two = (learned(labels, strong=[STRONG], weak=[WEAK], base=base) for _ in range(2))
    assert LearnedRouter(one).hash == LearnedRouter(two).hash


def test_too_little_of_these_models_is_refused_in_words(base: Weights) -> None:
    labels = [*said(SUMS, "another/model", 1.0), *said(POEMS[:20], WEAK, 0.0), Labelled(b"damaged", {WEAK: 1.0}, 1.0)]
    with pytest.raises(TooFewRows, match=r"20 labelled answers.*--strong and --weak"):
        learned(labels, strong=[STRONG], weak=[WEAK], base=base)


@pytest.mark.parametrize("prompt", ["", "Why is the sky blue?", "x" * 5000, "héllo \ud800 wörld"])
def test_features_come_out_of_the_file_as_they_went_in(prompt: str) -> None:
    features = extract(prompt)
    back = unpacked(packed(features))
    assert back is not None
    assert np.array_equal(back.lexical, features.lexical)
    assert np.array_equal(back.buckets, features.buckets)


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\xff\xff\x00\x00", packed(extract("hi"))[:-1], packed(extract("hi"))[:9]]
)
def test_what_is_damaged_or_of_another_version_is_nothing(data: bytes) -> None:
    assert unpacked(data) is None
