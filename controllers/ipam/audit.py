"""What is not as it should be: each finding with the object that it is about, what is wrong, and how to mend it.

Pure comparison of a snapshot with the rules. What of it we mend ourselves is in `repairs`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

from controllers.ipam.objects import (
    ALLOCATOR,
    REQUIRE,
    Address,
    Service,
    ServiceCIDR,
)
from controllers.ipam.pools import CLUSTER_DEFAULT, IPPool, concerning
from controllers.ipam.ranges import (
    Addresses,
    Span,
    Spans,
    addresses_of,
    family_of,
    number_of,
    shown,
    static_band,
    static_ports,
    text_of,
    texts,
    usable_span,
)
from controllers.ipam.snapshot import HOLD_MANAGER, Snapshot

# The server's own repair leaves younger ones alone: a request may still be under way (IP-8, IP-54).
GRACE: Final = timedelta(seconds=60)
# Two watches: a Service may be seen a little before its IPAddress is (the server waits as long, IP-53).
SEEN: Final = timedelta(seconds=5)
# Names in a message; it is read by people.
_NAMED: Final = 10


class Kind(StrEnum):
    """Everything that can be found."""

    DUPLICATE_ADDRESS = "duplicate_address"
    MISSING_IPADDRESS = "missing_ipaddress"
    WRONG_PARENT = "wrong_parent"
    OUTSIDE_SERVICE_CIDR = "outside_service_cidr"
    OUTSIDE_POOL = "outside_pool"
    FOREIGN_USE = "foreign_use"
    STATIC_BAND_INVASION = "static_band_invasion"
    NON_CANONICAL = "non_canonical"
    HALF_DUAL_STACK = "half_dual_stack"
    LEAKED_HOLD = "leaked_hold"
    STALE_IPADDRESS = "stale_ipaddress"
    SERVICE_CIDR_TERMINATING = "service_cidr_terminating"
    RESERVED_FOR_OTHER = "reserved_for_other"
    DUPLICATE_NODE_PORT = "duplicate_node_port"
    PORT_OUTSIDE_RANGE = "port_outside_range"
    NETWORK_OVERLAP = "network_overlap"


class Ref(Struct, frozen=True, order=True):
    """The object that an Event goes to."""

    kind: str
    namespace: str
    name: str
    uid: str = ""


class Finding(Struct, frozen=True, kw_only=True):
    """Something wrong. `value` is the number that it is about; `pools` are ServiceIPPools, `port_pools` the others."""

    kind: Kind
    object: Ref
    message: str
    value: str = ""
    pools: tuple[str, ...] = ()
    port_pools: tuple[str, ...] = ()


def findings(snapshot: Snapshot, now: datetime) -> list[Finding]:
    """All of them, in a stable order."""
    return ordered(found for part in parts(snapshot, now) for found in part)


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """By what it is, on which object."""
    return sorted(found, key=lambda each: (each.kind, each.object, each.value))


def parts(snapshot: Snapshot, now: datetime) -> Iterator[list[Finding]]:
    """The findings object by object, in no order: a large cluster takes a second, and others want to run meanwhile."""
    for service in snapshot.services.values():
        yield _of_service(service, snapshot, now)
    for address in snapshot.addresses.values():
        yield list(_of_ipaddress(address, snapshot, now))
    for service_cidr in snapshot.service_cidrs.values():
        yield [
            *_terminating(service_cidr, snapshot, now),
            *_invaded(service_cidr, snapshot),
            *_shared(service_cidr, snapshot),
        ]
    yield list(_invaded_ports(snapshot))


def _of_service(service: Service, snapshot: Snapshot, now: datetime) -> list[Finding]:
    found = [
        *_of_addresses(service, snapshot, now),
        *_of_ports(service, snapshot),
        *_reserved_for_other(service, snapshot),
    ]
    if service.policy == REQUIRE and len(service.families) == 2 and len(service.addresses) == 1:
        found.append(_half(service))
    return found


def young(created: str, now: datetime, grace: timedelta) -> bool:
    """Whether something that was created at this time (RFC 3339) is younger than `grace`; unknown is old."""
    try:
        return now - datetime.fromisoformat(created) < grace
    except ValueError:
        return False


def _ref(service: Service) -> Ref:
    return Ref("Service", service.namespace, service.name, service.uid)


def _on(service: Service, kind: Kind, value: str, message: str, **pools: tuple[str, ...]) -> Finding:
    return Finding(kind=kind, object=_ref(service), value=value, message=message, **pools)


def _listed(texts: Iterable[str]) -> str:
    """The first few, sorted, and how many more there are."""
    names = sorted(texts)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _holding(snapshot: Snapshot, address: str) -> tuple[str, ...]:
    try:
        return tuple(pool.name for pool in snapshot.ip_pools_at(*number_of(address)))
    except ValueError:
        return ()


def _of_addresses(service: Service, snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    for address in service.addresses:
        pools: tuple[str, ...] = ()
        try:
            family, number = number_of(address)
            canonical = text_of(family, number)
            within = snapshot.ip_pools_at(family, number)
            pools = tuple(pool.name for pool in within)
        except ValueError:
            canonical = ""
        if address != canonical:
            message = (
                f"{address} in spec.clusterIPs is not in canonical form ({canonical or 'no address at all'}): the API"
                " server deletes and re-creates its IPAddress without end. Make the Service anew"
            )
            yield _on(service, Kind.NON_CANONICAL, address, message, pools=pools)
            continue
        if number in snapshot.existing.of(family):
            yield from _of_object(service, address, pools, snapshot, now)
        else:
            message = f"{address} is in no ServiceCIDR. Make one that has it, or make the Service anew"
            yield _on(service, Kind.OUTSIDE_SERVICE_CIDR, address, message, pools=pools)
        if not snapshot.exempt(service):
            yield from _against_pools(service, address, within, snapshot)


def _of_object(
    service: Service, address: str, pools: tuple[str, ...], snapshot: Snapshot, now: datetime
) -> Iterator[Finding]:
    """Whether the IPAddress of a listed address is what it should be (IP-51)."""
    held = snapshot.addresses.get(address)
    others = [key for key in snapshot.ledger.holders(address) if key != service.key]
    if held is None:
        if not young(service.created, now, SEEN):
            message = f"The IPAddress {address} is missing: another Service could be given the address."
            message = f"{message} {_next(snapshot, address)}"
            yield _on(service, Kind.MISSING_IPADDRESS, address, message, pools=pools)
    elif held.service == service.key:
        if held.manager != ALLOCATOR:
            manager = held.manager or "nobody"
            message = f"The IPAddress {address} is labelled as managed by {manager}: the API server re-creates it"
            yield _on(service, Kind.WRONG_PARENT, address, message, pools=pools)
    elif held.service not in others and not young(held.created, now, SEEN):
        parent = held.service or "/".join(each for each in held.parent if each) or "nobody"
        message = f"The IPAddress {address} belongs to {parent}: the API server corrects it within 3 minutes"
        yield _on(service, Kind.WRONG_PARENT, address, message, pools=pools)
    every = [service.key, *others]
    rightful = held.service if held is not None and held.service in every else min(every)
    if others and rightful != service.key:
        message = f"{address} is also the address of {_listed(others)}, whose it is: {rightful}. Make this Service anew"
        yield _on(service, Kind.DUPLICATE_ADDRESS, address, message, pools=pools)


def _next(snapshot: Snapshot, address: str) -> str:
    """What becomes of an IPAddress that is missing; we make none in a ServiceCIDR that is not ready."""
    if snapshot.recreates and snapshot.usable.holds(address):
        return "It is made again at once"
    return "The API server makes it again within 3 minutes"


def _against_pools(service: Service, address: str, within: Sequence[IPPool], snapshot: Snapshot) -> Iterator[Finding]:
    """What policies would refuse, or do refuse, whether they are enforced or not."""
    namespace = snapshot.namespace_of(service)
    for pool in within:
        if pool.exclusive and not pool.select.admits(namespace, service):
            message = (
                f"{address} is in the exclusive pool {pool.name}, which does not select this Service. Make it anew"
            )
            yield _on(service, Kind.FOREIGN_USE, address, message, pools=(pool.name,))
    drawn = concerning(snapshot.ip_pools_of(namespace), namespace, service, family_of(address))
    names = tuple(pool.name for pool in drawn)
    # Where the API server may choose, its choice is right wherever it is.
    strict = any(p.exclusive or p.enforced for p in drawn) and all(p.on_exhausted != CLUSTER_DEFAULT for p in drawn)
    if strict and not any(pool.name in names for pool in within):
        message = f"{address} is in none of the Service's pools: {_listed(names)}. Make it anew to draw from them"
        yield _on(service, Kind.OUTSIDE_POOL, address, message, pools=names)


def _of_ports(service: Service, snapshot: Snapshot) -> Iterator[Finding]:
    first, last = snapshot.node_ports
    namespace = snapshot.namespace_of(service)
    for port in service.node_ports:
        within = snapshot.port_pools_at(port)
        pools = tuple(pool.name for pool in within)
        others = [key for key in snapshot.ledger.port_holders(port) if key != service.key]
        if others and min([service.key, *others]) != service.key:
            message = f"Node port {port} is also {_listed(others)}'s. Give one of them another"
            yield _on(service, Kind.DUPLICATE_NODE_PORT, str(port), message, port_pools=pools)
        if not first <= port <= last:
            message = f"Node port {port} is outside --service-node-port-range={first}-{last}. Give the Service another"
            yield _on(service, Kind.PORT_OUTSIDE_RANGE, str(port), message, port_pools=pools)
        for pool in within if not snapshot.exempt(service) else ():
            if pool.exclusive and not pool.select.admits(namespace, service):
                message = f"Node port {port} is in the exclusive pool {pool.name}, which does not select this Service"
                yield _on(service, Kind.FOREIGN_USE, str(port), message, port_pools=(pool.name,))


def numbers_of(service: Service) -> Iterator[tuple[str, int, str]]:
    """Every number of a Service: its kind (a family, or "" for node ports), itself, and its text."""
    for text in service.addresses:
        try:
            yield *number_of(text), text
        except ValueError:
            continue
    yield from (("", port, str(port)) for port in service.node_ports)


def _reserved_for_other(service: Service, snapshot: Snapshot) -> Iterator[Finding]:
    """By reservations that have lost a conflict, too: that is what this Service is in conflict with."""
    for kind, number, text in numbers_of(service):
        keys = snapshot.kept_for(kind, number)
        if keys and service.key not in keys:
            message = f"{text} is reserved for {_listed(keys)}. Make this Service anew, or delete the reservation"
            pools = _holding(snapshot, text) if kind else ()
            yield _on(service, Kind.RESERVED_FOR_OTHER, text, message, pools=pools)


def _half(service: Service) -> Finding:
    message = f"It requires two families and has one address, {service.addresses[0]}. Make it anew"
    return _on(service, Kind.HALF_DUAL_STACK, service.addresses[0], message)


def _of_ipaddress(address: Address, snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    if address.terminating or young(address.created, now, GRACE):
        return
    pools = _holding(snapshot, address.name)
    on = Ref("IPAddress", "", address.name, address.uid)
    service = snapshot.services.get(address.service or "")
    if address.manager == HOLD_MANAGER:
        if address.name not in snapshot.held:
            message = f"{address.name} is kept for a reservation that there is not. Delete it: kubectl delete ipaddress"
            yield Finding(kind=Kind.LEAKED_HOLD, object=on, value=address.name, message=message, pools=pools)
    elif address.service is None:
        exclusive = tuple(p.name for p in snapshot.ip_pools if p.name in pools and p.exclusive)
        if exclusive:
            message = f"It takes an address of the exclusive pool {_listed(exclusive)}, and belongs to no Service"
            yield Finding(kind=Kind.FOREIGN_USE, object=on, value=address.name, message=message, pools=exclusive)
    elif address.manager == ALLOCATOR and service is None:
        message = f"Its Service {address.service} does not exist. The API server deletes it within 3 minutes"
        yield Finding(kind=Kind.STALE_IPADDRESS, object=on, value=address.name, message=message, pools=pools)
    elif address.manager == ALLOCATOR and service is not None and address.name not in service.cluster_ips:
        # Nothing but the other family of a Service is left behind by a request that failed half-way (IP-23).
        half = family_of(address.name) not in map(family_of, service.addresses)
        kind = Kind.HALF_DUAL_STACK if half else Kind.STALE_IPADDRESS
        message = f"Its Service {service.key} does not list it. The API server deletes it within 3 minutes"
        yield Finding(kind=kind, object=on, value=address.name, message=message, pools=pools)


def _terminating(service_cidr: ServiceCIDR, snapshot: Snapshot, now: datetime) -> Iterator[Finding]:
    if not service_cidr.terminating or young(service_cidr.deleted, now, GRACE):
        return
    own = addresses_of(span for cidr in service_cidr.cidrs for span in usable_span(cidr))
    left = own.minus(snapshot.usable)
    blockers = [
        f"{name} ({address.service or address.manager or 'no Service'})"
        for name, address in snapshot.addresses.items()
        if left.holds(name)
    ]
    said = f"IPAddresses in no other ServiceCIDR: {_listed(blockers)}" if blockers else "no IPAddress"
    message = (
        f"{', '.join(service_cidr.cidrs)} has been going since {service_cidr.deleted}. It is kept by {said}; and by the"
        f" finalizers {', '.join(service_cidr.finalizers) or 'none'}. Delete the Services, or make a ServiceCIDR that"
        " has their addresses"
    )
    pools = _sharing(snapshot.ip_pools, own)
    on = Ref("ServiceCIDR", "", service_cidr.name, service_cidr.uid)
    yield Finding(kind=Kind.SERVICE_CIDR_TERMINATING, object=on, value=service_cidr.name, message=message, pools=pools)


def _shared(service_cidr: ServiceCIDR, snapshot: Snapshot) -> Iterator[Finding]:
    """A ServiceCIDR with addresses that Pods or Nodes have: whoever calls a Service there may reach one of these."""
    for cidr in service_cidr.cidrs:
        for whose, part in snapshot.networks.shared(addresses_of(usable_span(cidr))):
            message = (
                f"{texts(part)} of {cidr} is also in a network of {whose}: either may be out of reach."
                " Make another ServiceCIDR, and give this one up"
            )
            on = Ref("ServiceCIDR", "", service_cidr.name, service_cidr.uid)
            pools = _sharing(snapshot.ip_pools, part)
            yield Finding(kind=Kind.NETWORK_OVERLAP, object=on, value=f"{cidr} {whose}", message=message, pools=pools)


def _sharing(pools: Iterable[IPPool], addresses: Addresses) -> tuple[str, ...]:
    return tuple(pool.name for pool in pools if pool.addresses.overlap(addresses).families)


def _invaded(service_cidr: ServiceCIDR, snapshot: Snapshot) -> Iterator[Finding]:
    """A range whose dynamic part is full: from now on dynamic picks take the static band (IP-15).

    That is no more than a ServiceCIDR that fills up, unless an exclusive pool was put there to be safe from them.
    """
    for cidr in () if service_cidr.terminating else service_cidr.cidrs:
        for family, span in usable_span(cidr):
            band = Span(span.first, span.first + static_band(cidr) - 1)
            upper = Spans([Span(band.last + 1, span.last)])
            pools = _sharing([p for p in snapshot.ip_pools if p.exclusive], addresses_of([(family, band)]))
            if not pools or not upper or snapshot.occupied(family).count(upper) < upper.size:
                continue
            message = (
                f"{cidr} is full but for its static band {shown(family, Spans([band]))}: the API server's own picks now"
                f" fall there, into {_listed(pools)}. Make a further ServiceCIDR"
            )
            on = Ref("ServiceCIDR", "", service_cidr.name, service_cidr.uid)
            yield Finding(kind=Kind.STATIC_BAND_INVASION, object=on, value=cidr, message=message, pools=pools)


def _invaded_ports(snapshot: Snapshot) -> Iterator[Finding]:
    """The same of node ports (IP-38), told to each pool there."""
    first, last = snapshot.node_ports
    band = Spans([Span(first, first + static_ports(first, last) - 1)])
    upper = Spans([snapshot.node_ports]).minus(band)
    pools = [pool for pool in snapshot.port_pools if pool.exclusive and pool.ports.overlap(band)]
    if not pools or snapshot.occupied("").count(upper) < upper.size:
        return
    for pool in pools:
        message = f"All node ports but the static band are taken: the API server's own picks now fall into {pool.name}"
        on = Ref("ServicePortPool", "", pool.name, pool.uid)
        yield Finding(
            kind=Kind.STATIC_BAND_INVASION, object=on, value=pool.name, message=message, port_pools=(pool.name,)
        )
