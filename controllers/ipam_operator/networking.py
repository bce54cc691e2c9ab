"""Which networks Pods and Nodes have: the Nodes are listed now and then, as a watch would bring every heartbeat."""

from typing import Final

import msgspec
from msgspec import Struct, field

from controllers.ipam.networks import Networks, WireNode, joined, networks_of
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError
from controllers.telemetry.logs import bind

PATH: Final = "/api/v1/nodes"
# 10 kB a Node: some megabytes at a time.
PAGE: Final = 500


class _Meta(Struct):
    continue_: str = field(default="", name="continue")


class _Page(Struct):
    metadata: _Meta
    items: list[WireNode] | None = None


class NodeNetworks:
    """The networks as they were when the Nodes were last listed, at most `period` seconds ago."""

    def __init__(self, client: ApiClient, clock: Clock, period: float) -> None:
        self._client, self._clock, self._period = client, clock, period
        self._known = Networks()
        self._log = bind("controllers.ipam_operator.networking")
        self._read_at = clock.now() - period

    async def read(self) -> Networks:
        """The networks. Never raises: without an answer they are what they were, and the next call asks again."""
        now = self._clock.now()
        if now - self._read_at >= self._period:
            try:
                self._known = await self._listed()
                self._read_at = now
            except (ApiError, msgspec.MsgspecError) as error:
                self._log.warning("Nodes not read", error=str(error))
        return self._known

    async def _listed(self) -> Networks:
        found: list[Networks] = []
        query = {"limit": str(PAGE)}
        while True:
            body = await self._client.request("GET", PATH, query=query, attempts=1)
            page = msgspec.json.decode(body, type=_Page)
            found.append(networks_of(page.items or ()))
            if not page.metadata.continue_:
                return joined(found)
            query = {"limit": str(PAGE), "continue": page.metadata.continue_}
