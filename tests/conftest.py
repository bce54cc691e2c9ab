"""A fake clock, and a scripted API server."""

from collections.abc import AsyncIterator

import pytest

from tests.runtime.api_server import ApiServer
from tests.runtime.clocks import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer().serving() as made:
        yield made
