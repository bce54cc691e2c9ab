"""What is to become of a Service that is created or changed: refused, left alone, or given numbers of our choice.

Decides which numbers are needed and where each may come from; `claims.py` sees to it that no two requests get the same.
Only what a pool that enforces, or a reservation, forbids is refused. In a pool that audits the same is a warning.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from controllers.ipam.choose import RANDOM
from controllers.ipam.needs import Needs, needs
from controllers.ipam.objects import KUBERNETES, Namespace, Service
from controllers.ipam.pools import (
    CLUSTER_DEFAULT,
    DENY,
    HEALTH_CHECK,
    NEXT_POOL,
    NODE_PORT,
    IPPool,
    Pool,
    PortPool,
    banned_addresses,
    banned_ports,
    concerning,
    ports_concerning,
)
from controllers.ipam.ranges import Span, Spans, family_of, number_of, static_ports, text_of
from controllers.ipam.world import PORT, World

NOT_ENTITLED: Final = "NotEntitled"
RESERVED: Final = "Reserved"
QUOTA_EXCEEDED: Final = "QuotaExceeded"
POOL_EXHAUSTED: Final = "PoolExhausted"
# The API server frees a node port a moment after the Service that had it has gone, for all to see.
SETTLING: Final = 0.6
# The API server's own repair may make an IPAddress again when its Service has just gone (IP-50).
ADDRESS_SETTLING: Final = 0.25


class Refusal(Struct, frozen=True):
    """Why a request is refused, in a message for its user; answered as 403 Forbidden (IP-69, IP-75).

    `reason` is one of the four above, `pool` the pool's name or "".
    """

    reason: str
    message: str
    pool: str = ""


class Draw(Struct, frozen=True):
    """Where one number may come from: each of `parts` in turn. `pool` is None for all that no pool keeps for itself.

    `settling` is for how many seconds a number is rather not chosen after it was given back, whatever its pool says.
    """

    parts: tuple[Spans, ...]
    pool: IPPool | PortPool | None = None
    settling: float = ADDRESS_SETTLING

    @property
    def strategy(self) -> str:
        """How the number is chosen."""
        return self.pool.strategy if isinstance(self.pool, IPPool) else RANDOM

    @property
    def cooldown(self) -> float:
        """How long a number that was given back rests, in seconds."""
        return self.pool.cooldown if isinstance(self.pool, IPPool) else 0.0


class Ask(Struct, frozen=True):
    """One number that is needed: of `kind` "IPv4", "IPv6" or "port".

    `reserved` is the one that this Service has a reservation for, or None. Otherwise the draws are tried in turn; when
    none has anything left the request is refused for the sake of pool `denies`, or left to the API server.
    """

    kind: str
    reserved: int | None = None
    draws: tuple[Draw, ...] = ()
    denies: IPPool | PortPool | None = None


class Choice(Struct, frozen=True):
    """What is to be chosen. `addresses` go with needs.addresses (None: given already), `ports` with needs.port_groups.

    `warnings` are for the user.
    """

    needs: Needs
    addresses: tuple[Ask | None, ...] = ()
    ports: tuple[Ask, ...] = ()
    health: Ask | None = None
    warnings: tuple[str, ...] = ()

    def asks(self) -> Iterator[Ask]:
        """All of them."""
        yield from (each for each in self.addresses if each is not None)
        yield from self.ports
        if self.health is not None:
            yield self.health


def decide(new: Service, old: Service | None, world: World) -> Refusal | Choice | None:
    """The decision on a create (`old` is None) or an update; None leaves the request as it is (IP-67, IP-68)."""
    if new.namespace in world.exempt or new.key == KUBERNETES or not world.cluster.families:
        return None
    wanted = needs(new, old, world.cluster.families)
    if wanted is None:
        return None
    warnings: list[str] = []
    for objection, fatal in _objections(new, wanted, world):
        if fatal:
            return objection
        warnings.append(objection.message)
    try:
        return _choice(new, wanted, world, warnings)
    except _Refused as refused:
        return refused.refusal


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _objections(service: Service, wanted: Needs, world: World) -> Iterator[tuple[Refusal, bool]]:
    """What is to be said against numbers that the request names itself, each with whether it is enough to refuse it."""
    namespace = world.namespace(service.namespace)
    for text in wanted.given_addresses:
        yield from _objections_to(text, *number_of(text), service, namespace, world)
    for port in wanted.given_ports:
        yield from _objections_to(f"node port {port}", PORT, port, service, namespace, world)


def _objections_to(
    shown: str,
    kind: str,
    number: int,
    service: Service,
    namespace: Namespace,
    world: World,
) -> Iterator[tuple[Refusal, bool]]:
    owner = world.reserved_for(kind, number)
    if owner is not None and owner != service.key:
        yield Refusal(RESERVED, f"{shown} is reserved for Service {owner} by a ServiceReservation"), True
    pools = _having(kind, number, world)
    if not any(pool.select.admits(namespace, service) for pool in pools):
        for pool in pools:
            if pool.exclusive:
                yield Refusal(NOT_ENTITLED, not_entitled(shown, pool), pool.name), pool.enforced


def _having(kind: str, number: int, world: World) -> Sequence[IPPool | PortPool]:
    """The pools that a number is of: one, unless they overlap."""
    if kind == PORT:
        return [pool for pool in world.port_pools if number in pool.ports]
    return [pool for pool in world.ip_pools if number in pool.addresses.of(kind)]


def not_entitled(shown: str, pool: IPPool | PortPool) -> str:
    """Why a number of an exclusive pool is not for this Service."""
    return f"{shown} belongs to {title(pool)}, which is exclusive to {entitled(pool)}"


def title(pool: Pool) -> str:
    """A pool as people know it: `ServiceIPPool "team-a"`."""
    return f'{"ServiceIPPool" if isinstance(pool, IPPool) else "ServicePortPool"} "{pool.name}"'


def entitled(pool: Pool) -> str:
    """In words, who may draw from a pool."""
    select = pool.select
    parts = []
    if select.namespaces:
        parts.append(f"namespace {' or '.join(sorted(select.namespaces))}")
    if select.namespace is not None:
        parts.append("namespaces that its namespaceSelector selects")
    if select.service is not None:
        parts.append("Services that its serviceSelector selects")
    return " and ".join(parts) or "every Service"


def _over_quota(pool: IPPool | PortPool, service: Service, more: int, world: World) -> Refusal | None:
    if pool.quota is None:
        return None
    held = _held_of(pool, service, world)
    if held + more <= pool.quota:
        return None
    message = (
        f"namespace {service.namespace} holds {held} of the {pool.quota} numbers that {title(pool)} allows a namespace"
    )
    return Refusal(QUOTA_EXCEEDED, f"{message} (spec.quota.perNamespace)", pool.name)


def _held_of(pool: IPPool | PortPool, service: Service, world: World) -> int:
    if isinstance(pool, PortPool):
        return world.held_beside(service, PORT, pool.ports)
    return sum(world.held_beside(service, family, pool.addresses.of(family)) for family in pool.addresses.families)


def _choice(service: Service, wanted: Needs, world: World, warnings: list[str]) -> Choice:
    namespace = world.namespace(service.namespace)
    addresses = tuple(
        None if given else _address_ask(service, namespace, family, world, warnings)
        for family, given in zip(wanted.families, wanted.addresses, strict=True)
    )
    # What the request names itself cannot be chosen for another of its ports (IP-42).
    named = Spans(Span(number, number) for number in (*wanted.node_ports, *wanted.given_ports) if number)
    possible = Spans([world.node_ports]).minus(named)
    ports = tuple(
        _port_ask(
            service, namespace, NODE_PORT, [service.ports[index].name for index in group], possible, world, warnings
        )
        for group in wanted.port_groups
    )
    health = _port_ask(service, namespace, HEALTH_CHECK, None, possible, world, warnings) if wanted.health else None
    used_up = _used_up(Choice(wanted, addresses, ports, health), service, namespace, world, warnings)
    return Choice(
        wanted,
        tuple(ask and _without(ask, used_up) for ask in addresses),
        tuple(_without(ask, used_up) for ask in ports),
        health and _without(health, used_up),
        tuple(warnings),
    )


def _used_up(
    choice: Choice, service: Service, namespace: Namespace, world: World, warnings: list[str]
) -> frozenset[str]:
    """The pools, by title, that this Namespace's quota allows no more of; raises _Refused where that cannot be helped.

    That is: when the request names a number of such a pool, or would draw from it first. Each pool is asked for all
    that might come of it, so that a request for several numbers gets no more than one for one.
    """
    pools: dict[str, IPPool | PortPool] = {}
    named, first, later = Counter[str](), Counter[str](), Counter[str]()
    given = [*map(number_of, choice.needs.given_addresses), *((PORT, port) for port in choice.needs.given_ports)]
    for pool in (pool for kind, number in given for pool in _having(kind, number, world)):
        if pool.select.admits(namespace, service):
            pools[title(pool)] = pool
            named[title(pool)] += 1
    for ask in choice.asks():
        for at, draw in enumerate(ask.draws):
            if draw.pool is not None:
                pools[title(draw.pool)] = draw.pool
                (later if at else first)[title(draw.pool)] += 1
    found = set()
    for name, pool in pools.items():
        wanted = named[name] + first[name]
        refusal = _over_quota(pool, service, wanted, world) if wanted else None
        if refusal is not None and pool.enforced:
            raise _Refused(refusal)
        if refusal is not None:
            warnings.append(refusal.message)
        elif pool.enforced and _over_quota(pool, service, wanted + later[name], world) is not None:
            found.add(name)
    return frozenset(found)


def _without(ask: Ask, used_up: frozenset[str]) -> Ask:
    """The ask without draws, but the first, from pools that are used up; who denies is the last that is left."""
    later = [draw for draw in ask.draws[1:] if draw.pool is None or title(draw.pool) not in used_up]
    draws = (*ask.draws[:1], *later)
    return msgspec.structs.replace(ask, draws=draws, denies=draws[-1].pool if ask.denies is not None else None)


def _address_ask(service: Service, namespace: Namespace, family: str, world: World, warnings: list[str]) -> Ask:
    reservation = world.reservation(service.key) if service.name else None
    for text in reservation.addresses if reservation is not None else ():
        _, number = number_of(text)
        if family_of(text) == family and _obtainable(text, family, number, service, world, warnings):
            return Ask(family, reserved=number)
    pools = concerning(world.ip_pools, namespace, service, family)
    possible = world.cluster.addresses.of(family)
    draws = [Draw((pool.addresses.of(family).overlap(possible),), pool) for pool in pools]
    return _ask(family, draws, pools, _steered_addresses(family, world))


def _port_ask(
    service: Service,
    namespace: Namespace,
    purpose: str,
    port_names: Sequence[str] | None,
    possible: Spans,
    world: World,
    warnings: list[str],
) -> Ask:
    """For ports that share a number, or the health check's port: those have no names."""
    reservation = world.reservation(service.key) if service.name else None
    if reservation is not None:
        by_name = dict(reservation.node_ports)
        number = (
            reservation.health_check_node_port
            if port_names is None
            else next((by_name[name] for name in port_names if by_name.get(name)), 0)
        )
        named = number not in possible and number in Spans([world.node_ports])
        if number and not named and _obtainable(f"node port {number}", PORT, number, service, world, warnings):
            return Ask(PORT, reserved=number)
    pools = ports_concerning(world.port_pools, namespace, service, purpose)
    draws = [Draw((pool.ports.overlap(possible),), pool, SETTLING) for pool in pools]
    return _ask(PORT, draws, pools, _steered_ports(possible, world))


