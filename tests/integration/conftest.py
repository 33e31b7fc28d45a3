"""These tests run on uvloop, as the product does: when clients vanish its transports behave differently."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from tests.integration.browser import browser, page_at

__all__ = ["browser", "page_at"]  # fixtures


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}
