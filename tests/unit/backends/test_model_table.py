"""The shipped table is sound, and says nothing of servers that it was not written about."""

from datetime import date

import pytest

from backends.base import Model
from backends.capabilities import Capabilities
from backends.model_table import Row, published, table

ROWS = [
    pytest.param(provider.provider, row, id=f"{provider.provider}/{row.ids[0]}")
    for provider in table()
    for row in provider.models
]


@pytest.mark.parametrize(("provider", "row"), ROWS)
def test_each_row_says_something_and_where_it_was_read(provider: str, row: Row) -> None:
    assert row.source.startswith("https://")
    assert date.fromisoformat(row.date) <= date.today()  # noqa: DTZ011  # a day, wherever one is
    known = row.model(row.ids[0])
    assert known.capabilities.known() or known.context
    assert row.context is None or row.max_output is None or row.max_output <= row.context
    if provider == "open":  # how long, and with which parser of tools, is its server's choice
        assert (row.context, row.max_output, row.tools) == (None, None, None)


def test_no_model_has_two_rows() -> None:
    for provider in table():
        names = [name for row in provider.models for name in row.ids]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
def test_a_row_holds_for_its_provider(url: str) -> None:
    known = published(url, "gpt-4.1")
    assert (known.id, known.context, known.max_output) == ("gpt-4.1", 1_047_576, 32_768)
    assert known.capabilities.images


@pytest.mark.parametrize(
    "url", [None, "http://127.0.0.1:8080/v1", "https://api.openai.com.example.com/v1", "https://com"]
)
def test_a_row_says_nothing_of_another_server(url: str | None) -> None:
    assert published(url, "gpt-4.1") == Model("gpt-4.1")


def test_an_open_model_is_known_anywhere_as_far_as_that_is_its_own() -> None:
    known = published("http://127.0.0.1:8000/v1", "meta-llama/Llama-3.3-70B-Instruct")
    assert (known.context, known.capabilities.images, known.capabilities.tools) == (None, False, None)


def test_capabilities_are_joined_value_by_value() -> None:
    mine, other = Capabilities(tools=False, images=None), Capabilities(tools=True, images=True)
    assert mine.otherwise(other) == Capabilities(tools=False, images=True)
