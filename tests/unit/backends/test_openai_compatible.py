"""The backend for compatible servers: its options, what it asks, and how its streams end."""

import asyncio
from typing import Any

import msgspec
import pytest

from backends.base import Model
from backends.errors import AuthenticationFailed, Overloaded, ProtocolViolation, ServerFailed, StreamBroken
from backends.events import Event, Finished, TextDelta, Usage
from backends.http import Transport
from backends.openai_compatible import OpenAICompatible, Options
from backends.request import Request, said
from tests.upstream import (
    CLOSE,
    HOLD,
    LAST,
    SSE_HEAD,
    SSE_HEAD_UNTIL_CLOSE,
    Step,
    Upstream,
    answer,
    chat_chunk,
    chunk,
    ending,
    message,
    plain,
    token,
)

ASK = Request("m", (said("user", "Hi"),), 16)


def backend(transport: Transport, upstream: Upstream, **options: Any) -> OpenAICompatible:
    return OpenAICompatible(Options(name="b", base_url=upstream.url, **options), transport)


async def told(backend: OpenAICompatible) -> list[Event]:
    async with backend.stream(ASK) as batches:
        return [event async for batch in batches for event in batch]


# Options.


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://x/v1", "http://", "http:///v1", "http://x:port", "http://x:99999", "http://u:p@x/v1",
     "http://x/v1?key=1", "http://x/v1#a", "http://x/a b", "http://x/\n", "", "http://[::1/v1", "http://ü.example/"],
)  # fmt: skip
def test_a_base_url_that_is_none(url: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"expected an http\(s\) URL"):
        msgspec.convert({"kind": "openai_compatible", "name": "b", "base_url": url}, Options)


@pytest.mark.parametrize("key", ["", "two words", "line\n", "schlüssel"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match=r"it is empty|expected a key") as caught:
        Options(name="b", base_url="http://x", api_key=key)
    assert not key or key not in str(caught.value)


def test_a_header_that_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="name of a header"):
        Options(name="b", base_url="http://x", api_key="k", api_key_header="x: y")


def test_options_do_not_show_their_key() -> None:
    assert "secret" not in repr(Options(name="b", base_url="http://x", api_key="secret"))


# What is asked.


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_request(transport: Transport, slash: str) -> None:
    async with Upstream() as upstream:
        upstream.url += slash
        await told(backend(transport, upstream, api_key="k"))
        [seen] = upstream.requests
        assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
        assert seen.headers["authorization"] == "Bearer k"
        assert seen.headers["content-type"] == "application/json"
        assert seen.json()["messages"] == [{"role": "user", "content": "Hi"}]
        assert seen.json()["stream"] is True


async def test_a_key_in_a_header_of_its_own(transport: Transport) -> None:
    async with Upstream() as upstream:
        await told(backend(transport, upstream, api_key="k", api_key_header="X-Api-Key"))
        await told(backend(transport, upstream))
        with_key, without = upstream.requests
        assert with_key.headers["x-api-key"] == "k"
        assert {"authorization", "x-api-key"}.isdisjoint(without.headers)
        assert "authorization" not in with_key.headers


async def test_configured_models_need_no_server(transport: Transport) -> None:
    async with Upstream() as upstream:
        found = await backend(transport, upstream, models=("a", "b/c")).models()
        assert found == (Model("a"), Model("b/c"))
        assert upstream.requests == []


@pytest.mark.parametrize(
    ("entry", "context"),
    [({}, None), ({"max_model_len": 8192}, 8192), ({"context_length": 4096}, 4096), ({"meta": {"n_ctx": 2048}}, 2048),
     ({"meta": None, "max_model_len": "8192"}, None), ({"max_model_len": 0, "context_length": 5}, 5)],
)  # fmt: skip
async def test_models_are_asked_for(transport: Transport, entry: dict[str, Any], context: int | None) -> None:
    async with Upstream(plain(200, {"data": [{"id": "m", **entry}]})) as upstream:
        assert await backend(transport, upstream).models() == (Model("m", context),)
        assert (upstream.requests[0].method, upstream.requests[0].path) == ("GET", "/v1/models")


@pytest.mark.parametrize("body", [b"{", b"[]", b"3", {"data": 3}, {"data": [3]}, {"data": [{"id": 3}]}, {"models": []}])
async def test_a_list_of_models_that_is_none(transport: Transport, body: Any) -> None:
    async with Upstream(plain(200, body)) as upstream:
        with pytest.raises(ProtocolViolation):
            await backend(transport, upstream).models()


