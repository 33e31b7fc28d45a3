"""A provider that never ends a block: what is kept of it has a bound."""

from itertools import repeat

import pytest

from backends.anthropic_decode import Decoder as Anthropic
from backends.bedrock_decode import Decoder as Bedrock
from backends.chat_tools import MOST_CALLS, Piece, ToolCalls
from backends.cohere_decode import Decoder as Cohere
from backends.errors import ProtocolViolation
from backends.gemini_decode import Decoder as Gemini
from backends.json import dumps
from backends.streamed import Decoder

LONG = "a" * 65_536
ENDLESS = {
    "anthropic signature": (Anthropic, {"type": "content_block_delta", "delta": {"signature": LONG}}),
    "anthropic citation": (Anthropic, {"type": "content_block_delta", "delta": {"citation": {"cited_text": LONG}}}),
    "bedrock signature": (Bedrock, {"contentBlockDelta": {"delta": {"reasoningContent": {"signature": LONG}}}}),
    "bedrock citation": (Bedrock, {"contentBlockDelta": {"delta": {"citation": {"title": LONG}}}}),
    "gemini citation": (
        Gemini,
        {"candidates": [{"citationMetadata": {"citationSources": [{"uri": LONG, "endIndex": 1}]}}]},
    ),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_waits_for_the_end_of_its_block_has_a_bound(name: str) -> None:
    kind, message = ENDLESS[name]
    decoder: Decoder = kind()
    endless = repeat(dumps(message), 1000)
    with pytest.raises(ProtocolViolation, match="more than"):
        sum(len(decoder.feed(data)) for data in endless)


def test_blocks_and_calls_that_say_nothing_have_a_bound() -> None:
    calls = ToolCalls()
    pieces = (Piece(index, f"id{index}") for index in range(MOST_CALLS + 1))
    with pytest.raises(ProtocolViolation, match="more than"):
        sum(len(calls.feed(piece)) for piece in pieces)


def test_a_block_of_no_text_after_thousands_of_them_is_read_all_the_same() -> None:
    decoder = Cohere()
    for index in range(5000):
        start = {"type": "content-start", "index": index, "delta": {"message": {"content": {"text": ""}}}}
        assert decoder.feed(dumps(start)) == []
    said = {"type": "content-delta", "index": 5000, "delta": {"message": {"content": {"text": "a"}}}}
    assert len(decoder.feed(dumps(said))) == 1
