"""The card of the shipped weights: what trained them, what was measured, and what the figures do not say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from proxy.learned import evaluation
from proxy.learned.labels import as_rows
from proxy.learned.learner import Learner
from proxy.learned.measures import Estimate, Prices
from proxy.learned.rows import Row
from proxy.learned.weights import Weights

HEAD = """# The shipped router weights

Written by `scripts/train-router --shipped`. What the measures mean is said in [router.md](router.md).

"""
FIGURES = """
## Measured

{strong} as the strong model, {weak} as the weak one.
Of prompts that did not train what is measured, with 95 % intervals. No question is on both sides of a split.

| | prompts | APGR | CPT 50 % | CPT 80 % | saved at 95 % quality |
|---|---|---|---|---|---|
"""
MEASURES = ("apgr", "cpt50", "cpt80", "saving95")
SHARES = """
Strong shares that were asked for, and what other prompts of the same mix got: {shares}.
Calibration error of the score, as the probability that the strong model does better than the weak one: {error:.3f}.
"""
LIMITS = """
## What the figures do not say

- **Chat.** Exam questions, school maths and short tasks, mostly in English, graded on the final answer. No open
  conversation is among them.
- **Today's models.** The outcomes are of models of 2023 and 2024.
- **Other traffic.** A threshold gives its strong share on the mix that it was made on, and on no other: calibrate. On a
  kind of prompt that none of the data resembles, the guard makes every score nearly the same.
- **MMLU is MMLU.** Part of what is learned is the form of its questions, such as options that are numbers. It carries
  over to subjects that were left out, and less to other kinds of tests.
- **RouteLLM's routers** were trained on Arena battles and MMLU's validation part, these weights on a part of MMLU's
  test questions. The figures of both stand side by side, but the training was not the same.
"""


def figures(rows: Sequence[Row], strong: str, weak: str, say: Callable[[str], None]) -> dict[str, Any]:
    """What an evaluation of these rows finds, for a card."""
    table = as_rows(rows, strong, weak)
    planned = evaluation.splits(table, ())
    report = evaluation.evaluate(
        table, Learner(rows, strong, weak).fit, planned, (), Prices(), step=lambda split: say(split.protocol)
    )
    lines = [
        {
            "protocol": line.protocol,
            "bench": line.bench,
            "prompts": line.prompts,
            **{name: _rounded(getattr(line, name)) for name in MEASURES},
        }
        for line in report.lines
    ]
    shares = [[round(share.wanted, 3), round(share.got, 4)] for share in report.shares]
    return {"lines": lines, "shares": shares, "calibration_error": round(report.calibration_error, 4)}


def page(weights: Weights, name: str, size: int) -> str:
    """The card as Markdown. `name` is the short hash of the file, `size` its bytes."""
    card, (strong, weak) = weights.card, weights.default
    rows = [
        ("File", f"`proxy/data/router.npz`, {size:,} bytes, sha256 begins with `{name}`"),
        ("Trained", f"{card['date']}, seed {card['seed']}, by `scripts/train-router`"),
        ("Data", f"{card['rows']:,} prompts, `scripts/router/outcomes.jsonl.xz`, sha256 begins with `{card['data']}`"),
        ("Licences of the data", ", ".join(card["licenses"])),
        ("Pair when none is named", f"{strong} (strong), {weak} (weak)"),
        ("Heads", "; ".join(f"{', '.join(panel.models)} ({panel.rows:,} prompts)" for panel in weights.panels)),
    ]
    told = card["figures"]
    lines = "".join(
        f"| {line['protocol']}: {line['bench']} | {line['prompts']:,} | "
        + " | ".join(_cell(line[measure]) for measure in MEASURES)
        + " |\n"
        for line in told["lines"]
    )
    shares = ", ".join(f"{wanted:.0%}: {got:.1%}" for wanted, got in told["shares"])
    return (
        HEAD
        + "| | |\n|---|---|\n"
        + "".join(f"| {what} | {value} |\n" for what, value in rows)
        + FIGURES.format(strong=strong, weak=weak)
        + lines
        + SHARES.format(shares=shares, error=told["calibration_error"])
        + LIMITS
    )


def _rounded(estimate: Estimate) -> list[float]:
    return [round(value, 4) for value in (estimate.value, estimate.low, estimate.high)]


def _cell(estimate: Sequence[float]) -> str:
    value, low, high = estimate
    return f"{value:.3f}" if low == high else f"{value:.3f} ({low:.3f}-{high:.3f})"
