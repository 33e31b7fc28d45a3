"""What each provider of the catalog says, by its shipped rules, reaches the pools that an account of it has."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends import anthropic_errors, cohere_errors, gemini_errors, provider_errors
from backends.errors import BackendError
from backends.json import dumps
from backends.limits import spoken
from proxy.accounts import build
from proxy.catalog import WORDS, shipped
from proxy.config import Config
from proxy.config_free import Account
from proxy.observed import Known, Told, answered, failed
from quota.headers import HeaderRule
from quota.ledger import Headroom
from quota.pool import HOUR, SECOND, Fixed, Micros
from tests.providers.limits_said import DATE, HEADERS, REFUSALS

NOW: Micros = 1_795_251_600 * SECOND  # 2026-11-21 09:00:00 UTC
CLASSIFIERS = {
    "cohere": cohere_errors.classify,
    "gemini": gemini_errors.classify,
    "anthropic": anthropic_errors.classify,
}
MODELS = {"gemini": "gemini-3.6-flash", "cerebras": "m", "openai": "m", "anthropic": "m", "huggingface": "m"}
LIMITS: dict[str, list[dict[str, Any]]] = {  # where nothing is free, or nothing is published, the account's own
    "cerebras": [{"metric": "tokens", "amount": 30000, "window": "minute", "model": "m"}],
    "openai": [
        {"metric": "requests", "amount": 5000, "window": "minute"},
        {"metric": "requests", "amount": 100_000, "window": "day"},
    ],
    "anthropic": [{"metric": "input_tokens", "amount": 100_000, "window": "minute"}],
}
PRICED = {"prices": {"m": {"input": 1, "output": 1}}}


def account(name: str) -> Known:
    """The first model of an account of that provider, of which all was used."""
    options: dict[str, Any] = {"name": "me", "provider": name, "api_key": "k", "accept": list(WORDS), "models": []}
    options |= {"limits": LIMITS.get(name, []), "account_id": "id" if name == "cloudflare" else None}
    if model := MODELS.get(name):
        options["models"] = [model]
    if model == "m":
        options |= PRICED
        options["limits"] = [*options["limits"], {"metric": "usd", "amount": 5, "window": "month", "reset": "fixed"}]
    made = build(Config(data_dir=Path(), accounts=(msgspec.convert(options, Account),)), shipped())
    headroom = {
        pool.id: Headroom(
            pool,
            cap=pool.cap,
            margin=0,
            used=pool.cap,
            reserved=0,
            left=0,
            opens_at=None,
            resets_at=NOW + 15 * HOUR if isinstance(pool.window, Fixed) else None,
            closed_until=None,
            source="catalog",
            observed_at=None,
            shares={},
        )
        for pool in made.pools
    }
    return Known(made.metered["me"][0], headroom, shipped()[name].headers, made.unknown)


def refused(name: str, kind: str) -> BackendError:
    said = REFUSALS[name][kind]
    headers = {header.lower(): value for header, value in said.headers.items()}
    classify = CLASSIFIERS.get(name, provider_errors.classify)
    status = None if said.status == 200 else said.status
    error = classify(status, headers, dumps(said.body), model="m", now=NOW / SECOND)
    error.limits = {**spoken(headers), **error.limits}
    return error


def axes(told: Told, known: Known) -> dict[str, tuple[int | None, int | None]]:
    """By metric and window: the limit, and what is left."""
    labels = {each.pool: known.headroom[each.pool].pool.labels for each in told.observations}
    return {
        f"{labels[each.pool]['metric']}/{labels[each.pool]['per']}": (each.limit, each.remaining)
        for each in told.observations
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "groq": {"requests/day": (1000, 970), "tokens/minute": (8000, 7985)},
        "openai": {"requests/minute": (5000, 4999)},  # the one whose cap it is: its window is not told
        "mistral": {"tokens/minute": (500_000, 499_000), "tokens/month": (10**9, 999_000_000)},
        "cerebras": {"tokens/minute": (30000, 29900)},
        "cohere": {"requests/month": (1000, None), "requests/minute": (20, 7)},
        "anthropic": {"input_tokens/minute": (80000, 79000)},
        "cloudflare": {},  # its headers are about another API than the one that counts neurons
        "sambanova": {"requests/minute": (20, 19), "requests/day": (20, 12)},
    }.items(),
)
def test_headers(name: str, expected: dict[str, tuple[int | None, int | None]]) -> None:
    known = account(name)
    told = answered(known, {**HEADERS[name], "date": DATE}, NOW)
    assert axes(told, known) == expected
    assert not any(each.refused for each in told.observations)
    assert told.cooldowns == ()


@pytest.mark.parametrize(
    ("name", "kind", "axis", "seconds"),
    [
        ("groq", "TPM", "tokens/minute", 7.5),
        ("groq", "TPD", "tokens/day", 864),
        ("groq", "RPM", "requests/minute", 2),
        ("groq", "RPD", "requests/day", 86.4),
        ("openrouter", "day", "requests/day", 15 * 3600),
        ("openrouter", "day in 200", "requests/day", 15 * 3600),
        ("openrouter", "minute", "requests/minute", 30),
        ("cerebras", "minute", "tokens/minute", 11.382867),
        ("cohere", "minute", "requests/minute", None),
        ("cohere", "tokens", "tokens/minute", None),
        ("gemini", "day", "requests/day", 23 * 3600),
        ("gemini", "minute", "input_tokens/minute", 36),
        ("anthropic", "minute", "input_tokens/minute", 17),
        ("cloudflare", "day", "neurons/day", 15 * 3600),
        ("sambanova", "day", "requests/day", 3700),
        ("huggingface", "month", "usd_micros/month", 15 * 3600),  # until its window ends
    ],
)
def test_a_refusal_closes_its_pool(name: str, kind: str, axis: str, seconds: float | None) -> None:
    known = account(name)
    told = failed(known, refused(name, kind), NOW)
    [closed] = [each for each in told.observations if each.refused]
    assert axes(Told((closed,)), known).keys() == {axis}
    assert closed.resets_at == (None if seconds is None else NOW + round(seconds * SECOND))
    assert told.cooldowns == ()


@pytest.mark.parametrize(
    ("name", "kind", "scope", "guessed"),
    [
        ("mistral", "minute", "model:", True),  # the catalog has no such pool
        ("mistral", "month", "account:me", True),
        ("cohere", "month", "account:me", True),
        ("gemini", "not free", "model:", False),
        ("cloudflare", "capacity", "model:", True),
        ("nvidia", "mute", "model:", True),
    ],
)
def test_a_refusal_that_closes_no_pool_is_a_cooldown(name: str, kind: str, scope: str, guessed: bool) -> None:
    known = account(name)
    told = failed(known, refused(name, kind), NOW)
    assert not any(each.refused for each in told.observations)
    [cooldown] = told.cooldowns
    assert cooldown.scope == (f"model:me/{known.metered.model}" if scope == "model:" else scope)
    assert (cooldown.guessed, cooldown.until > NOW) == (guessed, True)


def test_a_request_above_the_limit_teaches_it() -> None:
    known = account("groq")
    told = failed(known, refused("groq", "too large"), NOW)
    assert axes(told, known)["tokens/minute"] == (6000, None)
    assert told.cooldowns == ()


@pytest.mark.parametrize("name", [provider.id for provider in shipped().values() if provider.headers])
def test_every_rule_that_ships_can_be_read(name: str) -> None:
    rules = shipped()[name].headers
    assert all(isinstance(rule, HeaderRule) and rule.name == rule.name.lower() for rule in rules)
    assert {spoken({rule.name: "1"}).get(rule.name) for rule in rules} == {"1"}, "the transport lets it through"
