"""The operator's listener: health and metrics."""

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from proxy.edge.guard import Guard
from proxy.edge.http import Health, checks
from proxy.edge.request_facts import give_back


class Collected(Collector):
    """What was collected already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


class Scrape:
    """`/metrics`, in the format that the scraper asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    async def answer(self, request: web.Request) -> web.Response:
        """Values are read here, where they change; writing them takes five times as long, and would hold up streams."""
        collected = Collected(list(self._registry.collect()))
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = await asyncio.to_thread(encode, collected)
        return web.Response(body=body, headers={"Content-Type": content_type})


def ops_application(
    guard: Guard, on_refused: Callable[[Exception], None], health: Health, registry: CollectorRegistry
) -> web.Application:
    """Everything that an operator asks for. With keys configured it asks for one, probes excepted."""
    check = checks(guard, on_refused, lambda _: "Here are /health, /health/live, /health/ready and /metrics.")
    app = web.Application(middlewares=[check])
    app.add_routes([*health.routes(), web.get("/metrics", Scrape(registry).answer)])
    give_back(app)
    return app
