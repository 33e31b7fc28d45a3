"""The quota pools that one model of one account draws on, and what a request to it costs in each. Pure.

A pool belongs to whom the provider counts: the account (or its organization or project), each model of it, or, with the
scope "ip", this machine, whatever the account. Pools are named like groq-me/requests/day/openai/gpt-oss-120b, without
the model where it is for all of them, and with @GROUP where a group of models shares it.
"""

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias, cast

from msgspec import Struct
from msgspec.structs import replace

from backends.limits import Metric
from proxy.catalog import Provider
from proxy.config_free import Account, AccountLimit, Limit, ModelFacts, Rates
from proxy.metered import Draw, Metered
from quota.pool import DAY, HOUR, MINUTE, SECOND, Concurrent, Fixed, Gcra, Micros, Period, Pool, Rolling, Window

Unit: TypeAlias = Metric | Literal["concurrent_requests"]

LENGTHS: Mapping[str, Micros] = {
    "second": SECOND,
    "minute": MINUTE,
    "hour": HOUR,
    "day": DAY,
    "week": 7 * DAY,
    "month": 31 * DAY,  # the longest: what is legal in any 31 days is so in any month
}
UNITS: Mapping[str, Micros] = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
SLOTS = 12
LONG_SLOTS = 31  # of a day and longer: the finer they are, the sooner what was used is there again
ON_ARRIVAL = ("requests", "input_tokens")  # what a provider knows, and counts, when a request arrives
MICROS = 1_000_000  # of a dollar


class Said(NamedTuple):
    """A limit, and who said its number: catalog or configuration."""

    limit: Limit
    source: str


class Drawn(Struct, frozen=True):
    """A model with its pools. `unknown` are the ids and labels of those that exist, without a number."""

    metered: Metered
    pools: tuple[Pool, ...]
    unknown: Mapping[str, Mapping[str, str]]


def drawn(account: Account, provider: Provider, model: str, told: Mapping[str, int]) -> Drawn | str:
    """What `model` draws on, or a sentence with why it cannot be used and what to do.

    `told` are amounts that the provider said where nobody else knows one, by the pool's id.
    """
    facts = provider.models.get(model, ModelFacts())
    plan = provider.plan(account.plan)
    pools: list[Pool] = []
    draws: list[Draw] = []
    unknown: dict[str, Mapping[str, str]] = {}
    limits = said_limits(account, provider, model)
    for limit, source in limits:
        name, labels = _id(account, provider, model, limit), _labels(account, provider, model, limit)
        amount = told.get(name) if limit.amount is None else amount_of(limit)
        if amount is None:
            unknown[name] = labels
            continue
        if (rates := _rates(account, facts, model, limit)) is None:
            return _no_rates(provider, model, limit)
        pools.append(
            Pool(
                name,
                amount,
                window_of(limit),
                on_arrival=limit.metric in ON_ARRIVAL,
                source="header" if limit.amount is None else source,
                labels=labels,
            )
        )
        draws.append(Draw(name, unit_of(limit), *rates))
    if not plan.free and not any(source == "configuration" for _, source in limits):
        return (
            f"every request to {provider.name} costs money. Set a budget: "
            'limits = [{ metric = "usd", amount = 5, window = "month", reset = "fixed" }], and prices.'
        )
    if plan.free and provider.overrun == "bills" and not draws:
        missing = facts.group is None and any(limit.group for limit in provider.limits)
        remedy = f'Set group in [catalog.{provider.id}.models."{model}"]' if missing else "Set limits"
        return f"{provider.name} bills what is beyond the free amount, and nobody said how much that is. {remedy}."
    metered = Metered(
        account=account.name,
        provider=provider.id,
        model=model,
        draws=tuple(draws),
        overrun=provider.overrun,
        terms=frozenset(notice.term for notice in provider.notices(account.plan)),
        free=plan.free,
        quality=facts.quality,
    )
    return Drawn(metered, tuple(pools), MappingProxyType(unknown))


