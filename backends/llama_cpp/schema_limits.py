"""How often a JSON schema lets something repeat: llama.cpp writes each time into its grammar. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from backends.errors import InvalidRequest

MOST_REPEATED = 2000  # llama.cpp's own bound (MAX_REPETITION_THRESHOLD)
MOST_IN_ALL = 400_000  # of one request: 1 s and 100 MB in llama.cpp
COUNTS = frozenset({"minLength", "minItems", "maxItems"})
LENGTHS = frozenset({"maxLength"})  # llama.cpp's own server takes a great one as none
QUANTIFIER = re.compile(r"\{([^{}]*)\}")


def check_schemas(schemas: Iterable[Mapping[str, Any]], param: str, most_of: frozenset[str] = COUNTS) -> None:
    """Raises InvalidRequest, about `param`, where one of `most_of` or a pattern repeats too often, or all do."""
    total = 0.0
    for schema in schemas:
        for name, times in repetitions(schema):
            total += min(times, MOST_REPEATED)
            if total > MOST_IN_ALL or (times > MOST_REPEATED and (name == "pattern" or name in most_of)):
                raise InvalidRequest(400, param)


def repetitions(schema: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers in a schema that make its grammar long, each with the name that it stands under."""
    left: list[Any] = [schema]
    while left:
        value = left.pop()
        if isinstance(value, list | tuple):
            left += value
        elif isinstance(value, Mapping):
            left += value.values()
            for name, found in value.items():
                if name in COUNTS | LENGTHS and isinstance(found, int | float):
                    yield name, found
                elif name == "pattern" and isinstance(found, str):
                    yield from ((name, times) for times in quantifiers(found))


def quantifiers(pattern: str) -> Iterator[int]:
    """The numbers in the {m}, {m,} and {m,n} of a regular expression."""
    for inside in QUANTIFIER.findall(pattern):
        for number in inside.split(","):
            try:
                yield int(number)
            except ValueError:  # not a quantifier, or without this end
                continue
