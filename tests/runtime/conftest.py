"""A client of the scripted API server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controllers.runtime.api_client import ApiClient
from tests.runtime.api_server import ApiServer, client_of
from tests.runtime.clocks import FakeClock


@pytest.fixture
async def client(server: ApiServer, clock: FakeClock, tmp_path: Path) -> AsyncIterator[ApiClient]:
    async with client_of(server.url, tmp_path, clock) as made:
        yield made
