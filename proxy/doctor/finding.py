"""One thing that was looked at, and what to do about it. Pure."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "note", "fix"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says what was found, `step` what to do. "note" is worth knowing; "fix" keeps something from working."""

    about: str
    state: State
    text: str
    step: str = ""


def failed(about: str, reason: str) -> Finding:
    """Something to fix, where `reason` already says what to do."""
    return Finding(about, "fix", reason)
