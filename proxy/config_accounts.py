"""Reads [[accounts]] and [catalog.PROVIDER], and checks that they fit together."""

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec.structs import fields

from backends import registry
from proxy import accounts as building
from proxy.accounts import models_of
from proxy.catalog import Catalog, is_own, merged
from proxy.config_check import Problem, address_fault, nearest
from proxy.config_free import Account, Facts, Free
from proxy.config_read import Reader, toml_type
from proxy.config_source import join

FREE = "free"  # what free/auto is addressed by
KEYS = {"account": "account_id"}  # of a backend's options: an account's


def read(
    reader: Reader, accounts: object, catalog: object, backends: Sequence[str]
) -> tuple[tuple[Account, ...], dict[str, Facts]]:
    """Both, without those that have a problem. `backends` are the names of the [[backends]]."""
    facts = _catalog(reader, catalog)
    found = _accounts(reader, accounts)
    for index, account in found.items():
        reader.report(_alone(account, join("accounts", index), merged(facts)))
    reader.report(_together(found))
    if found and FREE in (*backends, *(account.name for account in found.values())):
        what = "account" if FREE not in backends else "backend"
        reader.problem("accounts", f'"{FREE}" is the name by which all accounts are asked. Rename the {what} "{FREE}".')
    return tuple(found.values()), facts


def free(free: Free, names: Sequence[str]) -> Iterator[Problem]:
    """The local targets are models of backends, which are `names`."""
    for index, target in enumerate(free.local):
        if fault := address_fault(target, names):
            yield f"free.local[{index}]", fault


def _accounts(reader: Reader, raw: object) -> dict[int, Account]:
    if not isinstance(raw, list):
        reader.problem("accounts", f"expected tables [[accounts]], with two brackets, got {toml_type(raw)}")
        return {}
    read = {
        index: reader.table(Account, known(reader, table, Account, join("accounts", index)), join("accounts", index))
        for index, table in enumerate(raw)
    }
    return {index: account for index, account in read.items() if account is not None}


def _catalog(reader: Reader, raw: object) -> dict[str, Facts]:
    if not isinstance(raw, dict):
        reader.problem("catalog", f"expected tables [catalog.PROVIDER], got {toml_type(raw)}")
        return {}
    found: dict[str, Facts] = {}
    for name, table in raw.items():
        path = join("catalog", name)
        facts = reader.table(Facts, known(reader, table, Facts, path), path)
        if facts is None:
            continue
        if is_own(name) and facts.base_url is None and facts.preset is None and facts.kind is None:
            near = nearest(name, list(merged({})))
            reader.problem(path, f"no such provider.{near} One of your own needs its base_url.")
        elif facts.kind is not None and facts.kind not in registry.kinds():
            kinds = registry.kinds()
            reader.problem(
                f"{path}.kind",
                f'unknown kind "{facts.kind}".{nearest(facts.kind, kinds)} Known kinds: {", ".join(kinds)}.',
            )
        else:
            found[name] = facts
    return found


def _alone(account: Account, path: str, catalog: Catalog) -> Iterator[Problem]:
    """What is wrong with one account."""
    provider = catalog.get(account.provider)
    if provider is None:
        known = ", ".join(name for name, each in catalog.items() if each.usable)
        yield (
            f"{path}.provider",
            f'no such provider: "{account.provider}".{nearest(account.provider, list(catalog))} Known: {known}.',
        )
        return
    plans = [plan.id for plan in provider.plans]
    if account.plan is not None and account.plan not in plans:
        yield (
            f"{path}.plan",
            f'no such plan: "{account.plan}".{nearest(account.plan, plans)} Plans: {", ".join(plans)}.',
        )
        return
    if provider.usable:
        try:
            building.options(account, provider)
        except (ValueError, TypeError) as error:
            key = getattr(error, "key", None)
            yield f"{path}.{KEYS.get(key, key)}" if key else path, f"{error}"
    models = models_of(account, provider)
    for index, limit in enumerate(account.limits):
        if limit.model is not None and limit.model not in models:
            yield (
                f"{path}.limits[{index}].model",
                f'"{limit.model}" is none of its models.{nearest(limit.model, models)}',
            )


def _together(accounts: Mapping[int, Account]) -> Iterator[Problem]:
    """No two spend one quota as if it were two."""
    by_provider: dict[str, str] = {}
    by_key: dict[object, str] = {}
    for index, account in accounts.items():
        path = join("accounts", index)
        first = by_provider.setdefault(account.provider, account.name)
        if (credential := _credential(account)) in by_key:
            yield (
                path,
                (f'"{account.name}" has the credential of "{by_key[credential]}": one account, one quota. Remove one.'),
            )
        elif first != account.name and not account.owned_separately:
            yield (
                path,
                (
                    f'"{account.name}" is a further account of {account.provider}, beside "{first}". Providers give '
                    "one account to a person, and limits are those of the whole organization. Set owned_separately = "
                    "true only if you own it separately and the terms allow it."
                ),
            )
        by_key.setdefault(credential, account.name)


def _credential(account: Account) -> object:
    """What tells accounts apart: a key, wherever it is sent; without one the provider."""
    if account.api_key is not None or account.api_key_file is not None:
        return account.api_key, account.api_key_file
    return account.provider


def known(reader: Reader, value: Any, type_: Any, path: str) -> Any:
    """`value` without unknown keys and words inside it, each reported with what may have been meant."""
    if get_origin(type_) is Annotated:
        return known(reader, value, get_args(type_)[0], path)
    arguments = get_args(type_)
    if get_origin(type_) in (Union, UnionType):
        inner = [each for each in arguments if each is not type(None)]
        return known(reader, value, inner[0], path) if len(inner) == 1 else value
    if get_origin(type_) is Literal and isinstance(value, str) and value not in arguments:
        listed = ", ".join(f'"{each}"' for each in arguments)
        reader.problem(path, f'expected one of {listed}, got "{value}".{nearest(value, arguments)}')
        return arguments[0]
    if get_origin(type_) is tuple and isinstance(value, list):
        return [known(reader, each, arguments[0], join(path, index)) for index, each in enumerate(value)]
    if get_origin(type_) is dict and isinstance(value, dict):
        return {key: known(reader, each, arguments[1], join(path, key)) for key, each in value.items()}
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct) and isinstance(value, dict):
        keys = {field.encode_name: field.type for field in fields(type_)}
        reader.unknown_keys(value, list(keys), path)
        return {key: known(reader, each, keys[key], join(path, key)) for key, each in value.items() if key in keys}
    return value
