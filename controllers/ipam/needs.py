"""Which numbers the API server is about to allocate for a Service, and which ones a request names (IP-9 … IP-11,
IP-27 … IP-43, IP-68 … IP-72)."""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from controllers.ipam.families import canonical, policy_to_set, resulting, with_addresses
from controllers.ipam.objects import Port, Service


class Needs(Struct, frozen=True, kw_only=True):
    """The numbers of a Service after a request, as far as they are known before it.

    `addresses` are by position in `families`, "" where one must be allocated; `canonicalised` says that the request
    wrote one of them otherwise. `node_ports` are parallel to the ports of the request: 0 where a port gets none or one
    is to be allocated. Each of `port_groups` are indexes of ports that share one number to allocate. `health` says that
    a health-check node port must be allocated. `policy` is the ipFamilyPolicy to send along with two addresses, if any.

    `given_addresses` and `given_ports` are the numbers that this request names and the Service did not hold before:
    those to check entitlement for (IP-69). The last of `given_ports` is `given_health`, unless that is 0.
    """

    families: tuple[str, ...]
    addresses: tuple[str, ...]
    policy: str = ""
    node_ports: tuple[int, ...] = ()
    port_groups: tuple[tuple[int, ...], ...] = ()
    health: bool = False
    given_addresses: tuple[str, ...] = ()
    given_ports: tuple[int, ...] = ()
    given_health: int = 0
    canonicalised: bool = False


class _Ports(Struct, frozen=True):
    """The node ports of a request: as in Needs, without the health check's."""

    numbers: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]


def needs(new: Service, old: Service | None, configured: tuple[str, ...]) -> Needs | None:
    """What a create (`old` is None) or update of a Service needs, or None when it does not concern us.

    That is: no number is needed nor named (IP-68), or the API server will refuse it, whose error is the better one.
    `configured` are the cluster's families, the primary first.
    """
    if new.terminating or new.external:
        return None
    carried = carried_over(new, old)
    families = resulting(new, old, configured)
    if carried.headless or families is None:
        return None
    ports = _ports(carried, old)
    if ports is None or _health_refused(carried, old, ports.numbers):
        return None
    addresses, given_addresses, canonicalised = _addresses(carried, old, len(families))
    held = old.node_ports if old is not None else ()
    given_health = carried.health_check_node_port if carried.health_check_node_port not in held else 0
    given_ports = [port.node_port for port in carried.ports if port.node_port not in held]
    found = Needs(
        families=families,
        addresses=addresses,
        policy=policy_to_set(new, old, families),
        node_ports=ports.numbers,
        port_groups=ports.groups,
        health=carried.takes_health_port and not carried.health_check_node_port,
        given_addresses=given_addresses,
        given_ports=tuple(dict.fromkeys(number for number in (*given_ports, given_health) if number)),
        given_health=given_health,
        canonicalised=canonicalised,
    )
    return found if _anything(found) else None


def carried_over(new: Service, old: Service | None) -> Service:
    """`new` as the API server completes it from `old` before it allocates (IP-9, IP-10), less what it drops (IP-11)."""
    new = with_addresses(new, old)
    if old is None:
        return new
    health = new.health_check_node_port
    if old.takes_health_port and new.takes_health_port:
        health = health or old.health_check_node_port
    elif old.takes_health_port and health == old.health_check_node_port:
        health = 0
    return msgspec.structs.replace(new, ports=_carried_ports(new, old), health_check_node_port=health)


def _carried_ports(new: Service, old: Service) -> tuple[Port, ...]:
    """IP-9: by the port's name, unless another port claims the number. IP-11: none for a type that takes none."""
    if old.takes_node_ports and new.type not in ("NodePort", "LoadBalancer"):
        unchanged = _numbers(new.ports) == _numbers(old.ports)
        return tuple(msgspec.structs.replace(port, node_port=0) for port in new.ports) if unchanged else new.ports
    if not (old.takes_node_ports and new.takes_node_ports):
        return new.ports
    by_name = {port.name: port.node_port for port in old.ports}
    claimed = _numbers(new.ports)
    return tuple(
        msgspec.structs.replace(port, node_port=number)
        # What is carried over claims nothing: TCP and UDP that share a number keep it both.
        if not port.node_port and (number := by_name.get(port.name, 0)) not in claimed
        else port
        for port in new.ports
    )


