"""Which networks Pods and Nodes have: the Nodes are listed now and then, as a watch would bring every heartbeat."""

from typing import Final

import msgspec
from msgspec import Struct

from controllers.ipam.networks import Networks, WireNode, joined, networks_of
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError
from controllers.runtime.listing import listed
from controllers.telemetry.logs import bind

PATH: Final = "/api/v1/nodes"


class _Page(Struct):
    items: list[WireNode] | None = None


_decoder: Final = msgspec.json.Decoder(_Page)


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
        async with listed(self._client, PATH, attempts=1) as pages:
            return joined([networks_of(_decoder.decode(page.body).items or ()) async for page in pages])
