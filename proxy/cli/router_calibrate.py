"""`streamlane router calibrate`: the threshold for a share of strong calls, or for a quality, on given prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.router_shared import (
    FILE,
    SHARE,
    labelled,
    loaded_pair,
    not_trained_by,
    one_sentence,
    opened,
    pair_options,
)
from proxy.cli.shared import config_file, without_keys

if TYPE_CHECKING:
    from proxy.learned.calibration import Kept
    from proxy.learned.measures import Floats
    from proxy.learned.router import LearnedRouter, PairRouter


@dataclass(frozen=True, slots=True)
class Sample:
    """Scores of prompts, and a hash of these."""

    loaded: "LearnedRouter"
    pair: "PairRouter"
    scores: "Floats"
    hash: str


@click.command()
@click.option("--strong-share", type=SHARE, metavar="SHARE", help="Part of calls for the strong model, such as 0.3.")
@click.option("--quality", type=SHARE, metavar="PART", help="Or part of its quality to keep, on labelled prompts.")
@click.option("--data", type=FILE, metavar="FILE", help="Prompts like those that will come, as JSON lines.")
@click.option("--from-history", is_flag=True, help="Or those that this gateway has scored before.")
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
    if data is None and quality is not None:
        raise click.UsageError("--quality needs prompts with outcomes: give --data FILE.")
    with one_sentence():
        from proxy.cli import router_view as view
        from proxy.learned import calibration

        if data is None:
            sample = _of_history(without_keys(config).data_dir, *_pair(config, weights, strong, weak))
        else:
            sample = _of_file(data, *_pair(config, weights, strong, weak), measured=quality is not None)
        kept: Kept | None = None
        if strong_share is None:
            assert data is not None
            assert quality is not None
            kept = _keeping(data, sample, quality)
            strong_share = kept.share
        found = calibration.threshold_for(sample.scores, strong_share)
        made = calibration.calibration(
            sample.scores,
            router_hash=sample.loaded.hash,
            strong=sample.pair.strong,
            weak=sample.pair.weak,
            made=_today(),
            data_hash=sample.hash,
        )
        _write(out, made)
    for line in [*([view.kept(kept)] if kept else []), *view.thresholds(found, len(sample.scores))]:
        click.echo(line)
    click.echo(f"\nWrote {out}. Nothing is changed yet. To use it, in streamlane.toml:\n")
    click.echo(f'[router]\ncalibration = "{out}"' + (f'\nweights_file = "{weights}"' if weights else ""))


def _pair(
    config: Path | None, weights: Path | None, strong: str | None, weak: str | None
) -> "tuple[LearnedRouter, PairRouter]":
    """The weights and models that are named, else those of the configuration. Raises WeightsUnusable, ValueError."""
    from proxy.learned.router import LearnedRouter

    own = without_keys(config).router
    if weights is None and strong is None and weak is None:
        loaded = LearnedRouter.load(own.weights_file)
        return loaded, loaded.pair(own.strong_model, own.weak_model)
    return loaded_pair(weights or own.weights_file, strong, weak)


def _of_file(data: Path, loaded: "LearnedRouter", pair: "PairRouter", *, measured: bool) -> Sample:
    """Raises BadRow, OSError, ValueError."""
    from proxy.learned.prompts import prompts

    if measured:
        not_trained_by(loaded, data)
    with opened(data) as lines:
        asked = list(prompts(lines))
    return Sample(loaded, pair, pair.scores(asked), _hash(each.encode("utf-8", "replace") for each in asked))


def _of_history(data_dir: Path, loaded: "LearnedRouter", pair: "PairRouter") -> Sample:
    """The prompts that the learned router was asked about. Raises ValueError."""
    from proxy.history.reading import reading
    from proxy.learned.features import together
    from proxy.learned.packing import unpacked
    from proxy.store.sqlite_file import StoreUnusable

    try:
        with reading(data_dir) as history:
            kept = [each.features for each in history.newest() if each.score is not None and each.features]
    except StoreUnusable as error:
        raise ValueError(str(error)) from None
    known = [(data, features) for data in kept if (features := unpacked(data)) is not None]
    scores = pair.scores_of(together([features for _, features in known]))
    return Sample(loaded, pair, scores, _hash(data for data, _ in known))


def _keeping(data: Path, sample: Sample, quality: float) -> "Kept":
    from proxy.learned.calibration import keeping
    from proxy.learned.labels import as_rows

    strong, weak = sample.pair.strong, sample.pair.weak
    table = as_rows(labelled(data), strong, weak)
    both = table.labelled()
    if not both.size:
        raise ValueError(f"{data} has no outcomes of {strong} and {weak}: name others with --strong and --weak.")
    return keeping(table.run(both, sample.scores[both]), quality)


def _hash(parts: Any) -> str:
    from hashlib import sha256

    return sha256(b"\0".join(parts)).hexdigest()[:16]


def _today() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).date().isoformat()


def _write(file: Path, value: Any) -> None:
    from msgspec import json

    file.write_bytes(json.format(json.encode(value), indent=2) + b"\n")
