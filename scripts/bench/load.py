"""Drives a gateway with many token streams at once, and prints what it measured as one line of JSON.

`ws` speaks the OpenAI Responses WebSocket mode, one response at a time per socket; `sse` posts chat completions over
HTTP; `session` is `ws` on a session's socket, `resume` breaks such sockets and times the return, and `idle` only opens
them and reports the memory that each one costs. The upstream has to be mock_upstream.py:
its tokens carry their send time. Needs picows and uvloop, so that the generator is much cheaper than what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Sequence
from typing import Any

import processes
import uvloop
from resume import Session
from transports import Client, SseClient, Tally, WsClient

WARM_UP_TOKENS = 20
SPREAD = 0.002  # seconds between two requests, on the average: 200 streams do not beat in step


async def connect(transport: str, url: str) -> Client:
    if transport == "sse":
        return await SseClient(url).connect()
    return await WsClient(in_session(url) if transport == "session" else url).connect()


def in_session(url: str) -> str:
    """A socket's address with a session of its own."""
    return f"{url}?sl_session={os.urandom(20).hex()}"


async def finished(tally: Tally, limit: float) -> None:
    try:
        async with asyncio.timeout(limit):
            await tally.done.wait()
    except TimeoutError:
        tally.errors.append(f"{tally.pending} streams did not end within {limit:.0f} s")


class Counters:
    """The clocks of a measurement: wall time, and CPU of the gateway, the mock, this process, and all others."""

    def __init__(self, gateway: list[int], mock: list[int]) -> None:
        self.groups = [gateway, mock, [os.getpid()]]
        self.cores = {core for group in self.groups for pid in group for core in os.sched_getaffinity(pid)}
        self.start = self.read()

    def read(self) -> list[float]:
        ours = [processes.cpu_seconds(pids) for pids in self.groups]
        return [time.perf_counter(), *ours, processes.machine_seconds(self.cores) - sum(ours)]

    def since(self) -> list[float]:
        """Seconds since the start: wall, gateway, mock, this process, and others on the same cores."""
        return [now - before for now, before in zip(self.read(), self.start, strict=True)]


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Connect, warm up, then measure one answer per stream; CPU counts from the warm-up to the last answer."""
    clients = [await connect(options.transport, options.url) for _ in range(options.streams)]
    warm_up = Tally(options.streams, min(WARM_UP_TOKENS, options.tokens))
    for client in clients:
        client.ask(warm_up)
    await finished(warm_up, options.limit)
    if options.arrival == "connect":
        for client in clients:
            client.close()
        clients = []
        await asyncio.sleep(0.2)  # let the server see them go: its work for that is not measured

    tally = Tally(options.streams, options.tokens)
    counters = Counters(options.pids, options.mock_pids)
    if options.arrival == "connect":
        for _ in range(options.streams):
            clients.append(await connect(options.transport, options.url))
            clients[-1].ask(tally)
    else:
        loop, dice = asyncio.get_running_loop(), random.Random(0)
        window = SPREAD * options.streams if options.arrival == "spread" else 0.0
        for client in clients:
            loop.call_later(dice.uniform(0, window), client.ask, tally)
    await finished(tally, options.limit)
    wall, gateway, mock, own, others = counters.since()
    memory = processes.rss_bytes(options.pids)
    for client in clients:
        client.close()

    tokens = max(tally.tokens, 1)
    errors = [f"warm-up: {error}" for error in warm_up.errors] + tally.errors
    return {
        "tokens": tally.tokens,
        "expected_tokens": options.streams * options.tokens,
        "errors": len(errors),
        "first_errors": errors[:3],
        "wall_s": round(wall, 2),
        "tokens_per_s": round(tally.tokens / wall),
        "cpu_us_per_token": round(gateway / tokens * 1e6, 2) if options.pids else None,
        "latency_ms_p50": quantile(tally.latencies, 0.5),
        "latency_ms_p99": quantile(tally.latencies, 0.99),
        "ttft_ms_p50": quantile(tally.firsts, 0.5),
        "ttft_ms_p99": quantile(tally.firsts, 0.99),
        "rss_mib": round(memory / 2**20, 1) if options.pids else None,
        "core_busy": round(gateway / wall, 2) if options.pids else None,
        "harness_busy": round((mock + own) / wall, 2),
        "others_busy": round(max(others, 0) / wall, 2),
        "load_us_per_token": round(own / tokens * 1e6, 2),
        "mock_us_per_token": round(mock / tokens * 1e6, 2),
    }


async def measure_idle(options: argparse.Namespace) -> dict[str, Any]:
    """Open session sockets that say nothing; the first fifty are not counted, they pay for what all share."""
    urls = [in_session(options.url) for _ in range(options.streams + 50)]
    clients = [await WsClient(url).connect() for url in urls[:50]]
    before = processes.rss_bytes(options.pids)
    clients += [await WsClient(url).connect() for url in urls[50:]]
    after = processes.rss_bytes(options.pids)
    lost = sum(client.lost for client in clients)
    for client in clients:
        client.close()
    return {
        "sockets": options.streams,
        "errors": lost,
        "first_errors": ["the server closed an idle socket"] * min(lost, 1),
        "rss_mib": round(after / 2**20, 1),
        "kib_per_socket": round((after - before) / 1024 / options.streams, 1),
    }


async def measure_resume(options: argparse.Namespace) -> dict[str, Any]:
    """Answers on sessions, then each session comes back, one after the other."""
    tally = Tally(options.streams, options.tokens)
    sessions = [Session(in_session(options.url)) for _ in range(options.streams)]
    for session in sessions:
        await session.ask(tally)
    await finished(tally, options.limit)
    counters = Counters(options.pids, options.mock_pids)
    took, errors = [], list(tally.errors)
    for session in sessions:
        nanoseconds, error = await session.come_back(options.limit)
        took.append(nanoseconds)
        errors += [error] if error else []
    wall, gateway, _, _, others = counters.since()
    for session in sessions:
        session.close()
    return {
        "resumes": len(took),
        "lost_tokens": options.tokens - 1,
        "errors": len(errors),
        "first_errors": errors[:3],
        "resume_ms_p50": quantile(took, 0.5),
        "resume_ms_p99": quantile(took, 0.99),
        "cpu_ms_per_resume": round(gateway / len(took) * 1e3, 2),
        "rss_mib": round(processes.rss_bytes(options.pids) / 2**20, 1),
        "others_busy": round(max(others, 0) / wall, 2),
    }


def quantile(nanoseconds: Sequence[int], share: float) -> float | None:
    """The value, in milliseconds, that `share` of all values do not exceed; None without values."""
    ordered = sorted(nanoseconds)
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1e6, 3) if ordered else None


def pid_list(text: str) -> list[int]:
    return [int(pid) for pid in text.split(",") if pid]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transport", choices=["ws", "session", "sse", "resume", "idle"])
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=150, help="per stream")
    parser.add_argument("--arrival", choices=["spread", "connect", "instant"], default="spread")
    parser.add_argument("--limit", type=float, default=60, help="seconds after which a phase is given up")
    parser.add_argument("--pids", type=pid_list, default=[], help="the gateway's processes: 12,13")
    parser.add_argument("--mock-pids", type=pid_list, default=[], help="the upstream's processes")
    options = parser.parse_args()
    kinds = {"idle": measure_idle, "resume": measure_resume}
    print(json.dumps(uvloop.run(kinds.get(options.transport, measure)(options))))


if __name__ == "__main__":
    main()
