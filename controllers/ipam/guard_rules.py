"""What is forbidden to whom: the rules that the generated guards (`guards.py`) say in CEL, and `violation` in Python.

A number is kept for somebody in two ways: it is in the range of an enforced exclusive pool, or a ServiceReservation
names it. Of an IPAddress nothing is known of its Service but namespace and name, so there a pool admits whole
Namespaces; the labels of a Service are judged where a Service is written.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol, Self, TypeVar

from msgspec import Struct

from controllers.ipam.objects import ALLOCATOR, KUBERNETES, Address, Namespace
from controllers.ipam.pools import IPPool, Pool, PortPool, Reservation
from controllers.ipam.ranges import IPV4, IPV6, NONE, NOWHERE, Addresses, Spans, number_of, parsed, shown, text_of

API_SERVER: Final = "system:apiserver"
# How many Namespaces a message names before it counts the others.
_NAMED: Final = 5


class _Set(Protocol):
    def overlap(self, other: Self, /) -> Self: ...
    def minus(self, other: Self, /) -> Self: ...


S = TypeVar("S", bound=_Set)
P = TypeVar("P", bound=Pool)
N = TypeVar("N", str, int)


class Facts(Struct, frozen=True, kw_only=True):
    """All that the guards are made from.

    `holders` and `port_holders` tell which live Services (`namespace/name`) list an address or a node port, `exempt`
    which Namespaces are never judged, ours among them (IP-67). `user` is who we are for the API server: only we may
    put IPAddress objects with another label than the allocator's on guarded addresses, as holds. `families` are the
    cluster's.
    """

    ip_pools: tuple[IPPool, ...] = ()
    port_pools: tuple[PortPool, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    holders: Mapping[str, Collection[str]] = {}
    port_holders: Mapping[int, Collection[str]] = {}
    exempt: frozenset[str] = frozenset({"kube-system"})
    user: str = ""
    families: tuple[str, ...] = (IPV4, IPV6)


class Entitled(Struct, frozen=True):
    """Whom one pool admits, as far as Namespaces go (None: all), and the Services in them."""

    pool: Pool
    namespaces: tuple[str, ...] | None


class AddressRegion(Struct, frozen=True):
    """Addresses that the same exclusive pools keep, and who holds some although no pool of them admits it."""

    addresses: Addresses
    entitled: tuple[Entitled, ...]
    grandfathered: tuple[tuple[str, str], ...] = ()

    def admits(self, namespace: str) -> bool:
        """Whether the Services of this Namespace may hold them, as far as their Namespace goes."""
        return any(each.namespaces is None or namespace in each.namespaces for each in self.entitled)


class PortRegion(Struct, frozen=True):
    """Node ports that the same exclusive pools keep."""

    ports: Spans
    entitled: tuple[Entitled, ...]


class Rules(Struct, frozen=True, kw_only=True):
    """The facts, worked out. `owners` and `port_owners` tell for which Service a number is reserved."""

    facts: Facts
    address_regions: tuple[AddressRegion, ...] = ()
    port_regions: tuple[PortRegion, ...] = ()
    owners: Mapping[str, str] = {}
    port_owners: Mapping[int, str] = {}

    def exempts(self, key: str) -> bool:
        """Whether this Service (`namespace/name`) is never judged (IP-67)."""
        return key == KUBERNETES or key.partition("/")[0] in self.facts.exempt


def rules(facts: Facts) -> Rules:
    """The rules that these facts make."""
    reservations = ranked(facts.reservations)
    made = Rules(
        facts=facts,
        address_regions=tuple(
            AddressRegion(addresses, _entitled(pools, facts.namespaces))
            for addresses, pools in _partition([(p.addresses, p) for p in _banned(facts.ip_pools)], NOWHERE)
        ),
        port_regions=tuple(
            PortRegion(ports, _entitled(pools, facts.namespaces))
            for ports, pools in _partition([(p.ports, p) for p in _banned(facts.port_pools)], NONE)
        ),
        owners=_owners(reservations, lambda each: tuple(filter(None, map(canonical, each.addresses)))),
        port_owners=_owners(reservations, lambda each: each.numbers()),
    )
    regions = [
        AddressRegion(region.addresses, region.entitled, tuple(_grandfathered(made, region)))
        for region in made.address_regions
    ]
    return Rules(
        facts=facts,
        address_regions=tuple(regions),
        port_regions=made.port_regions,
        owners=made.owners,
        port_owners=made.port_owners,
    )


def violation(
    address: Address, rules: Rules, user: str = "", holders: Callable[[str], Collection[str]] | None = None
) -> str | None:
    """Why this IPAddress must not be created, for people; None when it may be. The guards' CEL judges the same.

    `user` is who creates it. `holders` tells which live Services list an address: a later view than the facts', if
    the caller has one. A Service that lists the address already is admitted whatever the pools say: this may be the
    API server's repair, and it does not start while that is refused (IP-63a).

    What is no Service's is refused in guarded ranges to everybody but us: any IPAddress object blocks its address for
    the allocator (IP-19), so whoever may create one could take a pool's numbers away from those that it is kept for.
    Other controllers' objects for Services are judged as the allocator's are. Of ours, those with the allocator's label
    are judged, too: they repair what the API server would repair.
    """
    key = address.service or ""
    ours = user != "" and user == rules.facts.user and address.manager != ALLOCATOR
    if ours or rules.exempts(key):
        return None
    listing = rules.facts.holders.get(address.name, ()) if holders is None else holders(address.name)
    if key and key in listing:
        return None
    for region in rules.address_regions:
        if region.addresses.holds(address.name) and not region.admits(key.partition("/")[0]):
            return f"{address.name} {kept(region)}"
    owner = rules.owners.get(address.name, key)
    return f"{address.name} {reserved(owner)}" if owner != key else None


def reserved(owner: str) -> str:
    """Predicate of a number that a ServiceReservation keeps for this Service."""
    return f"is reserved for Service {owner} by a ServiceReservation"


def kept(region: AddressRegion | PortRegion) -> str:
    """Predicate of a number in a region: whose it is, where the range lies, and who may use it."""
    names = ", ".join(each.pool.name for each in region.entitled)
    if isinstance(region, PortRegion):
        kind, ranges = "ServicePortPool", ", ".join(f"{s.first}-{s.last}" for s in region.ports.spans)
    else:
        families = region.addresses.families
        kind, ranges = "ServiceIPPool", ", ".join(shown(f, region.addresses.of(f)) for f in families)
    who = " or ".join(map(_who, region.entitled))
    return f"is kept by {kind} {names} ({_clipped(ranges)}) for {who}"


def canonical(text: str) -> str:
    """An address in the text that IPAddress objects are named by; "" for what is none."""
    found = parsed(text)
    return text_of(*found) if found is not None else ""


def ranked(reservations: Iterable[Reservation]) -> list[Reservation]:
    """Those in force, the one that wins a number first: the oldest, ties by name."""
    return sorted((e for e in reservations if e.in_force), key=lambda e: e.rank)


def _banned(pools: Iterable[P]) -> list[P]:
    return sorted((pool for pool in pools if pool.banned), key=lambda pool: pool.name)


def _partition(kept: Sequence[tuple[S, P]], nothing: S) -> list[tuple[S, tuple[P, ...]]]:
    """Disjoint sets, each with all pools that have it. Pools should not overlap; where they do, each one's may."""
    found: list[tuple[S, tuple[P, ...]]] = []
    for rest, pool in kept:
        split: list[tuple[S, tuple[P, ...]]] = []
        for numbers, pools in found:
            common = numbers.overlap(rest)
            split += [(numbers.minus(common), pools), (common, (*pools, pool))]
            rest = rest.minus(common)
        found = [each for each in [*split, (rest, (pool,))] if each[0] != nothing]
    return found


