"""Trains weights of the learned router from the command line, and says what it does meanwhile."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from proxy.cli.router_shared import sentence
from proxy.cli.shared import without_keys
from proxy.config_error import ConfigError
from proxy.history.learning import from_history
from proxy.learned.rows import BadRow, Row, read
from proxy.learned.training import TooFewRows, fit
from proxy.learned.weights import SHIPPED, Weights, WeightsUnusable, short_hash, write
from proxy.learned.weights import read as read_weights
from proxy.store.sqlite_file import StoreUnusable
from scripts.router.card import figures, page

ROOT = Path(__file__).parents[2]
OUTCOMES = ROOT / "scripts" / "router" / "outcomes.jsonl.xz"
CARD = ROOT / "docs" / "router-card.md"
LICENSES = ("MIT", "Apache-2.0")
PAIR = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")  # the best measured one, so it is meant when none is named


def say(what: str) -> None:
    """To whom waits."""
    print(f"{what} ...", file=sys.stderr, flush=True)


def described(data: bytes, rows: Sequence[Row], licenses: Iterable[str] | None, seed: int) -> dict[str, Any]:
    """What the weights' card says of the data."""
    return {
        "data": sha256(data).hexdigest()[:16],
        "rows": len(rows),
        "licenses": sorted(licenses or {row.license or "not said" for row in rows}),
        "date": datetime.now(UTC).date().isoformat(),
        "seed": seed,
    }


def of_file(
    file: Path, licenses: Sequence[str] | None, pair: tuple[str, str] | None, base: Weights | None, seed: int
) -> Weights:
    """Weights from a file of prompts with outcomes. Raises OSError, BadRow, TooFewRows and ValueError."""
    say(f"reading {file}")
    rows = [row for row in read(file) if licenses is None or row.license in licenses]
    known = sorted({model for row in rows for model in row.scores})
    if pair and (unknown := [model for model in pair if model not in known]):
        raise ValueError(f"no row has an outcome of {unknown[0]}; there are outcomes of {', '.join(known)}")
    say(f"reading {len(rows):,} prompts")
    card = described(file.read_bytes(), rows, licenses, seed)
    return fit(rows, seed=seed, default=pair, base=base, card=card, progress=lambda what: say(f"training {what}"))


def of_history(config: Path | None, strong: Sequence[str], weak: Sequence[str], base: Weights, seed: int) -> Weights:
    """Weights from what people thought of this gateway's answers. Raises ConfigError, StoreUnusable, TooFewRows."""
    if not strong or not weak:
        raise ValueError("name the models of each side, as BACKEND/MODEL: --strong MODEL --weak MODEL")
    say("reading the history")
    weights, count = from_history(without_keys(config).data_dir, strong=strong, weak=weak, base=base, seed=seed)
    say(f"learned from {count:,} questions")
    return weights


def ship() -> None:
    """Trains what ships, measures it, and writes the weights and their card."""
    rows = [row for row in read(OUTCOMES) if row.license in LICENSES]
    say(f"measuring on {len(rows):,} prompts; this takes minutes")
    card = {**described(OUTCOMES.read_bytes(), rows, LICENSES, 0), "figures": figures(rows, *PAIR, say)}
    weights = fit(rows, default=PAIR, card=card, progress=lambda what: say(f"training {what}"))
    write(weights, SHIPPED)
    file = SHIPPED.read_bytes()
    CARD.write_text(page(weights, short_hash(file), len(file)), encoding="utf-8")
    print(f"Wrote {SHIPPED} and {CARD}.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and trains. Exits with 2 and a sentence when it cannot."""
    parser = argparse.ArgumentParser(prog="scripts/train-router", description="Train weights of the learned router.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="FILE", help="JSON lines with prompt and scores (docs/router.md)")
    source.add_argument("--from-history", action="store_true", help="what people thought of this gateway's answers")
    source.add_argument("--shipped", action="store_true", help="train again what ships, and measure it for its card")
    parser.add_argument("--out", type=Path, default=Path("router.npz"), metavar="FILE", help="where to (router.npz)")
    parser.add_argument("--strong", action="append", default=[], metavar="MODEL", help="with history more than once")
    parser.add_argument("--weak", action="append", default=[], metavar="MODEL")
    parser.add_argument("--licenses", metavar="A,B", help="only rows with one of these, as in MIT,Apache-2.0")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="begin with these (history: the shipped ones)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the gateway's configuration, for its data_dir")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    asked = parser.parse_args(arguments)
    if bool(asked.strong) != bool(asked.weak) or (asked.data and max(len(asked.strong), len(asked.weak)) > 1):
        parser.error("name both sides, with --strong and --weak; with --data one model each")
    try:
        if asked.shipped:
            ship()
            return
        base = read_weights(asked.weights)[0] if asked.weights or asked.from_history else None
        if asked.data:
            licenses = [each.strip() for each in asked.licenses.split(",")] if asked.licenses else None
            pair = (asked.strong[0], asked.weak[0]) if asked.strong else None
            weights = of_file(asked.data, licenses, pair, base, asked.seed)
        else:
            weights = of_history(asked.config, asked.strong, asked.weak, base or read_weights()[0], asked.seed)
        write(weights, asked.out)
    except OSError as error:
        parser.exit(2, f"Cannot open {error.filename}: {error.strerror}.\n" if error.filename else f"{error}\n")
    except (BadRow, TooFewRows, WeightsUnusable, ConfigError, StoreUnusable, ValueError) as error:
        parser.exit(2, f"{sentence(str(error))}\n")
    print(f"Wrote {asked.out}. To use it: weights_file in [router] of streamlane.toml.")


if __name__ == "__main__":
    main()
