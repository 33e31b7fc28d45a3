"""The weights of the learned router: what one file holds, written and read without pickle.

The file is numpy's `.npz` with the arrays named below and `about`, a MessagePack. Heads are linear: a head's output is
its bias, its lexical weights times the standardised measures, and its hashed weights times the prompt's words, each
weighed by its rarity and all together scaled to length 1. Hashed weights are stored in 8 bits, with a scale per head.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tokenize import TokenError
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from proxy.learned import features
from proxy.learned.hashing import BUCKETS
from proxy.learned.lexical import NAMES

FORMAT = "streamlane router weights"
VERSION = 1
SHIPPED = Path(__file__).parent.parent / "data" / "router.npz"
LIMIT, UNPACKED = 16 << 20, 64 << 20  # bytes; a file that is larger, as it is or unpacked, is none of ours
PERCENT = 100  # outcomes are stored in hundredths
# What numpy and zipfile raise of a damaged file.
BROKEN = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, RuntimeError, MemoryError, OverflowError,
    TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Floats = NDArray[np.float32]


class WeightsUnusable(Exception):
    """A weights file cannot be used; says what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class Panel:
    """The heads that were trained on the same rows: those that each of these models answered."""

    models: tuple[str, ...]
    rows: int
    bias: Floats  # [models]
    lexical: Floats  # [models, measures]
    hashed: NDArray[np.int8]  # [models, buckets]
    scale: Floats  # [models]: a hashed weight is its 8 bits times this
    outputs: NDArray[np.float16]  # [sample, models]: of heads that had not seen the row
    outcomes: NDArray[np.uint8]  # [sample, models]: how the model did, in hundredths
    familiar: NDArray[np.int8]  # [prototypes, measures]: what the rows look like (guard.py)
    bounds: tuple[float, float]  # distance from a prototype at which the guard begins, and at which nothing is left


@dataclass(frozen=True, slots=True)
class Weights:
    """Everything that a router knows."""

    center: Floats  # [measures]
    spread: Floats  # [measures]
    rarity: Floats  # [buckets]; 0 for a bucket that was not seen in training
    panels: tuple[Panel, ...]
    default: tuple[str, str]  # the strong and the weak model that are meant when none are named
    card: Mapping[str, Any] = field(default_factory=dict)  # data, licence, date, numbers

    @property
    def models(self) -> tuple[str, ...]:
        """The models with a head, in the order of the alphabet."""
        return tuple(sorted({model for panel in self.panels for model in panel.models}))


ARRAYS: dict[str, type[np.generic]] = {
    "bias": np.float32,
    "lexical": np.float32,
    "hashed": np.int8,
    "scale": np.float32,
    "outputs": np.float16,
    "outcomes": np.uint8,
    "familiar": np.int8,
}


class _PanelAbout(msgspec.Struct, frozen=True):
    models: tuple[str, ...]
    rows: int
    bounds: tuple[float, float]


class _About(msgspec.Struct, frozen=True):
    format: str
    version: int
    features: int
    measures: tuple[str, ...]
    default: tuple[str, str]
    panels: tuple[_PanelAbout, ...]
    card: dict[str, Any]


def packed(weights: Weights) -> bytes:
    """The file's bytes: the same weights give the same bytes."""
    panels = tuple(_PanelAbout(panel.models, panel.rows, panel.bounds) for panel in weights.panels)
    about = _About(FORMAT, VERSION, features.VERSION, NAMES, weights.default, panels, dict(weights.card))
    arrays: dict[str, Any] = {
        "about": np.frombuffer(msgspec.msgpack.encode(about), np.uint8),
        "center": weights.center.astype(np.float32),
        "spread": weights.spread.astype(np.float32),
        "rarity": weights.rarity.astype(np.float16),
    }
    for number, panel in enumerate(weights.panels):
        arrays |= {f"{name}_{number}": getattr(panel, name) for name in ARRAYS}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def write(weights: Weights, path: Path) -> None:
    """Replaces the file at `path`. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(packed(weights))
    beside.replace(path)


def read(path: Path | None = None) -> tuple[Weights, str]:
    """The weights in a file (None: those that are shipped), and the file's short hash. Raises WeightsUnusable."""
    path = path or SHIPPED
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise WeightsUnusable(
            f"{path} cannot be read ({error.strerror}); name a file that train-router wrote"
        ) from None
    return unpacked(data, str(path)), short_hash(data)


def short_hash(data: bytes) -> str:
    """16 hex digits that name a weights file."""
    return sha256(data).hexdigest()[:16]


def unpacked(data: bytes, name: str = "the file") -> Weights:
    """The weights in these bytes. Raises WeightsUnusable, which calls them `name`."""
    again = "train again with scripts/train-router"
    try:
        if len(data) > LIMIT or _unpacked_size(data) > UNPACKED:
            raise WeightsUnusable(f"{name} is larger than router weights ever are; {again}")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            about = msgspec.msgpack.decode(file["about"].tobytes(), type=_About)
            if about.format != FORMAT or about.version != VERSION:
                raise WeightsUnusable(f"{name} has another format than version {VERSION} of {FORMAT}; {again}")
            if about.features != features.VERSION or about.measures != NAMES:
                raise WeightsUnusable(f"{name} was trained on other features than this version computes; {again}")
            weights = _weights(file, about)
    except (*BROKEN, msgspec.MsgspecError) as error:
        raise WeightsUnusable(f"{name} holds no router weights ({type(error).__name__}); {again}") from None
    _check(weights, name, again)
    return weights


def _unpacked_size(data: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return sum(each.file_size for each in file.infolist())


def _weights(file: Mapping[str, NDArray[Any]], about: _About) -> Weights:
    panels = [
        Panel(
            models=panel.models,
            rows=panel.rows,
            bounds=panel.bounds,
            **{kind: file[f"{kind}_{number}"].astype(dtype, copy=False) for kind, dtype in ARRAYS.items()},
        )
        for number, panel in enumerate(about.panels)
    ]
    return Weights(
        center=file["center"].astype(np.float32),
        spread=file["spread"].astype(np.float32),
        rarity=file["rarity"].astype(np.float32),
        panels=tuple(panels),
        default=about.default,
        card=about.card,
    )


def _check(weights: Weights, name: str, again: str) -> None:
    shapes: list[tuple[NDArray[Any], Sequence[int]]] = [
        (weights.center, (len(NAMES),)),
        (weights.spread, (len(NAMES),)),
        (weights.rarity, (BUCKETS,)),
    ]
    for panel in weights.panels:
        heads, sample, prototypes = len(panel.models), panel.outputs.shape[:1], panel.familiar.shape[:1]
        shapes += [
            (panel.bias, (heads,)),
            (panel.scale, (heads,)),
            (panel.lexical, (heads, len(NAMES))),
            (panel.hashed, (heads, BUCKETS)),
            (panel.outputs, (*sample, heads)),
            (panel.outcomes, (*sample, heads)),
            (panel.familiar, (*prototypes, len(NAMES))),
        ]
    if any(array.shape != tuple(shape) or not array.size for array, shape in shapes):
        raise WeightsUnusable(f"{name} holds arrays of the wrong size; {again}")
    bounds = all(0 <= panel.bounds[0] < panel.bounds[1] for panel in weights.panels)
    if not all(np.isfinite(array).all() for array, _ in shapes) or not (weights.spread > 0).all() or not bounds:
        raise WeightsUnusable(f"{name} holds numbers that are none; {again}")
    if not set(weights.default) <= set(weights.models):
        raise WeightsUnusable(f"{name} has no head for its own default models; {again}")
