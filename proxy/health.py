"""What `/health` says: each component's state, and one word for the whole. Thinks, and asks nobody."""

from collections.abc import Mapping, Sequence
from typing import Any

from backends.base import Keyed
from proxy import __version__
from proxy.backend_state import BackendState
from proxy.runtime import Runtime

SLOW_LOOP = 0.25  # seconds; a longer pause is seen in every stream


def report(
    states: Sequence[BackendState],
    runtime: Runtime,
    *,
    ready: bool,
    uptime: float,
    longest_pause: float,
    sockets: int,
    responses: int,
) -> dict[str, Any]:
    """The body of the answer. `uptime` and `longest_pause` are in seconds.

    "unavailable" when nobody can be served, "degraded" when some backend is not up, else "ok". A `reason` says why it
    is not ok.
    """
    status, reason = verdict(states, ready, runtime.by_name)
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
            "backends": {state.name: backend(state, runtime) for state in states},
            "event_loop": event_loop,
            "sockets": {"status": "ok" if ready else "draining", "open": sockets, "responses": responses},
        },
    }


def verdict(states: Sequence[BackendState], ready: bool, by_name: frozenset[str] = frozenset()) -> tuple[str, str]:
    """The one word, and why it is not "ok". Those `by_name` nobody has configured: without them it is "ok" too."""
    missing = [state.name for state in states if state.state != "up"]
    if not ready:
        return "unavailable", "The gateway is shutting down."
    if len(missing) == len(states):
        return "unavailable", "No backend is up." if states else "There is no backend."
    if missing := [name for name in missing if name not in by_name]:
        return "degraded", f"Not up: {', '.join(missing)}."
    return "ok", ""


def backend(state: BackendState, runtime: Runtime) -> Mapping[str, Any]:
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
    return shown
