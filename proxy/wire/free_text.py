"""A custom tool's text out of the arguments `{"input": "…"}` that a model writes for it, piece by piece. Pure.

Models see a tool of free text as a function of one string. What they write may be no such JSON: then it is taken as it
is. Nothing is lost but what a cut tore apart.
"""

import re

HEAD = '{"input":"'
GAPS = (0, 1, 8, 9)  # where JSON allows white space in it
MOST_SPACE = 1000  # characters; a model that says nothing else is taken at its word
SPECIAL = re.compile(r'["\\]')
TAIL = re.compile(r'"?\s*\}?\s*\Z')
UNIT = re.compile(r"\\u([0-9a-fA-F]{4})")
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class FreeText:
    """Feed it the arguments; it returns the text as far as it is certain."""

    def __init__(self) -> None:
        self._step = self._read_head
        self._held = ""  # what came and is not certain yet
        self._at = 0  # how much of HEAD was seen

    def feed(self, piece: str) -> str:
        """More of the arguments."""
        return self._step(piece)

    def end(self) -> str:
        """The arguments are complete: what was held back."""
        if self._step != self._keep_tail or self._held.strip() in ("", "}"):
            return ""
        return '"' + TAIL.sub("", self._held, count=1)  # a quote that the model forgot to escape

    def _read_head(self, piece: str) -> str:
        before = len(self._held)
        self._held += piece
        for index, char in enumerate(piece, 1):
            if char == HEAD[self._at]:
                self._at += 1
                if self._at == len(HEAD):
                    self._held = ""
                    self._step = self._read_string
                    return self._read_string(piece[index:])
            elif char not in " \t\r\n" or self._at not in GAPS or before + index > MOST_SPACE:
                raw, self._held = self._held, ""
                self._step = self._pass
                return raw
        return ""

    def _read_string(self, piece: str) -> str:
        text = self._held + piece
        self._held = ""
        out: list[str] = []
        start = 0
        while (found := SPECIAL.search(text, start)) is not None:
            at = found.start()
            out.append(text[start:at])
            if text[at] == '"':
                self._step = self._keep_tail
                self._held = text[at + 1 :]
                return "".join(out)
            said, start = escape(text, at)
            if start == at:  # torn apart: wait for the rest
                self._held = text[at:]
                return "".join(out)
            out.append(said)
        out.append(text[start:])
        return "".join(out)

    def _keep_tail(self, piece: str) -> str:
        self._held += piece
        return ""

    def _pass(self, piece: str) -> str:
        return piece


def escape(text: str, at: int) -> tuple[str, int]:
    """What the escape at `at` means, and where it ends: `at` itself while it is not complete. RFC 8259, section 7."""
    if at + 1 == len(text):
        return "", at
    char = text[at + 1]
    if char != "u":
        return ESCAPES.get(char, f"\\{char}"), at + 2
    code, end = unit(text, at)
    if code is None:
        return ("", at) if end == len(text) else ("\\u", at + 2)  # no number: taken as it is
    if not 0xD800 <= code < 0xDC00:
        return ("\ufffd" if 0xDC00 <= code < 0xE000 else chr(code)), end
    low, after = unit(text, end)  # the first half of a character: the other half follows, or it is none
    if low is None:
        return ("", at) if after == len(text) else ("\ufffd", end)
    if 0xDC00 <= low < 0xE000:
        return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), after
    return "\ufffd", end


def unit(text: str, at: int) -> tuple[int | None, int]:
    """The UTF-16 unit of `\\uXXXX` at `at`, and where it ends. None where there is none; if it may yet become one, it
    ends with the text.
    """
    if (whole := UNIT.match(text, at)) is not None:
        return int(whole[1], base=16), at + 6
    given = text[at : at + 6]
    may_become = len(given) < 6 and re.fullmatch(r"(\\(u[0-9a-fA-F]{0,3})?)?", given) is not None
    return None, len(text) if may_become else at
