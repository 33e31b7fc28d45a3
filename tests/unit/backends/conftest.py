"""Runs the transport's tests on both event loops: production's uvloop, and asyncio where there is no uvloop."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS if item.path.name == "test_http.py" else {"asyncio": asyncio.new_event_loop}
