"""What is known of each backend: up, loading or down, how busy, and the sentence for its operator."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest
from structlog.testing import capture_logs

from backends.base import Load, Model, Observable
from backends.errors import (
    AuthenticationFailed,
    BackendError,
    DeadlineExceeded,
    EngineUnavailable,
    NotReady,
    ProtocolViolation,
    RateLimited,
    Unreachable,
)
from backends.fake import FakeBackend
from proxy import discovery
from proxy.backend_state import BackendState, trouble
from proxy.discovery import Discovery
from proxy.health import verdict
from proxy.runtime import Runtime

URL = "http://127.0.0.1:8000/v1"


class Server(FakeBackend, Observable):
    """One that says what it is told to: `answer` is its load, or why there is none. `asked` counts lists of models."""

    url = URL

    def __init__(self, name: str, answer: Load | Exception | None = None) -> None:
        super().__init__(name, models=("m",))
        self.answer = answer
        self.asked = 0

    async def load(self) -> Load | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def models(self) -> Sequence[Model]:
        self.asked += 1
        return await super().models()


@asynccontextmanager
async def watching(*backends: FakeBackend) -> AsyncIterator[Discovery]:
    """A discovery that runs, and has asked everybody once."""
    found = Discovery(Runtime(MappingProxyType({backend.name: backend for backend in backends})))
    task = asyncio.create_task(found.run())
    await found.first()
    try:
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backends that are asked again soon are asked at once."""
    monkeypatch.setattr(discovery, "SOON", 0.0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def test_before_the_first_answer_it_is_down() -> None:
    known = Discovery(Runtime(MappingProxyType({"a": FakeBackend("a")}))).states()
    assert known == (BackendState("a", "down", "It has not answered yet."),)


async def test_the_states_are_in_the_configurations_order() -> None:
    async with watching(FakeBackend("b"), Server("a", Load(3, 1, 0.5)), Server("c", NotReady(9))) as found:
        assert found.states() == (
            BackendState("b", "up"),
            BackendState("a", "up", load=Load(3, 1, 0.5)),
            BackendState("c", "loading", trouble("c", URL, NotReady())),
        )
        assert set(found.runtime.models) == {"a", "b"}


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (Load(0, 0), (True, "")),
        (NotReady(9), (None, "it is starting, or loading its model")),
        (Unreachable("refused"), (False, "it cannot be reached (refused)")),
        (DeadlineExceeded("connect", 5), (False, "it did not answer in time when it was asked how it is")),
        (AuthenticationFailed(401), None),  # it may answer others, or be asked with a caller's key
        (ProtocolViolation("a web page"), None),  # it may have no such list
    ],
)
async def test_who_watches_hears_how_a_backend_is(
    answer: Load | Exception, heard: tuple[bool | None, str] | None
) -> None:
    states: list[tuple[str, bool | None, str]] = []
    server = Server("a", answer)
    found = Discovery(Runtime(MappingProxyType({"a": server})), lambda name, up, why: states.append((name, up, why)))
    task = asyncio.create_task(found.run())
    await found.first()
    task.cancel()
    await asyncio.wait([task])
    assert states[:1] == ([] if heard is None else [("a", *heard)])


async def test_the_load_is_asked_again_and_again_and_the_list_is_not() -> None:
    server = Server("a", Load(0, 0))
    async with watching(server) as found:
        server.answer = Load(7, 2)
        await until(lambda: found.states()[0].load == Load(7, 2))
        assert server.asked == 1


async def test_who_is_asked_by_name_only_keeps_nobody_waiting_and_worries_nobody() -> None:
    class Far(FakeBackend):
        async def models(self) -> Sequence[Model]:
            await gone.wait()
            raise Unreachable("no network")

    gone = asyncio.Event()
    backends = {"near": FakeBackend("near"), "far": Far("far")}
    found = Discovery(Runtime(MappingProxyType(backends), by_name=frozenset({"far"})))
    with capture_logs() as lines:
        task = asyncio.create_task(found.run())
        await found.first()  # it does not wait for the far one: no time is measured, it would be half a second
        assert [state.state for state in found.states()] == ["up", "down"]
        assert "far" not in found.runtime.models
        gone.set()
        await until(lambda: bool(lines))
        task.cancel()
        await asyncio.wait([task])
    assert [(line["event"], line["log_level"]) for line in lines] == [("backend_unavailable", "info")]
    assert verdict(found.states(), True, frozenset({"far"})) == ("ok", "")
    assert verdict(found.states(), True)[0] == "degraded"


async def test_who_is_asked_by_name_only_is_soon_asked_again_after_a_failure() -> None:
    class Cut(FakeBackend):
        asked = 0

        async def models(self) -> Sequence[Model]:
            self.asked += 1
            if self.asked == 1:
                raise Unreachable("no network")
            return await super().models()

    found = Discovery(Runtime(MappingProxyType({"far": Cut("far")}), by_name=frozenset({"far"})))
    task = asyncio.create_task(found.run())
    await until(lambda: found.states()[0].state == "up")
    task.cancel()
    await asyncio.wait([task])


