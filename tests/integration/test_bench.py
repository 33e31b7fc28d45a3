"""The benchmark runs against the real gateway, its mock upstream counts aborts at once, and the budgets hold."""

import asyncio
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("picows", reason="the load generator's client: pip install -e '.[bench]'")

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
STREAMS, TOKENS = 4, 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")


async def run(*arguments: str, limit: float) -> tuple[int, str]:
    """Run the benchmark; return its exit status and all that it printed. Its servers end with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, BENCH / "run", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(limit):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_small_run_loses_no_token(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    small = ["--streams", str(STREAMS), "--tokens", str(TOKENS), "--interval-ms", "5", "--rounds", "1"]
    status, output = await run("paced", *small, "--json", str(file), limit=30)
    assert status == 0, output
    result: dict[str, Any] = json.loads(file.read_text())["scenarios"]["paced"]
    assert {"direct", "streamlane"} <= result["rounds"].keys()
    for name, rounds in result["rounds"].items():
        for row in rounds:
            assert (row["errors"], row["tokens"]) == (0, STREAMS * TOKENS), (name, row)
            assert 0 < row["latency_ms_p50"] <= row["latency_ms_p99"], (name, row)
            assert 0 < row["ttft_ms_p50"] <= row["ttft_ms_p99"], (name, row)
    for ours in result["rounds"]["streamlane"]:
        assert ours["cpu_us_per_token"] > 0
        assert ours["rss_mib"] > 10
    assert "streamlane" in output.split("\npaced\n")[1], "the table names the gateway"


async def test_a_session_is_measured_beside_a_plain_connection_and_after_a_cut(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    small = ["--streams", str(STREAMS), "--tokens", str(TOKENS), "--interval-ms", "5", "--rounds", "1"]
    status, output = await run("session", "resume", *small, "--json", str(file), limit=60)
    assert status == 0, output
    results: dict[str, Any] = json.loads(file.read_text())["scenarios"]
    for name in ("streamlane", "session"):
        for row in results["session"]["rounds"][name]:
            assert (row["errors"], row["tokens"]) == (0, STREAMS * TOKENS), (name, row)
            assert row["cpu_us_per_token"] > 0
    assert results["session"]["cpu_ratio_of_sessions"] > 0
    for row in results["resume"]["rounds"]["streamlane"]:
        assert (row["errors"], row["resumes"]) == (0, STREAMS), row
        assert 0 < row["resume_ms_p50"] <= row["resume_ms_p99"], row


async def test_an_unknown_scenario_is_refused_with_the_known_ones() -> None:
    status, output = await run("pacd", limit=10)
    assert status == 2
    assert "unknown scenario 'pacd', expected some of: paced, session, burst, ttft, herd, resume, idle" in output


@pytest.mark.slow
async def test_the_budgets_hold() -> None:
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
        pytest.skip("the CPU budget is a ratio to nginx's")
    status, output = await run("--check", limit=240)
    assert status == 0, output


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def ask(port: int, request: bytes, until: bytes) -> tuple[bytes, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    return await reader.readuntil(until), writer


@pytest.mark.parametrize(
    ("ttft", "until", "tokens"), [(3600.0, b"assistant", 0), (0.0, b'" t', 1)], ids=["before the first token", "after"]
)
async def test_the_mock_counts_an_abort_when_the_client_goes(ttft: float, until: bytes, tokens: int) -> None:
    upstream = load("mock_upstream").MockUpstream(ttft=ttft, interval=3600.0)
    async with await upstream.listen(0) as server:
        port = server.sockets[0].getsockname()[1]
        body = b'{"stream":true,"max_tokens":9}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        _, writer = await ask(port, head + body, until)
        writer.close()
        await writer.wait_closed()
        answer, writer = await ask(port, b"GET /stats HTTP/1.1\r\nhost: x\r\n\r\n", b"}")
        writer.close()
    stats = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert stats == {"requests": 1, "finished": 0, "aborted": 1, "tokens": tokens}


def test_a_ratio_is_the_median_of_neighbouring_rounds_and_breaks_its_budget_when_too_high() -> None:
    report = load("report")

    def rounds(*costs: float) -> list[dict[str, Any]]:
        return [{"cpu_us_per_token": cost, "ttft_ms_p50": 1.0, "errors": 0, "first_errors": []} for cost in costs]

    # The machine became twice as slow after the first round: the ratio does not move.
    good = report.summary({"nginx": rounds(10, 20, 20), "streamlane": rounds(25, 50, 50)})
    assert good["cpu_ratio_to_nginx"] == 2.5
    assert list(report.broken_budgets({"paced": good, "ttft": good})) == []
    bad = report.summary({"nginx": rounds(10), "streamlane": rounds(31)})
    assert list(report.broken_budgets({"paced": bad, "ttft": good})) == [
        "CPU per token is 3.10 times nginx's, the budget is 3.0"
    ]
    noise = [{**row, "others_busy": 0.9} for row in rounds(99)]
    disturbed = report.summary({"nginx": rounds(10, 10), "streamlane": rounds(25) + noise})
    assert (disturbed["cpu_ratio_to_nginx"], disturbed["counted_rounds"]) == (2.5, 1)
    alone = report.summary({"streamlane": rounds(25)})
    assert "was not measured" in " ".join(report.broken_budgets({"paced": alone, "ttft": good}))
