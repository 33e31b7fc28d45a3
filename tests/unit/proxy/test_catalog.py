"""The facts that ship: every row is whole, sourced and dated, and the user's facts go before them."""

import re

import pytest

from backends import registry
from backends.presets import presets
from proxy.catalog import WORDS, Provider, is_own, merged, shipped
from proxy.catalog_words import every, number, reset_words, resets, short, summary
from proxy.config_free import Facts, Limit, ModelFacts, Rates

NAMED = {"openai", "anthropic", "cohere", "gemini", "groq", "openrouter", "mistral", "cloudflare", "nvidia"}
NAMED |= {"huggingface", "cerebras", "github_models", "sambanova", "together", "zai", "ollama_cloud", "llm7"}
NAMED |= {"ovh", "kilo", "siliconflow", "modelscope"}
EVERY = pytest.mark.parametrize("provider", shipped().values(), ids=lambda provider: provider.id)


def test_every_provider_that_was_promised_is_there() -> None:
    assert set(shipped()) == NAMED


@EVERY
def test_each_row_says_where_it_was_read_and_when(provider: Provider) -> None:
    assert provider.sources
    assert re.fullmatch(r"20\d\d-[01]\d(-[0-3]\d)?", provider.as_of)
    for notice in provider.terms:
        assert notice.text.endswith(".")
        assert set(notice.plans) <= {plan.id for plan in provider.plans}
    assert all(note.endswith(".") for note in provider.notes)


@EVERY
def test_each_row_can_be_asked_or_says_that_it_is_retired(provider: Provider) -> None:
    if provider.status == "retired":
        assert not provider.usable
        return
    assert provider.kind in registry.KINDS
    assert provider.preset is None or provider.preset in presets()
    if provider.kind == "openai_compatible":
        assert (provider.preset is None) != (provider.base_url is None), "one of both knows where it is"


@EVERY
def test_each_limit_belongs_to_a_plan_and_a_group_that_there_are(provider: Provider) -> None:
    plans = {plan.id for plan in provider.plans}
    limits = [*provider.limits, *(limit for facts in provider.models.values() for limit in facts.limits)]
    for limit in limits:
        assert set(limit.plans) <= plans
        assert (limit.group is not None) == limit.scope.endswith("+model_group")
        assert limit.timezone is None or limit.reset == "fixed"
        assert limit.metric == "concurrent_requests" or limit.window is not None
    for facts in provider.models.values():
        assert all(limit.each_model for limit in facts.limits)


@EVERY
def test_headers_speak_of_what_is_counted_there(provider: Provider) -> None:
    for rule in provider.headers:
        assert rule.name == rule.name.lower()
        assert rule.metric in ("requests", "tokens", "input_tokens", "output_tokens")


def test_what_bills_or_is_not_free_says_so() -> None:
    for name in ("openai", "anthropic", "together"):
        assert shipped()[name].overrun == "bills"
        assert not shipped()[name].plan(None).free
        assert "card" in {notice.term for notice in shipped()[name].notices(None)}


def test_terms_that_matter_are_there() -> None:
    terms = {name: {notice.term for notice in provider.notices(None)} for name, provider in shipped().items()}
    assert terms["gemini"] >= {"trains", "no_eea"}
    assert terms["nvidia"] >= {"evaluation_only", "logged"}
    assert "evaluation_only" in terms["cohere"]
    assert "trains" in terms["mistral"]
    assert not terms["groq"]
    assert set().union(*terms.values()) <= set(WORDS)


def test_terms_and_limits_follow_the_plan() -> None:
    openai = shipped()["openai"]
    assert "trains" not in {notice.term for notice in openai.notices(None)}
    assert "trains" in {notice.term for notice in openai.notices("shared_tier_1_2")}
    openrouter = shipped()["openrouter"]
    by_plan = {
        plan.id: [limit.amount for limit in openrouter.limits_of(None, plan.id) if limit.window == "day"]
        for plan in openrouter.plans
    }
    assert by_plan == {"free": [50], "credits": [1000]}


def test_old_and_unsure_facts_say_so() -> None:
    gemini, openai = shipped()["gemini"], shipped()["openai"]
    [rpm, *_] = gemini.limits_of("gemini-3.7-flash", None)
    assert rpm.amount is None
    assert gemini.confidence_in(rpm, "gemini-3.7-flash") == "low"
    assert openai.stale
    assert all(openai.confidence_in(limit) == "low" for limit in openai.limits)


def test_a_users_facts_go_before_the_shipped_ones() -> None:
    mine = Limit(metric="requests", amount=5, window="minute", scope="organization+model")
    said = {
        "groq": Facts(models={"openai/gpt-oss-120b": ModelFacts(quality=0.9, limits=(mine,)), "new": ModelFacts()}),
        "gemini": Facts(terms=("trains",), overrun="bills"),
    }
    groq, gemini = merged(said)["groq"], merged(said)["gemini"]
    facts = groq.models["openai/gpt-oss-120b"]
    assert (facts.quality, facts.context) == (0.9, 131072)
    assert [limit.amount for limit in groq.limits_of("openai/gpt-oss-120b", None) if limit.window == "minute"] == [5]
    assert [limit.amount for limit in groq.limits_of("openai/gpt-oss-20b", None) if limit.window == "minute"] == [
        30,
        8000,
    ]
    assert [limit.amount for limit in groq.limits_of("new", None)] == [30]
    assert [notice.term for notice in gemini.terms] == ["trains"]
    assert "improve Google" in gemini.terms[0].text
    assert gemini.overrun == "bills"
    assert shipped()["groq"].models["openai/gpt-oss-120b"].quality is None


def test_a_provider_of_ones_own() -> None:
    said = Facts(base_url="https://llm.example.com/v1", terms=("logged",), models={"m": ModelFacts(context=10)})
    own = merged({"company": said})["company"]
    assert is_own("company")
    assert own.kind == "openai_compatible"
    assert own.models["m"].context == 10
    assert own.terms[0].text == "May log what you send, says your configuration."


def test_limits_in_words() -> None:
    assert summary(shipped()["openrouter"]) == ["20 req/min", "50 req/day"]
    assert summary(shipped()["gemini"])[0] == "5-30 req/min*"
    assert summary(shipped()["huggingface"]) == ["$0.10/month"]
    assert summary(shipped()["anthropic"]) == []
    assert resets(shipped()["gemini"]) == ["00:00 Los Angeles"]
    assert resets(shipped()["groq"]) == ["refills all the time"]
    assert short([Limit(metric="tokens", window="5h")]) == "? tok/5h"
    assert short([Limit(metric="concurrent_requests", amount=2)]) == "2 req at once"
    assert reset_words(Limit(metric="usd", amount=5, window="month", reset="fixed")) == "on the 1st, 00:00 UTC"
    assert [number(each, "tokens") for each in (999, 8000, 14400, 2_500_000, 10**9)] == [
        "999", "8,000", "14.4K", "2.5M", "1B",
    ]  # fmt: skip


@EVERY
def test_every_limit_has_words(provider: Provider) -> None:
    for limit in every(provider):
        assert short([limit])
        assert reset_words(limit)


def test_neurons_are_known_for_each_model_of_cloudflare() -> None:
    assert all(isinstance(facts.neurons, Rates) for facts in shipped()["cloudflare"].models.values())
