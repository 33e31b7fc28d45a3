"""The blocks of a message, one after the other, however a model writes them."""

import pytest

from proxy.wire import messages_blocks
from proxy.wire.messages_blocks import Blocks

CALL = {"type": "tool_use", "id": "c", "name": "f", "input": {}}


def test_calls_that_are_written_in_turns_do_not_cost_more_the_longer_they_get(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def counted(text: str) -> bool:
        nonlocal read
        read += len(text)
        return whole(text)

    whole = messages_blocks.is_json
    monkeypatch.setattr(messages_blocks, "is_json", counted)
    blocks = Blocks()
    for index in range(2):
        blocks.begin((index, None), CALL)
    piece = "x" * 1024
    blocks.add((0, None), "input_json_delta", "partial_json", '{"a":"')
    for _ in range(1024):
        blocks.add((0, None), "input_json_delta", "partial_json", piece)
    blocks.add((0, None), "input_json_delta", "partial_json", '"}')
    assert read < 8 * 1024 * 1024
    ends = [event["index"] for place in (0, 1) for event in blocks.complete(place) if event["type"].endswith("stop")]
    assert ends == [0, 1]


def test_a_call_stops_once_its_arguments_are_whole_and_another_began() -> None:
    blocks = Blocks()
    blocks.begin((0, None), CALL)
    blocks.begin((1, None), CALL)
    blocks.add((0, None), "input_json_delta", "partial_json", '{"a":')
    said = blocks.add((0, None), "input_json_delta", "partial_json", "1}")
    assert [event["type"] for event in said] == ["content_block_delta", "content_block_stop", "content_block_start"]
