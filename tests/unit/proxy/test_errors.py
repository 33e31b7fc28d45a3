"""Every error has its row in the one table, a sentence for people, and nothing of what must not be told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.errors import BackendError, RateLimited
from proxy.errors import Draining, ProxyError
from proxy.errors_docs import errors_page
from proxy.reference.operations import OPERATIONS
from proxy.wire.messages_events import error_object
from proxy.wire_errors import WIRE, WireError, error_event, wire


def leaves(root: type[Exception]) -> Iterator[type[Exception]]:
    for child in root.__subclasses__():
        yield from leaves(child) if child.__subclasses__() else [child]


def test_every_leaf_of_both_trees_has_a_row_and_every_row_a_leaf() -> None:
    ours = {
        leaf
        for root in (BackendError, ProxyError)
        for leaf in leaves(root)
        if leaf.__module__.startswith(("proxy.", "backends."))
    }
    assert ours == set(WIRE)


@pytest.mark.parametrize("row", WIRE.values(), ids=[error.__name__ for error in WIRE])
def test_a_rows_status_fits_its_type(row: WireError) -> None:
    fits = {
        "invalid_request_error": range(400, 429),
        "authentication_error": [401],
        "permission_error": [403],
        "rate_limit_error": [429],
        "insufficient_quota": [429],
        "server_error": range(500, 600),
    }
    assert row.status in fits[row.type]
    assert row.code.islower()


@pytest.mark.parametrize("row", WIRE.values(), ids=[error.__name__ for error in WIRE])
def test_anthropics_word_for_it_fits_the_status_too(row: WireError) -> None:
    body = error_object({"type": row.type, "code": row.code, "message": "…"}, "req_1")
    fits = {  # https://platform.claude.com/docs/en/api/errors
        "invalid_request_error": range(400, 429),
        "authentication_error": [401],
        "permission_error": [403],
        "not_found_error": [404],
        "request_too_large": [413],
        "rate_limit_error": [429],
        "api_error": range(500, 600),
        "timeout_error": [504],
        "overloaded_error": [503, 529],
    }
    assert row.status in fits[body["error"]["type"]]


def test_the_page_of_errors_is_what_the_table_says() -> None:
    written = (Path(__file__).parents[3] / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == errors_page(), "run scripts/docs"
    assert all(f"`{row.code}`" in written for row in WIRE.values())


def test_an_unexpected_error_tells_nothing_of_itself() -> None:
    event = error_event(RuntimeError("sk-secret"))
    assert "sk-secret" not in str(event)
    assert (event["status"], wire(RuntimeError()).code) == (500, "internal_error")


@pytest.mark.parametrize(("error", "seconds"), [(RateLimited(2.4), "3"), (RateLimited(0.1), "1"), (Draining(), "1")])
def test_an_event_says_when_to_try_again(error: Exception, seconds: str) -> None:
    body = error_event(error, "main")
    assert body["stream_id"] == "main"
    assert isinstance(body["error"], dict)
    assert body["error"]["headers"] == {"retry-after": seconds}


def test_the_page_has_every_code_of_http_itself() -> None:
    codes = {code for operation in OPERATIONS for _, code, _ in operation.plain}
    for code in {*codes, "not_found", "method_not_allowed", "upgrade_required", "malformed_request"}:
        assert f"| `{code}` |" in errors_page()