def _entitled(pools: Sequence[Pool], namespaces: Sequence[Namespace]) -> tuple[Entitled, ...]:
    return tuple(Entitled(pool, _namespaces(pool, namespaces)) for pool in pools)


def _namespaces(pool: Pool, known: Sequence[Namespace]) -> tuple[str, ...] | None:
    """The Namespaces that a pool admits. Those that it names count before they exist, or we have seen them."""
    select = pool.select
    if select.namespace is None:
        return tuple(sorted(select.namespaces)) or None
    return tuple(sorted(each.name for each in known if select.admits_namespace(each)))


def _owners(ranked: Sequence[Reservation], numbers: Callable[[Reservation], tuple[N, ...]]) -> dict[N, str]:
    found: dict[N, str] = {}
    for each in ranked:
        for number in numbers(each):
            found.setdefault(number, each.key)
    return dict(sorted(found.items(), key=lambda item: item[0]))


def _grandfathered(rules: Rules, region: AddressRegion) -> list[tuple[str, str]]:
    """The addresses of a region with live Services that list them and are not admitted (IP-63a), in order."""
    found = []
    for text, keys in rules.facts.holders.items():
        name = canonical(text)
        if name and region.addresses.holds(name):
            found += [
                (name, key) for key in keys if not rules.exempts(key) and not region.admits(key.partition("/")[0])
            ]
    return sorted(set(found), key=lambda each: (*number_of(each[0]), each[1]))


def _who(entitled: Entitled) -> str:
    services = "Services" if entitled.pool.select.service is None else "the Services that its selector admits"
    names = entitled.namespaces
    if names is None:
        return f"{services} of any namespace"
    if not names:
        return f"{services} of namespaces that it selects (none now)"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{services} of namespaces {', '.join(names[:_NAMED])}{more}"


def _clipped(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"