def _addresses(carried: Service, old: Service | None, count: int) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The addresses by position, those of them that the request names, and whether one of these was not canonical.

    One that is held already stays as it is written: the API server compares the text (IP-36).
    """
    held = old.addresses if old is not None else ()
    given = [text for text in carried.cluster_ips[:count] if text not in held]
    plain = {text: canonical(text) or text for text in given}
    addresses = [plain.get(text, text) for text in carried.cluster_ips[:count]]
    addresses += [""] * (count - len(addresses))
    return tuple(addresses), tuple(plain[text] for text in given), any(text != plain[text] for text in given)


def _ports(carried: Service, old: Service | None) -> _Ports | None:
    """The node ports, or None when the API server will refuse them."""
    if len({(port.protocol, port.port) for port in carried.ports}) < len(carried.ports):
        return None
    if carried.type not in ("NodePort", "LoadBalancer"):
        return None if _numbers(carried.ports) else _Ports((0,) * len(carried.ports), ())  # IP-39
    found = _ports_of_create(carried) if old is None else _ports_of_update(carried)
    return None if found is None or _doubled(carried.ports, found) else found


def _ports_of_create(service: Service) -> _Ports | None:
    """IP-40: ports with the same `port` share a number, the first explicit one among them if there is one."""
    first = {port.port: port.node_port for port in reversed(service.ports) if port.node_port}
    more = [port.node_port for port in service.ports if port.node_port not in (0, first.get(port.port))]
    reserved = [*first.values(), *more]
    if len(set(reserved)) < len(reserved):
        return None
    if not service.takes_node_ports:
        return _Ports(tuple(port.node_port for port in service.ports), ())
    groups: dict[int, list[int]] = {}
    for index, port in enumerate(service.ports):
        if port.port not in first:
            groups.setdefault(port.port, []).append(index)
    numbers = tuple(port.node_port or first.get(port.port, 0) for port in service.ports)
    return _Ports(numbers, tuple(tuple(group) for group in groups.values()))


def _ports_of_update(service: Service) -> _Ports:
    """IP-41: every port without a number gets its own."""
    lacking = [index for index, port in enumerate(service.ports) if not port.node_port and service.takes_node_ports]
    return _Ports(tuple(port.node_port for port in service.ports), tuple((index,) for index in lacking))


def _doubled(ports: tuple[Port, ...], found: _Ports) -> bool:
    """Whether two ports of one protocol would have the same number (IP-41)."""
    pairs = [(port.protocol, number) for port, number in zip(ports, found.numbers, strict=True) if number]
    shared = [(ports[index].protocol, group) for group in found.groups for index in group]
    return len(set(pairs)) < len(pairs) or len(set(shared)) < len(shared)


def _health_refused(carried: Service, old: Service | None, node_ports: tuple[int, ...]) -> bool:
    """Whether its health-check node port is one that it may not name (IP-43, C-31, C-32)."""
    number = carried.health_check_node_port
    if not number:
        return False
    if not carried.takes_health_port:
        return True
    if old is not None and old.takes_health_port:
        return number != old.health_check_node_port
    return number in node_ports or (old is not None and number in old.node_ports)


def _numbers(ports: Iterable[Port]) -> frozenset[int]:
    """The node ports that these name."""
    return frozenset(port.node_port for port in ports if port.node_port)


def _anything(found: Needs) -> bool:
    """Whether a number is needed or named at all (IP-68)."""
    return bool(
        "" in found.addresses
        or found.port_groups
        or found.health
        or found.given_addresses
        or found.given_ports
        or found.canonicalised
    )
