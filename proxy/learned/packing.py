"""The features of a prompt as few bytes, for a file: no text can be read from them. Pure.

version of the features, number of lexical measures (two bytes each), the measures (float32), the buckets (two bytes
each); little-endian throughout.
"""

from struct import Struct, error

import numpy as np

from proxy.learned import lexical
from proxy.learned.features import VERSION, Features
from proxy.learned.hashing import BUCKETS

_HEAD = Struct("<HH")


def packed(features: Features) -> bytes:
    """About half a kilobyte for a short question."""
    head = _HEAD.pack(VERSION, len(features.lexical))
    return head + features.lexical.astype("<f4").tobytes() + features.buckets.astype("<u2").tobytes()


def unpacked(data: bytes) -> Features | None:
    """The features as they were; None where they are of another version, or damaged."""
    try:
        version, count = _HEAD.unpack_from(data)
    except error:
        return None
    middle = _HEAD.size + 4 * count
    if version != VERSION or count != len(lexical.NAMES) or len(data) < middle or (len(data) - middle) % 2:
        return None
    buckets = np.frombuffer(data, "<u2", offset=middle).astype(np.intp)
    if buckets.size and int(buckets.max()) >= BUCKETS:
        return None
    return Features(np.frombuffer(data, "<f4", count, _HEAD.size).astype(np.float32), buckets)
