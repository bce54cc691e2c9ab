"""Makes the IPAddress of a live Service again when somebody has deleted it: at once, where the API server takes minutes
in which another Service can get the address (IP-56)."""

import asyncio
from typing import Any, Final

import msgspec

from controllers.ipam.objects import ALLOCATOR, Address, WireService, service_from_wire
from controllers.ipam.repairs import Repair, recreation
from controllers.ipam_operator.state import State
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import AlreadyExists, ApiError, NotFound
from controllers.telemetry import ipam_metrics
from controllers.telemetry.logs import bind

# An update that drops an address releases it a moment before it is stored (IP-5): that is no loss to mend.
_SETTLE: Final = 0.5


class Repairer:
    """Carries out repairs, after a look at the Service itself: a cache may be late."""

    def __init__(self, client: ApiClient, state: State, clock: Clock) -> None:
        self._client, self._state, self._clock = client, state, clock
        self._gone: asyncio.Queue[Address] = asyncio.Queue()
        self._log = bind("controllers.ipam_operator.repairing")

    def noticed(self, kind: str, old: Any, new: Any) -> None:  # noqa: ANN401 (a record of that kind)
        """To be told of every change: an IPAddress that has gone is looked at."""
        if kind == "IPAddress" and isinstance(old, Address) and new is None and old.manager == ALLOCATOR:
            service = self._state.services.get(old.parent[2], old.parent[3])
            if service is not None and old.name in service.addresses:
                self._gone.put_nowait(old)

    async def run(self) -> None:
        """Mends what has gone, until cancelled."""
        while True:
            address = await self._gone.get()
            await self._clock.sleep(_SETTLE)
            service = self._state.services.get(address.parent[2], address.parent[3])
            lost = self._state.addresses.get("", address.name) is None
            # The audit leaves young Services alone, whose IPAddress may not have been seen yet: this one was.
            if service is not None and lost and self._state.world.cluster.addresses.holds(address.name):
                await self.carry_out(recreation(service, address.name))

    async def carry_out(self, repair: Repair) -> None:
        """Creates the IPAddress, if its Service is still that one and lists it. Never raises: the next round tries."""
        on = repair.service
        try:
            body = await self._client.request("GET", f"/api/v1/namespaces/{on.namespace}/services/{on.name}")
            service = service_from_wire(msgspec.json.decode(body, type=WireService))
            if service.uid != on.uid or service.terminating or repair.address not in service.addresses:
                return
            path = "/apis/networking.k8s.io/v1/ipaddresses"
            await self._client.request("POST", path, body=msgspec.json.encode(repair.body), attempts=1)
        except (NotFound, AlreadyExists):
            return
        except ApiError as error:
            self._log.warning("IPAddress not made again", address=repair.address, error=str(error))
            return
        ipam_metrics.REPAIRS.labels(repair.kind).inc()
        self._log.info("IPAddress made again", address=repair.address, service=f"{on.namespace}/{on.name}")
