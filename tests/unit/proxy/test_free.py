"""Which metered models may be asked at all, and why not the others: for any of them, at any time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.base import Model
from backends.fake import FakeBackend
from backends.request import EmbeddingRequest, Request, said
from proxy.estimate import measured
from proxy.free import TRAINING
from proxy.free_memory import Seen, span_of
from proxy.metered import Draw, Overrun, Term
from proxy.runtime import Candidate
from proxy.selection import Policy, Wish, duration, quantity, scopes
from quota.ledger import Cooldown
from quota.pool import HOUR, MINUTE, SECOND, Gcra, Pool
from quota.windows import ENDLESS
from tests.unit.proxy.free_world import (
    DAILY,
    HARD,
    HELLO,
    NOON,
    World,
    any_world,
    head,
    names,
    policies,
    reasons,
    refused,
    wishes,
    worlds,
)


@given(worlds, wishes, policies, st.sampled_from([HELLO, HARD, EmbeddingRequest("free/e", ("text",))]))
def test_nobody_is_chosen_whom_a_hard_rule_excludes_and_everyone_has_a_reason(
    world: World, wish: Wish, policy: Policy, request: Request | EmbeddingRequest
) -> None:
    found = world.select(request, wish, policy)
    everyone = [*names(found), *reasons(found)]
    assert sorted(everyone) == sorted(each.backend.name for each in world.candidates)
    for reason in [*(each.reason for each in found.chosen), *reasons(found).values()]:
        assert reason.endswith(".")
        assert reason[0].isupper() or reason[0].isdigit()
        assert "{" not in reason
    for chosen in found.chosen:
        metered = chosen.candidate.metered
        assert metered is not None
        assert wish.data != "confidential"
        assert metered.free or wish.paid
        assert metered.terms <= policy.accepted.get(metered.account, frozenset())
        assert wish.data != "no_training" or not metered.terms & TRAINING
        assert metered.overrun != "bills" or not metered.free or metered.account in policy.billing
        assert metered.draws or (metered.free and metered.overrun != "bills")
        assert not any(scope in world.cooldowns and world.cooldowns[scope].until > NOON for scope in scopes(metered))
        asked = measured(request).output
        most = chosen.candidate.known.max_output
        assert chosen.estimate.output <= (asked if most is None else min(asked, most))
        assert wish.by_default or chosen.estimate.output == (asked if most is None else min(asked, most))
        assert chosen.estimate.prompt == measured(request).prompt("groq")
        assert chosen.amounts.keys() == {draw.pool for draw in metered.draws}
        for pool, taken in chosen.amounts.items():
            state = world.headroom[pool]
            assert taken <= state.left <= state.cap - state.margin
            assert state.closed_until is None or state.closed_until <= NOON
    assert found.opens_at is None or found.opens_at > NOON
    paid = [each.candidate.metered is not None and not each.candidate.metered.free for each in found.chosen]
    assert paid == sorted(paid)


def test_worlds_are_such_that_some_are_chosen_and_some_are_not() -> None:
    found = [any_world(seed).select() for seed in range(100)]
    assert sum(len(each.chosen) for each in found) > 50
    assert len({over.why for each in found for over in each.passed_over}) >= 8


def test_reasons_say_what_is_in_the_way_and_when_it_passes() -> None:
    world = World()
    world.daily("me", 20, 0)
    at = NOON + 3 * HOUR
    world.headroom["me/day"] = replace(world.headroom["me/day"], opens_at=at)
    assert refused(world) == "Of its requests per day (20) too little is left: 1 needed, 0 left; it opens in 3 h."
    assert world.select().opens_at == at
    world.headroom["me/day"] = replace(world.headroom["me/day"], closed_until=at + HOUR)
    assert refused(world) == "The provider has closed its requests per day; it opens in 4 h."
    world.cooldowns["account:me"] = Cooldown("account:me", NOON + 90 * SECOND, "It was overloaded.")
    assert refused(world) == "It is not asked for 90 s: It was overloaded."
    world.cooldowns["provider:groq"] = Cooldown("provider:groq", ENDLESS, "The key was refused")
    assert refused(world).startswith("It is not asked any more: The key was refused.")
    assert world.select().opens_at is None
    terms: frozenset[Term] = frozenset({"trains"})
    [metered] = [each.metered for each in world.candidates if each.metered is not None]
    world.candidates[0] = replace(world.candidates[0], metered=replace(metered, terms=terms))
    assert refused(world) == (
        "Its terms were not accepted (trains on what it is sent): see `streamlane free terms groq`."
    )
    trained = Wish("ann", data="no_training")
    assert "trains on what it is sent" in refused(world, wish=trained, policy=Policy({"me": terms}))


@pytest.mark.parametrize(
    ("overrun", "free", "paid", "billing", "asked"),
    [
        ("stops", True, False, False, True),
        ("bills", True, False, False, False),
        ("bills", True, False, True, True),
        ("bills", False, False, True, False),
        ("bills", False, True, False, True),
    ],
)
def test_money_is_spent_only_with_permission(
    overrun: Overrun, free: bool, paid: bool, billing: bool, asked: bool
) -> None:
    world = World()
    world.daily("me", 20, 20, overrun=overrun, free=free)
    allowed = Policy(billing=frozenset({"me"}) if billing else frozenset())
    assert bool(world.select(HELLO, Wish("ann", paid=paid), allowed).chosen) is asked


def test_what_costs_money_and_has_no_pool_is_never_asked() -> None:
    world = World()
    world.add("me", free=False, overrun="bills")
    assert not world.select(wish=Wish("ann", paid=True), policy=Policy(billing=frozenset({"me"}))).chosen


def test_what_costs_money_comes_after_all_that_is_free() -> None:
    world = World()
    world.daily("paid", 1000, 1000, free=False, quality=1.0)
    world.daily("free", 1000, 10, quality=0.1)
    for profile in ("auto", "fast", "best", "cheap"):
        assert names(world.select(wish=Wish("ann", profile=profile, paid=True))) == ["free", "paid"]


def test_a_default_is_lowered_to_fit_and_a_wish_is_passed_over() -> None:
    world = World()
    world.add("me", (Draw("minute", "tokens"), head(1000, 1000, Gcra(MINUTE))))
    long = replace(HELLO, max_output_tokens=4000)
    assert "ask for a shorter answer" in refused(world, long)
    [chosen] = world.select(long, Wish("ann", by_default=True)).chosen
    assert chosen.estimate.prompt + chosen.estimate.output == 1000
    assert world.select(long).opens_at is None


def test_a_prompt_that_cannot_be_read_is_not_sent() -> None:
    world = World()
    world.daily("me", 20, 20, known=Model("m", 8000))
    assert "8,000 tokens that it can read" in refused(world, HARD)
    assert world.select(HELLO).chosen


def test_what_was_learned_of_a_models_tokens_lets_longer_prompts_through() -> None:
    world = World()
    world.add("me", (Draw("minute", "tokens"), head(8000, 8000, Gcra(MINUTE))))
    long = Request("free/auto", (said("user", "x" * 10_000),), max_output_tokens=1000)
    assert not world.select(long).chosen
    for _ in range(50):
        world.memory.calibration.learn("groq", "m", 10_000, 2500)
    [chosen] = world.select(long).chosen
    assert 2500 < chosen.estimate.prompt < 7000


def test_the_words_for_lengths_and_amounts() -> None:
    lengths = (0, 40 * SECOND, 12 * MINUTE, 200 * MINUTE, 5 * HOUR, 49 * HOUR)
    assert [duration(each) for each in lengths] == ["1 s", "40 s", "12 min", "3 h 20 min", "5 h", "3 days"]
    assert quantity(Draw("p", "tokens"), 12_345) == "12,345"
    assert [quantity(Draw("p", "usd_micros"), each) for each in (5_000_000, 120)] == ["$5.00", "$0.000120"]


def test_a_model_that_nobody_has_asked_is_expected_to_be_a_good_one() -> None:
    assert Seen().reliability > 0.8
    assert span_of(Pool("p", 1, DAILY), NOON).end == NOON + 12 * HOUR


def test_a_candidate_without_quota_may_always_be_asked() -> None:
    world = World()
    world.candidates.append(Candidate(FakeBackend("local"), "m"))
    [chosen] = world.select(wish=Wish("ann", data="confidential")).chosen
    assert chosen.amounts == {}
