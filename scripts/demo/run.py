"""Starts the five pretended providers and a gateway, sends a day of requests, and shows what became of each limit."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from day import LENGTH, Day, clock
from picture import ENDS, Ended, Row, draw

HERE = Path(__file__).parent
START = 12.0  # real seconds that the gateway gets until the day begins
LOOKS = 240  # at the ledger, in the day
SLOW = 3600.0  # seconds of the day: who was answered later than that has waited for a quota
PEOPLE = 1400  # requests in the day: more than there is in its busy hours
WORDS = [
    "Say",
    "something",
    "about",
    "the",
    "weather",
    "of",
    "tomorrow",
    "please",
    "and",
    "be",
    "brief",
    "if",
    "you",
    "can",
]
HOW = {  # in words, how each of them counts; the gateway knows it from its catalog, or takes it as unknown
    ("gemini", "requests per day"): "day of Los Angeles, 08:00 UTC",
    ("groq", "requests per day"): "token bucket: refills all the time",
    ("groq", "tokens per day"): "token bucket: refills all the time",
    ("openrouter", "requests per day"): "day in UTC",
    ("cloudflare", "neurons per day"): "day in UTC",
    ("llm7", "requests per hour"): "any hour; nobody says so",
    ("llm7", "tokens per day"): "any 24 hours",
}


class StartError(Exception):
    """A process did not start. Says why."""


@dataclass
class Seen:
    """What the traffic got, and what the ledger held meanwhile: by account and limit, (moment, part of it)."""

    ended: list[Ended] = field(default_factory=list)
    ours: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    wrong: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def child(log: Path, *command: str) -> AsyncIterator[str]:
    """A process that says where it is in its first line, and ends when its input is closed; what it said."""
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        if not line:
            raise StartError(f"{Path(command[0]).name} did not start:\n{end_of(log)}")
        yield line
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def configuration(urls: Mapping[str, str]) -> str:
    """Five accounts, as their owner writes them; the numbers are those of the pretended providers."""
    return f"""\
[server]
port = 0

[ops]
port = 0

[limits]
running_per_key = 1000

[free]
when_spent = ["wait"]
wait = 5400
waiting_per_key = 400

[quota]
lease = 86400

[[accounts]]
name = "gemini"
provider = "gemini"
api_key = "demo-key-gemini"
accept = ["trains", "no_eea"]
base_url = "{urls["gemini"]}"
models = ["gemini-3.5-flash-lite"]
limits = [
  {{ metric = "requests", amount = 120, window = "day", model = "gemini-3.5-flash-lite" }},
]

[[accounts]]
name = "groq"
provider = "groq"
api_key = "demo-key-groq"
base_url = "{urls["groq"]}"
models = ["openai/gpt-oss-120b"]
limits = [
  {{ metric = "requests", amount = 200, window = "day", model = "openai/gpt-oss-120b" }},
  {{ metric = "tokens", amount = 50000, window = "day", model = "openai/gpt-oss-120b" }},
]

[[accounts]]
name = "openrouter"
provider = "openrouter"
api_key = "demo-key-openrouter"
accept = ["trains", "logged"]
base_url = "{urls["openrouter"]}"
models = ["openai/gpt-oss-20b:free"]
limits = [{{ metric = "requests", amount = 100, window = "day" }}]

[[accounts]]
name = "cloudflare"
provider = "cloudflare"
api_key = "demo-key-cloudflare"
account_id = "demo"
base_url = "{urls["cloudflare"]}"
models = ["@cf/openai/gpt-oss-120b"]
limits = [{{ metric = "neurons", amount = 2000, window = "day" }}]

