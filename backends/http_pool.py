"""The connections to one origin: which is used next, how many there may be, and what became of them."""

import select
from typing import NamedTuple

from backends.errors import BackendError, Overloaded
from backends.http_connect import Connector, Origin
from backends.http_connection import Connection


class PoolState(NamedTuple):
    """What one origin's connections do now, and what they did since the start. `open` counts the idle ones too."""

    open: int = 0
    idle: int = 0
    connects: int = 0
    failures: int = 0
    reused: int = 0


class Pool:
    """At most `max_open` connections, None for no bound, of which `max_idle` may wait for their next request."""

    def __init__(self, origin: Origin, connector: Connector, max_open: int | None, max_idle: int) -> None:
        self._origin, self._connector = origin, connector
        self._max_open, self._max_idle = max_open, max_idle
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._connects = self._failures = self._reused = 0

    @property
    def state(self) -> PoolState:
        """Its numbers, now."""
        return PoolState(self._count(), len(self._idle), self._connects, self._failures, self._reused)

    async def checkout(self) -> Connection:
        """A connection for one exchange. Raises Overloaded, Unreachable or DeadlineExceeded."""
        while self._idle:
            connection = self._idle.pop()
            if fresh(connection):
                self._reused += 1
                return connection
            connection.close()
        # A race remains: the server may close a kept connection while our request is under way to it. Whether the
        # request was seen is then unknown, so the error goes to the dispatcher, the only one who may try again.
        return await self._connect()

    def close(self) -> None:
        """Abort every connection."""
        for connection in tuple(self._open):
            connection.abort()

    async def _connect(self) -> Connection:
        if self._max_open is not None and self._count() >= self._max_open:
            raise Overloaded
        connection = Connection(self._kept, self._lost)
        self._open.add(connection)
        try:
            await self._connector.connect(self._origin, connection)
        except BaseException as error:
            self._open.discard(connection)
            self._failures += isinstance(error, BackendError)  # who was cancelled has not failed
            raise
        self._connects += 1
        return connection

    def _count(self) -> int:
        """How many are open, or being opened."""
        return sum(not each.ending for each in self._open)

    def _kept(self, connection: Connection) -> None:
        if len(self._idle) < self._max_idle:
            self._idle.append(connection)
        else:
            connection.close()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)


def fresh(connection: Connection) -> bool:
    """Whether an idle connection is still open. One that can be read from is at its end, or carries rubbish."""
    if not connection.usable() or not hasattr(select, "poll"):
        return connection.usable()
    poll = select.poll()
    poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return not poll.poll(0)
