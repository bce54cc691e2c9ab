"""How many numbers a pool or a ServiceCIDR has, and in which states: total = used + reserved + cooling + free.

`used` is all that is occupied: what a Service lists, and what an IPAddress object of anybody else's bears, since the
allocator passes over it just the same (IP-19); but an object on a reserved address that no Service has is the
reservation's. Figures are exact here, a /64's too: the API's `Count` caps them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from controllers.ipam.pools import IPPool, PortPool
from controllers.ipam.ranges import NOWHERE, Addresses, Span, Spans, addresses_of, usable_span
from controllers.ipam.snapshot import Snapshot

TOP: Final = 10


class Count(Struct, frozen=True, kw_only=True):
    """The numbers of one kind: `family` is empty for ports.

    `assignable` is how many of the free ones the API server would accept now: it has no ServiceCIDR for the others, or
    they are outside its range of node ports. `reach` is all that it would accept, whatever their state.
    """

    family: str = ""
    total: int = 0
    used: int = 0
    reserved: int = 0
    cooling: int = 0
    free: int = 0
    assignable: int = 0
    reach: int = 0

    @property
    def taken(self) -> int:
        """What a forecast looks at: cooling numbers come back by themselves."""
        return self.used + self.reserved

    @property
    def percent(self) -> float:
        """How much is taken, in percent; nothing is full of nothing."""
        return 100.0 * self.taken / self.total if self.total else 0.0


class CIDRCount(Struct, frozen=True):
    """The addresses of a ServiceCIDR's range."""

    cidr: str
    count: Count


def own_addresses(pool: IPPool, snapshot: Snapshot) -> Addresses:
    """A pool's addresses, but not those that no Service can ever have, as ServiceCIDRs are now (IP-13)."""
    return pool.addresses.minus(snapshot.unusable)


def ip_pool_counts(pool: IPPool, snapshot: Snapshot) -> list[Count]:
    """For each family that the pool has addresses of, IPv4 first."""
    own = own_addresses(pool, snapshot)
    return [
        _count(family, own.of(family), snapshot.usable.of(family), snapshot, pool.cooldown)
        for family in pool.addresses.families
    ]


def port_pool_count(pool: PortPool, snapshot: Snapshot) -> Count:
    """The ports of a pool; ports do not cool down."""
    return _count("", pool.ports, Spans([snapshot.node_ports]), snapshot)


def service_cidr_counts(snapshot: Snapshot) -> list[CIDRCount]:
    """For each range of a ServiceCIDR, largest prefix length first; an address of several counts for the narrowest.

    All of them, also those that are going or not ready: what is in them is in use.
    """
    texts = {cidr for each in snapshot.service_cidrs.values() for cidr in each.cidrs}
    ranges = sorted((_width(span), cidr, family, span) for cidr in texts for family, span in usable_span(cidr))
    found, counted = [], NOWHERE
    for _, cidr, family, span in ranges:
        own = Spans([span]).minus(counted.of(family))
        counted = counted.union(addresses_of([(family, span)]))
        found.append(CIDRCount(cidr, _count(family, own, own, snapshot)))
    return found


def _width(span: Span) -> int:
    return span.last - span.first


def _count(kind: str, spans: Spans, accepted: Spans, snapshot: Snapshot, cooldown: float = 0.0) -> Count:
    holdings, occupied = snapshot.holdings(kind), snapshot.occupied(kind)
    waiting = [n for n in snapshot.reserved(kind) if n in spans and n not in holdings.holders]
    cooling = [n for n in _cooling(kind, snapshot, cooldown) if n in spans and n not in snapshot.reserved(kind)]
    blocked = [n for n in waiting if n in holdings.blocked]
    left = [n for n in snapshot.left_over.get(kind, ()) if n in spans and n not in snapshot.reserved(kind)]
    used = occupied.count(spans) - len(blocked) - len(left)
    reach = spans.overlap(accepted)
    gone = occupied.count(reach) - reach.count_within(blocked) + reach.count_within([*waiting, *cooling])
    return Count(
        family=kind,
        total=spans.size,
        used=used,
        reserved=len(waiting),
        cooling=len(cooling) + len(left),
        free=spans.size - used - len(waiting) - len(cooling) - len(left),
        assignable=reach.size - gone,
        reach=reach.size,
    )


def _cooling(kind: str, snapshot: Snapshot, cooldown: float) -> list[int]:
    """The numbers given back less than `cooldown` ago: they are remembered in the order in which that was."""
    holdings, found = snapshot.holdings(kind), []
    for number in reversed(holdings.freed) if cooldown > 0 else ():
        if not holdings.cooling(number, cooldown, snapshot.monotonic):
            break
        if number not in holdings:
            found.append(number)
    return found


def ip_pool_consumers(pool: IPPool, snapshot: Snapshot) -> list[tuple[str, int]]:
    """The namespaces that hold the most of a pool, and how many of its addresses; largest first, ties by name."""
    return _consumers(snapshot, [(family, pool.addresses.of(family)) for family in pool.addresses.families])


def port_pool_consumers(pool: PortPool, snapshot: Snapshot) -> list[tuple[str, int]]:
    """The same of a pool of ports."""
    return _consumers(snapshot, [("", pool.ports)])


def _consumers(snapshot: Snapshot, parts: Sequence[tuple[str, Spans]]) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for kind, spans in parts:
        holders = snapshot.holdings(kind).holders
        for number in snapshot.occupied(kind).within(spans):
            # Two Services of a namespace may list one address; it is one number all the same.
            counts.update(list(dict.fromkeys(key.partition("/")[0] for key in holders.get(number, ()))))
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:TOP]
