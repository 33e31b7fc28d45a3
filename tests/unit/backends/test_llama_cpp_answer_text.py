"""What may be said of tokens that have come, however the text is cut into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.answer_text import AnswerText


def said(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    """What was said after each piece until a stop string, then what was held back; and whether it was stopped."""
    text = AnswerText(stops)
    words = []
    for piece in pieces:
        words.append(text.feed(piece))
        if text.stopped:
            break
    return [*words, text.end()], text.stopped


@pytest.mark.parametrize(
    ("pieces", "stops", "words", "stopped"),
    [
        (["one", " two"], (), ["one", " two", ""], False),
        (["one", " END", " two"], (" END",), ["one", "", ""], True),
        (["one E", "N", "D"], ("END",), ["one ", "", "", ""], True),
        (["one E", "N", "T"], ("END",), ["one ", "", "ENT", ""], False),
        (["one E", "N"], ("END",), ["one ", "", "EN"], False),  # no more tokens: it was no stop string
        (["EEN", "D"], ("END",), ["E", "", ""], True),
        (["a b"], ("b", "a"), ["", ""], True),  # the first in the text, not in the list
        (["ab", "c"], ("abcd", "bc"), ["", "a", ""], True),
        (["", ""], ("x",), ["", "", ""], False),
    ],
)
def test_nothing_is_said_from_a_stop_string_on(pieces, stops, words, stopped) -> None:
    assert said([piece.encode() for piece in pieces], stops) == (words, stopped)


def test_a_character_is_said_when_it_is_whole() -> None:
    smile = "🙂".encode()
    assert said([smile[:1], smile[1:3], smile[3:] + b"!"]) == (["", "", "🙂!", ""], False)
    assert said([b"a", smile[:2]]) == (["a", "", ""], False)  # cut by the limit: half a character is left out
    assert said([b"a\xff", b"b"]) == (["a\ufffd", "b", ""], False)  # a model may say what is no text


@given(
    text=st.text("abé🙂", max_size=30),
    stops=st.lists(st.text("abé🙂", min_size=1, max_size=4), max_size=3).map(tuple),
    cuts=st.lists(st.integers(1, 5), max_size=60),
)
def test_the_cuts_do_not_matter(text: str, stops: tuple[str, ...], cuts: list[int]) -> None:
    data, pieces = text.encode(), []
    for cut in [*cuts, len(text.encode()) + 1]:
        pieces.append(data[:cut])
        data = data[cut:]
    words, stopped = said(pieces, stops)
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    if not ends:
        assert ("".join(words), stopped) == (text, False)
        return
    assert stopped
    told = "".join(words)
    assert text.startswith(told)
    assert not any(stop in told for stop in stops)
    assert any(text.startswith(stop, len(told)) for stop in stops)
