"""Who draws from a pool, and which number the next of them would get."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from api.v1alpha1.common import MAX_COUNT
from controllers.ipam.capacity import Count
from controllers.ipam.choose import LEAST_RECENTLY_USED, RANDOM, free
from controllers.ipam.pools import IPPool, LabelSelector, PortPool, Select
from controllers.ipam.ranges import Spans, text_of
from controllers.ipam.snapshot import Snapshot
from controllers.ipam_tools.facts import Facts

PORT_KIND: Final = "port"


class Drawer(Struct, frozen=True, rename="camel"):
    """A namespace whose Services may draw from the pool.

    `services` is how many of its Services the pool selects, `held` how many of the pool's numbers it has; `after` are
    the pools that its Services are given numbers of before.
    """

    namespace: str
    services: int
    held: int
    quota: int | None
    after: tuple[str, ...]

    @property
    def full(self) -> bool:
        """Whether it has used up its quota."""
        return self.quota is not None and self.held >= self.quota


class Next(Struct, frozen=True, rename="camel"):
    """The number that would be chosen now, of `kind` IPv4, IPv6 or port; empty when it is one at random, or none.

    It is one of `among`; `cooling` others are not to be given yet, but which those are only the operator knows.
    """

    kind: str
    strategy: str
    number: str
    among: int
    cooling: int
    otherwise: str

    @property
    def text(self) -> str:
        """In words."""
        if not self.among:
            return f"none is free: {self.otherwise}"
        if not self.number:
            return f"random among {self.among}"
        unless = ", unless the operator remembers it in use" if self.strategy == LEAST_RECENTLY_USED else ""
        if self.cooling and not unless:
            unless = f", unless it is one of the {self.cooling} that cool down"
        return f"{self.number} ({self.strategy}){unless}; {self.among} are free"


_OTHERWISE: Final = {
    "NextPool": "the next pool is asked (onExhausted NextPool)",
    "ClusterDefault": "the API server chooses (onExhausted ClusterDefault)",
    "Deny": "the Service is refused (onExhausted Deny)",
}


def selection(select: Select) -> str:
    """Who may draw from a pool, selectors as kubectl's -l has them."""
    parts = []
    if select.namespaces:
        parts.append(f"namespace {' or '.join(sorted(select.namespaces))}")
    if select.namespace is not None:
        parts.append(f"namespaces with {_selector(select.namespace)}")
    if select.service is not None:
        parts.append(f"Services with {_selector(select.service)}")
    return " and ".join(parts) or "every Service"


def _selector(selector: LabelSelector) -> str:
    said = [f"{key}={value}" for key, value in sorted(selector.labels.items())]
    for each in selector.expressions:
        values = f"({','.join(each.values)})"
        forms = {"Exists": each.key, "DoesNotExist": f"!{each.key}", "In": f"{each.key} in {values}"}
        said.append(forms.get(each.operator, f"{each.key} notin {values}"))
    return ",".join(said) or "any labels"


def drawers(
    pool: IPPool | PortPool, kinds: Sequence[tuple[str, Spans]], facts: Facts, snapshot: Snapshot
) -> tuple[Drawer, ...]:
    """The namespaces that the pool selects: those with Services first, then by name."""
    services: dict[str, int] = {}
    for service in snapshot.services.values():
        has = service.node_ports if isinstance(pool, PortPool) else service.addresses
        if has and pool.select.admits(snapshot.namespace_of(service), service) and not snapshot.exempt(service):
            services[service.namespace] = services.get(service.namespace, 0) + 1
    found = [
        Drawer(
            namespace=name,
            services=services.get(name, 0),
            held=sum(snapshot.holdings(kind).of_namespace(name, spans) for kind, spans in kinds),
            quota=pool.quota,
            after=_ahead(pool, name, facts),
        )
        for name, namespace in facts.namespaces.items()
        if pool.select.admits_namespace(namespace) and name not in facts.exempt
    ]
    return tuple(sorted(found, key=lambda each: (-each.services, -each.held, each.namespace)))


def _ahead(pool: IPPool | PortPool, namespace: str, facts: Facts) -> tuple[str, ...]:
    """The pools that are asked before this one for every Service of a namespace."""
    pools: Sequence[IPPool | PortPool] = (
        facts.compiled_ip_pools if isinstance(pool, IPPool) else facts.compiled_port_pools
    )
    earlier = pools[: [each.name for each in pools].index(pool.name)]
    labels = facts.namespaces[namespace]
    return tuple(
        each.name
        for each in earlier
        if _alike(each, pool) and each.select.service is None and each.select.admits_namespace(labels)
    )


def _alike(one: IPPool | PortPool, other: IPPool | PortPool) -> bool:
    """Whether both have numbers for the same need."""
    if isinstance(one, IPPool) and isinstance(other, IPPool):
        return not set(one.addresses.families).isdisjoint(other.addresses.families)
    if isinstance(one, PortPool) and isinstance(other, PortPool):
        return not one.purposes.isdisjoint(other.purposes)
    return False


def next_of(
    pool: IPPool | PortPool, count: Count, cooling: int, spans: Spans, snapshot: Snapshot, facts: Facts
) -> Next:
    """What a Service without a reservation would be given; `cooling` is how many rest, as the operator says."""
    kind = count.family
    strategy = pool.strategy if isinstance(pool, IPPool) else RANDOM
    number = ""
    among = max(0, count.assignable - max(0, cooling - count.cooling))
    if among and strategy != RANDOM:
        possible = spans.overlap(facts.cluster.addresses.of(kind)) if kind else spans.overlap(Spans([facts.node_ports]))
        number = _lowest(kind, possible, strategy, snapshot)
    return Next(
        kind=kind or PORT_KIND,
        strategy=strategy,
        number=number,
        among=min(among, MAX_COUNT),
        cooling=cooling,
        otherwise=_OTHERWISE[pool.on_exhausted],
    )


def _lowest(kind: str, possible: Spans, strategy: str, snapshot: Snapshot) -> str:
    holdings, reserved = snapshot.holdings(kind), snapshot.reserved(kind)
    found = free(
        possible,
        lambda number: number in holdings or number in reserved,
        1,
        strategy=strategy,
        at=lambda _: 0,
        freed=holdings.freed.get,
    )
    return (text_of(kind, found[0]) if kind else str(found[0])) if found else ""
