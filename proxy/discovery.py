"""Asks each backend what it serves and how it is, again and again, so that the runtime and its readers know."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from backends.base import Backend, Keyed, Load, Model, Observable, Remote
from backends.errors import AuthenticationFailed, BackendError, DeadlineExceeded, NotReady, Unreachable
from proxy.backend_state import BackendState, State, trouble
from proxy.metered import Metered
from proxy.runtime import Runtime

log = structlog.get_logger()

FRESH = 60.0  # seconds until a list is asked for again
SOON = 5.0  # seconds until one is asked again that did not answer, or that tells how busy it is
ANSWER = 10.0  # seconds for one answer
FIRST = 0.5  # seconds that the start waits: a server on this machine answers in milliseconds


class Discovery:
    """Holds the current Runtime. `run` keeps it fresh; `first` waits a moment for the first answers.

    `on_state` hears of each answer that says how a backend is: its name, whether it is well, None while it only is not
    ready, and why it is not well, as a part of a sentence.
    """

    def __init__(
        self, runtime: Runtime, on_state: Callable[[str, bool | None, str], None] = lambda name, up, why: None
    ) -> None:
        self.runtime = runtime
        self._on_state = on_state
        self._asked = {name: asyncio.Event() for name in runtime.backends}
        self._states = {name: BackendState(name, "down", "It has not answered yet.") for name in runtime.backends}

    def states(self) -> Sequence[BackendState]:
        """What is known of each backend, in the configuration's order. One all of whose keys were refused is not up."""
        return tuple(locked(self.runtime.backends[name], state) for name, state in self._states.items())

    def load(self, name: str) -> Load | None:
        """How busy a backend's server said that it is; None where it does not say."""
        return self._states[name].load

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for backend in self.runtime.backends.values():
                tasks.create_task(self._watch(backend))

    async def first(self) -> None:
        """Until every backend has answered or failed once, or the moment is over. Those `by_name` may be late."""
        near = [event for name, event in self._asked.items() if name not in self.runtime.by_name]
        waits = [asyncio.ensure_future(event.wait()) for event in near]
        if waits:
            _, late = await asyncio.wait(waits, timeout=FIRST)
            for wait in late:
                wait.cancel()

    async def _watch(self, backend: Backend) -> None:
        clock, stale = asyncio.get_running_loop().time, -math.inf
        while True:
            state = BackendState(backend.name, "down", "It failed in a way that is not expected. The log says more.")
            try:
                async with asyncio.timeout(ANSWER):
                    load = await backend.load() if isinstance(backend, Observable) else None
                    if clock() >= stale:
                        self._swap(backend.name, await backend.models())
                        stale = clock() + FRESH
                state = BackendState(backend.name, "up", load=load)
                if locked(backend, state).state == "up":
                    self._on_state(backend.name, True, "")
            except (BackendError, TimeoutError) as error:
                state = failed(backend, error)
                if (why := sign(error)) is not None:
                    self._on_state(backend.name, None if isinstance(error, NotReady) else False, why)
            except Exception:  # one backend's fault must not end the gateway
                log.exception("backend_failed", backend=backend.name)
            if state.state != "up":
                stale = -math.inf
            self._note(state)
            await asyncio.sleep(FRESH if state.state == "up" and not isinstance(backend, Observable) else SOON)

    def _note(self, state: BackendState) -> None:
        """Keep it, and tell what has changed."""
        asked, before = self._asked[state.name], self._states[state.name]
        self._states[state.name] = state
        if state.state == "up":
            if asked.is_set() and before.state != "up":
                log.info("backend_available", backend=state.name)
        elif not asked.is_set() or state != before:
            event = "backend_not_ready" if state.state == "loading" else "backend_unavailable"
            say = log.info if state.name in self.runtime.by_name else log.warning  # nobody said that it must be there
            say(event, backend=state.name, reason=state.reason)
        asked.set()

    def learned(self, metered: Mapping[str, Mapping[str, Metered]]) -> None:
        """More is known of what spends a quota."""
        self.runtime = replace(self.runtime, metered=metered)

    def _swap(self, name: str, models: Iterable[Model]) -> None:
        self.runtime = self.runtime.serving(name, models)


def failed(backend: Backend, error: BackendError | TimeoutError) -> BackendState:
    """The state of a backend that did not answer as it should."""
    url = backend.url if isinstance(backend, Remote) else None
    state: State = "loading" if isinstance(error, NotReady) else "down"
    return BackendState(backend.name, state, trouble(backend.name, url, error))


def sign(error: BackendError | TimeoutError) -> str | None:
    """Why it is not well, as a part of a sentence; None where the error tells nothing of that: a server that does not
    list its models, or not to us, may answer all the same.
    """
    match error:
        case Unreachable():
            return f"it cannot be reached ({error.why})"
        case DeadlineExceeded() | TimeoutError():
            return "it did not answer in time when it was asked how it is"
        case NotReady():
            return "it is starting, or loading its model"
    return None


def locked(backend: Backend, state: BackendState) -> BackendState:
    """`state`, unless it is up and has refused every key of ours since: what was known of it holds no more."""
    if state.state == "up" and isinstance(backend, Keyed):
        counts = backend.key_counts
        if counts.refused and not counts.usable:
            return failed(backend, AuthenticationFailed(401))
    return state
