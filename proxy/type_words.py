"""Says in plain words what a value should have been: a type checker's message without Python's names. Pure."""

import re

NAMES = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "null": "null",
}
QUOTED = re.compile(r"`([a-z |]+)`")
LENGTHS = (  # after the names were replaced
    (re.compile(r"text of length (>=|<=) (\d+)"), "character"),
    (re.compile(r"a list of length (>=|<=) (\d+)"), "item"),
    (re.compile(r"(?:an object|a table) of length (>=|<=) (\d+)"), "member"),
)


def plain(fault: str, mapping: str = "an object") -> str:
    """msgspec's "Expected `int`, got `str`" as: expected a whole number, got text. `mapping` is what a dict is called.

    A message that says something else only loses its capital letter.
    """
    text = fault[:1].lower() + fault[1:]
    if not text.startswith("expected"):
        return text
    names = {**NAMES, "object": mapping}

    def named(found: re.Match[str]) -> str:
        return " or ".join(names.get(name, name) for name in found[1].split(" | "))

    text = QUOTED.sub(named, text)
    for length, unit in LENGTHS:
        if found := length.search(text):
            text = text.replace(found[0], bounded(found[1], int(found[2]), unit))
    return re.sub(r"(\d)\.0$", r"\1", text)


def bounded(sign: str, number: int, unit: str) -> str:
    """A length in words."""
    return f"{'at least' if sign == '>=' else 'at most'} {number} {unit}{'' if number == 1 else 's'}"


def name_of(value: object, mapping: str = "an object") -> str:
    """What a value that was read from JSON or TOML is called."""
    if value is None:
        return NAMES["null"]
    if isinstance(value, dict):
        return mapping
    name = "array" if isinstance(value, list) else type(value).__name__
    return NAMES.get(name, f"a {name}")  # TOML also has dates and times
