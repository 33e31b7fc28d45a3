"""Server-sent messages: the standard's rules, and any split of the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ProtocolViolation
from backends.sse import MESSAGE_LIMIT, SseDecoder

TABLE = {
    "one message": (b"data: a\n\n", [b"a"]),
    "two in one read": (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    "CR": (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    "mixed line ends": (b"data: a\rdata: b\ndata: c\r\n\n", [b"a\nb\nc"]),
    "several lines": (b"data: a\ndata: b\n\n", [b"a\nb"]),
    "only one space is dropped": (b"data:  a\n\n", [b" a"]),
    "no space": (b"data:a\n\n", [b"a"]),
    "no colon": (b"data\n\n", [b""]),
    "empty lines of data": (b"data\ndata:\ndata: \n\n", [b"\n\n"]),
    "a comment": (b": ping\n\n", []),
    "a comment inside": (b"data: a\n: ping\ndata: b\n\n", [b"a\nb"]),
    "other fields": (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
    "an event's name first": (b"event: x\ndata: a\n\n", [b"a"]),
    "an event's name, then more than data": (b"event: x\ndata: a\nid: 1\n\n", [b"a"]),
    "CR in what looks like an event's name": (b"event: x\rdata: a\ndata: b\n\n", [b"a\nb"]),
    "an event with an end of its own": (b"event: x\n\ndata: a\n\n", [b"a"]),
    "an event without data": (b"event: ping\n\n", []),
    "a field that only begins like data": (b"database: x\ndata-: y\n\n", []),
    "blank lines alone": (b"\n\n\n\ndata: a\n\n\n\n", [b"a"]),
    "a BOM at the start": (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
    "a BOM later is part of the name": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
    "UTF-8": ("data: é 😀\n\n".encode(), ["é 😀".encode()]),
    "cut before the blank line": (b"data: a\n\ndata: b\n", [b"a"]),
    "cut inside a line": (b"data: a\n\ndata: b", [b"a"]),
    "cut one byte into the next line": (b"data: a\nd", []),
    "a line that ends with LF inside one read": (b"data: a\n: x\n\n", [b"a"]),
    "CR inside what looks like one line": (b"data: a\rdata: b\n\n", [b"a\nb"]),
}


def messages(*reads: bytes) -> list[bytes]:
    decoder = SseDecoder()
    return [message for read in reads for message in decoder.feed(read)]


@pytest.mark.parametrize(("stream", "expected"), TABLE.values(), ids=TABLE)
def test_the_standard(stream: bytes, expected: list[bytes]) -> None:
    assert messages(stream) == expected
    assert messages(*(stream[i : i + 1] for i in range(len(stream)))) == expected


pieces = st.sampled_from(
    [
        b"data: ",
        b"data:",
        b"data",
        b"x",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b":",
        b"event: e",
        b"event: e\ndata: ",
        "é😀".encode(),
        b"\xef\xbb\xbf",
    ]
)


@given(st.lists(pieces, max_size=30).map(b"".join), st.data())
def test_any_split_gives_the_same_messages(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reads = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert messages(*reads) == messages(stream)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_what_is_sent_comes_out(lines: list[str]) -> None:
    stream = "".join(f"data: {line}\n" for line in lines) + "\n"
    assert messages(stream.encode()) == ["\n".join(lines).encode()]


@pytest.mark.parametrize("piece", [b"x" * 2**16, b"data: " + b"x" * 2**16 + b"\n"], ids=["line", "message"])
def test_what_never_ends_is_bounded(piece: bytes) -> None:
    decoder = SseDecoder()
    for _ in range(MESSAGE_LIMIT // len(piece)):
        assert decoder.feed(piece) == []
    with pytest.raises(ProtocolViolation, match="longer than"):
        decoder.feed(piece)


def test_a_long_stream_of_short_messages_is_not() -> None:
    decoder = SseDecoder()
    block = b"data: " + b"x" * 2**16 + b"\n: c\n\n"
    assert sum(len(decoder.feed(block)) for _ in range(MESSAGE_LIMIT // 2**16 + 2)) == MESSAGE_LIMIT // 2**16 + 2
