"""LocalAI: when it is ready, what it serves, and the errors that it sends as if they were answers."""

from typing import Any

import pytest
from msgspec.structs import replace

from backends.base import Model
from backends.errors import BackendError, ModelLoadFailed, ModelNotFound, NotReady, Overloaded, ServerFailed
from backends.events import Event, Finished, TextDelta, Usage
from backends.http import Transport
from backends.json import dumps
from backends.localai import Decoder, LocalAI, Options
from backends.request import Request, said
from backends.sse import SseDecoder
from tests.upstream import LAST, Script, Seen, Step, Trickle, Upstream, chunk, plain
from tests.wire.recorded import LOCALAI, recorded

ASK = Request("smollm2", (said("user", "Hi"),), 16)


def whole(name: str) -> list[Step]:
    """A transcript as one write."""
    _, head, body = recorded(f"{LOCALAI}/{name}")
    return [head + (chunk(body) + LAST if b"chunked" in head else body)]


def server(ready: str = "ready", listed: str = "models_capabilities", answer: str = "chat_stream") -> Upstream:
    def script(seen: Seen) -> Script:
        paths = {"/readyz": ready, "/v1/models/capabilities": listed, "/v1/chat/completions": answer}
        return whole(paths.get(seen.path, "models"))

    return Upstream(default=script)


def backend(upstream: Upstream, transport: Transport) -> LocalAI:
    return LocalAI(Options(name="l", base_url=upstream.url), transport)


async def told(backend: LocalAI) -> list[Event]:
    async with backend.stream(ASK) as batches:
        return [event async for batch in batches for event in batch]


def test_the_usual_place_is_its_default() -> None:
    assert Options(name="l").base_url == "http://127.0.0.1:8080/v1"


# Ready, or not.


async def test_the_models_of_a_ready_server_with_their_context(transport: Transport) -> None:
    async with server() as upstream:
        assert await backend(upstream, transport).models() == (Model("smollm2", 2048),)
        assert await backend(upstream, transport).load() is None


@pytest.mark.parametrize("absent", ["error_not_found", "error_unknown_model"])
async def test_an_older_server_lists_them_without(transport: Transport, absent: str) -> None:
    async with server(listed=absent) as upstream:
        assert await backend(upstream, transport).models() == (Model("smollm2"),)


async def test_a_server_that_starts_is_not_ready(transport: Transport) -> None:
    async with server(ready="starting") as upstream:
        for ask in (backend(upstream, transport).models, backend(upstream, transport).load):
            with pytest.raises(NotReady):
                await ask()


# Answers that are none.


async def test_an_answer(transport: Transport) -> None:
    async with server() as upstream:
        *content, end = await told(backend(upstream, transport))
    assert "".join(event.text for event in content if isinstance(event, TextDelta)) == "The capital of France is Paris."
    assert end == Finished("stop", Usage(37, 8))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error_load_failed", ModelLoadFailed),
        ("error_backend_died", ModelLoadFailed),
        ("error_in_stream", ModelLoadFailed),
        ("error_as_text", ModelLoadFailed),
        ("error_loading", NotReady),
        ("error_cooldown", Overloaded),
        ("error_disabled_model", ModelNotFound),
    ],
)
@pytest.mark.parametrize("slowly", [False, True])
async def test_a_model_that_does_not_load(transport: Transport, name: str, kind: type[Exception], slowly: bool) -> None:
    [data] = whole(name)
    assert isinstance(data, bytes)
    async with Upstream([Trickle(data) if slowly else data]) as upstream:
        with pytest.raises(kind):
            await told(backend(upstream, transport))


@pytest.mark.parametrize("name", ["error_as_text", "error_in_stream", "chat_stream"])
def test_any_split_means_the_same(name: str) -> None:
    body = recorded(f"{LOCALAI}/{name}")[2]

    def read(size: int) -> tuple[list[Event], str]:
        sse, decoder, found = SseDecoder(), Decoder("m"), []
        try:
            for i in range(0, len(body), size):
                for message in sse.feed(body[i : i + size]):
                    found += decoder.feed(message)
        except ModelLoadFailed as error:
            return found, str(error)
        return found, ""

    assert {repr(read(size)) for size in (1, 2, 7, 100, len(body))} == {repr(read(1000))}


def said(content: str, reason: str | None, **more: Any) -> bytes:
    return dumps({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": reason}], **more})


def test_an_error_as_text_that_is_about_something_else() -> None:
    with pytest.raises(ServerFailed):
        Decoder("m").feed(said("Internal error: the disk is full", "stop"))


@pytest.mark.parametrize(
    "data",
    [said("Internal error: is what it said.", None), said('He said: "Internal error: no".', "stop")],
    ids=["without an end", "in the middle"],
)
def test_a_model_may_say_the_words(data: bytes) -> None:
    assert len(Decoder("m").feed(data)) == 1


def test_an_error_as_text_is_not_told_to_anybody() -> None:
    with pytest.raises(ModelLoadFailed) as caught:
        Decoder("m").feed(said("Internal error: could not load model: /secret/place", "stop"))
    assert "secret" not in f"{caught.value!s}{caught.value!r}"


# A model on its way.


def job(name: str = "localai@smollm2", **more: object) -> dict[str, object]:
    """One of its gallery's jobs, as GET /models/jobs tells it."""
    return {"gallery_element_name": name, "processed": False, "progress": 41.0, "error": "", **more}


JOBS = {
    "at work": (job(), NotReady),
    "without a gallery's name": (job("smollm2"), NotReady),
    "of another model": (job("localai@other"), ModelNotFound),
    "that is done": (job(processed=True), ModelNotFound),
    "that failed": (job(error="no space"), ModelNotFound),
    "that was stopped": (job(cancelled=True), ModelNotFound),
    "that takes it away": (job(deletion=True), ModelNotFound),
    "that makes no sense": ({"gallery_element_name": 7}, ModelNotFound),
}


@pytest.mark.parametrize(("each", "error"), JOBS.values(), ids=JOBS)
async def test_a_model_that_it_installs_is_not_ready(
    transport: Transport, each: dict[str, object], error: type[BackendError]
) -> None:
    def script(seen: Seen) -> Script:
        return plain(200, {"uuid-1": each}) if seen.path == "/models/jobs" else whole("error_unknown_model")

    async with Upstream(default=script) as upstream:
        with pytest.raises(error):
            await told(backend(upstream, transport))
        assert [seen.path for seen in upstream.requests] == ["/v1/chat/completions", "/models/jobs"]


@pytest.mark.parametrize("answer", [plain(401, {}), plain(404, {}), plain(200, b"rubbish"), plain(200, [])])
async def test_where_it_does_not_tell_of_its_jobs_the_model_is_unknown(transport: Transport, answer: Script) -> None:
    async with Upstream(whole("error_unknown_model"), answer, whole("chat_stream")) as upstream:
        found = LocalAI(Options(name="l", base_url=upstream.url, api_key="k"), transport)
        with pytest.raises(ModelNotFound):
            await told(found)
        assert found.key_counts == (1, 0)  # what only administrators may ask costs no key
        assert await told(found)


async def test_its_own_fields_by_its_own_names(transport: Transport) -> None:
    asked = replace(ASK, extras={"repetition_penalty": 1.1, "ignore_eos": True, "priority": 1})
    async with server() as upstream:
        async with backend(upstream, transport).stream(asked) as batches:
            assert [batch async for batch in batches]
        sent = upstream.requests[0].json()
    assert (sent["repeat_penalty"], sent["ignore_eos"]) == (1.1, True)
    assert not {"repetition_penalty", "priority"} & sent.keys()
