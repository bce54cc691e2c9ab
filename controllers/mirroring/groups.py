"""From the subsets of Endpoints to the endpoints of each port set and family (MI-25 ... MI-32)."""

from collections.abc import Iterable

from msgspec import Struct

from controllers.membership.ports import group_key
from controllers.membership.subsets import repack
from controllers.model.addresses import canonical
from controllers.model.identity import Identity, identity
from controllers.model.objects import (
    FAMILIES,
    Conditions,
    Endpoint,
    EndpointAddress,
    EndpointPort,
    EndpointSubset,
    SubsetPort,
)

# A family and the ports: what one slice is about.
Group = tuple[str, tuple[EndpointPort, ...]]

_READY = {ready: Conditions(ready=ready) for ready in (False, True)}


class Desired(Struct, frozen=True, gc=False):
    """Endpoints by identity for each group (one may be empty); addresses that are no IP, and all that are left out."""

    groups: dict[Group, dict[Identity, Endpoint]]
    invalid: int
    skipped: int


def desired(subsets: Iterable[EndpointSubset], limit: int) -> Desired:
    """What to mirror: of each subset the first `limit` addresses, ready ones first, of both families together."""
    groups: dict[Group, dict[Identity, Endpoint]] = {}
    invalid = skipped = 0
    for subset in repack(subsets, from_api=True):
        # A port given twice (see `repack`) is one port.
        ports = group_key(dict.fromkeys(map(_port, subset.ports)))
        of_family = {family: groups.setdefault((family, ports), {}) for family in FAMILIES}
        walk = [(each, True) for each in subset.addresses] + [(each, False) for each in subset.not_ready_addresses]
        accepted = 0
        for address, ready in walk:
            if accepted >= limit:
                break
            ip = canonical(address.ip)
            if ip is None:
                invalid += 1
                continue
            accepted += 1
            made = _endpoint(address, ip, ready)
            of_family["IPv6" if ":" in ip else "IPv4"][identity(made)] = made
        skipped += len(walk) - accepted
    return Desired(groups, invalid, skipped)


def _port(port: SubsetPort) -> EndpointPort:
    return EndpointPort(port.name, port.protocol, port.port, port.app_protocol)


def _endpoint(address: EndpointAddress, ip: str, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(ip,),
        conditions=_READY[ready],
        hostname=address.hostname or None,
        target_ref=address.target_ref,
        node_name=address.node_name,
    )
