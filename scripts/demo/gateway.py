"""A gateway as it is, but for its quotas the day passes in a minute: python gateway.py CONFIGURATION CLOCK."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from day import Day, read

sys.path.insert(0, str(Path(__file__).parents[2]))

from proxy import logs
from proxy.app import running
from proxy.config_load import load
from quota.clock import Clock


async def serve(file: Path, day: Day) -> None:
    """Until the input is closed. The first line of output is its base URL."""
    home = str(file.parent)
    environ = {"HOME": home, "STREAMLANE_DATA_DIR": f"{home}/data", "PATH": os.environ.get("PATH", "")}

    def micros() -> int:
        return round(day.now() * 1e6)

    logs.configure("warning", "json")
    config = load(file, environ, file.parent).config
    async with running(config, clock=Clock(micros, micros), sleep=day.sleep) as gateway:
        print(gateway.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), read(sys.argv[2])))