def _obtainable(shown: str, kind: str, number: int, service: Service, world: World, warnings: list[str]) -> bool:
    """Whether the reserved number can be had at all: a Service must not fail for what its reservation cannot keep."""
    possible = Spans([world.node_ports]) if kind == PORT else world.cluster.addresses.of(kind)
    holders = [key for key in world.holdings(kind).holders.get(number, ()) if key != service.key]
    namespace = world.namespace(service.namespace)
    against = [each for each, fatal in _objections_to(shown, kind, number, service, namespace, world) if fatal]
    if holders:
        warnings.append(f"{shown} is reserved for this Service, but Service {holders[0]} holds it")
    elif against:
        warnings.append(f"{shown} is reserved for this Service, but {against[0].message}")
    elif number not in possible:
        where = "the node port range" if kind == PORT else "every ready ServiceCIDR"
        warnings.append(f"{shown} is reserved for this Service, but lies outside {where}")
    return not holders and not against and number in possible


def _ask(kind: str, draws: list[Draw], pools: Sequence[IPPool | PortPool], steered: Draw | None) -> Ask:
    """The chain of draws: it goes on after a pool only as that pool's onExhausted has it."""
    chain: list[Draw] = []
    for draw, pool in zip(draws, pools, strict=True):
        chain.append(draw)
        if pool.on_exhausted == DENY and pool.enforced:
            return Ask(kind, draws=tuple(chain), denies=pool)
        if pool.on_exhausted in (DENY, CLUSTER_DEFAULT):
            break
        assert pool.on_exhausted == NEXT_POOL
    return Ask(kind, draws=(*chain, steered) if steered is not None else tuple(chain))