async def test_models_that_are_refused(transport: Transport) -> None:
    async with Upstream(plain(401, {"error": {"message": "no"}})) as upstream:
        with pytest.raises(AuthenticationFailed):
            await backend(transport, upstream).models()


# What is answered.


async def test_a_batch_for_each_read(transport: Transport) -> None:
    more = asyncio.Event()
    script: list[Step] = [SSE_HEAD + token("a") + token("b"), more, chunk(b": ping\n\n"), ending(3, 2)]
    async with Upstream(script) as upstream, backend(transport, upstream).stream(ASK) as batches:
        assert await anext(batches) == [TextDelta("a"), TextDelta("b")]
        more.set()
        rest = [batch async for batch in batches]
        assert [event for batch in rest for event in batch] == [Finished("stop", Usage(3, 2))]


async def test_a_comment_is_a_sign_of_life(transport: Transport) -> None:
    async with Upstream([SSE_HEAD + chunk(b": ping\n\n"), HOLD]) as upstream:
        async with backend(transport, upstream).stream(ASK) as batches:
            assert await anext(batches) == []


async def test_the_connection_is_kept_after_an_answer(transport: Transport) -> None:
    # Many servers write the end of the body by itself, after [DONE].
    script = [SSE_HEAD + token("a"), ending().removesuffix(LAST), LAST]
    async with Upstream(default=lambda _: script) as upstream:
        for i in range(3):
            assert isinstance((await told(backend(transport, upstream)))[-1], Finished)
            await upstream.requests[i].done.wait()
            await asyncio.sleep(0)
        assert upstream.connections == 1


async def test_an_answer_without_done(transport: Transport) -> None:
    script: list[Step] = [SSE_HEAD_UNTIL_CLOSE, chat_chunk({"content": "a"}), chat_chunk({}, "length"), CLOSE]
    async with Upstream(script) as upstream:
        assert await told(backend(transport, upstream)) == [TextDelta("a"), Finished("length")]


async def test_an_answer_without_an_end(transport: Transport) -> None:
    async with Upstream([SSE_HEAD, token("a"), LAST]) as upstream:
        with pytest.raises(StreamBroken):
            await told(backend(transport, upstream))


async def test_what_came_before_an_error_is_told_first(transport: Transport) -> None:
    error = chunk(message({"error": {"message": "secret", "code": 500}}))
    async with Upstream([SSE_HEAD + token("a") + error, HOLD]) as upstream:
        async with backend(transport, upstream).stream(ASK) as batches:
            assert await anext(batches) == [TextDelta("a")]
            for _ in range(2):
                with pytest.raises(ServerFailed):
                    await anext(batches)
        await upstream.requests[0].gone.wait()


async def test_a_refusal_is_raised_on_entering(transport: Transport) -> None:
    async with Upstream(plain(503, b"busy", "retry-after: 7")) as upstream:
        with pytest.raises(Overloaded) as caught:
            await told(backend(transport, upstream))
        assert caught.value.retry_after == 7


async def test_an_error_in_a_200(transport: Transport) -> None:
    async with Upstream(plain(200, {"error": {"type": "overloaded_error"}})) as upstream:
        with pytest.raises(Overloaded):
            await told(backend(transport, upstream))


async def test_a_web_page_is_no_answer(transport: Transport) -> None:
    page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"
    async with Upstream([page]) as upstream:
        with pytest.raises(ProtocolViolation, match=r"a web page.*base_url"):
            await told(backend(transport, upstream))


async def test_closing_one_backend_breaks_its_streams_and_no_others(transport: Transport) -> None:
    go = asyncio.Event()
    held: list[Step] = [SSE_HEAD + token("a"), HOLD]
    async with Upstream(held, [HOLD], [*answer("a", "b")[:2], go, *answer("a", "b")[2:]]) as upstream:
        ours, other = backend(transport, upstream), backend(transport, upstream)
        tasks = []
        for index, owner in enumerate((ours, ours, other)):
            tasks.append(asyncio.create_task(told(owner)))
            await upstream.seen(index)
        await ours.close()
        go.set()
        broken, broken_too, whole = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(broken, StreamBroken)
        assert isinstance(broken_too, StreamBroken)
        assert whole == [TextDelta("a"), TextDelta("b"), Finished("stop", Usage(3, 2))]
