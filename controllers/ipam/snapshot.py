"""All that the audit and the statuses are computed from, at one moment; nothing here is changed by them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Generic, TypeVar

from api import names
from controllers.ipam.ledger import Holdings, Ledger
from controllers.ipam.networks import Networks
from controllers.ipam.objects import ALLOCATOR, KUBERNETES, Address, Namespace, Service, ServiceCIDR
from controllers.ipam.pools import IPPool, PortPool, Reservation
from controllers.ipam.ranges import (
    IPV4,
    IPV6,
    Addresses,
    Span,
    Spans,
    addresses_of,
    network,
    parsed,
    static_band,
    text_of,
    usable_span,
)

P = TypeVar("P")

# The label value of IPAddress objects that keep an address for an absent Service: any but the API server's own, which
# its repair would delete (IP-19, IP-52).
HOLD_MANAGER: Final = names.IPAM_MANAGED_BY
DEFAULT_NODE_PORTS: Final = Span(30000, 32767)
DEFAULT_EXEMPT: Final = frozenset({"kube-system"})
NO_NETWORKS: Final = Networks()


class Sorted:
    """Numbers in ascending order, to count those in a range without looking at each."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self.numbers = sorted(numbers)

    def within(self, spans: Spans) -> Iterator[int]:
        """Those that are in `spans`, ascending."""
        for span in spans.spans:
            start, end = bisect_left(self.numbers, span.first), bisect_right(self.numbers, span.last)
            yield from self.numbers[start:end]

    def count(self, spans: Spans) -> int:
        """How many are in `spans`."""
        return sum(
            bisect_right(self.numbers, span.last) - bisect_left(self.numbers, span.first) for span in spans.spans
        )


