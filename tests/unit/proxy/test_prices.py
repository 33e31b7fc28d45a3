"""The shipped prices are sound, hold for their own servers alone, and yield to what the operator and accounts say."""

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backends.events import Usage
from backends.request import Audio, EmbeddingRequest, Message, Request, said
from proxy import prices
from proxy.cli.models import models
from proxy.metered import Draw, Metered
from proxy.prices import Row, chargeable, cost, known, published, table
from quota.price import Price

OPENAI = "https://api.openai.com/v1"


@pytest.mark.parametrize("provider", table(), ids=lambda each: each.provider)
def test_each_row_is_exact_and_says_where_and_when_it_was_read(provider: prices.Provider) -> None:
    assert provider.hosts
    assert provider.page.startswith("https://")
    names = [name for row in provider.models for name in row.ids]
    assert len(names) == len(set(names)), "no model has two prices"
    for row in provider.models:
        assert row.source.startswith("https://")
        assert date.fromisoformat(row.date)
        assert row.until is None or date.fromisoformat(row.until)
        for text in (row.input, row.cached_input, row.cache_write, row.output):
            assert text is None or re.fullmatch(r"\d+(\.\d{1,6})?", text), "a micro-dollar is the smallest"
        price = row.price()
        assert price.input, "what costs nothing is no row"
        assert price.cached_input is None or price.cached_input < price.input
        assert price.cache_write is None or price.cache_write >= price.input


def test_a_price_holds_for_the_hosts_of_its_provider() -> None:
    found = published(OPENAI, "gpt-4.1-mini")
    assert found is not None
    assert (found.input, found.cached_input, found.output) == (400_000, 100_000, 1_600_000)
    for elsewhere in (None, "http://127.0.0.1:8000/v1", "https://eu.api.openai.com/v1", "https://api.groq.com"):
        assert published(elsewhere, "gpt-4.1-mini") is None


def test_a_price_that_was_announced_to_end_is_unknown_after_its_last_day(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row(ids=("m",), input="0.1", cached_input=None, cache_write=None, output="0.3", longest_input=None,
              until="2026-12-31", source="https://x", date="2026-11-10")  # fmt: skip
    monkeypatch.setattr(prices, "rows", lambda: {("a.example", "m"): (row.price(), row.until)})
    assert published("https://a.example", "m", "2026-12-31") == row.price()
    assert published("https://a.example", "m", "2027-01-01") is None


def test_the_operator_goes_first_then_the_account_then_the_table() -> None:
    budget = metered(free=False, draws=(Draw("p", "usd_micros", 1, 2),))
    ours = {"a/gpt-4.1-mini": Price(0, 0)}
    assert known(ours, "a", OPENAI, "gpt-4.1-mini", budget) == Price(0, 0)
    paid = known({}, "a", OPENAI, "gpt-4.1-mini", budget)
    assert paid is not None
    assert (paid.input, paid.output) == (1, 2)
    assert known({}, "a", OPENAI, "gpt-4.1-mini", metered(free=False)) == published(OPENAI, "gpt-4.1-mini")


def test_a_free_quota_costs_nothing_where_its_provider_stops_and_is_unknown_where_it_may_bill() -> None:
    free = known({}, "a", OPENAI, "gpt-4.1-mini", metered())
    assert free is not None
    assert (free.input, free.output, free.cached_input) == (0, 0, 0)
    assert known({}, "a", OPENAI, "gpt-4.1-mini", metered(overrun="bills")) is None


def test_only_what_was_counted_has_a_cost() -> None:
    price = Price(1_000_000, 2_000_000, cached_input=100_000)
    assert cost(price, Usage(10, 5, cached_tokens=10)) == 11
    assert cost(price, Usage(10, 5, estimated=True)) is None
    assert cost(price, None) is None
    assert cost(None, Usage(10, 5)) is None


@pytest.mark.parametrize(
    ("changes", "usual"),
    [
        ({}, True),
        ({"extras": {"service_tier": "auto"}}, True),
        ({"extras": {"service_tier": "priority"}}, False),
        ({"extras": {"cache_control": {"type": "ephemeral"}}}, True),
        ({"extras": {"cache_control": {"type": "ephemeral", "ttl": "1h"}}}, False),
        ({"messages": (Message("user", (Audio("wav", "UklGRg=="),)),)}, False),
    ],
)
def test_what_has_a_price_of_its_own_is_not_charged_by_the_usual_one(changes: dict[str, Any], usual: bool) -> None:
    assert chargeable(Request(**{"model": "m", "messages": (said("user", "hi"),)} | changes)) is usual
    assert chargeable(EmbeddingRequest("m", ("hi",)))


def test_the_command_shows_the_operators_prices_and_then_the_published_ones(tmp_path: Path) -> None:
    file = tmp_path / "streamlane.toml"
    file.write_text(
        '[[backends]]\nkind = "fake"\nname = "mine"\n[prices."mine/gpt-5-mini"]\ninput = 0\noutput = 0.125\n'
    )
    shown = CliRunner().invoke(models, ["prices", "gpt-5-mini", "--config", str(file)], env={"HOME": str(tmp_path)})
    assert shown.exit_code == 0
    words = [line.split() for line in shown.output.splitlines()]
    assert words[1] == ["mine/gpt-5-mini", "0", "0.125", "the", "configuration"]
    assert words[2][:5] == ["gpt-5-mini", "0.25", "0.025", "2", "openai,"]


def metered(**changes: Any) -> Metered:
    return Metered(**{"account": "a", "provider": "p", "model": "m", "draws": (), "overrun": "stops"} | changes)
