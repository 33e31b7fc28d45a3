"""Who answered a conversation last, for a while: a prompt that was read once need not be read again elsewhere. Pure.

Conversations are hashes; no text is kept.
"""

from collections import OrderedDict
from typing import Generic, TypeVar

W = TypeVar("W")
MOST = 10_000  # conversations, a hundred bytes or so each; the oldest go


class Conversations(Generic[W]):
    """Remembers each for `keep`, in whatever unit of time the caller has."""

    def __init__(self, keep: float) -> None:
        self._keep = keep
        self._found: OrderedDict[str, tuple[W, float]] = OrderedDict()

    def stick(self, conversation: str | None, who: W, now: float) -> None:
        """`who` has answered it, and is to go on with it. None is no conversation."""
        if conversation is None:
            return
        self._found[conversation] = who, now + self._keep
        self._found.move_to_end(conversation)
        while len(self._found) > MOST:
            self._found.popitem(last=False)

    def of(self, conversation: str | None, now: float) -> W | None:
        """Who has answered it, if that was not long ago."""
        found = self._found.get(conversation) if conversation else None
        return found[0] if found is not None and found[1] > now else None
