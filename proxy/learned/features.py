"""Turns a prompt into what the learned router weighs: lexical measures and hashed words. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proxy.learned import hashing, lexical
from proxy.learned.question import capped

VERSION = 1  # weights that were trained on other features do not fit
CUE = "answer:"  # how an exam's prompt ends; it says nothing about the question


@dataclass(frozen=True, slots=True)
class Features:
    """One prompt: a number for each of `lexical.NAMES`, and its distinct buckets in ascending order."""

    lexical: NDArray[np.float32]
    buckets: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts as a table: `lexical` [rows, measures]; the buckets of row i are buckets[ends[i]:ends[i + 1]]."""

    lexical: NDArray[np.float32]
    buckets: NDArray[np.intp]
    ends: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.lexical)

    def __getitem__(self, row: int) -> Features:
        return Features(self.lexical[row], self.buckets[self.ends[row] : self.ends[row + 1]])

    def take(self, rows: NDArray[np.intp]) -> "Batch":
        """The table of these rows only, in their order."""
        return together([self[row] for row in rows.tolist()])


def text_of(prompt: str) -> tuple[bytes, bytes]:
    """The part of `prompt` that counts, in UTF-8, and the same in lower case."""
    text = prompt.rstrip()
    if text[-len(CUE) :].lower() == CUE:
        text = text[: -len(CUE)].rstrip()
    raw = capped(text).encode("utf-8", "replace")  # half a surrogate pair has no UTF-8
    return raw, raw.lower()


def extract(prompt: str) -> Features:
    """The features of one prompt, whatever it holds."""
    text, lower = text_of(prompt)
    return Features(lexical.measures(text, lower), hashing.buckets(lower))


def extract_all(prompts: Iterable[str]) -> Batch:
    """The features of many prompts."""
    return together([extract(prompt) for prompt in prompts])


def together(rows: list[Features]) -> Batch:
    """One table of these rows."""
    if not rows:
        return Batch(np.empty((0, len(lexical.NAMES)), np.float32), np.empty(0, np.intp), np.zeros(1, np.intp))
    ends = np.concatenate([[0], np.cumsum([len(row.buckets) for row in rows])]).astype(np.intp)
    return Batch(np.stack([row.lexical for row in rows]), np.concatenate([row.buckets for row in rows]), ends)
