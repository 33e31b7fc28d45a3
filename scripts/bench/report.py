"""Turns the rounds of a run into medians, ratios, warnings, a verdict and a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

Row = Mapping[str, Any]

DISTURBED = 0.15
CPU_RATIO = 3.0
TTFT_MS = 5.0

SHARED = [("CPU µs/token", "cpu_us_per_token"), ("tokens/s", "tokens_per_s")]
WAITING = [("latency p50", "latency_ms_p50"), ("p99 ms", "latency_ms_p99")]
FIRST = [("TTFT p50", "ttft_ms_p50"), ("p99 ms", "ttft_ms_p99")]
LOAD = [("RSS MiB", "rss_mib"), ("core busy", "core_busy"), ("harness busy", "harness_busy"), ("errors", "errors")]
COLUMNS = {
    "paced": SHARED + WAITING + FIRST + LOAD,
    "session": SHARED + WAITING + FIRST + LOAD,
    "burst": SHARED + LOAD,  # in a burst everything waits in queues: its latency says nothing
    "ttft": FIRST + LOAD,
    "herd": FIRST + LOAD,
    "resume": [
        ("resume p50", "resume_ms_p50"),
        ("p99 ms", "resume_ms_p99"),
        ("CPU ms/resume", "cpu_ms_per_resume"),
        ("RSS MiB", "rss_mib"),
        ("resumes", "resumes"),
        ("errors", "errors"),
    ],
    "idle": [("KiB/socket", "kib_per_socket"), ("RSS MiB", "rss_mib"), ("sockets", "sockets"), ("errors", "errors")],
}


def disturbed(row: Row) -> bool:
    """Whether others took so much of our cores, as a share of one, that this round should not count."""
    return bool(row.get("others_busy", 0) > DISTURBED)


def counted(subjects: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """The rounds in which no server was disturbed; all of them when there is none. The results have no say in it."""
    turns = max(len(rounds) for rounds in subjects.values())
    servers = [rounds for rounds in subjects.values() if len(rounds) == turns]
    calm = {turn for turn in range(turns) if not any(disturbed(rounds[turn]) for rounds in servers)}
    return {
        name: [row for turn, row in enumerate(rounds) if turn in calm or not calm or len(rounds) < turns]
        for name, rounds in subjects.items()
    }


def medians(rounds: Sequence[Row]) -> dict[str, Any]:
    """The median of every number over the rounds of one subject."""
    result: dict[str, Any] = {}
    for key in rounds[0]:
        values = [row[key] for row in rounds if isinstance(row[key], int | float)]
        if values:
            result[key] = round(median(values), 3)
    return result


def cpu_ratio(subjects: Mapping[str, Sequence[Row]], ours: str, theirs: str) -> float | None:
    """CPU per token of one over another's: the median over neighbouring rounds, because machines drift."""
    pairs = zip(subjects.get(ours, ()), subjects.get(theirs, ()), strict=False)
    ratios = [
        one["cpu_us_per_token"] / other["cpu_us_per_token"]
        for one, other in pairs
        if one.get("cpu_us_per_token") and other.get("cpu_us_per_token")
    ]
    return round(median(ratios), 2) if ratios else None


def summary(subjects: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """The result of one scenario as it goes into the JSON file. An error counts in any round."""
    chosen = counted(subjects)
    errors = {name: {"errors": sum(row["errors"] for row in rounds)} for name, rounds in subjects.items()}
    return {
        "medians": {name: medians(rounds) | errors[name] for name, rounds in chosen.items()},
        "cpu_ratio_to_nginx": cpu_ratio(chosen, "streamlane", "nginx"),
        "cpu_ratio_of_sessions": cpu_ratio(chosen, "session", "streamlane"),
        "counted_rounds": max(len(rounds) for rounds in chosen.values()),
        "rounds": subjects,
    }


def warnings(scenario: str, result: Mapping[str, Any]) -> Iterable[str]:
    """What makes the numbers of one scenario doubtful."""
    for name, row in result["medians"].items():
        if disturbed(row):
            yield f"{scenario}/{name}: others took {row['others_busy']:.0%} of a core from us: measure again"
        if row["errors"]:
            first = next(error for rounds in result["rounds"][name] for error in rounds["first_errors"])
            yield f"{scenario}/{name}: {row['errors']} errors, the first: {first}"
        busy = row.get("harness_busy", 0)
        if scenario == "burst" and busy > 0.85 and name != "direct":
            yield f"burst/{name}: the harness's core was {busy:.0%} busy and sets tokens/s: read CPU per token"
        if scenario in {"paced", "session"} and busy > 0.7:
            yield f"{scenario}/{name}: the harness's core was {busy:.0%} busy: its own queues are part of the latencies"


def table(scenario: str, result: Mapping[str, Any]) -> str:
    """Aligned plain text, one line per subject, medians of the rounds."""
    columns = COLUMNS[scenario]
    lines = [["", *(title for title, _ in columns)]]
    for name, row in result["medians"].items():
        lines.append([name, *(cell(key, row.get(key)) for _, key in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            value.ljust(width) if place == 0 else value.rjust(width) for place, (value, width) in enumerate(pairs)
        )
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    turns = max(len(rounds) for rounds in result["rounds"].values())
    text.append(f"Medians of {result['counted_rounds']} out of {turns} rounds.")
    if result["cpu_ratio_to_nginx"] is not None and scenario in {"paced", "burst"}:
        text.append(f"CPU per token, streamlane / nginx: {result['cpu_ratio_to_nginx']:.2f}")
    if result["cpu_ratio_of_sessions"] is not None:
        text.append(f"CPU per token, session / plain connection: {result['cpu_ratio_of_sessions']:.2f}")
    return "\n".join(text)


def cell(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key.endswith("_busy"):
        return f"{value:.0%}"
    if key in {"tokens_per_s", "sockets", "resumes", "errors"}:
        return f"{value:,.0f}"
    return f"{value:.2f}" if key.endswith(("_p50", "_p99")) else f"{value:.1f}"


def broken_budgets(results: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """What `--check` complains about: a budget that is exceeded, or that could not be measured."""
    for scenario, result in results.items():
        yield from (text for text in warnings(scenario, result) if " errors, the first: " in text)
    ratio = results.get("paced", {}).get("cpu_ratio_to_nginx")
    if ratio is None:
        yield "CPU per token against nginx was not measured: it needs nginx and the scenario paced"
    elif ratio > CPU_RATIO:
        yield f"CPU per token is {ratio:.2f} times nginx's, the budget is {CPU_RATIO}"
    first = results.get("ttft", {}).get("medians", {}).get("streamlane", {}).get("ttft_ms_p50")
    if first is None:
        yield "the added time to the first token was not measured: it needs the scenario ttft"
    elif first > TTFT_MS:
        yield f"the added time to the first token is {first:.1f} ms (p50), the budget is {TTFT_MS} ms"
