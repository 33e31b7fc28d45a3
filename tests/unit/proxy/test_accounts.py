"""What accounts become: backends, pools, and models that draw on them; and why some cannot be used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backends.anthropic import Options as Anthropic
from backends.cohere import Options as Cohere
from backends.gemini import Options as Gemini
from backends.openai_compatible import Options as OpenAICompatible
from proxy.account_doubts import doubts
from proxy.accounts import Accounts, build
from proxy.catalog import Provider, merged, shipped
from proxy.config import Config
from proxy.config_free import Account, AccountLimit, Facts, Limit, ModelFacts, Rates
from proxy.metered import Draw, Metered
from quota.pool import DAY, MINUTE, Concurrent, Fixed, Gcra, Pool, Rolling

KEY = "sk-0123456789abcdefghij"
BUDGET = AccountLimit(metric="usd", amount=5, window="month", reset="fixed")


def account(provider: str, name: str = "", **said: Any) -> Account:
    return Account(name=name or provider, provider=provider, **said)


def built(*accounts: Account, told: Mapping[str, int] = {}, **facts: Facts) -> Accounts:
    config = Config(data_dir=Path("/nowhere"), accounts=accounts, catalog=facts)
    return build(config, merged(facts), told)


def pool(accounts: Accounts, name: str) -> Pool:
    return next(each for each in accounts.pools if each.id == name)


def model(accounts: Accounts, name: str) -> Metered:
    owner, _, rest = name.partition("/")
    return next(each for each in accounts.metered[owner] if each.model == rest)


def accepting(provider: Provider) -> Account:
    """An account with everything that it may need."""
    models = tuple(provider.models) or ("some-model",)
    return account(
        provider.id,
        api_key=KEY,
        account_id="0123abc" if provider.preset == "cloudflare" else None,
        accept=tuple({notice.term for notice in provider.terms}),
        models=models,
        prices={name: Rates(input=1, output=2) for name in models},
        limits=(BUDGET,),
    )


@pytest.mark.parametrize("provider", [each for each in shipped().values() if each.usable], ids=lambda each: each.id)
def test_every_shipped_row_can_be_used(provider: Provider) -> None:
    found = built(accepting(provider))
    assert not found.unused
    assert [options.name for options in found.backends] == [provider.id]
    pools = {each.id for each in found.pools}
    for each in found.metered[provider.id]:
        assert {draw.pool for draw in each.draws} <= pools
        assert f"{provider.id}/usd_micros/month" in pools
    for each in found.pools:
        assert each.cap > 0
        assert each.labels["provider"] == provider.id
        assert each.on_arrival == (each.labels["metric"] in ("requests", "input_tokens"))


def test_a_retired_provider_is_not_used() -> None:
    found = built(account("github_models", api_key=KEY))
    assert found.unused == (("github_models", "GitHub Models is retired. Remove the account."),)
    assert not found.backends


def test_an_account_becomes_a_backend_of_the_fitting_kind() -> None:
    found = built(
        account("groq", "groq-me", api_key=KEY, models=("openai/gpt-oss-20b",)),
        account("gemini", api_key=KEY, accept=("trains", "no_eea")),
        account("cohere", api_key=KEY, accept=("evaluation_only", "unclear")),
        account("cloudflare", "cf", api_key=KEY, account_id="0123abc"),
        account("anthropic", api_key=KEY, accept=("card",), prices={"m": Rates(input=1, output=5)}, limits=(BUDGET,)),
        account("ovh", base_url="http://127.0.0.1:1/v1", accept=("unclear",)),
    )
    groq, gemini, cohere, cloudflare, anthropic, ovh = found.backends
    assert groq == OpenAICompatible(name="groq-me", preset="groq", api_key=KEY, models=("openai/gpt-oss-20b",))
    assert isinstance(gemini, Gemini)
    assert isinstance(cohere, Cohere)
    assert isinstance(cloudflare, OpenAICompatible)
    assert cloudflare.base_url == "https://api.cloudflare.com/client/v4/accounts/0123abc/ai/v1"
    assert isinstance(anthropic, Anthropic)
    assert anthropic.models == ("m",)
    assert isinstance(ovh, OpenAICompatible)
    assert ovh.base_url == "http://127.0.0.1:1/v1"


def test_each_window_is_what_the_provider_does_and_rolling_where_nobody_knows() -> None:
    found = built(
        account("groq", "me", api_key=KEY),
        account("gemini", api_key=KEY, accept=("trains", "no_eea")),
        account("cohere", api_key=KEY, accept=("evaluation_only", "unclear")),
        account("zai", api_key=KEY, accept=("unclear",)),
        account("cerebras", api_key=KEY, accept=("card", "unclear"), prices={"gpt-oss-120b": Rates(input=1, output=1)}),
    )
    assert pool(found, "me/requests/day/openai/gpt-oss-120b").window == Gcra(DAY)
    assert pool(found, "me/requests/day/openai/gpt-oss-120b").cap == 1000
    assert pool(found, "gemini/requests/day/gemini-3.6-flash").window == Fixed("day", "America/Los_Angeles")
    assert pool(found, "gemini/requests/minute/gemini-3.6-flash").window == Rolling(MINUTE)
    month = pool(found, "cohere/requests/month")
    assert isinstance(month.window, Rolling)
    assert month.window.length == 31 * DAY
    assert pool(found, "zai/concurrent_requests/glm-4.7-flash").window == Concurrent()
    assert pool(found, "cerebras/usd_micros/once").window == Fixed("ever")
    assert pool(found, "cerebras/usd_micros/once").cap == 5_000_000


def test_requests_are_counted_on_arrival_and_tokens_are_not() -> None:
    found = built(account("groq", "me", api_key=KEY), account("gemini", api_key=KEY, accept=("trains", "no_eea")))
    assert pool(found, "me/requests/minute/openai/gpt-oss-120b").on_arrival
    assert pool(found, "gemini/input_tokens/minute/gemini-3.6-flash").on_arrival
    assert not pool(found, "me/tokens/minute/openai/gpt-oss-120b").on_arrival


def test_what_is_shared_is_one_pool() -> None:
    found = built(account("openrouter", "or", api_key=KEY, accept=("trains", "logged")))
    assert {each.id for each in found.pools} == {"or/requests/minute", "or/requests/day"}
    assert len(found.metered["or"]) > 5
    assert {tuple(draw.pool for draw in each.draws) for each in found.metered["or"]} == {
        ("or/requests/minute", "or/requests/day")
    }


def test_a_pool_of_this_address_is_shared_by_accounts() -> None:
    one = account("llm7", "a", accept=("unclear",))
    other = account("llm7", "b", api_key=KEY, accept=("unclear",), owned_separately=True, limits=(
        AccountLimit(metric="requests", amount=5, window="minute"),
    ))  # fmt: skip
    found = built(one, other)
    assert pool(found, "ip:llm7/requests/minute").cap == 5, "the stricter of what both say"
    assert model(found, "a/gpt-oss:20b").draws == model(found, "b/gpt-oss:20b").draws


def test_labels_say_what_a_pool_is() -> None:
    found = built(account("gemini", "g", api_key=KEY, accept=("trains", "no_eea")))
    assert pool(found, "g/requests/day/gemini-3.6-flash").labels == {
        "account": "g",
        "provider": "gemini",
        "model": "gemini-3.6-flash",
        "metric": "requests",
        "per": "day",
        "as_of": "2026-09-23",
        "confidence": "medium",
        "terms": "no_eea,trains",
    }


def test_neurons_and_money_have_rates_and_models_without_one_are_left_out() -> None:
    found = built(
        account("cloudflare", "cf", api_key=KEY, account_id="a", models=("@cf/openai/gpt-oss-120b", "@cf/new")),
        account("huggingface", "hf", api_key=KEY, accept=("unclear",), models=("priced", "unpriced"),
                prices={"priced": Rates(input=0.15, output=0.6)}),
    )  # fmt: skip
    assert Draw("cf/neurons/day", "neurons", 31818, 68182) in model(found, "cf/@cf/openai/gpt-oss-120b").draws
    assert model(found, "hf/priced").draws == (Draw("hf/usd_micros/month", "usd_micros", 150_000, 600_000),)
    reasons = dict(found.unused)
    assert "neurons" in reasons["cf/@cf/new"]
    assert "prices" in reasons["hf/unpriced"]
    assert [each.model for each in found.metered["hf"]] == ["priced"]


def test_a_limit_without_a_number_is_a_pool_once_somebody_says_it() -> None:
    gemini = account("gemini", "g", api_key=KEY, accept=("trains", "no_eea"), models=("gemini-3.7-flash",))
    name = "g/requests/day/gemini-3.7-flash"
    found = built(gemini)
    assert not found.pools
    assert model(found, "g/gemini-3.7-flash").draws == ()
    assert found.unknown[name]["metric"] == "requests"
    learned = built(gemini, told={name: 20})
    assert (pool(learned, name).cap, pool(learned, name).source) == (20, "header")
    assert name not in learned.unknown
    mine = AccountLimit(metric="requests", amount=50, window="day")
    said = built(account("gemini", "g", api_key=KEY, accept=("trains", "no_eea"), limits=(mine,)))
    assert (pool(said, name).cap, pool(said, name).source) == (50, "configuration")
    assert pool(said, name).window == Fixed("day", "America/Los_Angeles")


def test_an_accounts_own_numbers_go_before_the_catalogs() -> None:
    found = built(
        account("groq", "me", api_key=KEY, limits=(
            AccountLimit(metric="requests", amount=7, window="minute", model="groq/compound"),
            AccountLimit(metric="requests", amount=60, window="minute"),
            AccountLimit(metric="tokens", amount=1000, window="hour"),
            AccountLimit(metric="requests", amount=9, window="hour", model="groq/compound"),
        ))
    )  # fmt: skip
    assert pool(found, "me/requests/minute/groq/compound").cap == 7
    assert pool(found, "me/requests/minute/openai/gpt-oss-20b").cap == 60
    assert isinstance(pool(found, "me/requests/minute/openai/gpt-oss-20b").window, Gcra)
    assert isinstance(pool(found, "me/tokens/hour").window, Rolling)
    assert pool(found, "me/requests/hour/groq/compound").cap == 9
    assert pool(found, "me/requests/minute/groq/compound").labels["confidence"] == "high"


def test_a_budget_of_ones_own() -> None:
    claude = account("anthropic", "claude", api_key=KEY, accept=("card",), limits=(BUDGET,),
                     prices={"haiku": Rates(input=1, output=5)})  # fmt: skip
    found = built(claude)
    assert pool(found, "claude/usd_micros/month").cap == 5_000_000
    assert pool(found, "claude/usd_micros/month").window == Fixed("month")
    assert model(found, "claude/haiku").draws == (Draw("claude/usd_micros/month", "usd_micros", 1_000_000, 5_000_000),)
    assert not model(found, "claude/haiku").free
    assert "claude" not in found.by_name


def test_what_costs_is_not_used_without_a_budget() -> None:
    [(name, why)] = built(account("anthropic", api_key=KEY, accept=("card",), models=("haiku",))).unused
    assert name == "anthropic/haiku"
    assert "Set a budget" in why


def test_nothing_is_asked_before_its_terms_are_accepted() -> None:
    found = built(account("gemini", api_key=KEY, accept=("trains",)))
    assert not found.backends
    [(name, why)] = found.unused
    assert name == "gemini"
    assert "no_eea" in why
    assert 'accept = ["trains", "no_eea"]' in why


def test_what_bills_is_for_free_auto_only_with_permission() -> None:
    shared = {"plan": "shared_tier_1_2", "accept": ("card", "trains"), "api_key": KEY, "models": ("mini-model",)}
    facts = Facts(models={"mini-model": ModelFacts(group="mini")})
    found = built(account("openai", **shared), openai=facts)
    assert pool(found, "openai/tokens/day/@mini").cap == 2_500_000
    assert "allow_billing" in found.by_name["openai"]
    assert model(found, "openai/mini-model").overrun == "bills"
    assert not built(account("openai", allow_billing=True, **shared), openai=facts).by_name
    [(_, why)] = built(account("openai", **shared)).unused
    assert 'Set group in [catalog.openai.models."mini-model"]' in why


def test_a_provider_of_ones_own_works_the_same_way() -> None:
    company = Facts(
        base_url="https://llm.example.com/v1",
        limits=(Limit(metric="requests", amount=60, window="5h", scope="account+model"),),
        models={"m": ModelFacts(context=8192, max_output=100, quality=0.5)},
    )
    found = built(account("company", "work", api_key=KEY), company=company)
    assert pool(found, "work/requests/5h/m").window == Rolling(5 * 60 * MINUTE)
    assert model(found, "work/m").quality == 0.5
    assert (found.facts["work/m"].context, found.facts["work/m"].max_output) == (8192, 100)


def warnings(*accounts: Account, backends: tuple[Any, ...] = ()) -> str:
    config = Config(data_dir=Path("/nowhere"), accounts=accounts)
    return "\n".join(doubts(accounts, shipped(), build(config, shipped()), backends))


def test_what_a_person_should_know_before_relying_on_an_account() -> None:
    assert not warnings(account("groq", api_key=KEY))
    assert "is not used: terms of Google" in (said := warnings(account("gemini", api_key=KEY)))
    assert "trains: What is sent on the unpaid quota is used to improve Google's products" in said
    assert "retired" in warnings(account("github_models", api_key=KEY))
    assert "closed to new accounts" in warnings(account("sambanova", api_key=KEY, accept=("unclear",)))
    unsure = warnings(account("mistral", api_key=KEY, accept=("trains", "unclear")))
    assert "is not sure in tokens per month" in unsure
    assert "in doubt" in unsure
    assert 'api_key = "${GROQ_API_KEY}"' in warnings(account("groq"))
    assert "placeholder" in warnings(account("groq", api_key="your-key-here-please"))
    assert 'Did you mean "groq/compound"?' in warnings(account("groq", api_key=KEY, models=("groq/compoun",)))


def test_a_backend_with_the_key_of_an_account_spends_what_nobody_counts() -> None:
    backend = OpenAICompatible(name="other", preset="groq", api_key=KEY)
    said = warnings(account("groq", "me", api_key=KEY), backends=(backend,))
    assert 'the backend "other" has the same key' in said
    assert KEY not in said