def said_limits(account: Account, provider: Provider, model: str) -> tuple[Said, ...]:
    """The limits that a request to `model` meets: those of the account itself stand in place of the catalog's."""
    found = [Said(limit, "catalog") for limit in provider.limits_of(model, account.plan)]
    for mine in sorted(account.limits, key=lambda each: each.model is not None):  # one model's go before all models'
        if mine.model not in (None, model):
            continue
        same = [
            index
            for index, (limit, _) in enumerate(found)
            if (limit.metric, limit.window) == (mine.metric, mine.window) and (mine.model is None or limit.each_model)
        ]
        for index in same:
            found[index] = _instead(found[index].limit, mine)
        if not same:
            scope: Literal["account", "account+model"] = "account" if mine.model is None else "account+model"
            found.append(_instead(Limit(metric=mine.metric, window=mine.window, scope=scope), mine))
    return tuple(found)


def window_of(limit: Limit) -> Window:
    """How the ledger counts it. What nobody knows is taken as rolling: what is legal there is so for any window."""
    if limit.metric == "concurrent_requests":
        return Concurrent()
    assert limit.window is not None  # checked when it was read
    if limit.window == "once":
        return Fixed("ever")
    if limit.reset == "fixed":
        return Fixed(cast(Period, limit.window), limit.timezone or "UTC")
    length = LENGTHS.get(limit.window) or int(limit.window[:-1]) * UNITS[limit.window[-1]]
    return Gcra(length) if limit.reset == "token_bucket" else Rolling(length, LONG_SLOTS if length >= DAY else SLOTS)


def unit_of(limit: Limit) -> Unit:
    """What the ledger counts it in."""
    return "usd_micros" if limit.metric == "usd" else limit.metric


def amount_of(limit: Limit) -> int:
    """Its amount in that unit."""
    assert limit.amount is not None
    return round(limit.amount * MICROS) if limit.metric == "usd" else int(limit.amount)


def _id(account: Account, provider: Provider, model: str, limit: Limit) -> str:
    owner = f"ip:{provider.id}" if limit.scope.startswith("ip") else account.name
    return "/".join(filter(None, (owner, unit_of(limit), limit.window, _part(model, limit))))


def _part(model: str, limit: Limit) -> str:
    """Which models share it: one, a group of them, or all."""
    if limit.each_model:
        return model
    return f"@{limit.group}" if limit.group is not None else ""


def _labels(account: Account, provider: Provider, model: str, limit: Limit) -> Mapping[str, str]:
    return MappingProxyType(
        {
            "account": account.name,
            "provider": provider.id,
            "model": _part(model, limit),
            "metric": unit_of(limit),
            "per": limit.window or "",
            "as_of": provider.as_of,
            "confidence": provider.confidence_in(limit, model),
            "terms": ",".join(sorted({notice.term for notice in provider.notices(account.plan)})),
        }
    )


def _rates(account: Account, facts: ModelFacts, model: str, limit: Limit) -> tuple[int, int] | None:
    """What a million tokens cost in the pool's unit; zeros where it counts something else, None where nobody knows."""
    if limit.metric == "neurons":
        return _up(facts.neurons, 1)
    if limit.metric == "usd":
        return _up(account.prices.get(model) or facts.prices, MICROS)
    return 0, 0


def _up(rates: Rates | None, unit: int) -> tuple[int, int] | None:
    return None if rates is None else (ceil(rates.input * unit), ceil(rates.output * unit))


def _no_rates(provider: Provider, model: str, limit: Limit) -> str:
    if limit.metric == "usd":
        return (
            f'no price is known. Set prices = {{ "{model}" = {{ input = …, output = … }} }}, '
            "in dollars per million tokens."
        )
    return (
        "nobody said how many neurons it costs. "
        f'Set neurons in [catalog.{provider.id}.models."{model}"], or name other models.'
    )


def _instead(limit: Limit, mine: AccountLimit) -> Said:
    """`limit` as the account says it. Its own number is sure."""
    zone = mine.timezone or limit.timezone
    reset = mine.reset or ("fixed" if mine.timezone else limit.reset)
    return Said(replace(limit, amount=mine.amount, reset=reset, timezone=zone, confidence="high"), "configuration")
