"""What a decision about one Service needs to know of all else: kept up to date by the shell, read by the core."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from msgspec import Struct

from controllers.ipam.ledger import Holdings, Ledger
from controllers.ipam.objects import Namespace, Service, ServiceCIDR, families_of
from controllers.ipam.pools import IPPool, PortPool, Reservation
from controllers.ipam.ranges import (
    NOWHERE,
    Addresses,
    Span,
    Spans,
    addresses_of,
    network,
    parsed,
    static_band,
    usable_span,
)
from controllers.model.objects import Labels

K = TypeVar("K")
V = TypeVar("V")

# The kind of number that is neither an IPv4 nor an IPv6 address.
PORT: Final = "port"
# The ServiceCIDR that the API server makes from its flags; its order gives the primary family (IP-25).
DEFAULT_CIDR: Final = "kubernetes"
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"


class Cluster(Struct, frozen=True):
    """What the API server allocates from: `addresses` are what Services can have, `bands` the part that it picks last.

    `ends` are the network and broadcast addresses, but not where another CIDR gives them (IP-13, case C7).
    `families` are the configured ones, the primary first; empty while that is not known. `many` tells families of which
    there are several CIDRs, where a dry run cannot be trusted (IP-24).
    """

    families: tuple[str, ...] = ()
    addresses: Addresses = NOWHERE
    bands: Addresses = NOWHERE
    many: frozenset[str] = frozenset()
    ends: Addresses = NOWHERE


UNKNOWN: Final = Cluster()


def cluster_of(service_cidrs: Iterable[ServiceCIDR]) -> Cluster:
    """The cluster as its ServiceCIDRs describe it; those that are going or not ready do not count (IP-12)."""
    every = list(service_cidrs)
    default = next((each for each in every if each.name == DEFAULT_CIDR), None)
    texts = sorted({text for each in every if each.ready and not each.terminating for text in each.cidrs})
    spans = [(text, family, span) for text in texts for family, span in usable_span(text)]
    bands = [(family, Span(span.first, span.first + static_band(text) - 1)) for text, family, span in spans]
    families = [family for _, family, _ in spans]
    addresses = addresses_of((family, span) for _, family, span in spans)
    return Cluster(
        families=families_of(default.cidrs) if default else (),
        addresses=addresses,
        bands=addresses_of(bands),
        many=frozenset(family for family in families if families.count(family) > 1),
        ends=addresses_of(network(text) for text, _, _ in spans).minus(addresses),
    )


Rank = tuple[str, str, str]


def reserved_numbers(reservation: Reservation) -> list[tuple[str, int]]:
    """Each number of a reservation with its kind; what is no address is left out."""
    found = [each for each in map(parsed, reservation.addresses) if each is not None]
    return found + [(PORT, port) for port in reservation.numbers()]


def _discard(index: dict[K, dict[Rank, V]], key: K, rank: Rank) -> None:
    found = index.get(key, {})
    found.pop(rank, None)
    if not found:
        index.pop(key, None)


def _nothing(kind: str, namespace: str) -> Iterable[tuple[int, str]]:
    return ()


@dataclass
class World:
    """Pools in order of priority, reservations, holders. `in_flight` gives the numbers of a kind that requests of a
    Namespace were given a moment ago and that nobody lists yet, each with the Service that it is for.
    """

    node_ports: Span
    exempt: frozenset[str] = frozenset({"kube-system"})
    ledger: Ledger = field(default_factory=Ledger)
    cluster: Cluster = UNKNOWN
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    ip_pools: Sequence[IPPool] = ()
    port_pools: Sequence[PortPool] = ()
    in_flight: Callable[[str, str], Iterable[tuple[int, str]]] = _nothing
    _by_service: dict[str, dict[Rank, Reservation]] = field(default_factory=dict)
    _reserved: dict[tuple[str, int], dict[Rank, str]] = field(default_factory=dict)

    def reservation_changed(self, old: Reservation | None, new: Reservation | None) -> None:
        """A reservation came, changed or went; one that is not in force counts as gone."""
        if old is not None and old.in_force:
            _discard(self._by_service, old.key, old.rank)
            for number in reserved_numbers(old):
                _discard(self._reserved, number, old.rank)
        if new is not None and new.in_force:
            self._by_service.setdefault(new.key, {})[new.rank] = new
            for number in reserved_numbers(new):
                self._reserved.setdefault(number, {})[new.rank] = new.key

    def reservation(self, key: str) -> Reservation | None:
        """What is reserved for the Service `namespace/name`: of several the oldest, then the first by name."""
        found = self._by_service.get(key)
        return found[min(found)] if found else None

    def reserved_for(self, kind: str, number: int) -> str | None:
        """The Service that a number is reserved for: by the oldest of several reservations."""
        found = self._reserved.get((kind, number))
        return found[min(found)] if found else None

    def namespace(self, name: str) -> Namespace:
        """The Namespace; one that no cache shows yet has the label that every Namespace has."""
        found = self.namespaces.get(name)
        return found or Namespace(name, Labels({NAMESPACE_NAME_LABEL: name}))

    def holdings(self, kind: str) -> Holdings:
        """Who holds the numbers of a kind: "IPv4", "IPv6" or "port"."""
        return self.ledger.ports if kind == PORT else self.ledger.of(kind)

    def held_beside(self, service: Service, kind: str, spans: Spans) -> int:
        """How many of these numbers the Service's Namespace holds, or is about to, but for what this request has."""
        namespace = service.namespace
        own = {each for text in service.addresses if (each := parsed(text))} | {(PORT, n) for n in service.node_ports}
        about = [
            number
            for number, key in self.in_flight(kind, namespace)
            # Without a name yet (IP-2), it is nobody's key.
            if (key != service.key or not service.name) and (kind, number) not in own
        ]
        return self.holdings(kind).of_namespace(namespace, spans) + spans.count_within(about)
