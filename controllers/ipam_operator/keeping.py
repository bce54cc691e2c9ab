"""What the leader keeps for others: holds on reserved addresses, reservations of sticky pools, pools' ServiceCIDRs."""

from typing import Any, Final

import msgspec

from api import names
from api.v1alpha1.common import API_VERSION, GROUP
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam.objects import IP_FAMILY_LABEL, IPADDRESS_MANAGED_BY_LABEL, Service
from controllers.ipam.pools import IPPool, Reservation
from controllers.ipam.ranges import number_of
from controllers.ipam.snapshot import HOLD_MANAGER, Snapshot
from controllers.ipam_operator.applying import SELECTOR, apply, delete, labelled, path_of
from controllers.ipam_operator.state import State
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import AlreadyExists, ApiError, Invalid
from controllers.telemetry.logs import bind

NETWORKING: Final = "networking.k8s.io/v1"
STICKY_LABEL: Final = "ipam.sliceplane.dev/sticky"
CIDR_PREFIX: Final = "sliceplane-ipam-"


class Keeper:
    """Makes and removes these objects, one round at a time."""

    def __init__(self, client: ApiClient, state: State) -> None:
        self._client, self._state = client, state
        self._log = bind("controllers.ipam_operator.keeping")

    async def keep(self, snapshot: Snapshot) -> None:
        """Brings all three up to date. Raises ApiError."""
        await self._release(snapshot)
        for each in snapshot.reservations:
            if each.hold and each.in_force:
                await self._hold(each, snapshot)
        await self._stick(snapshot)
        await self._service_cidrs(snapshot)

    async def _release(self, snapshot: Snapshot) -> None:
        """Gives up the holds that no reservation asks for any more."""
        for each in snapshot.addresses.values():
            if each.manager == HOLD_MANAGER and each.name not in snapshot.held and not each.terminating:
                await delete(self._client, path_of(NETWORKING, "IPAddress", name=each.name), each.uid)

    async def _hold(self, reservation: Reservation, snapshot: Snapshot) -> None:
        for text in reservation.addresses:
            family, number = number_of(text)
            holdings = snapshot.holdings(family)
            if number in holdings or self._state.handing_over(text) or not snapshot.usable.holds(text):
                continue
            body = _hold(reservation, text, family)
            try:
                await self._client.request(
                    "POST", path_of(NETWORKING, "IPAddress"), body=msgspec.json.encode(body), attempts=1
                )
            except AlreadyExists:
                continue
            except Invalid as error:
                self._log.warning("no hold", address=text, error=str(error))

    async def _stick(self, snapshot: Snapshot) -> None:
        sticky = [pool for pool in snapshot.ip_pools if pool.sticky]
        if sticky:
            # Whatever reserves for a Service, the user's or ours, is the word about it.
            known = {each.key for each in snapshot.reservations}
            for service in snapshot.services.values():
                if service.key not in known and not service.terminating and not snapshot.exempt(service):
                    await self._stick_one(service, sticky, snapshot)
        for each in list(self._state.reservations.all()):
            if each.compiled.phase == "Expired" and STICKY_LABEL in each.resource.metadata.labels:
                path = path_of(API_VERSION, "ServiceReservation", each.namespace, each.name)
                await delete(self._client, path, each.resource.metadata.uid)

    async def _stick_one(self, service: Service, pools: list[IPPool], snapshot: Snapshot) -> None:
        namespace = snapshot.namespace_of(service)
        for pool in pools:
            held = [text for text in service.addresses if pool.addresses.holds(text)]
            if held and pool.select.admits(namespace, service):
                try:
                    await apply(self._client, _sticky(service, pool, held))
                except ApiError as error:
                    # One Service must not keep the others from theirs.
                    self._log.warning("no sticky reservation", service=service.key, error=str(error))
                return

    async def _service_cidrs(self, snapshot: Snapshot) -> None:
        wanted = {
            f"{CIDR_PREFIX}{pool.name}-{index}"[:253]: cidr
            for pool in snapshot.ip_pools
            if pool.creates_service_cidr
            for index, cidr in enumerate(pool.cidrs)
        }
        existing = {cidr for each in snapshot.service_cidrs.values() for cidr in each.cidrs if not each.terminating}
        for name, cidr in wanted.items():
            if name not in snapshot.service_cidrs and cidr not in existing:
                meta = {"name": name, "labels": names.IPAM_LABELS}
                body = {"apiVersion": NETWORKING, "kind": "ServiceCIDR", "metadata": meta, "spec": {"cidrs": [cidr]}}
                await apply(self._client, body)
        left = [
            each
            for each in snapshot.service_cidrs.values()
            if each.name.startswith(CIDR_PREFIX) and each.name not in wanted and not each.terminating
        ]
        if left:
            ours = {
                each.metadata.name
                for each in await labelled(self._client, path_of(NETWORKING, "ServiceCIDR"), SELECTOR)
            }
            for each in left:
                if each.name in ours:
                    # The server keeps it as long as any Service has an address of it.
                    await delete(self._client, path_of(NETWORKING, "ServiceCIDR", name=each.name), each.uid)


def _hold(reservation: Reservation, address: str, family: str) -> dict[str, Any]:
    """An IPAddress that only we manage: the allocator goes past it, and the API server's repair lets it be (IP-19)."""
    return {
        "apiVersion": NETWORKING,
        "kind": "IPAddress",
        "metadata": {
            "name": address,
            "labels": {IP_FAMILY_LABEL: family, IPADDRESS_MANAGED_BY_LABEL: HOLD_MANAGER},
        },
        "spec": {
            "parentRef": {
                "group": GROUP,
                "resource": ServiceReservation.PLURAL,
                "namespace": reservation.namespace,
                "name": reservation.name,
            }
        },
    }


def _duration(seconds: float) -> str:
    hours, rest = divmod(max(1, round(seconds)), 3600)
    minutes, rest = divmod(rest, 60)
    return "".join(f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if number)


def _sticky(service: Service, pool: IPPool, addresses: list[str]) -> dict[str, Any]:
    ttl = pool.sticky_ttl
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceReservation",
        "metadata": {
            "name": service.name,
            "namespace": service.namespace,
            "labels": {**names.IPAM_LABELS, STICKY_LABEL: "true"},
            "annotations": {names.IPAM_POOL_ANNOTATION: pool.name},
        },
        "spec": {
            "serviceName": service.name,
            "addresses": addresses,
            "retain": {"policy": "Forever"} if ttl is None else {"policy": "TTL", "ttl": _duration(ttl)},
        },
    }
