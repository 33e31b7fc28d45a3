"""What every way of pulling a model has in common: how it tells its progress, and how it fails."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told the step ("Fetching", "Checking", "Widening"), the bytes done, and the bytes in all."""


class PullError(Exception):
    """A model could not be pulled. The message is one sentence or two, with the next step."""
