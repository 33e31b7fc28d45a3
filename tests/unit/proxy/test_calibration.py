"""How many tokens a byte is, as learned from what providers counted."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.calibration import LEAST_BYTES, LEAST_SAMPLES, MARGIN, MOST_SAMPLES, WIDTH, Calibration

BYTES = 10_000


def learned(*ratios: float, size: int = BYTES) -> float | None:
    seen = Calibration()
    for ratio in ratios:
        seen.learn("groq", "m", size, round(size * ratio))
    return seen.ratio("groq", "m")


def test_little_says_nothing_and_short_texts_say_nothing() -> None:
    assert learned(*[0.25] * (LEAST_SAMPLES - 1)) is None
    assert learned(*[0.25] * LEAST_SAMPLES) is not None
    assert learned(*[0.25] * LEAST_SAMPLES, size=LEAST_BYTES - 1) is None


@given(st.lists(st.floats(0.0, 1.9), min_size=LEAST_SAMPLES, max_size=100))
def test_all_that_was_seen_lately_is_below_what_is_told_and_not_by_much(ratios: list[float]) -> None:
    told = learned(*ratios)
    assert told is not None
    assert max(ratios) <= told + 1 / BYTES
    assert told <= (max(ratios) + WIDTH) * MARGIN + 1 / BYTES


def test_one_in_a_thousand_may_be_beyond_it() -> None:
    told = learned(*[0.25] * 1999, 1.5)
    assert told is not None
    assert told < 0.4


def test_models_are_apart_and_what_is_old_fades() -> None:
    seen = Calibration()
    for _ in range(LEAST_SAMPLES):
        seen.learn("groq", "a", BYTES, BYTES)
    assert seen.ratio("groq", "b") is None
    assert seen.ratio("gemini", "a") is None
    for _ in range(3 * MOST_SAMPLES):
        seen.learn("groq", "a", BYTES, BYTES // 4)
    told = seen.ratio("groq", "a")
    assert told is not None
    assert told < 0.4
