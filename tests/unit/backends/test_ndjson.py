"""Lines of JSON, however the network split them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ProtocolViolation
from backends.ndjson import LINE_LIMIT, LineDecoder


def lines(*reads: bytes) -> list[bytes]:
    decoder = LineDecoder()
    return [line for read in reads for line in decoder.feed(read)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", []),
        (b"\r\n", []),
        (b"{}\n", [b"{}"]),
        (b"{}\r\n", [b"{}"]),
        (b"1\n", [b"1"]),
        (b"{}\n\n{}\r\n\r\n", [b"{}", b"{}"]),
        (b'{"a":1}\n{"b":', [b'{"a":1}']),
        (b"{}", []),
    ],
)
def test_lines_are_cut_at_their_ends(data: bytes, expected: list[bytes]) -> None:
    assert lines(data) == expected


@given(st.lists(st.sampled_from([b"{", b"}", b"\n", b"\r\n", b'"a"', b"1", b""]), max_size=20).map(b"".join), st.data())
def test_any_split_gives_the_same_lines(text: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert lines(*pieces) == lines(text) == [line for line in text.replace(b"\r\n", b"\n").split(b"\n")[:-1] if line]


def test_a_line_that_never_ends_is_refused() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b"x" * LINE_LIMIT) == []
    with pytest.raises(ProtocolViolation, match="longer than"):
        decoder.feed(b"x")
