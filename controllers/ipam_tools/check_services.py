"""Services of manifests: whether they could have the numbers that they name, and where they would get the others."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from controllers.ipam.admission import Ask, Choice, Draw, Refusal, decide, exhausted, shown, title
from controllers.ipam.choose import RANDOM, free
from controllers.ipam.families import canonical, resulting, with_addresses
from controllers.ipam.needs import Needs, carried_over, needs
from controllers.ipam.objects import Port, Service
from controllers.ipam.ranges import Spans, family_of, number_of
from controllers.ipam.snapshot import HOLD_MANAGER, reserved_numbers
from controllers.ipam.world import PORT
from controllers.ipam_tools.facts import Facts
from controllers.ipam_tools.findings import ERROR, INFO, WARNING, Finding
from controllers.ipam_tools.manifests import PathStep
from controllers.ipam_tools.overlay import Entry

Number = tuple[str, int]
Path = tuple[PathStep, ...]


class _Picked(NamedTuple):
    """A number for one need: `number` None leaves it to the API server; `told` is what there is to say."""

    number: int | None
    told: str = ""


class _Given(NamedTuple):
    """A number that a manifest names."""

    kind: str
    number: int
    path: Path

    @property
    def key(self) -> Number:
        return self.kind, self.number

    @property
    def text(self) -> str:
        return f"node port {self.number}" if self.kind == PORT else shown(self.kind, self.number)


class _Exhausted(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def checked_services(entries: Iterable[Entry], facts: Facts, wanted: Facts) -> Iterator[Finding]:
    """The findings of all Services, each looked at as if those before it had been applied."""
    found = [(entry, entry.object) for entry in entries if isinstance(entry.object, Service)]
    checker = _Checker(found, facts, wanted)
    for entry, service in found:
        yield from checker.service(entry, service)


class _Checker:
    """Goes through the Services; its world follows."""

    def __init__(self, services: Iterable[tuple[Entry, Service]], facts: Facts, wanted: Facts) -> None:
        self._facts = facts
        self._world = wanted.world()
        # Whoever names a number first among the manifests; numbers that are named later are not picked before.
        self._named: dict[Number, Entry] = {}
        for entry, service in services:
            for each in given_numbers(service):
                self._named.setdefault(each.key, entry)
        kept = (
            (kind or PORT, number)
            for reservation in wanted.compiled_reservations
            if reservation.in_force
            for kind, number in reserved_numbers(reservation)
        )
        self._kept = {*self._named, *kept}
        self._free: dict[tuple[str, Spans], int] = {}

    def service(self, entry: Entry, new: Service) -> Iterator[Finding]:
        """What there is to say of one Service."""
        old = self._facts.services.get(new.key)
        families = self._world.cluster.families
        refused = refused_by_server(new, old, families)
        if refused is not None:
            path, message = refused
            yield entry.finding(ERROR, "Invalid", message, *path)
            return
        wanted = needs(new, old, families)
        if wanted is None:
            return
        yield from self._collisions(entry, new, wanted)
        decision = decide(new, old, self._world)
        if isinstance(decision, Refusal):
            yield entry.finding(ERROR, decision.reason, decision.message, *_path_in(new, decision.message))
            return
        for warning in decision.warnings if decision is not None else ():
            yield entry.finding(WARNING, "WouldWarn", warning, *_path_in(new, warning))
        yield from self._against_reservation(entry, new)
        yield from self._filled(entry, new, old, wanted, decision)

    def _collisions(self, entry: Entry, new: Service, wanted: Needs) -> Iterator[Finding]:
        """Numbers that somebody else has, or that the API server has not."""
        fresh = {number_of(each) for each in wanted.given_addresses} | {(PORT, each) for each in wanted.given_ports}
        for each in given_numbers(new):
            if each.key not in fresh:
                continue
            whose = self._whose(entry, new, each)
            if whose:
                yield entry.finding(ERROR, "Collision", f"{each.text} is {whose}", *each.path)
            elif outside := self._outside(each):
                yield entry.finding(ERROR, "OutOfReach", f"{each.text} is outside {outside}", *each.path)

    def _whose(self, entry: Entry, new: Service, each: _Given) -> str:
        """Who has it, in words; "" when nobody has."""
        first = self._named[each.key]
        if first is not entry:
            return f"also named by Service {first.namespace}/{first.name} at {first.place}"
        holdings = self._world.holdings(each.kind)
        holders = sorted(key for key in holdings.holders.get(each.number, ()) if key != new.key)
        if holders:
            return f"held by Service {holders[0]}"
        found = self._facts.addresses.get(each.text)
        if found is None or found.service == new.key:
            return ""
        # A hold gives way to the Service that it is for; to any other the reservation says no.
        if found.manager == HOLD_MANAGER and self._world.reserved_for(each.kind, each.number) is not None:
            return ""
        return f"taken by an IPAddress of {found.service or found.manager or 'somebody else'}"

    def _outside(self, each: _Given) -> str:
        first, last = self._world.node_ports
        if each.kind == PORT:
            return "" if first <= each.number <= last else f"--service-node-port-range={first}-{last}"
        return "" if each.number in self._world.cluster.addresses.of(each.kind) else "every ready ServiceCIDR"

    def _against_reservation(self, entry: Entry, new: Service) -> Iterator[Finding]:
        """A Service that names another address than the one that is kept for it."""
        reservation = self._world.reservation(new.key)
        for each in given_numbers(new) if reservation is not None else ():
            kept = [text for text in reservation.addresses if each.kind == family_of(text)] if reservation else []
            if each.kind != PORT and kept and each.text not in kept:
                message = f"it names {each.text}, but {kept[0]} is reserved for it by a ServiceReservation"
                yield entry.finding(WARNING, "NotItsReservation", message, *each.path)

    def _filled(
        self, entry: Entry, new: Service, old: Service | None, wanted: Needs, decision: Choice | None
    ) -> Iterator[Finding]:
        """What would be chosen; from then on the Service has it."""
        base = carried_over(new, old)
        addresses, ports, health = list(wanted.addresses), list(wanted.node_ports), base.health_check_node_port
        try:
            for index, ask in enumerate(decision.addresses if decision is not None else ()):
                if ask is not None and (picked := self._pick(new, ask)).told:
                    addresses[index] = shown(ask.kind, picked.number) if picked.number is not None else ""
                    yield entry.finding(INFO, "WouldGet", f"{ask.kind} address {picked.told}")
            for group, ask in zip(wanted.port_groups, decision.ports if decision is not None else (), strict=False):
                picked = self._pick(new, ask)
                for index in group:
                    ports[index] = picked.number or 0
                if picked.told:
                    port = new.ports[group[0]]
                    message = f"node port for port {port.name or port.port} {picked.told}"
                    yield entry.finding(INFO, "WouldGet", message, "spec", "ports", group[0])
            if decision is not None and decision.health is not None:
                picked = self._pick(new, decision.health)
                health = picked.number or 0
                if picked.told:
                    yield entry.finding(INFO, "WouldGet", f"health check node port {picked.told}")
        except _Exhausted as error:
            yield entry.finding(ERROR, error.refusal.reason, error.refusal.message)
        self._apply(base, old, [each for each in addresses if each], ports, health)

    def _pick(self, service: Service, ask: Ask) -> _Picked:
        """What a number would be, and from where. Raises _Exhausted when the Service would be refused."""
        if ask.reserved is not None:
            return _Picked(ask.reserved, f"{shown(ask.kind, ask.reserved)}, reserved for it by a ServiceReservation")
        for draw in ask.draws:
            number, among = self._from(service, ask.kind, draw)
            if number is not None:
                told = f"{shown(ask.kind, number)} of" if draw.strategy != RANDOM else f"at random of {among} free in"
                return _Picked(number, f"{told} {title(draw.pool)}" if draw.pool is not None else "")
        if ask.denies is not None:
            raise _Exhausted(exhausted(ask.denies, ask.kind, self._world))
        return _Picked(None, "left to the API server: its pools have none free" if ask.draws else "")

    def _from(self, service: Service, kind: str, draw: Draw) -> tuple[int | None, int]:
        """A number of a draw, the lowest where any would do, and among how many it is."""
        holdings = self._world.holdings(kind)

        def taken(number: int) -> bool:
            owner = self._world.reserved_for(kind, number)
            named = self._named.get((kind, number))
            return number in holdings or owner not in (None, service.key) or named is not None

        for spans in draw.parts:
            found = free(spans, taken, 1, strategy=draw.strategy, at=lambda _: 0, freed=holdings.freed.get)
            if found:
                return found[0], self._free_of(kind, spans)
        return None, 0

    def _free_of(self, kind: str, spans: Spans) -> int:
        """How many of these numbers nobody has, names in a manifest, or has a reservation for."""
        if (kind, spans) not in self._free:
            holdings = self._world.holdings(kind)
            kept = [number for at, number in self._kept if at == kind and number in spans and number not in holdings]
            self._free[kind, spans] = spans.size - holdings.count(spans) - len(kept)
        return self._free[kind, spans]

    def _took(self, numbers: Iterable[Number]) -> None:
        """Counts what a Service is about to get: to count all anew for each would take minutes for a large cluster."""
        for kind, number in numbers:
            if (kind, number) not in self._kept and number not in self._world.holdings(kind):
                for key in self._free:
                    if key[0] == kind and number in key[1]:
                        self._free[key] -= 1

    def _apply(self, base: Service, old: Service | None, addresses: list[str], ports: list[int], health: int) -> None:
        made = msgspec.structs.replace(
            base,
            cluster_ip=addresses[0] if addresses else "",
            cluster_ips=tuple(addresses),
            ports=tuple(
                msgspec.structs.replace(port, node_port=number) for port, number in zip(base.ports, ports, strict=True)
            ),
            health_check_node_port=health,
        )
        got = [number_of(text) for text in made.addresses if canonical(text) is not None]
        self._took(dict.fromkeys([*got, *((PORT, each) for each in made.node_ports)]))
        self._world.ledger.service_changed(old, made, 0.0)


def given_numbers(service: Service) -> Iterator[_Given]:
    """The numbers that a manifest names, and where in it."""
    for index, text in enumerate(service.cluster_ips or ((service.cluster_ip,) if service.cluster_ip else ())):
        if not service.external and canonical(text) is not None:
            yield _Given(
                *number_of(text), ("spec", "clusterIPs", index) if service.cluster_ips else ("spec", "clusterIP")
            )
    if service.type not in ("NodePort", "LoadBalancer"):
        return
    seen: set[int] = set()
    for index, port in enumerate(service.ports):
        if port.node_port and port.node_port not in seen:
            seen.add(port.node_port)
            yield _Given(PORT, port.node_port, ("spec", "ports", index, "nodePort"))
    if service.takes_health_port and service.health_check_node_port not in (0, *seen):
        yield _Given(PORT, service.health_check_node_port, ("spec", "healthCheckNodePort"))


def _path_in(service: Service, message: str) -> Path:
    """Where the number is that a message begins with."""
    found = [each for each in given_numbers(service) if message.startswith(f"{each.text} ")]
    return found[0].path if found else ()


def refused_by_server(new: Service, old: Service | None, families: tuple[str, ...]) -> tuple[Path, str] | None:
    """Why the API server would refuse the numbers or families of a request, and where; None when it would not."""
    addressed = with_addresses(new, old)
    if addressed.cluster_ips and addressed.cluster_ip != addressed.cluster_ips[0]:
        return (
            "spec",
            "clusterIPs",
        ), f"clusterIP must be set, too, to the first of clusterIPs: {addressed.cluster_ips[0]}"
    if resulting(new, old, families) is None:
        kinds = " and ".join(families) or "unknown families"
        message = (
            "the API server would refuse its clusterIPs, ipFamilies and ipFamilyPolicy: they do not go together, or not"
            f" with a cluster of {kinds}, or change what must stay"
        )
        return ("spec",), message
    carried = carried_over(new, old)
    return None if new.external else _refused_ports(carried)


def _refused_ports(service: Service) -> tuple[Path, str] | None:
    seen: dict[tuple[str, int], Port] = {}
    for index, port in enumerate(service.ports):
        path: Path = ("spec", "ports", index)
        if not port.name and len(service.ports) > 1:
            return path, "a port needs a name where there are several"
        if port.node_port and service.type not in _WITH_NODE_PORTS:
            return (*path, "nodePort"), f"nodePort {port.node_port} may not be set for a Service of type {service.type}"
        if (port.protocol, port.port) in seen:
            return path, f"port {port.port}/{port.protocol} is there twice"
        seen[port.protocol, port.port] = port
        twins = [each for each in seen.values() if each is not port and each.node_port == port.node_port]
        if port.node_port and any(each.protocol == port.protocol for each in twins):
            return (*path, "nodePort"), f"nodePort {port.node_port}/{port.protocol} is there twice"
    health = service.health_check_node_port
    if health and not service.takes_health_port:
        return ("spec", "healthCheckNodePort"), (
            "healthCheckNodePort may be set only for a LoadBalancer with externalTrafficPolicy Local"
        )
    if health and any(port.node_port == health for port in service.ports):
        return ("spec", "healthCheckNodePort"), f"{health} is a nodePort of the Service, too"
    return None


_WITH_NODE_PORTS: Final = ("NodePort", "LoadBalancer")
