"""The questions of the history as the learned router sees them, to calibrate it on."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from proxy.history.labels import Kept
from proxy.learned.features import Batch, extract, together
from proxy.learned.packing import unpacked


def to_calibrate_on(rows: Iterable[Kept]) -> Sequence[Kept]:
    """Those that the learned router was asked; all that are kept where it never was. None of them twice."""
    kept = [row for row in rows if (row.features or row.question) and not row.asked_again]
    return [row for row in kept if row.score is not None] or kept


def questions(rows: Iterable[Kept]) -> Batch:
    """The features of these questions. Those of another version of the features are left out, unless there is a text."""
    found = [
        (unpacked(row.features) if row.features else None) or (extract(row.question) if row.question else None)
        for row in rows
    ]
    return together([features for features in found if features is not None])


def hash_of(rows: Iterable[Kept]) -> str:
    """Tells which questions these were."""
    return sha256(b"\0".join(row.features or (row.question or "").encode() for row in rows)).hexdigest()[:16]
