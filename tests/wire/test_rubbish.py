"""A provider whose answers are broken in every way: decoders give events that can be written, or an error of ours."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import (
    anthropic_decode,
    bedrock_decode,
    chat_decode,
    cohere_decode,
    gemini_decode,
    ollama_decode,
    responses_decode,
)
from backends.errors import BackendError
from backends.event_stream import EventStreamDecoder
from backends.json import JsonError, dumps, loads
from backends.ndjson import LineDecoder
from backends.sse import SseDecoder
from backends.streamed import Decoder, Framing
from tests.wire.recorded import RECORDINGS, recorded

KINDS: dict[str, tuple[Callable[[str, int], Decoder], Callable[[], Framing], list[str]]] = {
    "anthropic-written": (lambda model, _: anthropic_decode.Decoder(model), SseDecoder, ["message", "stream*"]),
    "bedrock-written": (lambda model, _: bedrock_decode.Decoder(model), EventStreamDecoder, ["stream*"]),
    "clouds-written": (chat_decode.Decoder, SseDecoder, ["*stream*"]),
    "cohere-written": (lambda model, _: cohere_decode.Decoder(model), SseDecoder, ["chat*"]),
    "gemini-written": (gemini_decode.Decoder, SseDecoder, ["message*", "stream*"]),
    "ollama-written": (ollama_decode.Decoder, LineDecoder, ["chat*", "generate*"]),
    "openai-written": (responses_decode.Decoder, SseDecoder, ["responses*"]),
    "vllm-0.32.0": (chat_decode.Decoder, SseDecoder, ["chat*"]),
}
HUGE = b"1180591620717411303424"  # of more than 64 bits
JUNK = [b"null", b"true", b"-1", b"3.5", b"1e300", HUGE, b'""', b'"x"', b"[]", b"{}", b"[[]]", b'{"a":1}', b'"\xff"']
JUNK += [b'{"a":%b}' % HUGE, b'{"a":"\xff"}', b'"redacted_thinking"', b'"tool_use"', b'{"message":5}', b"[" * 2000]
ANYTHING = st.sampled_from(JUNK) | st.binary(max_size=20)


def answers(folder: str) -> list[list[bytes]]:
    """The messages of every recorded answer."""
    _, framing, patterns = KINDS[folder]
    found = []
    for path in sorted(path for pattern in patterns for path in (RECORDINGS / folder).glob(f"{pattern}.http")):
        _, head, body = recorded(f"{folder}/{path.stem}")
        found.append([body] if b"content-type: application/json" in head.lower() else framing().feed(body))
    return found


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside `value`, itself among them."""
    yield at
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, key))


def broken(message: bytes, pick: int, junk: bytes) -> bytes:
    """`message` with one of its values replaced."""
    try:
        value = loads(message)
    except JsonError:
        return junk
    ways = list(places(value))
    *way, last = (None, *ways[pick % len(ways)])
    holder = whole = {None: value}
    for key in way:
        holder = holder[key]
    holder[last] = "JUNK"
    return dumps(whole[None]).replace(b'"JUNK"', junk)


@pytest.mark.parametrize("folder", KINDS)
@given(data=st.data())
def test_only_our_own_errors_come_out_and_events_that_can_be_written(folder: str, data: st.DataObject) -> None:
    messages = list(data.draw(st.sampled_from(answers(folder))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(messages) - 1))
        messages[at] = broken(messages[at], data.draw(st.integers(0, 200)), data.draw(ANYTHING))
    decoder = KINDS[folder][0]("m", 2)
    try:
        for message in messages:
            for event in decoder.feed(message):
                dumps(msgspec.to_builtins(event))
        decoder.end()
    except BackendError:
        pass
