"""What `/health` says: each component's state, and one word for the whole. Thinks, and asks nobody."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from backends.base import Keyed
from proxy import __version__
from proxy.backend_state import BackendState
from proxy.routing.values import Target
from proxy.routing.vitals import Standing
from proxy.runtime import Runtime

SLOW_LOOP = 0.25  # seconds; a longer pause is seen in every stream
MOST_TARGETS = 50  # of one backend that are shown


def report(
    states: Sequence[BackendState],
    runtime: Runtime,
    *,
    ready: bool,
    uptime: float,
    longest_pause: float,
    sockets: int,
    responses: int,
    standings: Iterable[tuple[Target, Standing]] = (),
) -> dict[str, Any]:
    """The body of the answer. `uptime` and `longest_pause` are in seconds; `standings` are those of Vitals.

    "unavailable" when nobody can be served, "degraded" when some backend is not up, or a model of one is not asked
    because it failed, else "ok". A `reason` says why it is not ok.
    """
    known = dict(standings)
    status, reason = verdict(states, ready, runtime.by_name, [each for each, found in known.items() if failing(found)])
    body: dict[str, Any] = {"status": status}
    if reason:
        body["reason"] = reason
    event_loop = {
        "status": "slow" if longest_pause >= SLOW_LOOP else "ok",
        "longest_pause_seconds": round(longest_pause, 4),
    }
    return {
        **body,
        "version": __version__,
        "uptime_seconds": round(uptime, 1),
        "components": {
            "backends": {state.name: backend(state, runtime, known) for state in states},
            "event_loop": event_loop,
            "sockets": {"status": "ok" if ready else "draining", "open": sockets, "responses": responses},
        },
    }


def verdict(
    states: Sequence[BackendState],
    ready: bool,
    by_name: frozenset[str] = frozenset(),
    failing: Sequence[Target] = (),
) -> tuple[str, str]:
    """The one word, and why it is not "ok". Those `by_name` nobody has configured: without them it is "ok" too.

    `failing` are the targets that are not asked because they failed.
    """
    missing = [state.name for state in states if state.state != "up"]
    if not ready:
        return "unavailable", "The gateway is shutting down."
    if len(missing) == len(states):
        return "unavailable", "No backend is up." if states else "There is no backend."
    if missing := [name for name in missing if name not in by_name]:
        return "degraded", f"Not up: {', '.join(missing)}."
    if resting := [f"{name}/{model}" for name, model in failing if name not in by_name]:
        more = f" and {len(resting) - 3} more" if len(resting) > 3 else ""
        return "degraded", f"Not asked now, since they failed: {', '.join(resting[:3])}{more}."
    return "ok", ""


def failing(standing: Standing) -> bool:
    """Whether it is not asked because it failed."""
    return standing.state != "closed"


def backend(state: BackendState, runtime: Runtime, standings: Mapping[Target, Standing]) -> Mapping[str, Any]:
    """One backend. What is not known is not there."""
    shown: dict[str, Any] = {"status": state.state}
    if state.reason:
        shown["reason"] = state.reason
    shown["models"] = len(runtime.models.get(state.name, ()))
    asked = runtime.backends.get(state.name)
    if isinstance(asked, Keyed) and any(counts := asked.key_counts):
        shown["keys"] = counts._asdict()
    if state.load is not None:
        shown |= {"running": state.load.running, "waiting": state.load.waiting}
        if state.load.cache_usage is not None:
            shown["cache_usage"] = round(state.load.cache_usage, 4)
    mine = {model: found for (name, model), found in standings.items() if name == state.name}
    if mine:
        shown["targets"] = {model: target(mine[model]) for model in list(mine)[-MOST_TARGETS:]}
    return shown


def target(standing: Standing) -> Mapping[str, Any]:
    """One model of a backend that was asked for. What is not known is not there."""
    shown: dict[str, Any] = {"breaker": standing.state, "running": standing.running}
    if standing.why:
        shown["reason"] = standing.reason
    if standing.opens_in is not None:
        shown["opens_in_seconds"] = round(standing.opens_in, 1)
    if standing.first_token is not None:
        shown["first_token_seconds"] = round(standing.first_token, 4)
    if standing.per_token is not None:
        shown["seconds_per_token"] = round(standing.per_token, 5)
    if standing.errors:
        shown["error_share"] = round(standing.errors, 4)
    if standing.weight < 1.0:
        shown["weight"] = round(standing.weight, 2)
    return shown
