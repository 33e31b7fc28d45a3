"""The rows of outcomes that come with the repository, for tests: read once, a part of them or all."""

from functools import cache
from itertools import islice
from pathlib import Path

from proxy.learned.rows import Row, opened, read, rows

OUTCOMES = Path(__file__).parents[4] / "scripts" / "router" / "outcomes.jsonl.xz"
STRONG, WEAK = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"


@cache
def some(count: int, *, every: int = 10) -> list[Row]:
    """Questions of MMLU, from all of its subjects."""
    with opened(OUTCOMES) as lines:
        return list(rows(islice(lines, 0, count * every, every)))


def everything() -> list[Row]:
    """All rows. Takes a second or two."""
    return read(OUTCOMES)
