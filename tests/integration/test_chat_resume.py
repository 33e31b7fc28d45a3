"""`streamlane chat` in a terminal whose network is pulled in the middle of an answer: it goes on where it was."""

import asyncio
from pathlib import Path

import pytest

from backends.fake import FakeBackend
from tests.gateway import gateway
from tests.integration.cuts import Wire
from tests.integration.test_chat import screen, waits


@pytest.mark.needs("tmux")
async def test_the_network_is_pulled_in_the_middle_of_an_answer_and_it_goes_on(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with gateway(backends=[waits(gate)]) as started, Wire(started.base_url) as wire:
        async with screen(tmp_path, wire.base_url) as shown:
            await shown.shows("> ")
            await shown.press("Say hello", "Enter")
            await shown.shows("Hello")
            wire.down()
            await shown.shows("Hello", "Reconnecting")
            gate.set()
            wire.up()
            text = await shown.shows("Hello world", "tokens")
            assert "Reconnecting" not in text
            assert text.count("Hello") == 1


@pytest.mark.needs("tmux")
async def test_cut_again_and_again_the_answer_is_whole(tmp_path: Path) -> None:
    told = " ".join(str(number) for number in range(1000))
    backend = FakeBackend("fake", text=told, tokens_per_second=200)
    async with gateway(backends=[backend]) as started, Wire(started.base_url, every=20_000, most=8, seed=1) as wire:
        async with screen(tmp_path, wire.base_url, "count") as shown:
            text = await shown.shows("left with 0")
    assert " ".join(text.partition("0.")[0].split()).startswith(told)
    assert wire.cuts >= 5
    assert len(backend.requests) == 1
