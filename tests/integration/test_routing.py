"""Who answers `auto`, and a name that rules speak of: seen from outside, with the shipped weights."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.gateway import Gateway, connected, gateway

CONFIG = """
[router]
strong = ["big/fake"]
weak = ["small/fake"]
strong_share = 0.5

[router.profiles]
never = 0.0
always = 1.0

[[router.rules]]
name = "research"
use = ["big/fake"]
when.headers = { x-team = "research*" }

[[router.rules]]
name = "pictures"
use = ["strong"]
when.holds = ["image"]

[[router.rules]]
name = "old-name"
use = ["small/fake"]
when.models = ["gpt-4*"]

[models."gpt-4o"]
targets = ["big/fake"]

[models.cheapest]
targets = ["big/fake", "small/fake"]
strategy = "lowest_cost"

[[backends]]
name = "big"
kind = "fake"

[[backends]]
name = "small"
kind = "fake"

[prices."big/fake"]
input = 10
output = 30

[prices."small/fake"]
input = 0.1
output = 0.2
"""


@pytest.fixture
async def running() -> AsyncIterator[Gateway]:
    async with gateway(CONFIG) as started:
        yield started


async def asked(running: Gateway, model: str, headers: Any = None, **fields: Any) -> tuple[int, str | None, Any]:
    """The status, who answered, and the body."""
    body = {"model": model, "input": "What is the capital of France?", **fields}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{running.base_url}/responses", json=body, headers=headers) as response,
    ):
        return response.status, response.headers.get("X-Streamlane-Route"), await response.json()


async def test_a_name_leads_where_the_configuration_says(running: Gateway) -> None:
    for model, who in (
        ("auto:always", "big/fake"),
        ("auto:never", "small/fake"),
        ("router-streamlane-0", "big/fake"),
        ("router-streamlane-1", "small/fake"),
        ("small/fake", "small/fake"),
        ("gpt-4o", "small/fake"),
        ("cheapest", "small/fake"),
    ):
        assert (await asked(running, model))[:2] == (200, who), model


async def test_the_score_of_the_prompt_decides_by_the_threshold(running: Gateway) -> None:
    """What one score reaches, a higher threshold refuses: by the verdict that the event tells."""
    verdict = (await told(running, "auto"))["router"]
    assert 0 < verdict["score"] < 1
    below, above = verdict["score"] - 0.001, verdict["score"] + 0.001
    assert (await asked(running, f"router-streamlane-{below:.4f}"))[1] == "big/fake"
    assert (await asked(running, f"router-streamlane-{above:.4f}"))[1] == "small/fake"


async def test_a_rule_goes_before_the_score_and_is_told(running: Gateway) -> None:
    assert (await asked(running, "auto:never", {"X-Team": "research-7"}))[1] == "big/fake"
    assert (await asked(running, "auto:never", {"X-Team": "sales"}))[1] == "small/fake"
    event = await told(running, "auto:never", additional_headers={"X-Team": "research"})
    assert (event["rule"], event["backend"]) == ("research", "big")
    assert "router" not in event


async def test_a_ceiling_of_the_caller_passes_over_who_costs_more(running: Gateway) -> None:
    status, who, _ = await asked(running, "auto:always", max_output_tokens=1000, sl_route={"max_cost_usd_micros": 5000})
    assert (status, who) == (200, "small/fake")
    event = await told(running, "auto:always", max_output_tokens=1000, sl_route={"max_cost_usd_micros": 5000})
    [over] = event["passed_over"]
    assert over["backend"] == "big"
    assert "$" in over["reason"]
    status, _, body = await asked(running, "auto", max_output_tokens=1000, sl_route={"max_cost_usd_micros": 1})
    assert status == 400
    assert "big/fake" in body["error"]["message"]


async def test_a_name_that_there_is_not_is_refused_with_those_that_there_are(running: Gateway) -> None:
    for model, status, says in (
        ("auto:nevr", 404, "auto:never"),
        ("router-streamlane-1.5", 400, "threshold"),
        ("router-streamlane-many", 400, "threshold"),
        ("router-mf-0.1", 400, "RouteLLM"),
        ("router-nobody-0.1", 400, "router-streamlane-THRESHOLD"),
    ):
        answer = await asked(running, model)
        assert answer[0] == status, model
        assert says in answer[2]["error"]["message"]


async def test_the_names_are_listed(running: Gateway) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{running.base_url}/models") as response:
        ids = {each["id"] for each in (await response.json())["data"]}
    assert {"auto", "auto:always", "auto:never", "cheapest", "gpt-4o"} <= ids


async def test_without_a_router_auto_says_what_is_missing() -> None:
    async with gateway('[[backends]]\nname = "a"\nkind = "fake"\n') as bare:
        status, _, body = await asked(bare, "auto")
    assert status == 404
    assert "[router]" in body["error"]["message"]


async def told(running: Gateway, model: str, additional_headers: Any = None, **fields: Any) -> dict[str, Any]:
    """The event of where a request goes."""
    options = {} if additional_headers is None else {"additional_headers": additional_headers}
    async with connected(running.base_url, "?sl_ext=1", **options) as socket:
        await socket.create(model, "What is the capital of France?", **fields)
        events = await socket.until()
    [route] = [each for each in events if each["type"] == "streamlane:route"]
    assert events[-1]["type"] == "response.completed", json.dumps(events[-1])
    return route
