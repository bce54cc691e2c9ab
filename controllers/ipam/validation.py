"""What is wrong with a pool or a reservation that its own schema cannot say, because it takes the others to see.

Admission refuses it; the same shows as a condition on what came in while admission was away (conditions.py).
"""

from collections.abc import Iterable, Iterator
from typing import Final

from controllers.ipam.admission import not_entitled, shown, title
from controllers.ipam.pools import IPPool, PortPool, Reservation
from controllers.ipam.ranges import IPV4, IPV6, Spans
from controllers.ipam.ranges import shown as ranges_shown
from controllers.ipam.world import PORT, World, reserved_numbers

# Allows what would leave Services with numbers that no pool has any more.
FORCE_ANNOTATION: Final = "ipam.sliceplane.dev/force"
_NAMED: Final = 3


def ip_pool_objections(new: IPPool, old: IPPool | None, world: World, *, forced: bool) -> list[str]:
    """Why a ServiceIPPool cannot be created or changed like this; empty when it can.

    What is wrong already is not said again: an update that has nothing to do with it, or mends a part, is possible.
    """
    found = [each for each in new.broken if old is None or each not in old.broken]
    for family in (IPV4, IPV6):
        spans = new.addresses.of(family)
        gained = spans if old is None else spans.minus(old.addresses.of(family))
        for other in world.ip_pools:
            common = gained.overlap(other.addresses.of(family))
            if other.name != new.name and common:
                found.append(
                    f"{ranges_shown(family, common)} also belongs to {title(other)}: give each address one pool"
                )
        checked = gained if old is None or not old.creates_service_cidr else spans
        # A range may well be a whole ServiceCIDR, of which the ends are never chosen.
        outside = checked.minus(world.cluster.addresses.of(family)).minus(world.cluster.ends.of(family))
        if outside and world.cluster.families and not new.creates_service_cidr:
            found.append(
                f"{ranges_shown(family, outside)} is in no ready ServiceCIDR, so no Service can have it: create a"
                " ServiceCIDR first, or set serviceCIDR.mode to Create, or exclude it"
            )
        if old is not None:
            found += _stranded(old, family, old.addresses.of(family).minus(spans), world, forced=forced)
    return found


def port_pool_objections(new: PortPool, old: PortPool | None, world: World, *, forced: bool) -> list[str]:
    """Why a ServicePortPool cannot be created or changed like this; not for what was wrong with it before."""
    gained = new.ports if old is None else new.ports.minus(old.ports)
    found = [
        f"ports {_ports(common)} also belong to {title(other)}: give each port one pool"
        for other in world.port_pools
        if other.name != new.name and (common := gained.overlap(other.ports))
    ]
    outside = gained.minus(Spans([world.node_ports]))
    if outside:
        first, last = world.node_ports
        found.append(
            f"ports {_ports(outside)} are outside the node port range {first}-{last}, which is given by"
            " --service-node-port-range to the API server and to us"
        )
    if old is not None:
        found += _stranded(old, PORT, old.ports.minus(new.ports), world, forced=forced)
    return found


def deletion_objections(pool: IPPool | PortPool, world: World, *, forced: bool) -> list[str]:
    """Why a pool cannot be deleted: Services that may draw from it hold some of its numbers."""
    if isinstance(pool, PortPool):
        return _stranded(pool, PORT, pool.ports, world, forced=forced)
    return [
        each
        for family in pool.addresses.families
        for each in _stranded(pool, family, pool.addresses.of(family), world, forced=forced)
    ]


def _stranded(pool: IPPool | PortPool, kind: str, lost: Spans, world: World, *, forced: bool) -> list[str]:
    if forced or not lost:
        return []
    holders: dict[str, None] = {}
    for number, keys in world.holdings(kind).holders.items():
        if number in lost:
            namespaces = (world.namespace(key.partition("/")[0]) for key in keys)
            entitled = [key for key, name in zip(keys, namespaces, strict=True) if pool.select.admits_namespace(name)]
            holders.update({f"{key} ({shown(kind, number)})": None for key in entitled})
    if not holders:
        return []
    named = ", ".join(sorted(holders)[:_NAMED]) + (
        f" and {len(holders) - _NAMED} more" if len(holders) > _NAMED else ""
    )
    return [f"in use by Service {named}: release them first, or annotate the pool with {FORCE_ANNOTATION}=true"]


def reservation_objections(new: Reservation, old: Reservation | None, world: World) -> list[str]:
    """Why a ServiceReservation cannot be created or changed like this; what it had already is not asked again."""
    held = set(reserved_numbers(old)) if old is not None else set()
    found: list[str] = []
    for kind, number in reserved_numbers(new):
        if (kind, number) not in held:
            found += _unreservable(new, kind, number, world)
    return found


def _unreservable(new: Reservation, kind: str, number: int, world: World) -> Iterator[str]:
    what = shown(kind, number)
    others = [key for key in world.holdings(kind).holders.get(number, ()) if key != new.key]
    if others:
        yield f"{what} is held by Service {others[0]}"
    owner = world.reserved_for(kind, number)
    if owner is not None and owner != new.key:
        yield f"{what} is reserved for Service {owner} already"
    possible = Spans([world.node_ports]) if kind == PORT else world.cluster.addresses.of(kind)
    if number not in possible and (kind == PORT or world.cluster.families):
        where = "the node port range {}-{}".format(*world.node_ports) if kind == PORT else "every ready ServiceCIDR"
        yield f"{what} is outside {where}"
    pools: Iterable[IPPool | PortPool] = (
        [pool for pool in world.port_pools if number in pool.ports]
        if kind == PORT
        else [pool for pool in world.ip_pools if number in pool.addresses.of(kind)]
    )
    namespace = world.namespace(new.namespace)
    if pools and not any(pool.select.admits_namespace(namespace) for pool in pools):
        for pool in pools:
            if pool.exclusive:
                yield not_entitled(what, pool)


def _ports(spans: Spans) -> str:
    return ", ".join(f"{s.first}" if s.first == s.last else f"{s.first}-{s.last}" for s in spans.spans)
