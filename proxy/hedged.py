"""One attempt, with another beside it where the first is slow: who is first answers, and the other leaves nothing."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from backends.errors import BackendError
from backends.request import EmbeddingRequest, Request
from proxy.outcome import Notice
from proxy.race import race
from proxy.retry import Attempts, Turn
from proxy.runtime import Candidate
from proxy.tries import Tries

T = TypeVar("T")
R = TypeVar("R", Request, EmbeddingRequest)
Slow: TypeAlias = tuple[float, Callable[[], bool]]
"""After how many seconds an attempt gets another one beside it, if that may be then."""


async def hedged(
    tries: Tries[R, T],
    attempts: Attempts,
    candidates: Sequence[Candidate],
    slow: Slow,
    attempt: Callable[[Tries[R, T], Candidate, Turn], Awaitable[T]],
    *,
    now: Callable[[], float],
) -> T:
    """What the first of both candidates gives, or the second where that was quicker. Raises the first one's error.

    Of the second the caller hears only when it answers.
    """
    first, second = candidates[:2]
    heard: deque[Notice] = deque(maxlen=1)
    rival = tries.rival(heard.append)
    failed: list[BackendError] = []

    async def ahead() -> T:
        try:
            return await attempt(tries, first, Turn(0))
        except BackendError as error:
            failed.append(error)
            await tries.stack.aclose()  # its place is another's while the second runs
            raise

    async def beside() -> T:
        try:
            return await attempt(rival, second, Turn(1))
        except BackendError as error:
            attempts.beside(1, error, now())
            tries.failed(second, error)
            tries.record.failed(second, error)
            await rival.stack.aclose()
            raise

    try:
        number, answer = await race((ahead, beside), *slow)
        if number == 1:
            await tries.stack.aclose()
            for error in failed:
                tries.failed(first, error)
                tries.record.failed(first, error)
            tries.record.won(rival.record)
            for notice in heard:
                tries.notify(notice)
            await tries.stack.enter_async_context(rival.stack.pop_all())
        return answer
    finally:
        rival.record.settle(None)
        await rival.stack.aclose()
