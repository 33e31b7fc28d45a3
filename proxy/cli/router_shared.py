"""What the commands of `streamlane router` have in common: errors of one sentence, files, models, and the way out."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from proxy.learned.router import LearnedRouter, PairRouter
    from proxy.learned.rows import Row

WIDE = 200  # columns of what is no terminal
FILE = click.Path(path_type=Path, dir_okay=False)
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


@contextmanager
def one_sentence() -> Iterator[None]:
    """What is wrong with a file, an option or the weights is one sentence, and exit code 2."""
    from proxy.learned.rows import BadRow
    from proxy.learned.weights import WeightsUnusable

    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        fail(f"Cannot open {error.filename}: {error.strerror}." if error.filename and error.strerror else f"{error}")
    except (BadRow, WeightsUnusable, ValueError) as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        fail(f"{error.name} is not installed: pip install 'streamlane[train]'")


def fail(problem: str) -> None:
    click.echo(sentence(problem), err=True)
    raise SystemExit(2)


def sentence(problem: str) -> str:
    """With a capital letter, unless it begins with a file's name, and with a full stop."""
    first = problem.partition(" ")[0]
    capital = problem[:1].upper() + problem[1:] if first.isalpha() else problem
    return capital + ("" if problem.endswith((".", "'")) else ".")


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """The lines of a file, unpacked, or of standard input. Raises OSError."""
    from proxy.learned.rows import opened as unpacked

    if str(file) == "-":
        yield sys.stdin.buffer
    else:
        with unpacked(file) as lines:
            yield lines


def labelled(file: Path) -> "Sequence[Row]":
    """Raises BadRow, OSError, and ValueError when there is nothing in the file."""
    from proxy.learned.rows import read

    if not (rows := read(file)):
        raise ValueError(f"{file} has no rows.")
    return rows


def loaded_pair(weights: Path | None, strong: str | None, weak: str | None) -> "tuple[LearnedRouter, PairRouter]":
    """Raises WeightsUnusable, and ValueError for models that the weights do not know."""
    from proxy.learned.router import LearnedRouter

    if (strong is None) != (weak is None):
        raise ValueError("Name both models, with --strong and --weak.")
    loaded = LearnedRouter.load(weights)
    return loaded, loaded.pair(strong, weak)


def console() -> "Console":
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def print_json(value: Any) -> None:
    from msgspec import json

    click.echo(json.format(json.encode(value), indent=2))


def not_trained_by(weights: "LearnedRouter", file: Path) -> None:
    """Raises ValueError where this file trained the weights: what is measured on it would be too good."""
    from hashlib import sha256

    if str(file) != "-" and weights.card.get("data") == sha256(file.read_bytes()).hexdigest()[:16]:
        raise ValueError(f"{file} trained these weights, so its figures would be too good. Give other prompts.")
