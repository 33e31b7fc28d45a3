"""Measures of one prompt that need no training: its length, signs, kinds of words, and the form of its options. Pure."""

import re
from math import log1p

import numpy as np
from numpy.typing import NDArray

from proxy.learned.vocabulary import CLASSES, by_word

SIGNS: dict[str, bytes] = {
    "capital letters": b"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "digits": b"0123456789",
    "commas": b",",
    "full stops": b".",
    "question marks": b"?",
    "colons": b":;",
    "quotation marks": b"\"'`",
    "round brackets": b"()",
    "code brackets": b"[]{}",
    "operators": b"+*/=^<>|~",
    "hyphens": b"-",
    "underscores": b"_",
    "dollar signs": b"$",
    "percent signs": b"%",
    "backslashes": b"\\",
    "line breaks": b"\n",
    "tabs": b"\t",
    "letters outside ASCII": bytes(range(128, 256)),
}
FORM = (
    "length in characters",
    "length in words",
    "length of the question",
    "mean length of words",
    "share of long words",
    "share of very long words",
    "share of distinct words",
    "share of one-letter words",
    "sentences",
    "number of options",
    "has options",
    "mean length of options",
    "longest option",
    "spread of the options' lengths",
    "options that begin with a number",
    "options with digits",
    "options of one or two words",
    "options that begin alike",
    "'of the above'",
    "options that combine I, II, III",
    "'Statement 1'",
    "a blank to fill in",
    "the question ends with '?'",
    "the question ends with ':'",
    "the question ends with '.'",
    "the question ends in a word",
    "begins with a capital letter",
    "formulas in TeX",
    "numbers",
    "share of numbers",
    "longest number",
    "capitalised words of the question",
    "a negation in the question",
)
NAMES = (*FORM, *(f"share of {sign}" for sign in SIGNS), *(f"words: {words}" for words in CLASSES))

_WORD = re.compile(rb"[a-z\x80-\xff]+(?:['-][a-z]+)*|[0-9]+(?:[.,][0-9]+)*")
_OPTION = re.compile(rb"^\(?[A-Ja-j][.):][ \t]*(.*)$", re.MULTILINE)
_CAPITALISED = re.compile(rb"\b[A-Z][a-z]+")
_NEGATION = re.compile(rb"\b(?:not|except|least|false|incorrect|NOT|EXCEPT|LEAST)\b")
_SIGN_OF = np.full(256, len(SIGNS), np.uint8)
for _position, _signs in enumerate(SIGNS.values()):
    _SIGN_OF[list(_signs)] = _position
_CLASSES_OF = by_word()


def measures(text: bytes, lower: bytes) -> NDArray[np.float32]:
    """One number for each of NAMES, of a prompt in UTF-8 and the same in lower case. At most 4,000 characters."""
    words = _WORD.findall(lower)
    signs = np.bincount(_SIGN_OF[np.frombuffer(text, np.uint8)], minlength=len(SIGNS) + 1)[:-1]
    classes = [position for word in words for position in _CLASSES_OF.get(word, ())]
    counts = np.bincount(np.array(classes, np.intp), minlength=len(CLASSES))
    found = np.empty(len(NAMES), np.float32)
    found[: len(FORM)] = form(text, lower, words)
    found[len(FORM) : len(FORM) + len(SIGNS)] = np.sqrt(signs / max(1, len(text)))
    found[len(FORM) + len(SIGNS) :] = np.sqrt(counts / max(1, len(words)))
    return found


def form(text: bytes, lower: bytes, words: list[bytes]) -> tuple[float, ...]:
    """One number for each of FORM."""
    first = _OPTION.search(text)
    options = _OPTION.findall(text) if first else []
    question = (text[: first.start()] if first else text).strip()
    lengths = [len(option) for option in options] or [0]
    sizes = [len(word) for word in words]
    numbers = [len(word) for word in words if word[0] < 58]  # in ASCII, digits stand before letters
    per_word, per_option = 1 / max(1, len(words)), 1 / max(1, len(options))
    return (
        log1p(len(text)),
        log1p(len(words)),
        log1p(question.count(b" ")),
        sum(sizes) * per_word,
        sum(size >= 8 for size in sizes) * per_word,
        sum(size >= 12 for size in sizes) * per_word,
        len(set(words)) * per_word,
        sizes.count(1) * per_word,
        log1p(text.count(b". ") + text.count(b"? ")),
        len(options),
        bool(options),
        log1p(sum(lengths) * per_option),
        log1p(max(lengths)),
        log1p(max(lengths)) - log1p(min(lengths)),
        sum(option[:1].isdigit() or option[:1] in (b"-", b"$") for option in options) * per_option,
        sum(any(48 <= sign < 58 for sign in option[:40]) for option in options) * per_option,
        sum(option.count(b" ") < 2 for option in options) * per_option,
        len(options) > 1 and len({option[:3] for option in options}) == 1,
        b"of the above" in lower,
        b"and ii" in lower or b"i and" in lower,
        b"statement 1" in lower,
        b"__" in text,
        question.endswith(b"?"),
        question.endswith(b":"),
        question.endswith(b"."),
        question[-1:].isalpha(),
        question[:1].isupper(),
        b"\\" in text and b"$" in text,
        log1p(len(numbers)),
        len(numbers) * per_word,
        log1p(max(numbers, default=0)),
        log1p(len(_CAPITALISED.findall(question))),
        _NEGATION.search(question) is not None,
    )
