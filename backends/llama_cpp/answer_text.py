"""Turns a model's tokens into text that may be said: whole characters, and nothing from a stop string on. Pure."""

from codecs import getincrementaldecoder
from collections.abc import Sequence


class AnswerText:
    """One answer. `stopped` is true once a stop string has come; what was said ends before it."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stopped = False
        self._stops = stops
        self._characters = getincrementaldecoder("utf-8")("replace")  # a token may hold half a character
        self._held = ""

    def feed(self, piece: bytes) -> str:
        """What can be said now that the token with these bytes came: less, where it could begin a stop string."""
        text = self._held + self._characters.decode(piece)
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        sure = len(text) - max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[sure:]
        return text[:sure]

    def end(self) -> str:
        """What was held back, when no more tokens come. Half a character is left out."""
        text, self._held = self._held, ""
        return text


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
