"""Turns [[accounts]] and the catalog into backends, quota pools, and models that draw on them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

from msgspec import Struct

from backends import registry
from backends.base import Model
from backends.http_options import WrongKey
from proxy.account_pools import drawn
from proxy.catalog import Catalog, Provider
from proxy.config import BackendOptions, Config
from proxy.config_free import Account, ModelFacts
from proxy.metered import Metered, Term
from quota.pool import Pool

NOTHING_TOLD: Mapping[str, int] = MappingProxyType({})
BILLS = (
    "its provider charges for what is beyond the free amount. "
    "Set allow_billing = true to let free/auto use it; its models can be asked by name."
)


class Accounts(Struct, frozen=True):
    """All accounts that can be asked, and why others cannot.

    `metered` is by account; `facts` by "ACCOUNT/MODEL". `unused` holds an account, or ACCOUNT/MODEL, and a sentence
    with what to do. The accounts `by_name` may be asked by ACCOUNT/MODEL only, not for free/auto: each with why.
    `unknown` are limits that exist, without a number: the ids that their pools would have, each with its labels.
    `build` makes pools of them when it is told the numbers.
    """

    backends: tuple[BackendOptions, ...]
    pools: tuple[Pool, ...]
    metered: Mapping[str, tuple[Metered, ...]]
    facts: Mapping[str, Model]
    unused: tuple[tuple[str, str], ...]
    by_name: Mapping[str, str]
    unknown: Mapping[str, Mapping[str, str]]


def build(config: Config, catalog: Catalog, told: Mapping[str, int] = NOTHING_TOLD) -> Accounts:
    """Everything that the accounts of a configuration, which was checked, are made of.

    `told` are amounts that providers said of limits that the catalog has no number for, by the pool's id.
    """
    backends: list[BackendOptions] = []
    pools: dict[str, Pool] = {}
    metered: dict[str, tuple[Metered, ...]] = {}
    facts: dict[str, Model] = {}
    unused: list[tuple[str, str]] = []
    by_name: dict[str, str] = {}
    unknown: dict[str, Mapping[str, str]] = {}
    for account in config.accounts:
        provider = catalog[account.provider]
        if (why := hindrance(account, provider)) is not None:
            unused.append((account.name, why))
            continue
        found: list[Metered] = []
        for model in models_of(account, provider):
            drawing = drawn(account, provider, model, told)
            if isinstance(drawing, str):
                unused.append((f"{account.name}/{model}", drawing))
                continue
            for pool in drawing.pools:
                pools[pool.id] = _stricter(pools.get(pool.id), pool)
            unknown |= drawing.unknown
            found.append(drawing.metered)
            known = provider.models.get(model, ModelFacts())
            facts[f"{account.name}/{model}"] = Model(model, known.context, max_output=known.max_output)
        if not found:
            continue
        metered[account.name] = tuple(found)
        backends.append(options(account, provider, [each.model for each in found]))
        if provider.overrun == "bills" and provider.plan(account.plan).free and not account.allow_billing:
            by_name[account.name] = BILLS
    return Accounts(
        backends=tuple(backends),
        pools=tuple(pools.values()),
        metered=MappingProxyType(metered),
        facts=MappingProxyType(facts),
        unused=tuple(unused),
        by_name=MappingProxyType(by_name),
        unknown=MappingProxyType(unknown),
    )


def hindrance(account: Account, provider: Provider) -> str | None:
    """Why nothing of an account can be used, and what to do; None when it can."""
    if not provider.usable:
        return f"{provider.name} is retired. Remove the account."
    if missing := not_accepted(account, provider):
        every = dict.fromkeys(notice.term for notice in provider.notices(account.plan))
        listed = ", ".join(f'"{term}"' for term in every)
        return (
            f"terms of {provider.name} are not accepted: {', '.join(missing)}. "
            f"Read them (streamlane free terms {provider.id}), then set accept = [{listed}]."
        )
    if not models_of(account, provider):
        return f"the catalog has no models of {provider.name}. Name yours in models, or in prices."
    return None


def not_accepted(account: Account, provider: Provider) -> tuple[Term, ...]:
    """The terms of its plan that an account has not accepted, each once."""
    terms = dict.fromkeys(notice.term for notice in provider.notices(account.plan))
    return tuple(term for term in terms if term not in account.accept)


def models_of(account: Account, provider: Provider) -> tuple[str, ...]:
    """The models that an account names; else the catalog's, and those with a price."""
    return account.models or tuple(dict.fromkeys((*provider.models, *account.prices)))


def options(account: Account, provider: Provider, models: Iterable[str] = ()) -> BackendOptions:
    """The backend that asks an account. Raises ValueError where its parts cannot be used."""
    assert provider.kind is not None
    made = registry.load(provider.kind).Options
    if account.account_id is not None and "account" not in made.__struct_fields__:
        raise WrongKey("account_id", f"{provider.name} has no place for it. Take it out")
    given = {
        "api_key": account.api_key,
        "api_key_file": account.api_key_file,
        "preset": provider.preset,
        "base_url": account.base_url or provider.base_url,
        "account": account.account_id,
    }
    said: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    return cast(BackendOptions, made(name=account.name, models=tuple(models), **said))


def _stricter(one: Pool | None, other: Pool) -> Pool:
    """Of what two accounts say of the pool that they share, the smaller."""
    return other if one is None or other.cap < one.cap else one
