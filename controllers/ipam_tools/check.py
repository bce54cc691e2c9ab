"""What is wrong with manifests, found before they are applied: in the words that admission would refuse them in.

The same functions decide here as in the webhooks (admission.decide, validation). Beside them stand the API server's own
rules about numbers, which a webhook need not repeat: who has a number, and whether it is in reach.
"""

from collections.abc import Iterable, Iterator, Sequence

from api.v1alpha1.common import Resource
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam import compiled, validation
from controllers.ipam.pools import by_priority
from controllers.ipam_tools.check_services import checked_services
from controllers.ipam_tools.facts import Facts, world_of
from controllers.ipam_tools.findings import ERROR, Finding, Outcome, in_order
from controllers.ipam_tools.manifests import Manifests
from controllers.ipam_tools.overlay import READ, Entry, laid_over, typed
from controllers.planning.output import listed


def check(manifests: Manifests, facts: Facts, namespace: str = "default") -> Outcome:
    """Everything that there is to say. `facts` are the cluster's, or what is known of it without one."""
    read = typed(manifests.found, namespace)
    wanted = laid_over(facts, read.entries)
    found = [
        *manifests.problems,
        *read.findings,
        *_pools(read.entries, facts, wanted),
        *_reservations(read.entries, facts, wanted),
        *checked_services(read.entries, facts, wanted),
    ]
    if not found and not read.looked_at and not read.ignored:
        found.append(_nothing(manifests))
    notes = list(_notes(wanted, read.entries))
    return Outcome(in_order(found, manifests.files), read.looked_at, read.ignored, tuple(notes))


def _nothing(manifests: Manifests) -> Finding:
    """A check of nothing must not pass for one that found nothing. A folder of other kinds is something else."""
    message = f"no objects in it. What is read: {READ}"
    return Finding(file=listed(manifests.named), line=0, severity=ERROR, reason="NothingToCheck", message=message)


def _notes(wanted: Facts, entries: Sequence[Entry]) -> Iterator[str]:
    """What was taken for granted."""
    if not wanted.service_cidrs:
        yield (
            "no ServiceCIDR is known: a cluster with IPv4 and IPv6 is assumed, and no address is outside of it"
            " (--service-cidr)"
        )
    selecting = [
        pool.name
        for pool in (*wanted.compiled_ip_pools, *wanted.compiled_port_pools)
        if pool.select.namespace is not None
    ]
    unknown = dict.fromkeys(
        each.namespace for each in entries if each.namespace and each.namespace not in wanted.namespaces
    )
    if selecting and unknown:
        yield (
            f"{', '.join(unknown)}: not among the namespaces, so taken to have no labels, which the pools"
            f" {', '.join(selecting)} select by"
        )


def _forced(resource: Resource) -> bool:
    return resource.metadata.annotations.get(validation.FORCE_ANNOTATION) == "true"


def _pools(entries: Iterable[Entry], facts: Facts, wanted: Facts) -> Iterator[Finding]:
    """Each pool beside the cluster's others and those before it, so that two that overlap are told of once."""
    world = world_of(wanted, wanted.compiled_reservations)
    given = {(each.kind, each.name) for each in entries}
    ip_pools = [each for each in wanted.compiled_ip_pools if ("ServiceIPPool", each.name) not in given]
    port_pools = [each for each in wanted.compiled_port_pools if ("ServicePortPool", each.name) not in given]
    for entry in entries:
        found: list[str] = []
        match entry.object:
            case ServiceIPPool() as resource:
                before = facts.ip_pools.get(entry.name)
                world.ip_pools = by_priority(ip_pools)
                pool = compiled.ip_pool(resource)
                old = compiled.ip_pool(before) if before is not None else None
                found = validation.ip_pool_objections(pool, old, world, forced=_forced(resource))
                ip_pools.append(pool)
            case ServicePortPool() as resource:
                earlier = facts.port_pools.get(entry.name)
                world.port_pools = by_priority(port_pools)
                ports = compiled.port_pool(resource)
                was = compiled.port_pool(earlier) if earlier is not None else None
                found = validation.port_pool_objections(ports, was, world, forced=_forced(resource))
                port_pools.append(ports)
        yield from (entry.finding(ERROR, "PoolRefused", each, "spec", "ranges") for each in found)


def _reservations(entries: Iterable[Entry], facts: Facts, wanted: Facts) -> Iterator[Finding]:
    """Each reservation beside the cluster's others and those before it."""
    given = {f"{each.namespace}/{each.name}" for each in entries if each.kind == "ServiceReservation"}
    others = [compiled.reservation(each) for key, each in sorted(wanted.reservations.items()) if key not in given]
    world = world_of(wanted, others)
    for entry in entries:
        if not isinstance(entry.object, ServiceReservation):
            continue
        key = f"{entry.namespace}/{entry.name}"
        new, before = compiled.reservation(wanted.reservations[key]), facts.reservations.get(key)
        if before is not None and before.spec.service_name != entry.object.spec.service_name:
            message = (
                f"spec.serviceName: cannot be changed from {before.spec.service_name}: delete the reservation first"
            )
            yield entry.finding(ERROR, "Invalid", message, "spec", "serviceName")
        old = compiled.reservation(before) if before is not None else None
        for each in validation.reservation_objections(new, old, world):
            yield entry.finding(ERROR, "ReservationRefused", each, "spec")
        world.reservation_changed(None, new)
