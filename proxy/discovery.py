"""Asks each backend what it serves, again and again, so that the runtime knows."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

import structlog

from backends.base import Backend, Model
from backends.errors import BackendError
from proxy.runtime import Runtime

log = structlog.get_logger()

FRESH = 60.0  # seconds until a list is asked for again
RETRY = 5.0  # seconds until a backend that did not answer is asked again
ANSWER = 10.0  # seconds for one answer
FIRST = 0.5  # seconds that the start waits: a server on this machine answers in milliseconds


class Discovery:
    """Holds the current Runtime. `run` keeps it fresh; `first` waits a moment for the first answers."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._asked = {name: asyncio.Event() for name in runtime.backends}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for backend in self.runtime.backends.values():
                tasks.create_task(self._watch(backend))

    async def first(self) -> None:
        """Until every backend has answered or failed once, or the moment is over."""
        waits = [asyncio.ensure_future(event.wait()) for event in self._asked.values()]
        if waits:
            _, late = await asyncio.wait(waits, timeout=FIRST)
            for wait in late:
                wait.cancel()

    async def _watch(self, backend: Backend) -> None:
        reachable: bool | None = None
        while True:
            try:
                async with asyncio.timeout(ANSWER):
                    self._swap(backend.name, await backend.models())
            except (BackendError, TimeoutError) as error:
                if reachable is not False:
                    log.warning("backend_unavailable", backend=backend.name, reason=str(error) or "no answer in time")
                reachable = False
            except Exception:  # one backend's fault must not end the gateway
                log.exception("backend_failed", backend=backend.name)
                reachable = False
            else:
                if reachable is False:
                    log.info("backend_available", backend=backend.name)
                reachable = True
            self._asked[backend.name].set()
            await asyncio.sleep(FRESH if reachable else RETRY)

    def _swap(self, name: str, models: Iterable[Model]) -> None:
        known = {**self.runtime.models, name: tuple(models)}
        ordered = {each: known[each] for each in self.runtime.backends if each in known}
        self.runtime = replace(self.runtime, models=MappingProxyType(ordered))
