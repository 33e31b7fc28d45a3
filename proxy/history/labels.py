"""What feedback means for learning: which model did well or badly on a question, and how much that counts. Pure.

| what happened                                   | who answered | who was preferred | weight |
|-------------------------------------------------|--------------|-------------------|--------|
| rated up                                        | 1            |                   | 1      |
| rated down                                      | 0            |                   | 1      |
| rated down, with `preferred_model`              | 0            | 1                 | 1      |
| the same asked again of another model, unrated  | 0            |                   | 0.3    |

A rating goes before what was done next. "Who answered" is who gave the answer, after however many failed attempts: a
failure says nothing of a model's quality, and neither does an answer that nobody said anything of.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

SURE, HINT = 1.0, 0.3  # what was said, and what was only done
PER_PRINCIPAL = 500  # questions of one principal, the newest


class Kept(Struct, frozen=True):
    """One row of the history, as far as it is read again. Models are BACKEND/MODEL; `failed` those that were tried
    before. Exactly one of `features` and `question` is enough to learn from.
    """

    at: float
    principal: str
    response_id: str
    asked: str
    rule: str | None
    profile: str | None
    score: float | None
    threshold: float | None
    guarded: bool
    sets: tuple[str, ...]
    answered: str | None
    status: str
    error: str | None
    failed: tuple[tuple[str, str, str], ...]
    first_event: float | None
    cost: int | None
    features: bytes | None
    question: str | None
    again: str | None
    rating: int | None
    preferred: str | None

    @property
    def asked_again(self) -> bool:
        """Whether a person chose who answered, because of another answer to the same."""
        return self.rule is None and self.profile is None

    @property
    def feedback(self) -> str:
        """In a word, for a table."""
        said = {1: "up", -1: "down"}.get(self.rating or 0, "")
        if said and self.preferred:
            return f"{said}, {self.preferred} preferred"
        return said or (f"asked {self.again} again" if self.again else "")


class Labelled(Struct, frozen=True):
    """A question, how well each of some models did on it (0 to 1), and how much that counts."""

    features: bytes
    scores: Mapping[str, float]
    weight: float


def label(row: Kept) -> tuple[Mapping[str, float], float] | None:
    """The scores by model, and the weight; None where nothing was said or done."""
    if row.answered is None or row.first_event is None:
        return None
    if row.rating == 1:
        return {row.answered: 1.0}, SURE
    if row.rating == -1:
        preferred = {} if row.preferred in (None, row.answered) else {row.preferred: 1.0}
        return {row.answered: 0.0, **preferred}, SURE
    return ({row.answered: 0.0}, HINT) if row.again and row.again != row.answered else None


def rows_for_training(newest_first: Iterable[Kept]) -> Iterator[Labelled]:
    """Those that have a label and features; of one principal no more than so many."""
    counts: Counter[str] = Counter()
    for row in newest_first:
        if row.features is None or counts[row.principal] >= PER_PRINCIPAL:
            continue
        found = label(row)
        if found is not None:
            counts[row.principal] += 1
            yield Labelled(row.features, *found)
