"""Feedback end to end: an answer whose model was chosen is rated by its owner, over each client, and deleted."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.history.labels import Kept
from proxy.history.reading import reading
from streamlane_client import AsyncClient, Client, Refused
from tests.gateway import gateway
from tests.integration.node_client import script

ROUTER = """
[[backends]]
kind = "fake"
name = "small"
models = ["small"]

[[backends]]
kind = "fake"
name = "large"
models = ["large"]

[router]
strong = ["large/large"]
weak = ["small/small"]

[[router.rules]]
name = "everything"
use = ["large/large"]
"""
ME, YOU = "key-of-mine-0123456789", "key-of-yours-0123456789"
KEYS = f'[server]\napi_keys = ["{ME}", "{YOU}"]\n'


def kept(folder: Path) -> list[Kept]:
    with reading(folder) as file:
        return list(file.newest())


async def asked(session: aiohttp.ClientSession, path: str, method: str = "POST", **body: Any) -> tuple[int, Any]:
    async with session.request(method, path, json=body or None) as answer:
        return answer.status, await answer.json()


def of(base_url: str, key: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(f"{base_url}/", headers={"Authorization": f"Bearer {key}"})


async def test_feedback_from_the_answer_to_the_delete(tmp_path: Path) -> None:
    async with gateway(f'data_dir = "{tmp_path}"\n{KEYS}{ROUTER}') as started:
        async with of(started.base_url, ME) as me, of(started.base_url, YOU) as you:
            status, response = await asked(me, "responses", model="auto", input="Why is the sky blue?")
            assert status == 200
            name = response["id"]
            said = {"response_id": name, "rating": "down", "preferred_model": "small"}
            assert await asked(me, "feedback", **said) == (200, {"object": "feedback", **said})
            [row] = kept(tmp_path)
            assert (row.rule, row.answered, row.rating, row.preferred) == (
                "everything",
                "large/large",
                -1,
                "small/small",
            )
            assert (row.question, bool(row.features)) == (None, True)
            assert b"sky blue" not in (tmp_path / "streamlane.db").read_bytes()

            for session, other in ((you, name), (me, "resp_none")):
                status, refused = await asked(session, "feedback", response_id=other, rating="up")
                assert (status, refused["error"]["code"]) == (404, "response_not_found")
            for wrong in (
                {"rating": "fine"},
                {"rating": "up", "preferred_model": "small"},
                {},
                {"rating": "up", "x": 1},
            ):
                assert (await asked(me, "feedback", response_id=name, **wrong))[0] == 400
            assert (await asked(me, "feedback", **{**said, "preferred_model": "nobody"}))[0] == 404
            assert (await asked(me, "feedback", **{**said, "preferred_model": "auto"}))[0] == 400
            assert kept(tmp_path) == [row]

            taken = {"object": "feedback", "response_id": name, "deleted": True}
            assert await asked(me, f"feedback/{name}", "DELETE") == (200, taken)
            assert kept(tmp_path)[0].rating is None

            messages = [{"role": "user", "content": "Hello"}]
            status, chat = await asked(me, "chat/completions", model="auto", messages=messages)
            assert (await asked(me, "feedback", response_id=chat["id"], rating="up"))[0] == 200
            assert [each.rating for each in kept(tmp_path)] == [1, None]

            assert (await asked(me, f"responses/{name}", "DELETE"))[0] == 200
            assert [each.rating for each in kept(tmp_path)] == [1]
            assert (await asked(me, "responses", "DELETE"))[0] == 200
            assert kept(tmp_path) == []


@pytest.mark.needs("node")
async def test_each_client_says_it(tmp_path: Path) -> None:
    async with gateway(f'data_dir = "{tmp_path}"\n{KEYS}{ROUTER}') as started:
        async with AsyncClient(started.base_url, ME) as client:
            name = (await client.create(model="auto", input="Hello").response())["id"]
            await client.rate(name, "down", preferred_model="small")
            assert [row.feedback for row in kept(tmp_path)] == ["down, small/small preferred"]
            await client.rate(name, None)
            with pytest.raises(Refused) as refused:
                await client.rate("resp_none", "up")
            assert (refused.value.code, refused.value.status) == ("response_not_found", 404)

        def in_a_thread() -> None:
            with Client(started.base_url, ME) as client:
                client.rate(name, "up")

        await asyncio.to_thread(in_a_thread)
        assert [row.feedback for row in kept(tmp_path)] == ["up"]
        async with script("rate", started.base_url, ME) as node:
            for rating, feedback in (("down", "down, small/small preferred"), (None, ""), ("up", "up")):
                assert await node.says() == rating
                assert kept(tmp_path)[0].feedback == feedback
                await node.go_on()
            assert (await node.says())["code"] == "response_not_found"


async def test_where_nothing_is_kept_nothing_can_be_rated(tmp_path: Path) -> None:
    async with gateway(f'data_dir = "{tmp_path}"\n{ROUTER}[history]\nenabled = false\n') as started:
        async with aiohttp.ClientSession(f"{started.base_url}/") as session:
            _, response = await asked(session, "responses", model="auto", input="Hello")
            status, refused = await asked(session, "feedback", response_id=response["id"], rating="up")
    assert (status, refused["error"]["code"]) == (400, "unsupported_feature")
    assert "[history] enabled" in refused["error"]["message"]
    assert not (tmp_path / "streamlane.db").exists()
