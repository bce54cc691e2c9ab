"""From custom resources, as users write them, to pools and reservations, as they are worked with."""

from collections.abc import Iterable
from typing import Any

from api.v1alpha1 import common
from api.v1alpha1.common import seconds
from api.v1alpha1.service_ip_pool import AddressRange, ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam.pools import EVERYONE, IPPool, LabelSelector, PortPool, Requirement, Reservation, Select
from controllers.ipam.ranges import Span, Spans, addresses_of, family_of, network, number_of
from controllers.model.objects import Labels


def ip_pool(resource: ServiceIPPool) -> IPPool:
    """A ServiceIPPool. Ranges that make no sense are left out, and named in `broken`."""
    spec = resource.spec
    broken: list[str] = []
    ranges = addresses_of(_spans(spec.ranges, broken))
    excluded = addresses_of(_spans(spec.exclude, broken))
    sticky = spec.sticky.mode == "ByName"
    return IPPool(
        **_shared(resource),
        addresses=ranges.minus(excluded),
        strategy=spec.strategy,
        cooldown=seconds(spec.cooldown),
        sticky=sticky,
        sticky_ttl=seconds(spec.sticky.ttl) if sticky and spec.sticky.ttl else None,
        creates_service_cidr=spec.service_cidr.mode == "Create",
        cidrs=tuple(each.cidr for each in spec.ranges if each.cidr),
        broken=tuple(broken),
    )


def port_pool(resource: ServicePortPool) -> PortPool:
    """A ServicePortPool."""
    spec = resource.spec
    return PortPool(
        **_shared(resource),
        ports=Spans(Span(each.first, each.last) for each in spec.ranges),
        purposes=frozenset(spec.purposes),
    )


def reservation(resource: ServiceReservation) -> Reservation:
    """A ServiceReservation: what its spec names, and what it has adopted by its status where the spec names nothing."""
    spec, status, meta = resource.spec, resource.status, resource.metadata
    named = {family_of(address) for address in spec.addresses}
    adopted = status.addresses if spec.adopt else ()
    ports = {each.port_name: each.node_port for each in (status.node_ports if spec.adopt else ())}
    ports.update({each.port_name: each.node_port for each in spec.node_ports})
    return Reservation(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        generation=meta.generation,
        created=f"{meta.creation_timestamp:%Y-%m-%dT%H:%M:%SZ}" if meta.creation_timestamp else "",
        service_name=spec.service_name,
        addresses=(*spec.addresses, *(each for each in adopted if family_of(each) not in named)),
        node_ports=tuple(ports.items()),
        health_check_node_port=spec.health_check_node_port
        or (status.health_check_node_port if spec.adopt else None)
        or 0,
        adopt=spec.adopt,
        ttl=seconds(spec.retain.ttl) if spec.retain.ttl else None,
        hold=spec.enforcement == "Hold",
        phase=status.phase or "",
        last_bound=f"{status.last_bound:%Y-%m-%dT%H:%M:%SZ}" if status.last_bound else "",
        terminating=meta.deletion_timestamp is not None,
    )


def _shared(resource: ServiceIPPool | ServicePortPool) -> dict[str, Any]:
    """What `pools.Pool` has, of whichever kind."""
    spec, meta = resource.spec, resource.metadata
    return {
        "name": meta.name,
        "uid": meta.uid,
        "generation": meta.generation,
        "select": _select(spec.select),
        "priority": spec.priority,
        "exclusive": spec.exclusive,
        "enforced": spec.enforcement == "Enforce",
        "quota": spec.quota.per_namespace if spec.quota else None,
        "on_exhausted": spec.on_exhausted,
        "warn_percent": spec.thresholds.warn_percent,
        "critical_percent": spec.thresholds.critical_percent,
    }


def _spans(ranges: Iterable[AddressRange], broken: list[str]) -> list[tuple[str, Span]]:
    found = []
    for each in ranges:
        try:
            found.append(_span(each))
        except ValueError as error:
            broken.append(str(error))
    return found


def _span(given: AddressRange) -> tuple[str, Span]:
    if given.cidr:
        return network(given.cidr)
    (family, first), (other, last) = number_of(given.start or ""), number_of(given.end or "")
    if family != other or first > last:
        raise ValueError(f"{given.start} - {given.end} is no range: its end must not be below its start")
    return family, Span(first, last)


def _select(given: common.Select | None) -> Select:
    if given is None:
        return EVERYONE
    return Select(frozenset(given.namespaces), _selector(given.namespace_selector), _selector(given.service_selector))


def _selector(given: common.LabelSelector | None) -> LabelSelector | None:
    if given is None:
        return None
    expressions = tuple(Requirement(each.key, each.operator, each.values) for each in given.match_expressions)
    return LabelSelector(Labels(given.match_labels), expressions)
