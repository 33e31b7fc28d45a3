"""A transport for the tests of this folder; its own run on both event loops, uvloop and asyncio's."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from backends.http import Transport

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS if item.path.name.startswith("test_http") else {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()
