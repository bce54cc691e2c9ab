"""What there is to tell of a pool: computed here, put into words or JSON by show.py."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from api.v1alpha1.common import MAX_COUNT, Condition
from api.v1alpha1.service_ip_pool import AddressRange, ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from controllers.ipam import compiled
from controllers.ipam.capacity import Count, ip_pool_counts, port_pool_count
from controllers.ipam.conditions import port_texts
from controllers.ipam.pools import IPPool, PortPool
from controllers.ipam.ranges import NONE, Addresses, Span, Spans, addresses_of, static_ports, text_of, texts
from controllers.ipam.snapshot import Snapshot, reserved_numbers
from controllers.ipam_tools.bars import Cell, cells
from controllers.ipam_tools.drawing import Drawer, Next, drawers, next_of, selection
from controllers.ipam_tools.facts import Facts

IP_POOL: Final = "ServiceIPPool"
PORT_POOL: Final = "ServicePortPool"


class Figures(Struct, frozen=True, rename="camel"):
    """Counts as the API has them: what is larger than it can say is said as its largest."""

    family: str
    total: int
    used: int
    reserved: int
    cooling: int
    free: int


class RangeView(Struct, frozen=True, rename="camel"):
    """One range of the spec. `in_band` is how many of its numbers the API server picks last by itself."""

    range: str
    figures: Figures
    in_band: int
    cell_size: int
    cells: tuple[Cell, ...]


class Holder(Struct, frozen=True, rename="camel"):
    """Who has a number: a Service (`namespace/name`), or an IPAddress object of somebody else's."""

    number: str
    holder: str


class Kept(Struct, frozen=True, rename="camel"):
    """A reservation with numbers in the pool."""

    reservation: str
    service: str
    phase: str
    numbers: tuple[str, ...]


class ConditionView(Struct, frozen=True, rename="camel"):
    """A condition of the status."""

    type: str
    status: str
    reason: str
    message: str


class PoolView(Struct, frozen=True, rename="camel"):
    """All of a pool. `policy` are its rules in words; `observed` is false while no operator has written its status."""

    kind: str
    name: str
    select: str
    priority: int
    exclusive: bool
    enforcement: str
    on_exhausted: str
    policy: tuple[str, ...]
    ranges: tuple[RangeView, ...]
    excluded: str
    capacity: tuple[Figures, ...]
    consumers: tuple[tuple[str, int], ...]
    holders: tuple[Holder, ...]
    reservations: tuple[Kept, ...]
    conditions: tuple[ConditionView, ...]
    drawers: tuple[Drawer, ...]
    next: tuple[Next, ...]
    observed: bool


def views(facts: Facts) -> list[PoolView]:
    """Every pool, in the order in which they are asked: those of addresses, then those of ports."""
    snapshot = facts.snapshot()
    return [
        *(_ip_pool(pool, facts.ip_pools[pool.name], facts, snapshot) for pool in facts.compiled_ip_pools),
        *(_port_pool(pool, facts.port_pools[pool.name], facts, snapshot) for pool in facts.compiled_port_pools),
    ]


def _ip_pool(pool: IPPool, resource: ServiceIPPool, facts: Facts, snapshot: Snapshot) -> PoolView:
    spec = resource.spec
    counts = ip_pool_counts(pool, snapshot)
    # Who is cooling down is remembered by the operator alone, and so is how many they are.
    cooling: dict[str, int] = {each.family: each.cooling for each in resource.status.capacity}
    holders = [each for family in pool.addresses.families for each in _holders(family, pool.addresses, snapshot)]
    kinds = [(family, pool.addresses.of(family)) for family in pool.addresses.families]
    sticky = f"sticky by name {spec.sticky.ttl or 'for ever'}" if spec.sticky.mode == "ByName" else ""
    cooldown = f"cooldown {spec.cooldown}" if pool.cooldown else ""
    return PoolView(
        kind=IP_POOL,
        name=pool.name,
        select=selection(pool.select),
        priority=pool.priority,
        exclusive=pool.exclusive,
        enforcement=spec.enforcement,
        on_exhausted=spec.on_exhausted,
        policy=_policy(pool, spec.enforcement, (f"strategy {pool.strategy}", cooldown, sticky)),
        ranges=tuple(view for each in spec.ranges for view in _ip_range(each, pool, snapshot)),
        excluded=_excluded(resource),
        capacity=tuple(figures(each, cooling.get(each.family, 0)) for each in counts),
        consumers=consumers(holders),
        holders=tuple(holders),
        reservations=tuple(_kept(kinds, snapshot)),
        conditions=_conditions(resource.status.conditions),
        drawers=drawers(pool, kinds, facts, snapshot),
        next=tuple(
            next_of(pool, count, cooling.get(family, 0), spans, snapshot, facts)
            for count, (family, spans) in zip(counts, kinds, strict=True)
        ),
        observed=resource.status.observed_generation is not None,
    )