async def test_a_server_that_goes_and_comes_back_is_told_once_each_and_listed_anew() -> None:
    server = Server("a")
    with capture_logs() as lines:
        async with watching(server) as found:
            for answer, state in (
                (Unreachable("connection refused"), "down"),
                (NotReady(5), "loading"),
                (NotReady(4), "loading"),
                (None, "up"),
            ):
                server.answer = answer
                await until(lambda state=state: found.states()[0].state == state)
            await until(lambda: server.asked == 2)
    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("backend_unavailable", trouble("a", URL, Unreachable("connection refused"))),
        ("backend_not_ready", trouble("a", URL, NotReady())),
        ("backend_available", None),
    ]


async def test_a_backend_that_breaks_in_a_new_way_is_down_and_the_others_go_on() -> None:
    with capture_logs() as lines:
        async with watching(Server("a", ZeroDivisionError()), Server("b")) as found:
            assert [state.state for state in found.states()] == ["down", "up"]
            assert found.states()[0].reason.endswith(".")
    assert "backend_failed" in {line["event"] for line in lines}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            Unreachable("connection refused"),
            (
                'The backend "gpu" does not answer at http://127.0.0.1:8000/v1 (connection refused). '
                "Start it, or correct its base_url."
            ),
        ),
        (
            TimeoutError(),
            (
                'The backend "gpu" does not answer in time at http://127.0.0.1:8000/v1. '
                "Look at its log, or correct its base_url."
            ),
        ),
        (
            DeadlineExceeded("connect", 5),
            (
                'The backend "gpu" does not answer in time at http://127.0.0.1:8000/v1. '
                "Look at its log, or correct its base_url."
            ),
        ),
        (
            NotReady(30),
            (
                'The backend "gpu" at http://127.0.0.1:8000/v1 is not ready: it is starting, or loading its model. '
                "If it lasts, look at its log."
            ),
        ),
        (
            AuthenticationFailed(401),
            'The backend "gpu" at http://127.0.0.1:8000/v1 refuses its key (HTTP 401). Correct its api_key.',
        ),
        (
            AuthenticationFailed(401, "key"),
            ('The backend "gpu" at http://127.0.0.1:8000/v1 wants a key, and none is set (HTTP 401). Set its api_key.'),
        ),
        (
            AuthenticationFailed(401, "key in the file"),
            (
                'The backend "gpu" at http://127.0.0.1:8000/v1 wants a key, and its api_key_file holds none. '
                "Write one there, on a line of its own."
            ),
        ),
        (
            AuthenticationFailed(403, "credentials"),
            (
                'The backend "gpu" at http://127.0.0.1:8000/v1 refuses its account or credentials (HTTP 403). '
                "Correct them."
            ),
        ),
        (AuthenticationFailed(401, "credentials", "None were found. Set some."), "None were found. Set some."),
        (
            AuthenticationFailed(403),
            (
                'The backend "gpu" at http://127.0.0.1:8000/v1 forbids this to its key (HTTP 403). '
                "Check that key's rights, or set another api_key."
            ),
        ),
        (
            ProtocolViolation("a list of models that is none"),
            (
                'The backend "gpu" at http://127.0.0.1:8000/v1 broke its protocol: a list of models that is none. '
                "Correct its kind or base_url."
            ),
        ),
        (RateLimited(2), "The backend 'gpu' has reached its rate limit. Try again in 2 s."),
    ],
)
def test_the_operator_reads_what_is_wrong_where_and_what_to_do(
    error: BackendError | TimeoutError, sentence: str
) -> None:
    assert trouble("gpu", URL, error) == sentence


def test_a_backend_that_is_no_server_has_no_place() -> None:
    assert trouble("local", None, EngineUnavailable("It is closed. Start it.")) == "It is closed. Start it."
    assert trouble("far", None, Unreachable("refused")) == (
        'The backend "far" does not answer (refused). Start it, or correct its base_url.'
    )


@pytest.mark.parametrize(
    ("url", "why", "step"),
    [
        ("https://api.example.com/v1", "name not found", "Check this machine's network, or set [transport] proxy."),
        ("https://api.example.com/v1", "the proxy: connection refused", "Correct [transport] proxy."),
        ("http://10.0.0.7:8000/v1", "the proxy forbids it", "Correct [transport] proxy."),
        ("https://api.example.com/v1", "TLS: its certificate has expired", "Start it, or correct its base_url."),
        ("https://localhost:8443/v1", "connection refused", "Start it, or correct its base_url."),
    ],
)
def test_who_cannot_be_reached_is_mended_where_the_fault_is(url: str, why: str, step: str) -> None:
    assert trouble("gpu", url, Unreachable(why)) == f'The backend "gpu" does not answer at {url} ({why}). {step}'
