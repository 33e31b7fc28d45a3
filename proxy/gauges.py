"""What a scrape reads where it is true: sockets, sessions, lines, backends and their keys, pools, memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from backends.base import Keyed
from backends.http_pool import PoolState
from proxy import metrics_table
from proxy.clients import Clients
from proxy.discovery import Discovery
from proxy.edge.ws import Sockets
from proxy.generations import Generations
from proxy.history.history import History
from proxy.metered import Metered
from proxy.metrics import OTHER, Labels, Metrics
from proxy.metrics_table import Metric
from proxy.places import Gate, Places
from proxy.quota_counts import QuotaCounts
from proxy.quota_report import Row, report_on
from proxy.routing.values import Target
from proxy.routing.vitals import Standing, Vitals
from proxy.runtime import Runtime
from proxy.session import State
from proxy.store.port import Store
from quota.ledger import Ledger


def read_gauges(metrics: Metrics, sockets: Sockets, clients: Clients, discovery: Discovery) -> None:
    """Where a scrape reads what is true now."""

    def lanes() -> dict[Labels, float]:
        counted = sockets.lanes()
        return {(state.value,): counted[state] for state in State}

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
    metrics.read(metrics_table.KEYS, keys)
    metrics.read(
        metrics_table.BACKEND_UP, lambda: {(each.name,): float(each.state == "up") for each in discovery.states()}
    )


def read_vitals(metrics: Metrics, vitals: Vitals, runtime: Callable[[], Runtime], now: Callable[[], float]) -> None:
    """How each target is that was asked. A model that its backend does not list is "other", at its worst."""

    def listed() -> set[Target]:
        return {(backend, each.id) for backend, models in runtime().models.items() for each in models}

    def read(metric: Metric, value: Callable[[Standing], float | None]) -> None:
        def values() -> Mapping[Labels, float]:
            known, found = listed(), dict[Labels, float]()
            for target, standing in vitals.standings(now()):
                if (one := value(standing)) is not None:
                    labels = (target[0], target[1] if target in known else OTHER)
                    found[labels] = max(one, found.get(labels, one))
            return found

        metrics.read(metric, values)

    def cooldowns() -> Mapping[Labels, float]:
        known, found = listed(), dict[Labels, float]()
        for each in vitals.cooldowns(now()):
            scope, backend, model = each.place
            labels = (backend, model if not model or (backend, model) in known else OTHER, scope.value)
            found[labels] = max(each.until - now(), found.get(labels, 0.0))
        return found

    states = {"closed": 0.0, "half_open": 1.0, "open": 2.0}
    read(metrics_table.BREAKER, lambda standing: states[standing.state])
    read(metrics_table.RECENT_FIRST_TOKEN, lambda standing: standing.first_token)
    metrics.read(metrics_table.COOLDOWN, cooldowns)


def read_places(metrics: Metrics, places: Places, runtime: Callable[[], Runtime]) -> None:
    """The places of each backend, and the line before them."""

    def gates() -> Iterator[tuple[str, Gate]]:
        return ((name, places.gate(backend)) for name, backend in runtime().backends.items())

    def waiting() -> dict[Labels, float]:
        return {(name, work): count for name, gate in gates() for work, count in gate.line.waiting().items()}

    def refused() -> dict[Labels, float]:
        return {(name, why): count for name, gate in gates() for why, count in gate.refused.items()}

    metrics.read(metrics_table.QUEUE, waiting)
    metrics.read(metrics_table.QUEUE_TOKENS, lambda: {(name,): gate.line.tokens for name, gate in gates()})
    metrics.read(metrics_table.QUEUE_REFUSED, refused)
    metrics.read(metrics_table.RUNNING, lambda: {(name,): gate.running for name, gate in gates()})
    metrics.read(metrics_table.LIMIT, lambda: {(name,): gate.limit for name, gate in gates()})


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


def read_history(metrics: Metrics, history: History | None) -> None:
    """What could not be kept of routed calls."""
    metrics.read(metrics_table.UNKEPT, lambda: {(): 0 if history is None else history.lost})


def read_quota(metrics: Metrics, ledger: Ledger, metered: Callable[[], Iterable[Metered]], counts: QuotaCounts) -> None:
    """The pools that are in use, and what became of reservations. Pools and accounts have the configuration's names."""

    def read(metric: Metric, value: Callable[[Row], int]) -> None:
        metrics.read(
            metric,
            lambda: {
                (row.account, row.pool): value(row) for row in report_on(metered(), ledger.headroom(), ledger.now())
            },
        )

    def labels(pool: str) -> Labels:
        known = ledger.headroom().get(pool)
        return (known.pool.labels.get("account", "") if known else "", pool)

    def reservations() -> Mapping[Labels, float]:
        granted = {(*labels(pool), "granted"): count for pool, count in counts.granted.items()}
        return granted | {(*labels(pool), why): count for (pool, why), count in counts.denied.items()}

    read(metrics_table.QUOTA_CAP, lambda row: row.cap)
    read(metrics_table.QUOTA_USED, lambda row: row.used)
    read(metrics_table.QUOTA_RESERVED, lambda row: row.reserved)
    read(metrics_table.QUOTA_LEFT, lambda row: row.left)
    metrics.read(metrics_table.RESERVATIONS, reservations)
    metrics.read(metrics_table.LAPSED, lambda: {(): counts.lapsed})
    metrics.read(metrics_table.OVERDRAFTS, lambda: {labels(pool): count for pool, count in counts.overdrafts.items()})
