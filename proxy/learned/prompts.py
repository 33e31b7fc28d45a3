"""Reads the prompts of a file of JSON lines, whatever else its lines hold."""

from collections.abc import Iterable, Iterator

from backends.json import JsonError, loads
from proxy.learned.rows import BadRow


def prompts(lines: Iterable[bytes]) -> Iterator[str]:
    """The `prompt` of each line that is not empty. Raises BadRow at the first that has none."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                value = loads(line)
            except JsonError as error:
                raise BadRow(number, f"not JSON ({error})") from None
            prompt = value.get("prompt") if isinstance(value, dict) else None
            if not isinstance(prompt, str):
                raise BadRow(number, "expected an object with a text as `prompt`")
            yield prompt
