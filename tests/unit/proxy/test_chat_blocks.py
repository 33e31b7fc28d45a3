"""Which part of an answer that is still coming may be printed for good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli.chat_blocks import Blocks

LINES = st.sampled_from(
    [
        "",
        "text",
        "- item",
        "1. item",
        "   more",
        "```",
        "```py",
        "~~~",
        "  ```",
        "# head",
        "| a | b |",
        "    code",
        "> q",
    ]
)
TEXTS = st.lists(LINES).map("\n".join)


def whole(text: str) -> list[str]:
    blocks = Blocks()
    return [*blocks.feed(text), blocks.close()]


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("one\n\ntwo\n", ["one\n\n", "two\n"]),
        ("one\nstill one\n\n\ntwo\n", ["one\nstill one\n\n\n", "two\n"]),
        ("before\n```py\nx = 1\n\n\ny\n```\nafter", ["before\n", "```py\nx = 1\n\n\ny\n```\n", "after"]),
        ("````\n```\n````\n", ["````\n```\n````\n", ""]),
        ("~~~\n```\n~~~\nx", ["~~~\n```\n~~~\n", "x"]),
        ("- a\n\n  more of a\n- b\n\nafter\n", ["- a\n\n  more of a\n- b\n\n", "after\n"]),
        ("1. a\n\n   ```\n   x\n\n   ```\n\n2. b\n", ["1. a\n\n   ```\n   x\n\n   ```\n\n", "2. b\n"]),
        ("| a |\n|---|\n| 1 |\n\nafter\n", ["| a |\n|---|\n| 1 |\n\n", "after\n"]),
        ("```\nnever closed\n\nx", ["```\nnever closed\n\nx"]),
    ],
)
def test_a_block_ends_where_nothing_can_change_it_any_more(text: str, blocks: list[str]) -> None:
    assert whole(text) == blocks


@given(text=TEXTS, sizes=st.lists(st.integers(1, 7), min_size=1))
def test_blocks_are_the_text_unchanged_and_the_same_however_it_was_split(text: str, sizes: list[int]) -> None:
    blocks, done, at = Blocks(), [], 0
    while at < len(text):
        size = sizes[at % len(sizes)]
        done += blocks.feed(text[at : at + size])
        at += size
        assert "".join(done) + blocks.open == text[:at]
    assert [*done, blocks.close()] == whole(text)
    assert "".join(whole(text)) == text


def test_the_end_of_long_code_is_still_code() -> None:
    blocks = Blocks()
    blocks.feed("```py\n" + "".join(f"x = {number}\n" for number in range(1000)))
    assert blocks.tail(2) == "```py\nx = 998\nx = 999\n"
    blocks.feed("```\n")
    blocks.feed("a\nb\nc\nd")
    assert blocks.tail(2) == "b\nc\nd"
    assert blocks.tail(9) == "a\nb\nc\nd"
