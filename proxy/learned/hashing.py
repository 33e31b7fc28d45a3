"""The words, signs and neighbouring pairs of a prompt, each hashed into one of 2^15 buckets. Pure."""

import re
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

BITS = 15
BUCKETS = 1 << BITS

_TOKEN = re.compile(rb"[a-z\x80-\xff]+(?:'[a-z]+)?|[0-9]+|[^\sa-z0-9]")
_PAIR, _MIX, _SHIFT, _MASK = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B), np.uint32(16), np.uint32(BUCKETS - 1)


def hashes(lower: bytes) -> NDArray[np.uint32]:
    """The bucket of each token of a prompt in lower case, then of each pair of neighbours, in their order."""
    return _hashes(_TOKEN.findall(lower))


def _hashes(tokens: list[bytes]) -> NDArray[np.uint32]:
    single = np.fromiter(map(crc32, tokens), np.uint32, len(tokens))
    if not tokens:
        return single
    pairs = single[:-1] * _PAIR + single[1:]  # wraps around, as a hash may
    pairs = (pairs ^ (pairs >> _SHIFT)) * _MIX
    return np.concatenate([single, pairs ^ (pairs >> _SHIFT)]) & _MASK


def buckets(lower: bytes) -> NDArray[np.intp]:
    """The distinct buckets of a prompt, in ascending order: presence counts, repetition does not."""
    present = np.zeros(BUCKETS, np.bool_)
    present[hashes(lower)] = True
    return np.flatnonzero(present)


def named(lower: bytes) -> dict[int, str]:
    """Bucket -> what of this prompt is in it, for a person to read: the first of several."""
    tokens = _TOKEN.findall(lower)
    shown = [token.decode("utf-8", "replace") for token in tokens]
    names = [f"'{word}'" for word in shown]
    names += [f"the pair '{left} {right}'" for left, right in pairwise(shown)]
    found: dict[int, str] = {}
    for bucket, name in zip(_hashes(tokens).tolist(), names, strict=True):
        found.setdefault(bucket, name)
    return found