[[accounts]]
name = "llm7"
provider = "llm7"
accept = ["unclear"]
api_key = "demo-key-llm7"
base_url = "{urls["llm7"]}"
models = ["gpt-oss:20b"]
limits = [
  {{ metric = "requests", amount = 10, window = "hour" }},
  {{ metric = "tokens", amount = 60000, window = "day" }},
]
"""


async def ask(http: aiohttp.ClientSession, url: str, day: Day, dice: random.Random, seen: Seen) -> None:
    """One request for free/auto, read to its end."""
    came = day.now()
    words = " ".join(dice.choices(WORDS, k=dice.randint(8, 60)))
    body = {
        "model": "free/auto",
        "messages": [{"role": "user", "content": words}],
        "max_tokens": dice.choice((150, 300, 500)),
        "stream": True,
    }
    async with http.post(f"{url}/chat/completions", json=body) as answer:
        if answer.status == 200:
            begins, problem = None, {}
            async for line in answer.content:
                if b"word" in line:
                    begins = begins or day.now()
                if line.startswith(b'data: {"error"'):  # it came while the request waited
                    problem = json.loads(line.removeprefix(b"data: "))["error"]
            if not problem:
                seen.ended.append(Ended(came, int((begins or day.now()) - came > SLOW)))
                return
        else:
            problem = (await answer.json()).get("error") or {}
    if problem.get("code") == "free_quota_exhausted":
        seen.ended.append(Ended(came, 2))
    else:
        said = f"{answer.status} {problem.get('code')}: {problem.get('message')}"
        seen.wrong[said] = seen.wrong.get(said, 0) + 1


def pace(passed: float) -> float:
    """Requests in a second of the day: few at 04:00 UTC, most at 16:00."""
    hour = (12 + passed / 3600) % 24
    return PEOPLE / LENGTH * (1 + 0.75 * math.cos((hour - 16) / 24 * 2 * math.pi))


async def traffic(http: aiohttp.ClientSession, url: str, day: Day, seen: Seen) -> None:
    """People come at random until the day has passed; then those who wait are waited for."""
    dice = random.Random(6)
    async with asyncio.TaskGroup() as people:
        following = 0.0
        while following < LENGTH:
            following += dice.expovariate(pace(following))
            await day.sleep(max(0.0, following - day.passed()))
            people.create_task(ask(http, url, day, random.Random(following), seen))


async def watching(http: aiohttp.ClientSession, url: str, day: Day, seen: Seen) -> None:
    """Look at the ledger all day, and say how it goes."""
    said = 0.0
    while True:
        async with http.get(f"{url}/quota") as answer:
            for row in (await answer.json())["data"]:
                held = (row["used"] + row["reserved"]) / row["cap"]
                name = f"{row['metric']} per {row['per']}"
                seen.ours.setdefault((row["account"], name), []).append((day.now(), held))
        if time.monotonic() - said > 2.5:
            said = time.monotonic()
            ends = [sum(each.how == index for each in seen.ended) for index in range(len(ENDS))]
            counts = ", ".join(f"{count:,} {name}" for count, (name, _) in zip(ends, ENDS, strict=True))
            say(f"  {clock(day.now())}  {counts}")
        await day.sleep(LENGTH / LOOKS)


def table(counted: Mapping[str, Any]) -> str:
    lines = [f"{'provider':<24}{'limit':<30}{'most counted':>14}{'of it':>8}{'refused':>10}"]
    for provider, each in counted.items():
        for index, (name, pool) in enumerate(each["pools"].items()):
            refused = f"{len(each['refused']):>10,}" if index == 0 else ""
            lines.append(
                f"{provider if index == 0 else '':<24}{pool['cap']:>9,.0f} {name:<20}"
                f"{pool['most']:>14,.0f}{pool['most'] / pool['cap']:>8.0%}{refused}"
            )
    return "\n".join(lines)


def rows(counted: Mapping[str, Any], seen: Seen) -> list[Row]:
    """Those limits that last an hour or longer: a minute is narrower than a line."""
    return [
        Row(
            provider,
            name,
            HOW[provider, name],
            pool["cap"],
            pool["samples"],
            [(at, part * pool["cap"]) for at, part in seen.ours.get((provider, name), ())],
        )
        for provider, each in counted.items()
        for name, pool in each["pools"].items()
        if (provider, name) in HOW
    ]


async def run(seconds: float, picture: Path) -> int:
    today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
    day = Day(today.timestamp(), time.monotonic() + START, seconds)
    seen = Seen()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamlane-demo-")))
        say("Starting five pretended providers and a gateway ...")
        line = await stack.enter_async_context(child(folder / "providers.log", f"{HERE}/serve.py", day.words()))
        urls = json.loads(line)
        config = folder / "streamlane.toml"
        config.write_text(configuration(urls))
        url = await stack.enter_async_context(
            child(folder / "gateway.log", f"{HERE}/gateway.py", str(config), day.words())
        )
        url = url.strip()
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0))
        )
        await day.sleep(max(0.0, -day.passed()))
        say(f"A day passes in {seconds:g} seconds, from {clock(day.now())} to {clock(day.begins)} UTC.")
        watcher = asyncio.create_task(watching(http, url, day, seen))
        try:
            await traffic(http, url, day, seen)
        finally:
            watcher.cancel()
        first = next(iter(urls.values()))
        async with http.get(first.partition("/v1beta")[0] + "/record") as answer:
            counted = await answer.json()
        log = end_of(folder / "gateway.log")
    print(table(counted))
    for words, count in seen.wrong.items():
        say(f"{count} times: {words}")
    answered = sum(each["answered"] for each in counted.values())
    refused = sum(len(each["refused"]) for each in counted.values())
    foot = f"{answered:,} requests answered, {refused} refused by a provider. "
    foot += "They count as the real ones do, and give less. Drawn by scripts/demo-free-tiers."
    written(picture, draw(day.begins, rows(counted, seen), seen.ended, foot))
    say(f"The picture is {picture}")
    over = [
        f"{provider}: {name}"
        for provider, each in counted.items()
        for name, pool in each["pools"].items()
        if pool["most"] > pool["cap"] + 1e-6
    ]
    if over:
        say("EXCEEDED: " + "; ".join(over))
    if over or seen.wrong:
        say(log)
    return 1 if over or seen.wrong else 0


def end_of(log: Path) -> str:
    return log.read_text()[-3000:]


def written(file: Path, text: str) -> None:
    file.write_text(text)


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo-free-tiers", description=__doc__)
    parser.add_argument("--seconds", type=float, default=90, help="how long the day lasts (default 90)")
    parser.add_argument(
        "--picture", type=Path, default=Path("free-tiers.svg"), help="where to draw it (default free-tiers.svg)"
    )
    options = parser.parse_args()
    try:
        return asyncio.run(run(options.seconds, options.picture))
    except StartError as error:
        say(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