class Places(Generic[P]):
    """Which of many pools a number is in, without asking each; their order is kept."""

    __slots__ = ("_found", "_starts")

    def __init__(self, pools: Sequence[tuple[P, Spans]]) -> None:
        self._starts = sorted({edge for _, spans in pools for a, b in spans.spans for edge in (a, b + 1)})
        self._found: list[tuple[P, ...]] = [()] * len(self._starts)
        for pool, spans in pools:
            for first, last in spans.spans:
                for at in range(bisect_left(self._starts, first), bisect_left(self._starts, last + 1)):
                    self._found[at] = (*self._found[at], pool)

    def of(self, number: int) -> tuple[P, ...]:
        """The pools that have this number."""
        at = bisect_right(self._starts, number) - 1
        return self._found[at] if at >= 0 else ()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The cluster's numbers and the rules for them.

    `services` are by `namespace/name`, `addresses` by their text, `service_cidrs` and `namespaces` by name; the pools
    are in order of priority (pools.by_priority). `node_ports` is --service-node-port-range, which no API tells (IP-37).
    `recreates` is whether we make an IPAddress again that a Service lacks (--repair=on). `monotonic` is the ledger's
    clock at the moment of the snapshot. The ledger must have seen what is in the others.
    """

    services: Mapping[str, Service] = field(default_factory=dict)
    addresses: Mapping[str, Address] = field(default_factory=dict)
    service_cidrs: Mapping[str, ServiceCIDR] = field(default_factory=dict)
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    ip_pools: Sequence[IPPool] = ()
    port_pools: Sequence[PortPool] = ()
    reservations: Sequence[Reservation] = ()
    ledger: Ledger = field(default_factory=Ledger)
    node_ports: Span = DEFAULT_NODE_PORTS
    networks: Networks = NO_NETWORKS
    exempt_namespaces: frozenset[str] = DEFAULT_EXEMPT
    recreates: bool = False
    monotonic: float = 0.0

    @cached_property
    def usable(self) -> Addresses:
        """What the API server can give to a Service now: of ServiceCIDRs that are ready and not going (IP-12)."""
        return addresses_of(
            span
            for each in self.service_cidrs.values()
            if each.ready and not each.terminating
            for cidr in each.cidrs
            for span in usable_span(cidr)
        )

    @cached_property
    def existing(self) -> Addresses:
        """What Services can have of all ServiceCIDRs, in whatever state."""
        return addresses_of(
            span for each in self.service_cidrs.values() for cidr in each.cidrs for span in usable_span(cidr)
        )

    @cached_property
    def unusable(self) -> Addresses:
        """Network and broadcast addresses of ServiceCIDRs, but not where another one gives them (IP-13, case C7)."""
        whole = addresses_of(
            network(cidr) for each in self.service_cidrs.values() for cidr in each.cidrs if usable_span(cidr)
        )
        return whole.minus(self.existing)

    @cached_property
    def bands(self) -> Addresses:
        """The static bands of all ServiceCIDRs: what dynamic picks take last (IP-14, IP-15)."""
        return addresses_of(
            (family, Span(span.first, span.first + static_band(cidr) - 1))
            for each in self.service_cidrs.values()
            for cidr in each.cidrs
            for family, span in usable_span(cidr)
        )

    @cached_property
    def _occupied(self) -> dict[str, Sorted]:
        return {}

    @cached_property
    def claims(self) -> Mapping[tuple[str, int], tuple[Reservation, ...]]:
        """The reservations that name a number, by its kind and itself; not those that are being deleted."""
        found: dict[tuple[str, int], tuple[Reservation, ...]] = {}
        for each in self.reservations:
            for number in () if each.terminating else reserved_numbers(each):
                found[number] = (*found.get(number, ()), each)
        return found

    @cached_property
    def _reserved(self) -> dict[str, dict[int, tuple[str, ...]]]:
        found: dict[str, dict[int, tuple[str, ...]]] = {IPV4: {}, IPV6: {}, "": {}}
        for (kind, number), claims in self.claims.items():
            if keys := tuple(each.key for each in claims if each.in_force):
                found[kind][number] = keys
        return found

    @cached_property
    def _frozen(self) -> dict[str, Holdings]:
        return {}

    @cached_property
    def left_over(self) -> Mapping[str, Sequence[int]]:
        """By family, addresses whose Service has gone and whose IPAddress has not: for a moment, or, where the API
        server's repair was quicker than its own cache and made one again, for a minute (IP-54). Nobody uses them, and
        nobody gets them yet.
        """
        found: dict[str, list[int]] = {IPV4: [], IPV6: []}
        for family, numbers in found.items():
            holdings = self.holdings(family)
            for number in holdings.blocked.difference(holdings.holders):
                each = self.addresses.get(text_of(family, number))
                if each is not None and each.manager == ALLOCATOR and each.service:
                    numbers.append(number)
        return found

    @cached_property
    def _ip_places(self) -> dict[str, Places[IPPool]]:
        return {kind: Places([(pool, pool.addresses.of(kind)) for pool in self.ip_pools]) for kind in (IPV4, IPV6)}

    @cached_property
    def _port_places(self) -> Places[PortPool]:
        return Places([(pool, pool.ports) for pool in self.port_pools])

    @cached_property
    def _drawn_by(self) -> dict[str, list[IPPool]]:
        return {}

    def ip_pools_at(self, family: str, number: int) -> tuple[IPPool, ...]:
        """The pools that this address is in, in order."""
        return self._ip_places[family].of(number)

    def port_pools_at(self, port: int) -> tuple[PortPool, ...]:
        """The pools that this port is in, in order."""
        return self._port_places.of(port)

    def ip_pools_of(self, namespace: Namespace) -> list[IPPool]:
        """The pools that any Service of this Namespace may draw from, in order."""
        if namespace.name not in self._drawn_by:
            self._drawn_by[namespace.name] = [p for p in self.ip_pools if p.select.admits_namespace(namespace)]
        return self._drawn_by[namespace.name]

    def kept_for(self, kind: str, number: int) -> list[str]:
        """Whose Services' a number is by any reservation, unless that has expired; `kind` as for `holdings`."""
        return [each.key for each in self.claims.get((kind, number), ()) if each.phase != "Expired"]

    @cached_property
    def held(self) -> frozenset[str]:
        """The addresses that there should be IPAddress objects of ours for."""
        return frozenset(text for each in self.reservations if each.in_force and each.hold for text in each.addresses)

    def holdings(self, kind: str) -> Holdings:
        """Who holds the numbers of "IPv4", of "IPv6", or of node ports (""), as it was when this was first asked.

        The ledger goes on changing while statuses are written: figures of two moments would not add up. What has been
        given back is not part of it, as that alone says nothing.
        """
        if kind not in self._frozen:
            live, copy = self.ledger.of(kind) if kind else self.ledger.ports, Holdings()
            copy.holders = {number: dict(keys) for number, keys in live.holders.items()}
            copy.by_namespace = {name: dict(counts) for name, counts in live.by_namespace.items()}
            copy.blocked, copy.freed = set(live.blocked), live.freed
            self._frozen[kind] = copy
        return self._frozen[kind]

    def occupied(self, kind: str) -> Sorted:
        """Every number that is held by a Service or blocked by an IPAddress object; `kind` as for `holdings`."""
        if kind not in self._occupied:
            self._occupied[kind] = Sorted(self.holdings(kind).held())
        return self._occupied[kind]

    def reserved(self, kind: str) -> Mapping[int, tuple[str, ...]]:
        """The numbers that reservations in force keep, and for which Services; `kind` as for `holdings`."""
        return self._reserved[kind]

    def namespace_of(self, service: Service) -> Namespace:
        """Its Namespace; without labels while that is not known."""
        return self.namespaces.get(service.namespace) or Namespace(service.namespace)

    def exempt(self, service: Service) -> bool:
        """Whether no rule of a pool applies to it (IP-67)."""
        return service.namespace in self.exempt_namespaces or service.key == KUBERNETES


def reserved_numbers(reservation: Reservation) -> Iterator[tuple[str, int]]:
    """Each number of a reservation with its kind: a family, or "" for a node port. What is no address is left out."""
    yield from (each for each in map(parsed, reservation.addresses) if each is not None)
    yield from (("", number) for number in reservation.numbers())
