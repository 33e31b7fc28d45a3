"""What a scrape reads where it is true: sockets, sessions, lines, backends, their keys and connections, memory."""

from collections.abc import Callable, Mapping

from backends.base import Keyed
from backends.http_pool import PoolState
from proxy import metrics_table
from proxy.clients import Clients
from proxy.discovery import Discovery
from proxy.dispatcher import Dispatcher
from proxy.edge.ws import Sockets
from proxy.generations import Generations
from proxy.metrics import Labels, Metrics
from proxy.session import State
from proxy.store.port import Store


def read_gauges(
    metrics: Metrics, sockets: Sockets, clients: Clients, dispatcher: Dispatcher, discovery: Discovery
) -> None:
    """Where a scrape reads what is true now. A backend that was never asked has no line before it yet."""

    def lanes() -> dict[Labels, float]:
        counted = sockets.lanes()
        return {(state.value,): counted[state] for state in State}

    def queues() -> dict[Labels, float]:
        lines = dispatcher.lines()
        return {(name,): lines[name].waiting if name in lines else 0 for name in discovery.runtime.backends}

    def keys() -> dict[Labels, float]:
        counts = {
            name: backend.key_counts
            for name, backend in discovery.runtime.backends.items()
            if isinstance(backend, Keyed)
        }
        return {
            (name, state): count
            for name, counted in counts.items()
            if any(counted)
            for state, count in zip(counted._fields, counted, strict=True)
        }

    metrics.read(metrics_table.SOCKETS, lambda: {(): len(sockets)})
    metrics.read(metrics_table.LANES, lanes)
    metrics.read(metrics_table.SESSIONS, lambda: {(state,): count for state, count in clients.sessions.items()})
    metrics.read(metrics_table.SESSION_BYTES, lambda: {(): clients.held})
    metrics.read(metrics_table.RESUMES, lambda: {(result,): count for result, count in clients.resumes.items()})
    metrics.read(metrics_table.QUEUE, queues)
    metrics.read(metrics_table.KEYS, keys)
    metrics.read(
        metrics_table.BACKEND_UP, lambda: {(each.name,): float(each.state == "up") for each in discovery.states()}
    )


def read_connections(metrics: Metrics, states: Callable[[], Mapping[str, PoolState]]) -> None:
    """The outgoing connections, by the host and port that they lead to."""

    def opened() -> dict[Labels, float]:
        found: dict[Labels, float] = {}
        for origin, state in states().items():
            found[origin, "busy"] = state.open - state.idle
            found[origin, "idle"] = state.idle
        return found

    def connects() -> dict[Labels, float]:
        found: dict[Labels, float] = {}
        for origin, state in states().items():
            found[origin, "connected"] = state.connects
            found[origin, "failed"] = state.failures
        return found

    metrics.read(metrics_table.CONNECTIONS, opened)
    metrics.read(metrics_table.CONNECTS, connects)
    metrics.read(metrics_table.REUSED, lambda: {(origin,): state.reused for origin, state in states().items()})


def read_held(metrics: Metrics, generations: Generations, store: Store) -> None:
    """What is held of responses that have ended, and what could not be."""
    metrics.read(
        metrics_table.HELD,
        lambda: {("stored",): store.size, ("unwritten",): store.unwritten, ("logs",): generations.held_bytes},
    )
    metrics.read(metrics_table.UNWRITTEN, lambda: {(): store.lost})
