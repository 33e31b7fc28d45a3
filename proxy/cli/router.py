"""`streamlane router`: measure the learned router, set its threshold, score prompts, and ask it why."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.router_eval import evaluate
from proxy.cli.router_history import history, history_scores
from proxy.cli.router_rules import rules
from proxy.cli.router_shared import FILE, console, labelled, loaded_pair, one_sentence, opened, print_json
from proxy.cli.shared import Group, config_file

if TYPE_CHECKING:
    from proxy.learned.calibration import Kept, Threshold
    from proxy.learned.router import PairRouter

CHUNK = 1000  # prompts that are scored and printed together
SHARE = click.FloatRange(0, 1)


def pair_options(command: Any) -> Any:
    """--strong, --weak and --weights."""
    for option in (
        click.option("--weights", type=FILE, metavar="FILE", help="Weights of your own. Otherwise those that ship."),
        click.option("--weak", metavar="MODEL", help="The weak model, as the weights name it."),
        click.option("--strong", metavar="MODEL", help="The strong model, as the weights name it."),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def router() -> None:
    """The learned router: measure it, set its threshold, and ask it why.

    It scores a prompt with the probability that a strong model does better on it than a weak one.
    """


router.add_command(evaluate)
router.add_command(rules)
router.add_command(history)


@router.command()
@click.option(
    "--strong-share", type=SHARE, metavar="SHARE", help="The part of calls for the strong model, such as 0.3."
)
@click.option("--quality", type=SHARE, metavar="PART", help="Or the part of its quality to keep, on labelled prompts.")
@click.option("--data", type=FILE, metavar="FILE", help="Prompts of your traffic, as JSON lines.")
@click.option("--from-history", is_flag=True, help="Instead, the questions that the gateway was asked.")
@config_file
@pair_options
@click.option("--out", type=FILE, default=Path("router-calibration.json"), metavar="FILE", show_default=True)
def calibrate(
    *,
    strong_share: float | None,
    quality: float | None,
    data: Path | None,
    from_history: bool,
    config: Path | None,
    strong: str | None,
    weak: str | None,
    weights: Path | None,
    out: Path,
) -> None:
    """Find the threshold for a share of strong calls, on prompts like those that will come.

    FILE has a `prompt` in each line. For --quality each line also needs `scores` of both models: the smallest share is
    found that surely keeps this part of the strong model's quality. Writes a file to review; a gateway that runs
    changes nothing.
    """
    if (strong_share is None) == (quality is None):
        raise click.UsageError("Give either --strong-share or --quality, such as --strong-share 0.3.")
    if (data is None) != from_history:
        raise click.UsageError("Give either --data FILE or --from-history.")
    if quality is not None and data is None:
        raise click.UsageError("--quality needs the outcomes of both models on each prompt: give --data FILE.")
    with one_sentence():
        from proxy.cli import router_view as view
        from proxy.learned import calibration

        loaded, pair = loaded_pair(weights, strong, weak)
        scores, data_hash = _scores(data, pair) if data else history_scores(config, pair)
        kept: Kept | None = None
        if strong_share is None:
            assert quality is not None
            assert data is not None
            kept = _keeping(data, scores, pair, quality)
            strong_share = kept.share
        found: Threshold = calibration.threshold_for(scores, strong_share)
        made = calibration.calibration(
            scores,
            router_hash=loaded.hash,
            strong=pair.strong,
            weak=pair.weak,
            made=_today(),
            data_hash=data_hash,
        )
        _write(out, made)
    for line in [*([view.kept(kept)] if kept else []), *view.thresholds(found, len(scores))]:
        click.echo(line)
    click.echo(f"\nWrote {out}. Nothing is changed yet. To use it, in streamlane.toml:\n")
    click.echo(f'[router]\ncalibration = "{out}"')


def _scores(data: Path, pair: "PairRouter") -> tuple[Any, str]:
    """Those of a file's prompts, and the hash of these."""
    from proxy.learned.prompts import prompts

    with opened(data) as lines:
        asked = list(prompts(lines))
    return pair.scores(asked), _hash(asked)


def _keeping(data: Path, scores: Any, pair: "PairRouter", quality: float) -> "Kept":
    from proxy.learned.calibration import keeping
    from proxy.learned.labels import as_rows

    table = as_rows(labelled(data), pair.strong, pair.weak)
    both = table.labelled()
    if not both.size:
        raise ValueError(
            f"{data} has no outcomes of {pair.strong} and {pair.weak}: name others with --strong and --weak."
        )
    return keeping(table.run(both, scores[both]), quality)


@router.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@pair_options
def score(file: Path, strong: str | None, weak: str | None, weights: Path | None) -> None:
    """Print the score of each prompt in FILE: JSON lines with a `prompt`; - is standard input.

    A score is the probability, 0 to 1, that the strong model does better on it than the weak one.
    """
    from itertools import islice

    with one_sentence():
        from proxy.learned.prompts import prompts

        pair = loaded_pair(weights, strong, weak)[1]
        with opened(file) as lines:
            asked = prompts(lines)
            while chunk := list(islice(asked, CHUNK)):
                sys.stdout.write("".join(f"{value:.8f}\n" for value in pair.scores(chunk)))


@router.command()
@click.argument("prompt")
@pair_options
@click.option(
    "--strong-share", type=SHARE, default=0.5, show_default=True, help="The part of calls for the strong one."
)
@click.option("--threshold", type=SHARE, help="Or the score from which on it answers.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def explain(
    *,
    prompt: str,
    strong: str | None,
    weak: str | None,
    weights: Path | None,
    strong_share: float,
    threshold: float | None,
    as_json: bool,
) -> None:
    """Show how the learned router scores PROMPT, what it decides, and because of what; - is standard input."""
    with one_sentence():
        pair = loaded_pair(weights, strong, weak)[1]
        text = sys.stdin.read() if prompt == "-" else prompt
        explain_score(pair, text, pair.threshold(strong_share) if threshold is None else threshold, as_json=as_json)


def explain_score(pair: "PairRouter", prompt: str, threshold: float, *, as_json: bool = False) -> None:
    """Print the learned stage's part of an explanation."""
    from proxy.cli import router_view as view

    found = pair.explain(prompt)
    choice = pair.strong if found.score >= threshold else pair.weak
    if as_json:
        told = {"score": found.score, "threshold": threshold, "choice": choice, "guarded": found.guarded}
        told |= {"unfamiliar": found.unfamiliar, "logit": found.logit, "bias": found.bias}
        print_json({**told, "contributions": [{"name": name, "value": value} for name, value in found.contributions]})
        return
    for line in view.decision(found, threshold, choice, pair):
        click.echo(line)
    click.echo()
    console().print(view.contributions(found.contributions, found.logit, found.bias))


def _hash(prompts: Sequence[str]) -> str:
    from hashlib import sha256

    return sha256("\0".join(prompts).encode("utf-8", "replace")).hexdigest()[:16]


def _today() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).date().isoformat()


def _write(file: Path, value: Any) -> None:
    from msgspec import json

    file.write_bytes(json.format(json.encode(value), indent=2) + b"\n")
