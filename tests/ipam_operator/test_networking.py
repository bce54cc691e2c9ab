"""Nodes are listed page by page, now and then; a refusal costs no round, and is asked about again."""

from typing import Any

import msgspec

from controllers.ipam.networks import Networks
from controllers.ipam_operator.networking import NodeNetworks
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import Forbidden
from controllers.runtime.listing import PAGE
from tests.ipam.snapshots import addresses
from tests.runtime.clocks import FakeClock


class Client(ApiClient):
    """Has these pages of podCIDRs, unless it refuses."""

    def __init__(self, *pages: str) -> None:
        self.pages, self.refuses, self.asked = list(pages), False, list[dict[str, str]]()

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        assert (method, path) == ("GET", "/api/v1/nodes")
        self.asked.append(more["query"])
        at = int(more["query"].get("continue", "0"))
        if self.refuses:
            raise Forbidden("not yet")
        meta = {"continue": str(at + 1)} if at + 1 < len(self.pages) else {}
        return msgspec.json.encode({"metadata": meta, "items": [{"spec": {"podCIDRs": [self.pages[at]]}}]})


async def test_all_pages_are_read_once_in_a_period() -> None:
    client, clock = Client("10.0.0.0/25", "10.0.0.128/25", "10.2.0.0/24"), FakeClock()
    networks = NodeNetworks(client, clock, 600.0)
    every = Networks(pods=addresses("10.0.0.0/24", "10.2.0.0/24"))
    assert await networks.read() == every
    limit = {"limit": str(PAGE)}
    assert client.asked == [limit, limit | {"continue": "1"}, limit | {"continue": "2"}]
    clock.time = 599.0
    client.pages = ["10.3.0.0/24"]
    assert await networks.read() == every
    assert len(client.asked) == 3
    clock.time = 600.0
    assert await networks.read() == Networks(pods=addresses("10.3.0.0/24"))
    assert len(client.asked) == 4


async def test_a_refusal_leaves_what_was_known_and_is_asked_again() -> None:
    client, clock = Client("10.0.0.0/24"), FakeClock()
    networks = NodeNetworks(client, clock, 600.0)
    client.refuses = True
    assert await networks.read() == Networks()
    client.refuses = False
    known = await networks.read()
    assert known == Networks(pods=addresses("10.0.0.0/24"))
    clock.time, client.refuses = 600.0, True
    assert await networks.read() == known
    client.refuses, client.pages = False, ["10.1.0.0/24"]
    assert await networks.read() == Networks(pods=addresses("10.1.0.0/24"))
    assert len(client.asked) == 4
