"""Says in tables and words what an evaluation, a calibration and an explanation of the learned router found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor, isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from proxy.learned.calibration import Kept, Threshold
    from proxy.learned.evaluation import Report
    from proxy.learned.measures import Estimate, Prices
    from proxy.learned.router import Explanation, PairRouter

BAR = 16  # characters, of the largest contribution
TOP = 10  # contributions that are shown
EXAMS = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
SOURCE = "RouteLLM's paper, arXiv 2406.18665v4, trained on 65,000 Arena battles and about 1,500 questions of MMLU"


@dataclass(frozen=True, slots=True)
class Published:
    """What RouteLLM's paper says of one of its routers. Shares are parts of 1; None is what is not quoted here."""

    router: str
    bench: str
    apgr: float
    cpt50: float | None = None
    cpt80: float | None = None


PUBLISHED = (
    Published("bert", "mmlu", 0.572, 0.413, 0.722),
    Published("mf", "mmlu", 0.597, 0.355, 0.714),
    Published("causal_llm", "mmlu", 0.600, 0.355, 0.703),
    Published("sw_ranking", "mmlu", 0.603, 0.354, 0.716),
    Published("bert", "gsm8k", 0.531),
    Published("mf", "gsm8k", 0.565),
    Published("sw_ranking", "gsm8k", 0.568),
    Published("causal_llm", "gsm8k", 0.622),
)


@dataclass(frozen=True, slots=True)
class Times:
    """How long one decision takes, in milliseconds."""

    prompts: str  # which
    p50: float
    p99: float


def published(strong: str, weak: str, benches: Sequence[str]) -> Sequence[Published]:
    """Published figures of the same two models on these benchmarks."""
    return [each for each in PUBLISHED if (strong, weak) == EXAMS and each.bench in benches]


