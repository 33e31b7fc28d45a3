"""Cuts markdown that is still coming into blocks that will not change any more. Pure.

A terminal can only append: what is finished is printed for good, and only the open block is drawn again and again.
"""

import re

FENCE = re.compile(r"( *)(`{3,}|~{3,})")  # CommonMark 4.5
LIST = re.compile(r"(?:[-+*]|\d{1,9}[.)])\s")  # CommonMark 5.2


class Blocks:
    """Feed it text; it gives the blocks that this finished. Together, blocks and `open` are the text, unchanged."""

    def __init__(self) -> None:
        self._lines: list[str] = []  # of the open block, whole ones
        self._partial = ""  # the line that is still coming
        self._fence: str | None = None  # what will close the code that is open
        self._blank = False  # whether the last line was empty: the next one may begin a block

    @property
    def open(self) -> str:
        """The block that may still change."""
        return "".join(self._lines) + self._partial

    def tail(self, lines: int) -> str:
        """The end of the open block, as markdown of its own: drawing it costs the same however long it grows."""
        if len(self._lines) <= lines:
            return self.open
        opening = [line for line in self._lines[:-lines] if FENCE.match(line.lstrip())][-1:] if self._fence else []
        return "".join(opening + self._lines[-lines:]) + self._partial

    def feed(self, text: str) -> list[str]:
        """Some more of the text."""
        *whole, self._partial = (self._partial + text).split("\n")
        return [block for line in whole for block in self._line(line + "\n")]

    def close(self) -> str:
        """The text has ended: what is left of it."""
        left = self.open
        self._lines, self._partial, self._fence, self._blank = [], "", None, False
        return left

    def _line(self, line: str) -> list[str]:
        if self._fence is not None:
            self._lines.append(line)
            if line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0]):
                self._fence = None
                return [] if line[0] == " " else [self._cut()]
            return []
        done = []
        fence = FENCE.match(line)
        if self._lines and (
            (fence and not fence[1])  # code at the margin ends whatever stood before
            or (self._blank and line.strip() and not self._continues(line))
        ):
            done.append(self._cut())
        if fence:
            self._fence = fence[2]
        self._blank = not line.strip()
        self._lines.append(line)
        return done

    def _continues(self, line: str) -> bool:
        """After an empty line, an indented one still belongs to the list before it."""
        first = next((each for each in self._lines if each.strip()), "")
        return line[0] in " \t" and LIST.match(first.lstrip()) is not None

    def _cut(self) -> str:
        block = "".join(self._lines)
        self._lines, self._blank = [], False
        return block
