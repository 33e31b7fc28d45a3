"""An event loop whose clock jumps: when nothing is ready, it is at once the time of the next timer.

A day of waiting takes as long as its work, and two runs with the same dice do the same in the same order.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Everybody waits, and no timer is set: nothing would ever happen again."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 seconds. Sockets are looked at but never waited for; what threads would do is done at once."""

    def __init__(self) -> None:
        self._passed = 0.0
        super().__init__(Jumping(self._jump))

    def time(self) -> float:
        """Seconds that have passed here."""
        return self._passed

    def _jump(self, seconds: float) -> None:
        self._passed += seconds

    def run_in_executor(  # type: ignore[override]  # typeshed's own signature uses TypeVarTuple
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call it here and now: another thread would know nothing of this clock."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to who awaits it
            done.set_exception(error)
        return done


class Jumping(selectors.DefaultSelector):
    """Tells `jump` how long it was asked to wait, instead of waiting."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not ready:
            if timeout is None:
                raise Stuck("Everybody waits, and no timer is set. Find the future that nobody sets.")
            if timeout > 0:
                self._jump(timeout)
        return ready


def virtually(work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives, on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