def table(report: "Report", strong: str, weak: str) -> "RenderableType":
    """A line for each protocol, with its intervals below the values."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("on prompts that did not train it", no_wrap=True)
    for name in ("APGR", "CPT 50 %", "CPT 80 %", "saves"):
        shown.add_column(name, no_wrap=True, justify="right")
    for line in report.lines:
        exact = line.protocol in ("random", "oracle")
        parts = (line.cpt50, line.cpt80, line.saving95)
        shown.add_row(
            f"{line.protocol}\n  {few(line.bench)}, {line.prompts:,} prompts",
            cell(line.apgr, 1, 3, exact),
            *(cell(part, 100, 1, exact) for part in parts),
            style="bright_black" if exact else "",
        )
    for each in published(strong, weak, [line.bench for line in report.lines]):
        cells = ["" if part is None else f"{part * 100:.1f}" for part in (each.cpt50, each.cpt80, None)]
        shown.add_row(f"published {each.router}, {each.bench}", f"{each.apgr:.3f}", *cells, style="bright_black")
    return shown


def few(benches: str) -> str:
    """The names of one or two benchmarks, or how many there are."""
    count = benches.count(" + ") + 1
    return benches if count <= 2 else f"{count} benchmarks"


def cell(estimate: "Estimate", times: float, digits: int, exact: bool) -> str:
    """The value, and its interval in a second line."""
    if not isfinite(estimate.value):
        return "-"
    value, low, high = (f"{each * times:.{digits}f}" for each in (estimate.value, estimate.low, estimate.high))
    return value if exact else f"{value}\n{low}-{high}" if isfinite(estimate.low) else f"{value}\nunsure"


def heading(report: "Report", strong: str, weak: str) -> str:
    """Which models, and how good each is alone."""
    return (
        f"{strong} (strong, quality {report.strong_quality * 100:.1f} %) and "
        f"{weak} (weak, {report.weak_quality * 100:.1f} %). Below each value: its 95 % interval."
    )


def legend(prices: "Prices", strong: str, weak: str, benches: Sequence[str]) -> Iterator[str]:
    """What the columns mean."""
    yield "APGR: part of the gap between the two models that is recovered, averaged over all shares (random 0.5)."
    yield "CPT 50 %: per cent of strong calls that recover half of the gap. Fewer is better (random 50)."
    yield (
        "saves: per cent of the strong model's price that are saved while keeping 95 % of its quality, at "
        f"${prices.strong:g} and ${prices.weak:g} for a million tokens, as if all answers were equally long."
    )
    if published(strong, weak, benches):
        yield f"Published: {SOURCE}; ours trained on other rows, so they are neighbours, not rivals."


def others(report: "Report", times: Sequence[Times]) -> Iterator[str]:
    """What is no measure of the order."""
    if report.shares:
        asked = ", ".join(f"{share.wanted * 100:.0f} % gave {share.got * 100:.1f} %" for share in report.shares)
        yield f"Strong share on other prompts of the same mix: {asked}."
    yield (
        "Calibration error of the score, the probability that the strong model does better: "
        f"{report.calibration_error:.3f}."
    )
    for time in times:
        yield f"Decision, {time.prompts}: p50 {time.p50:.2f} ms, p99 {time.p99:.2f} ms of one core."


def limits(benches: Sequence[str], strong: str, weak: str) -> Iterator[str]:
    """What the figures do not say."""
    yield "What these figures do not say:"
    if (strong, weak) == EXAMS:
        yield "- Chat: these are exam questions and school maths, graded on the final answer, and no chat traffic."
        yield "- Today's models: the outcomes are of models of 2023 and 2024. Other models fail on other questions."
    else:
        yield f"- Anything but {', '.join(benches)} and these two models: other prompts and models give other figures."
    yield "- Your traffic: a threshold gives its strong share on the mix that it was made on, and on no other."
    yield "- Your bill: it depends on the lengths of the answers, which are taken as equal here."
    yield "What helps most are labels of your own traffic: docs/router.md says how to train on them."


def thresholds(found: "Threshold", count: int) -> Iterator[str]:
    """A threshold with how sure it is."""
    yield (
        f"Threshold {down(found.value)} (95 % interval {down(found.low)} to {down(found.high)}) "
        f"for {found.wanted * 100:g} % strong calls, from {count:,} prompts."
    )
    yield (
        f"On these prompts {found.share * 100:.1f} % go to the strong model; "
        f"on others of the same kind expect {found.share_low * 100:.1f} to {found.share_high * 100:.1f} %."
    )
    if abs(found.share - found.wanted) > 0.02:
        yield (
            "Many prompts have the same score, so this share cannot be met. Prompts unlike the training data do: "
            "see one with `streamlane router explain`, and train on your own traffic."
        )


def down(score: float) -> str:
    """Rounded down, so that a prompt with just this score still reaches it."""
    return f"{floor(score * 1e6) / 1e6:.6f}" if isfinite(score) else "none"


def kept(found: "Kept") -> str:
    """The share for a quality."""
    return (
        f"{found.share * 100:.1f} % strong calls keep {found.quality * 100:g} % of the strong model's quality: "
        f"{found.expected * 100:.1f} % was measured there, and {found.low * 100:.1f} % is its interval's lower end."
    )


def decision(found: "Explanation", threshold: float | None, choice: str, pair: "PairRouter") -> Iterator[str]:
    """The score, what it is compared with, and who answers. Without a threshold: the score, and of whom it speaks."""
    pairing = f"the probability that {pair.strong} does better than {pair.weak}"
    if threshold is None:
        yield f"The score, {found.score:.4f}, is {pairing}: the weights compare these two."
    else:
        sign = ">=" if choice == pair.strong else "<"
        yield f"{choice} answers: score {found.score:.4f} {sign} threshold {threshold:.4f}."
        yield f"The score is {pairing}."
        yield f"As a threshold, this score would send it {pair.share(found.score) * 100:.0f} % of the calibrated mix."
    if found.guarded:
        yield (
            f"The guard spoke: the prompt is unlike the training data ({found.unfamiliar * 100:.0f} %), "
            "so its score was drawn towards that of the mean prompt."
        )


def contributions(parts: Sequence[tuple[str, float]], logit: float, bias: float) -> "RenderableType":
    """The strongest contributions to a score, as bars to the left (weak) and to the right (strong)."""
    from rich.table import Table
    from rich.text import Text

    ranked = sorted(parts, key=lambda part: -abs(part[1]))
    top, rest = ranked[:TOP], ranked[TOP:]
    most = max((abs(value) for _, value in top), default=1.0) or 1.0
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("because of", no_wrap=True, overflow="ellipsis")
    shown.add_column("", justify="right")
    shown.add_column("weak", justify="right", no_wrap=True)
    shown.add_column("strong", no_wrap=True)
    for name, value in top:
        bar = "#" * max(round(abs(value) / most * BAR), 1)
        left, right = ("", Text(bar, "cyan")) if value >= 0 else (Text(bar, "yellow"), "")
        shown.add_row(Text(name), f"{value:+.3f}", left, right)
    if rest:
        shown.add_row(f"{len(rest)} smaller ones", f"{sum(value for _, value in rest):+.3f}")
    shown.add_row("what every prompt begins with", f"{bias:+.3f}")
    shown.add_row("together", f"{logit:+.3f}", style="bold")
    return shown
