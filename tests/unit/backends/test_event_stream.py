"""Event streams: what they say in any split, as AWS's own reader says it, and what is none."""

import tracemalloc
from contextlib import suppress

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ProtocolViolation
from backends.event_stream import MESSAGE_LIMIT, EventStreamDecoder, headers_of
from backends.json import dumps, loads
from tests.providers.bedrock import said
from tests.providers.bedrock_frames import exception, frame

NAMES = ["messageStart", "contentBlockDelta", "metadata"]
headers = st.fixed_dictionaries(
    {":event-type": st.sampled_from(NAMES), ":message-type": st.just("event")},
    optional={":content-type": st.just("application/json"), "x": st.text(max_size=20)},
)
payloads = st.dictionaries(st.text(max_size=5), st.text(max_size=30), max_size=3).map(dumps)


@given(st.lists(st.tuples(headers, payloads), max_size=5), st.integers(1, 300))
def test_any_split_says_what_aws_own_reader_says(given: list[tuple[dict[str, str], bytes]], size: int) -> None:
    body = b"".join(frame(*each) for each in given)
    ours, theirs = EventStreamDecoder(), EventStreamBuffer()
    found = [message for i in range(0, len(body), size) for message in ours.feed(body[i : i + size])]
    theirs.add_data(body)
    assert [loads(each) for each in found] == [{m.headers[":event-type"]: loads(m.payload)} for m in theirs]


def test_a_header_of_every_type_is_read_over() -> None:
    values = [b"\x00", b"\x01", b"\x02\x05", b"\x03\x00\x05", b"\x04" + bytes(4), b"\x05" + bytes(8)]
    values += [b"\x06\x00\x02hi", b"\x08" + bytes(8), b"\x09" + bytes(16), b"\x07\x00\x02yo"]
    assert headers_of(b"".join(b"\x01%c" % (97 + i) + value for i, value in enumerate(values))) == {"j": "yo"}


def test_an_exception_and_an_error_without_a_name() -> None:
    error = frame({":message-type": "error", ":error-code": "Odd", ":error-message": 'a "b"'}, b"")
    first, second = EventStreamDecoder().feed(exception("throttlingException", "Wait.") + error)
    assert loads(first) == {"throttlingException": {"message": "Wait."}}
    assert loads(second) == {"error": {"code": "Odd", "message": 'a "b"'}, "payload": {}}


def test_an_event_without_a_payload() -> None:
    [message] = EventStreamDecoder().feed(frame({":event-type": "messageStart"}, b""))
    assert loads(message) == {"messageStart": {}}


WHOLE = said("contentBlockDelta", delta={"text": "Hello"})


@pytest.mark.parametrize("at", [0, 4, 9, 20, len(WHOLE) - 30, len(WHOLE) - 1])
def test_a_byte_that_is_wrong_is_found(at: int) -> None:
    broken = bytearray(WHOLE)
    broken[at] ^= 1
    with pytest.raises(ProtocolViolation):
        EventStreamDecoder().feed(bytes(broken))


@pytest.mark.parametrize("head", [b"\x05ab", b"\x01a\x63", b"\x01\xff\x00", b"\x01a\x07\x00\x01\xff"])
def test_headers_that_are_none(head: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        headers_of(head)


def test_a_message_that_is_too_long_is_not_waited_for() -> None:
    with pytest.raises(ProtocolViolation):
        EventStreamDecoder().feed(frame({":event-type": "x"}, bytes(MESSAGE_LIMIT))[:100])


@given(st.binary(max_size=60))
def test_rubbish_is_refused_or_waited_for(data: bytes) -> None:
    with suppress(ProtocolViolation):
        assert EventStreamDecoder().feed(data) == []


def test_a_long_message_in_small_pieces_is_looked_at_once_it_is_whole() -> None:
    body = said("contentBlockDelta", delta={"text": "a" * 1_000_000})
    decoder = EventStreamDecoder()
    tracemalloc.start()
    found = decoder.feed(body[:-2])
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    for byte in body[-2:]:
        found += decoder.feed(bytes([byte]))
        if not found:  # the first of the two: nothing of what waits is copied
            assert tracemalloc.get_traced_memory()[1] - before < len(body) // 2
    tracemalloc.stop()
    assert len(found) == 1