def _steered_addresses(family: str, world: World) -> Draw | None:
    """Everything that no pool keeps for itself, the static band last as the API server has it (IP-15).

    Needed only where a pool does: the API server's own pick would walk through such a range address by address, each
    refused by a webhook, and under a lock (IP-16, IP-20).
    """
    banned = banned_addresses(world.ip_pools).of(family).overlap(world.cluster.addresses.of(family))
    if not banned:
        return None
    open_ = world.cluster.addresses.of(family).minus(banned)
    band = world.cluster.bands.of(family)
    return Draw((open_.minus(band), open_.overlap(band)))


def _steered_ports(possible: Spans, world: World) -> Draw | None:
    """The same for ports, where the API server's own pick would be refused without a second try (IP-62)."""
    banned = banned_ports(world.port_pools).overlap(possible)
    if not banned:
        return None
    first, last = world.node_ports
    band = Spans([Span(first, first + static_ports(first, last) - 1)])
    open_ = possible.minus(banned)
    return Draw((open_.minus(band), open_.overlap(band)), settling=SETTLING)


def exhausted(pool: IPPool | PortPool, kind: str, world: World) -> Refusal:
    """Nothing of a pool is left: its size, who has it (IP-75), and how many are kept although nobody has them."""
    spans = pool.ports if isinstance(pool, PortPool) else pool.addresses.of(kind)
    counts = {
        name: found
        for name in world.holdings(kind).by_namespace
        if (found := world.holdings(kind).of_namespace(name, spans))
    }
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:3]
    held = ", ".join(f"{name} {count}" for name, count in largest) or "nobody"
    what = "node port" if kind == PORT else f"{kind} address"
    message = f"{title(pool)} has no free {what}: of its {spans.size}, most are held by namespace {held}"
    possible = spans.overlap(Spans([world.node_ports]) if kind == PORT else world.cluster.addresses.of(kind))
    kept = possible.size - world.holdings(kind).count(possible)
    if kept:
        message += f"; {kept} {'is' if kept == 1 else 'are'} reserved, cooling down or just being given away"
    return Refusal(POOL_EXHAUSTED, message, pool.name)


def shown(kind: str, number: int) -> str:
    """A number as people write it."""
    return str(number) if kind == PORT else text_of(kind, number)
