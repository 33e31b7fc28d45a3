"""Serves the five pretended providers: python serve.py CLOCK prints {"gemini": URL, …}, and ends with its input.

GET /record of any of their addresses gives what was counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from day import LENGTH, Day, read
from providers import PROVIDERS, Provider

SAMPLES = 480  # looks at each limit in the day


def record(providers: list[Provider]) -> dict[str, Any]:
    """What was counted: for each provider and limit, when how much."""
    return {
        provider.name: {
            "answered": provider.answered,
            "refused": provider.refused,
            "pools": {
                pool.name: {
                    "cap": pool.limit.cap / pool.scale,
                    "most": pool.most / pool.scale,
                    "samples": pool.samples,
                }
                for pool in provider.pools
            },
        }
        for provider in providers
    }


async def served(provider: Provider, more: list[web.RouteDef]) -> tuple[web.AppRunner, str]:
    """Serve it on a free port; what an operator would call its base URL."""
    app = web.Application()
    app.add_routes([*provider.routes(), *more])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}{provider.prefix}"


async def sampling(providers: list[Provider], day: Day) -> None:
    while True:
        for provider in providers:
            for pool in provider.pools:
                pool.sample(day.now())
        await day.sleep(LENGTH / SAMPLES)


async def serve(day: Day, until: Callable[[], Awaitable[object]]) -> None:
    """All five of them, until `until` returns."""
    providers = [each(day) for each in PROVIDERS]

    async def whole_record(request: web.Request) -> web.Response:
        return web.json_response(record(providers))

    runners = []
    urls = {}
    for provider in providers:
        runner, urls[provider.name] = await served(provider, [web.get("/record", whole_record)])
        runners.append(runner)
    print(json.dumps(urls), flush=True)
    sampler = asyncio.create_task(sampling(providers, day))
    await until()
    sampler.cancel()
    for runner in runners:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(read(sys.argv[1]), lambda: asyncio.to_thread(sys.stdin.read)))
