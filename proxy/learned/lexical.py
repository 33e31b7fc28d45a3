"""Measures of one prompt that need no training: its length, its words, its numbers and the form of its options. Pure.

What a prompt is about is left to its words (hashing.py). Counting classes of words here, or signs, made the router
worse at questions of subjects that it had not seen.
"""

import re
from math import log1p

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "length in characters",
    "length in words",
    "mean length of words",
    "share of long words",
    "share of very long words",
    "share of distinct words",
    "share of one-letter words",
    "sentences",
    "numbers",
    "share of numbers",
    "longest number",
    "formulas in TeX",
    "length of the question",
    "capitalised words of the question",
    "signs of a formula in the question",
    "the question ends with '?'",
    "the question ends with ':'",
    "the question ends with '.'",
    "the question ends in a word",
    "number of options",
    "has options",
    "mean length of options",
    "longest option",
    "spread of the options' lengths",
    "options that begin with a number",
    "options with digits",
    "options of one or two words",
    "options that begin with a capital letter",
    "options with commas",
    "options that share words with the question",
    "distinct words of the options",
)

_WORD = re.compile(rb"[a-z\x80-\xff]+(?:['-][a-z]+)*|[0-9]+(?:[.,][0-9]+)*")
_LONG_WORD = re.compile(rb"[a-z]{4,}")
_OPTION = re.compile(rb"^\(?[A-Ja-j][.):][ \t]*(.*)$", re.MULTILINE)
_CAPITALISED = re.compile(rb"\b[A-Z][a-z]+")
_FORMULA = re.compile(rb"[=^*\\<>]")
_DIGIT = re.compile(rb"[0-9]")


def measures(text: bytes, lower: bytes) -> NDArray[np.float32]:
    """One number for each of NAMES, of a prompt in UTF-8 and the same in lower case."""
    first = _OPTION.search(text)
    question = (text[: first.start()] if first else text).strip()
    found = (*_of_words(text, _WORD.findall(lower)), *_of_question(question))
    options = _OPTION.findall(text) if first else []
    return np.array((*found, *_of_options(options, question.lower())), np.float32)


def _of_words(text: bytes, words: list[bytes]) -> tuple[float, ...]:
    sizes = [len(word) for word in words]
    numbers = [len(word) for word in words if word[0] < 58]  # in ASCII, digits stand before letters
    each = 1 / max(1, len(words))
    return (
        log1p(len(text)),
        log1p(len(words)),
        sum(sizes) * each,
        sum(size >= 8 for size in sizes) * each,
        sum(size >= 12 for size in sizes) * each,
        len(set(words)) * each,
        sizes.count(1) * each,
        log1p(text.count(b". ") + text.count(b"? ")),
        log1p(len(numbers)),
        len(numbers) * each,
        log1p(max(numbers, default=0)),
        b"\\" in text and b"$" in text,
    )


def _of_question(question: bytes) -> tuple[float, ...]:
    return (
        log1p(question.count(b" ")),
        log1p(len(_CAPITALISED.findall(question))),
        _FORMULA.search(question) is not None,
        question.endswith(b"?"),
        question.endswith(b":"),
        question.endswith(b"."),
        question[-1:].isalpha(),
    )


def _of_options(options: list[bytes], question: bytes) -> tuple[float, ...]:
    lengths = [len(option) for option in options] or [0]
    asked = set(_LONG_WORD.findall(question))
    words = [_LONG_WORD.findall(option.lower()) for option in options]
    every = [word for some in words for word in some]
    each = 1 / max(1, len(options))
    return (
        len(options),
        bool(options),
        log1p(sum(lengths) * each),
        log1p(max(lengths)),
        log1p(max(lengths)) - log1p(min(lengths)),
        sum(option[:1].isdigit() or option[:1] in (b"-", b"$") for option in options) * each,
        sum(_DIGIT.search(option) is not None for option in options) * each,
        sum(option.count(b" ") < 2 for option in options) * each,
        sum(option[:1].isupper() for option in options) * each,
        sum(b"," in option for option in options) * each,
        sum(sum(word in asked for word in some) / max(1, len(some)) for some in words) * each,
        len(set(every)) / max(1, len(every)),
    )
