"""How busy each backend is, over HTTP: its limit, who runs and who waits, in numbers; and the caller's own requests."""

from collections.abc import Callable
from math import floor, isinf
from typing import Any

from aiohttp import web

from proxy.edge.replies import json_response
from proxy.edge.request_facts import PRINCIPAL
from proxy.places import Gate, Places
from proxy.runtime import Runtime

PATH = "/v1/queue"


class QueueApi:
    """`places` are those of the backends in the runtime."""

    def __init__(self, *, places: Places, runtime: Callable[[], Runtime]) -> None:
        self._places = places
        self._runtime = runtime

    def routes(self) -> list[web.RouteDef]:
        return [web.get(PATH, self.queue)]

    async def queue(self, request: web.Request) -> web.Response:
        """Every backend as it is now, in the configuration's order."""
        who = request[PRINCIPAL].id
        rows = [shown(self._places.gate(backend), who) for backend in self._runtime().backends.values()]
        # Not kept: the next answer changes it.
        return json_response({"object": "list", "data": rows}, headers={"Cache-Control": "no-store"})


def shown(gate: Gate, who: str) -> dict[str, Any]:
    """One backend, for one of those who ask it."""
    least, most = gate.bounds
    yours = [
        {
            "id": waiter.ticket.id,
            "priority": waiter.ticket.work,
            "place": place,
            "estimated_wait": seconds(gate.wait(place)),
        }
        for place, waiter in enumerate(gate.line.ordered(), start=1)
        if waiter.ticket.who == who
    ]
    return {
        "object": "queue",
        "backend": gate.backend.name,
        "running": gate.running,
        "limit": whole(gate.limit),
        "min_running": whole(least),
        "max_running": whole(most),
        "waiting": dict(gate.line.waiting()),
        "queued_tokens": gate.line.tokens,
        "estimated_wait": 0.0 if gate.free else seconds(gate.wait(gate.waiting + 1)),
        "yours": yours,
    }


def whole(limit: float) -> int | None:
    """None where there is none."""
    return None if isinf(limit) else floor(limit)


def seconds(wait: float | None) -> float | None:
    return None if wait is None else round(wait, 1)
