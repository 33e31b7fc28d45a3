"""The learned router: scores, explanations that add up, thresholds, and how long a decision takes."""

import math
from collections.abc import Callable
from functools import cache
from time import perf_counter, thread_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.learned.features import extract_all
from proxy.learned.router import GUARD, LearnedRouter, PairRouter
from tests.unit.proxy.learned.outcomes import STRONG, WEAK, some

ODD = [
    "",
    " ",
    "🙂" * 50,
    "\ud800 half a pair",
    "x" * 100_000,
    "A. \n" * 3_000,
    "\x00",
    "1" * 5_000,
    "Wie geht's? ünïcödé",
]
MOMENT = 3  # times what is promised: test machines are slow and busy


@pytest.fixture(scope="module")
def router() -> LearnedRouter:
    return LearnedRouter.load()


@pytest.fixture(scope="module")
def pair() -> PairRouter:
    return shipped()


@cache
def shipped() -> PairRouter:
    return LearnedRouter.load().pair()


def adds_up(pair: PairRouter, prompt: str) -> None:
    told = pair.explain(prompt)
    assert told.bias + math.fsum(value for _, value in told.contributions) == pytest.approx(told.logit, abs=1e-6)
    assert told.score == pytest.approx(1 / (1 + math.exp(-told.logit)), abs=1e-9)
    assert told.score == pair.score(prompt).score
    assert 0 < told.score < 1


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec=None), max_size=300))
def test_contributions_add_up_to_the_logit(text: str) -> None:
    adds_up(shipped(), text)


@pytest.mark.parametrize("prompt", ODD, ids=range(len(ODD)))
def test_contributions_of_odd_prompts_add_up_too(pair: PairRouter, prompt: str) -> None:
    adds_up(pair, prompt)


def test_contributions_of_questions_add_up_for_every_pair(router: LearnedRouter) -> None:
    pairs = [router.pair(), router.pair("strong", "weak"), router.pair("gemini-1.5-pro", "llama-3.1-8b-it")]
    for row in some(40):
        for pair in pairs:
            adds_up(pair, row.prompt)


def test_the_largest_contribution_comes_first_and_has_a_name(pair: PairRouter) -> None:
    told = pair.explain(some(1)[0].prompt).contributions
    sizes = [abs(value) for _, value in told]
    assert sizes == sorted(sizes, reverse=True)
    assert all(name for name, _ in told)
    assert "number of options" in {name for name, _ in told}


def test_many_prompts_are_scored_as_each_alone(pair: PairRouter) -> None:
    prompts = [row.prompt for row in some(50)] + ODD
    alone = [pair.score(prompt).score for prompt in prompts]
    assert pair.scores(prompts).tolist() == alone
    assert pair.scores_of(extract_all(prompts)).tolist() == alone


def test_a_threshold_gives_its_share_of_the_mix(pair: PairRouter) -> None:
    shares = [0.1, 0.3, 0.5, 0.9]
    assert [pair.share(pair.threshold(share)) for share in shares] == pytest.approx(shares, abs=0.01)
    assert pair.threshold(0) > 1
    assert pair.threshold(1) == 0


def test_what_is_unlike_the_training_data_is_not_guessed_at(pair: PairRouter) -> None:
    strange = ["def f(x):\n" * 200, "🙂" * 500, "A. \n" * 300]
    scored = [pair.score(prompt) for prompt in strange]
    assert all(each.guarded and each.unfamiliar == 1 for each in scored)
    assert len({each.score for each in scored}) == 1, "no order among prompts that the router knows nothing of"
    assert GUARD in {name for name, _ in pair.explain(strange[0]).contributions}
    assert len(set(pair.scores(strange, guard=False).tolist())) == len(strange)


def test_few_questions_like_the_training_data_are_guarded(pair: PairRouter) -> None:
    assert np.mean([pair.score(row.prompt).guarded for row in some(300)]) < 0.03


def test_every_model_of_a_panel_can_be_paired(router: LearnedRouter) -> None:
    assert {STRONG, WEAK, "strong", "weak"} <= set(router.models)
    assert 0 < router.pair("llama-3.1-70b-it", "phi-3-mini").score("What is a noun?").score < 1
    assert (router.pair().strong, router.pair().weak) == (STRONG, WEAK)


def test_an_unknown_model_is_told_with_the_known_ones(router: LearnedRouter) -> None:
    with pytest.raises(ValueError, match=r"no head for the model 'gpt-9'.*gemini-1\.5-pro"):
        router.pair("gpt-9", WEAK)


def test_a_model_is_not_compared_with_itself(router: LearnedRouter) -> None:
    for models in ((WEAK, WEAK), (WEAK, None)):
        with pytest.raises(ValueError, match="two different models"):
            router.pair(*models)


def test_a_logit_of_any_size_has_a_score(router: LearnedRouter) -> None:
    pair = LearnedRouter.load().pair()
    for bias in (-1e9, 1e9):
        pair.bias = bias
        assert 0 <= pair.score("What is a noun?").score <= 1


def test_models_that_never_met_are_not_compared(router: LearnedRouter) -> None:
    with pytest.raises(ValueError, match="not trained on the same prompts"):
        router.pair(STRONG, "phi-3-mini")


def best(of: Callable[[], object], clock: Callable[[], float], times: int = 15) -> float:
    found = []
    for _ in range(times):
        began = clock()
        of()
        found.append(clock() - began)
    return min(found)


def test_a_decision_takes_half_a_millisecond(pair: PairRouter) -> None:
    prompts = [row.prompt for row in some(200)]
    took = [best(lambda prompt=prompt: pair.score(prompt), thread_time, 3) for prompt in prompts]
    assert np.median(took) <= MOMENT * 0.5e-3


def test_the_longest_prompt_takes_six_milliseconds(pair: PairRouter) -> None:
    for prompt in ("a b " * 25_000, "(1)" * 30_000, "A. 1\n" * 20_000):
        assert best(lambda prompt=prompt: pair.score(prompt), thread_time) <= MOMENT * 6e-3


def test_weights_are_loaded_at_once() -> None:
    assert best(LearnedRouter.load, perf_counter, 5) <= MOMENT * 50e-3
