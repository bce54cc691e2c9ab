"""Pools as they are worked with: ranges as numbers, selectors that answer, and which pools concern a Service.

A pool *concerns* a Service when its `select` admits it (no `select` admits all). An *enforced exclusive* pool is also
a ban: whom it does not admit may hold none of its numbers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

from msgspec import Struct

from controllers.ipam.objects import Namespace, Service
from controllers.ipam.ranges import NONE, NOWHERE, Addresses, Spans
from controllers.model.objects import Labels

NODE_PORT: Final = "NodePort"
HEALTH_CHECK: Final = "HealthCheck"
NEXT_POOL: Final = "NextPool"
CLUSTER_DEFAULT: Final = "ClusterDefault"
DENY: Final = "Deny"


class Requirement(Struct, frozen=True):
    """One of a label selector's expressions."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def admits(self, labels: Mapping[str, str]) -> bool:
        """As the API's machinery has it: NotIn and DoesNotExist also admit who lacks the key."""
        has = self.key in labels
        if self.operator == "Exists":
            return has
        if self.operator == "DoesNotExist":
            return not has
        among = has and labels[self.key] in self.values
        return among if self.operator == "In" else not among


class LabelSelector(Struct, frozen=True):
    """A label selector; an empty one admits everything."""

    labels: Labels = Labels()
    expressions: tuple[Requirement, ...] = ()

    def admits(self, labels: Mapping[str, str]) -> bool:
        """Whether something with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.labels.items()) and all(
            each.admits(labels) for each in self.expressions
        )


class Select(Struct, frozen=True):
    """Who may draw from a pool: every part that is given must admit. `namespaces` empty means any."""

    namespaces: frozenset[str] = frozenset()
    namespace: LabelSelector | None = None
    service: LabelSelector | None = None

    def admits_namespace(self, namespace: Namespace) -> bool:
        """Whether Services of this Namespace may be selected at all."""
        if self.namespaces and namespace.name not in self.namespaces:
            return False
        return self.namespace is None or self.namespace.admits(namespace.labels)

    def admits(self, namespace: Namespace, service: Service) -> bool:
        """Whether this Service is selected."""
        return self.admits_namespace(namespace) and (self.service is None or self.service.admits(service.labels))


EVERYONE: Final = Select()


class Pool(Struct, frozen=True, kw_only=True):
    """What pools of addresses and of ports have in common. `quota` is numbers a Namespace may hold, None for any."""

    name: str
    uid: str = ""
    generation: int = 0
    select: Select = EVERYONE
    priority: int = 100
    exclusive: bool = False
    enforced: bool = False
    quota: int | None = None
    on_exhausted: str = NEXT_POOL
    warn_percent: int = 80
    critical_percent: int = 95

    @property
    def banned(self) -> bool:
        """Whether its numbers are forbidden to whom it does not admit."""
        return self.exclusive and self.enforced


class IPPool(Pool, frozen=True, kw_only=True):
    """A ServiceIPPool. `addresses` is what is in its ranges and not excluded; times are in seconds.

    `sticky` keeps addresses by Service name, for `sticky_ttl` after deletion (None: for ever). `cidrs` are the ranges
    that were given as CIDRs; `broken` are ranges that do not make sense, in the words of a condition.
    """

    addresses: Addresses = NOWHERE
    strategy: str = "Random"
    cooldown: float = 0.0
    sticky: bool = False
    sticky_ttl: float | None = None
    creates_service_cidr: bool = False
    cidrs: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


class PortPool(Pool, frozen=True, kw_only=True):
    """A ServicePortPool. `purposes` are NodePort, HealthCheck or both."""

    ports: Spans = NONE
    purposes: frozenset[str] = frozenset({NODE_PORT, HEALTH_CHECK})


class Reservation(Struct, frozen=True, kw_only=True):
    """A ServiceReservation: what the named Service is to have, and nobody else.

    `addresses`, `node_ports` (by port name) and `health_check_node_port` are what is reserved in effect: the spec's,
    and where it adopts, what its status says that it took over. `phase` is the status'. `created` is RFC 3339.
    """

    namespace: str
    name: str
    uid: str = ""
    generation: int = 0
    created: str = ""
    service_name: str = ""
    addresses: tuple[str, ...] = ()
    node_ports: tuple[tuple[str, int], ...] = ()
    health_check_node_port: int = 0
    adopt: bool = False
    ttl: float | None = None
    hold: bool = False
    phase: str = ""
    last_bound: str = ""
    terminating: bool = False

    @property
    def key(self) -> str:
        """`namespace/name` of the Service that it is for."""
        return f"{self.namespace}/{self.service_name}"

    @property
    def rank(self) -> tuple[str, str, str]:
        """Of two for the same the one with the lower rank is heeded: the older, then the first by name."""
        return self.created, self.namespace, self.name

    @property
    def in_force(self) -> bool:
        """Whether it keeps others away: not once it has expired, goes, or lost a conflict."""
        return not self.terminating and self.phase not in ("Expired", "Conflict")

    def numbers(self) -> tuple[int, ...]:
        """Every node port that it reserves."""
        held = [number for _, number in self.node_ports if number]
        return tuple(dict.fromkeys([*held, *([self.health_check_node_port] if self.health_check_node_port else [])]))


P = TypeVar("P", bound=Pool)


def by_priority(pools: Iterable[P]) -> list[P]:
    """Lowest number first, ties by name."""
    return sorted(pools, key=lambda pool: (pool.priority, pool.name))


def concerning(pools: Sequence[IPPool], namespace: Namespace, service: Service, family: str) -> list[IPPool]:
    """The pools that this Service draws an address of this family from, in order."""
    return [pool for pool in pools if pool.addresses.of(family) and pool.select.admits(namespace, service)]


def ports_concerning(pools: Sequence[PortPool], namespace: Namespace, service: Service, purpose: str) -> list[PortPool]:
    """The pools that this Service draws ports for this purpose from, in order."""
    return [pool for pool in pools if purpose in pool.purposes and pool.select.admits(namespace, service)]


def banned_addresses(pools: Iterable[IPPool]) -> Addresses:
    """What only those may hold whom a pool admits."""
    found = NOWHERE
    for pool in pools:
        if pool.banned:
            found = found.union(pool.addresses)
    return found


def banned_ports(pools: Iterable[PortPool]) -> Spans:
    """The ports that only those may hold whom a pool admits."""
    found = NONE
    for pool in pools:
        if pool.banned:
            found = found.union(pool.ports)
    return found
