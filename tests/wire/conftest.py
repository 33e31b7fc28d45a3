"""A transport for the tests of this folder."""

from collections.abc import AsyncIterator

import pytest

from backends.http import Transport


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()
