"""A custom tool's text comes out whole, however its arguments are written and cut."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.free_text import HEAD, FreeText

WRITERS = {
    "as it is": lambda text: json.dumps({"input": text}, ensure_ascii=False),
    "escaped": lambda text: json.dumps({"input": text}),
    "spaced": lambda text: '\n {\t"input" : ' + json.dumps(text) + " } ",
}


def read(arguments: str, cuts: set[int]) -> str:
    free = FreeText()
    edges = [0, *sorted(cut for cut in cuts if cut < len(arguments)), len(arguments)]
    pieces = [free.feed(arguments[start:end]) for start, end in pairwise(edges)]
    return "".join(pieces) + free.end()


@pytest.mark.parametrize("writer", WRITERS)
@given(text=st.text(), cuts=st.sets(st.integers(0, 300)))
def test_any_text_in_any_pieces(writer: str, text: str, cuts: set[int]) -> None:
    assert read(WRITERS[writer](text), cuts) == text


@given(text=st.text(), cuts=st.sets(st.integers(0, 100)))
def test_what_is_no_such_json_is_taken_as_it_is(text: str, cuts: set[int]) -> None:
    begun = re.sub(r"\s", "", text)
    if not begun.startswith(HEAD) and not HEAD.startswith(begun):
        assert read(text, cuts) == text


@given(text=st.text(alphabet='\\u"dD8c0en}{a', max_size=40), cuts=st.sets(st.integers(0, 60)))
def test_broken_escapes_read_the_same_in_any_pieces_and_can_be_sent(text: str, cuts: set[int]) -> None:
    whole = read(HEAD + text, set())
    assert read(HEAD + text, {cut + len(HEAD) for cut in cuts}) == whole
    whole.encode()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("", ""),
        ("{}", "{}"),
        ('{"input": 7}', '{"input": 7}'),
        ('{"text": "x"}', '{"text": "x"}'),
        ('{"inp', ""),
        ('{"input": "cut he', "cut he"),
        ('{"input": "torn \\ud83d', "torn "),
        ('{"input": "half \\ud83d."}', "half \ufffd."),
        ('{"input": "\\ud83d\\ude00"}', "😀"),
        ('{"input": "two\nlines"}', "two\nlines"),
        ('{"input": "a \\d+ b"}', "a \\d+ b"),
        ('{"input": "say "yes" now"}', 'say "yes" now'),
    ],
)
def test_what_models_write(arguments: str, text: str) -> None:
    assert read(arguments, set()) == text
    assert read(arguments, set(range(len(arguments)))) == text


def test_a_long_beginning_in_one_piece() -> None:
    text = " words and\nlines" * 500
    assert read(json.dumps({"input": text}), set()) == text


def test_a_model_that_writes_nothing_but_space_is_taken_at_its_word() -> None:
    assert read(" " * 5000, {10, 2000}) == " " * 5000