def _port_pool(pool: PortPool, resource: ServicePortPool, facts: Facts, snapshot: Snapshot) -> PoolView:
    spec, count = resource.spec, port_pool_count(pool, snapshot)
    holders = list(_holders("", Addresses(), snapshot, pool.ports))
    kinds = [("", pool.ports)]
    purposes = f"for {' and '.join(spec.purposes)} ports"
    return PoolView(
        kind=PORT_POOL,
        name=pool.name,
        select=selection(pool.select),
        priority=pool.priority,
        exclusive=pool.exclusive,
        enforcement=spec.enforcement,
        on_exhausted=spec.on_exhausted,
        policy=_policy(pool, spec.enforcement, (purposes,)),
        ranges=tuple(_port_range(Span(each.first, each.last), pool, snapshot) for each in spec.ranges),
        excluded="",
        capacity=(figures(count),),
        consumers=consumers(holders),
        holders=tuple(holders),
        reservations=tuple(_kept(kinds, snapshot)),
        conditions=_conditions(resource.status.conditions),
        drawers=drawers(pool, kinds, facts, snapshot),
        next=(next_of(pool, count, 0, pool.ports, snapshot, facts),),
        observed=resource.status.observed_generation is not None,
    )


def _policy(pool: IPPool | PortPool, enforcement: str, more: Iterable[str]) -> tuple[str, ...]:
    said = (
        f"priority {pool.priority}",
        "exclusive" if pool.exclusive else "shared",
        f"enforcement {enforcement}",
        *more,
        f"when exhausted {pool.on_exhausted}",
        f"quota {pool.quota} per namespace" if pool.quota is not None else "",
    )
    return tuple(each for each in said if each)


def figures(count: Count, cooling: int = 0) -> Figures:
    """The counts as they are told; `cooling` is how many the operator says, where that is more than we know."""
    cooling = max(cooling, count.cooling)
    free = max(0, count.free + count.cooling - cooling)
    told = (count.total, count.used, count.reserved, cooling, free)
    return Figures(count.family, *(min(each, MAX_COUNT) for each in told))


def _ip_range(given: AddressRange, pool: IPPool, snapshot: Snapshot) -> Iterator[RangeView]:
    """Nothing of a range that makes no sense: the condition RangeConflict names it."""
    whole = compiled.ip_pool(ServiceIPPool.model_validate({"spec": {"ranges": [given.wire()]}})).addresses
    for family in whole.families:
        span = whole.of(family).spans[0]

        def count(part: Span, family: str = family) -> Count:
            own = addresses_of([(family, part)]).overlap(pool.addresses)
            return next(iter(ip_pool_counts(_with(pool, own), snapshot)), Count(family=family))

        yield RangeView(
            range=given.cidr or f"{given.start}-{given.end}",
            figures=figures(count(span)),
            in_band=min(addresses_of([(family, span)]).overlap(snapshot.bands).of(family).size, MAX_COUNT),
            cell_size=_cell_size(span),
            cells=tuple(cells(span, count)),
        )


def _with(pool: IPPool, addresses: Addresses) -> IPPool:
    """The same rules for some of its addresses."""
    return IPPool(name=pool.name, addresses=addresses, cooldown=pool.cooldown)


def _port_range(span: Span, pool: PortPool, snapshot: Snapshot) -> RangeView:
    def count(part: Span) -> Count:
        return port_pool_count(PortPool(name=pool.name, ports=Spans([part])), snapshot)

    first, last = snapshot.node_ports
    band = Spans([Span(first, first + static_ports(first, last) - 1)])
    return RangeView(
        range=port_texts(Spans([span])),
        figures=figures(count(span)),
        in_band=Spans([span]).overlap(band).size,
        cell_size=_cell_size(span),
        cells=tuple(cells(span, count)),
    )


def _cell_size(span: Span) -> int:
    return min(-(-(span.last - span.first + 1) // len(list(cells(span, lambda _: Count())))), MAX_COUNT)


def _excluded(resource: ServiceIPPool) -> str:
    """What of the ranges is left out, for people."""
    spec = resource.spec
    if not spec.exclude:
        return ""
    whole = ServiceIPPool(spec=spec.model_copy(update={"exclude": ()}))
    return texts(compiled.ip_pool(whole).addresses.minus(compiled.ip_pool(resource).addresses))


def _holders(kind: str, addresses: Addresses, snapshot: Snapshot, ports: Spans = NONE) -> Iterator[Holder]:
    """Who has the numbers, in ascending order of these."""
    holders = snapshot.holdings(kind).holders
    for number in snapshot.occupied(kind).within(addresses.of(kind) if kind else ports):
        text = text_of(kind, number) if kind else str(number)
        for key in holders.get(number, ()):
            yield Holder(text, key)
        if number not in holders and (found := snapshot.addresses.get(text)) is not None:
            yield Holder(text, f"IPAddress of {found.service or found.manager or '/'.join(filter(None, found.parent))}")


def consumers(holders: Sequence[Holder]) -> tuple[tuple[str, int], ...]:
    """How many numbers each namespace has, the largest first."""
    numbers: dict[str, set[str]] = {}
    for each in holders:
        if not each.holder.startswith("IPAddress of "):
            numbers.setdefault(each.holder.partition("/")[0], set()).add(each.number)
    found = [(name, len(held)) for name, held in numbers.items()]
    return tuple(sorted(found, key=lambda item: (-item[1], item[0])))


def _kept(kinds: Sequence[tuple[str, Spans]], snapshot: Snapshot) -> Iterator[Kept]:
    spans = dict(kinds)
    for each in snapshot.reservations:
        numbers = [
            text_of(kind, number) if kind else str(number)
            for kind, number in reserved_numbers(each)
            if number in spans.get(kind, NONE)
        ]
        if numbers:
            yield Kept(f"{each.namespace}/{each.name}", each.service_name, each.phase or "Pending", tuple(numbers))


def _conditions(found: Iterable[Condition]) -> tuple[ConditionView, ...]:
    return tuple(ConditionView(each.type, each.status, each.reason, each.message) for each in found)
