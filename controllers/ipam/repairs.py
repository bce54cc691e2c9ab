"""The few findings that we mend ourselves: an IPAddress is created where a live Service lacks its own, and that is all.

An IPAddress of the API server's is never deleted, kept by a finalizer or denied its deletion (IP-54).
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from controllers.ipam.audit import Finding, Kind, Ref
from controllers.ipam.objects import ALLOCATOR, IP_FAMILY_LABEL, IPADDRESS_MANAGED_BY_LABEL, Service
from controllers.ipam.ranges import family_of
from controllers.ipam.snapshot import Snapshot


class Repair(Struct, frozen=True):
    """An IPAddress to create. Whoever does it reads the Service again first, and leaves it if that is not `uid` or does
    not list the address any more: the delete of a Service is seen after that of its IPAddress.
    """

    kind: str
    service: Ref
    address: str
    body: dict[str, Any]


def repairs(snapshot: Snapshot, found: Iterable[Finding]) -> list[Repair]:
    """What to create: the IPAddress of each live Service that lacks its own, if the API server could have made it.

    The first of several Services that list an address gets it, as with the server's repair (IP-51).
    """
    wanted: dict[str, Repair] = {}
    for each in found:
        service = snapshot.services.get(f"{each.object.namespace}/{each.object.name}")
        if each.kind != Kind.MISSING_IPADDRESS or each.value in wanted or service is None or service.terminating:
            continue
        if each.value not in snapshot.addresses and snapshot.usable.holds(each.value):
            wanted[each.value] = recreation(service, each.value)
    return list(wanted.values())


def recreation(service: Service, address: str) -> Repair:
    """Makes the IPAddress of a Service again."""
    return Repair(
        "recreate_ipaddress",
        Ref("Service", service.namespace, service.name, service.uid),
        address,
        _body(address, service),
    )


def _body(address: str, service: Service) -> dict[str, Any]:
    """As the API server makes it (IP-18)."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address,
            "labels": {IP_FAMILY_LABEL: family_of(address), IPADDRESS_MANAGED_BY_LABEL: ALLOCATOR},
        },
        "spec": {
            "parentRef": {
                "group": "",
                "resource": "services",
                "namespace": service.namespace,
                "name": service.name,
            }
        },
    }
