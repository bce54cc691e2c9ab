"""ServiceReservations as the tools make them: what is wanted, and what is to be written for it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from msgspec import Struct

from api.v1alpha1.common import API_VERSION
from controllers.ipam.families import canonical
from controllers.ipam.objects import KUBERNETES, Service
from controllers.ipam.ranges import family_of

Object = dict[str, Any]

CREATED: Final = "created"
UNCHANGED: Final = "unchanged"
REFUSED: Final = "refused"
SKIPPED: Final = "skipped"
FOREVER: Final = "forever"

_NODE_PORT: Final = re.compile(r"(?:([a-z0-9]([-a-z0-9]*[a-z0-9])?)=)?(\d{1,5})")


class Keep(Struct, frozen=True):
    """How numbers are kept; None leaves it as it is. `hold` keeps IPAddress objects, too; `ttl` may be "forever"."""

    hold: bool | None = None
    ttl: str | None = None

    def over(self, spec: Mapping[str, Any]) -> Object:
        """The spec with this in it."""
        changed = dict(spec)
        if self.hold is not None:
            changed["enforcement"] = "Hold" if self.hold else "Guard"
        if self.ttl is not None:
            changed["retain"] = {"policy": "Forever"} if self.ttl == FOREVER else {"policy": "TTL", "ttl": self.ttl}
        return changed


class Numbers(Struct, frozen=True):
    """What is to be reserved: addresses, node ports by the names of the Service's ports, a health check port."""

    addresses: tuple[str, ...] = ()
    node_ports: tuple[tuple[str, int], ...] = ()
    health: int | None = None

    def __bool__(self) -> bool:
        return bool(self.addresses or self.node_ports or self.health)

    def over(self, spec: Mapping[str, Any]) -> Object:
        """The spec with these in it: an address in place of that of its family, a port in place of its name's."""
        changed = dict(spec)
        if self.addresses:
            families = {family_of(each) for each in self.addresses}
            others = [each for each in spec.get("addresses") or () if family_of(each) not in families]
            changed["addresses"] = [*self.addresses, *others]
        if self.node_ports:
            ports = {each.get("portName", ""): each["nodePort"] for each in spec.get("nodePorts") or ()}
            ports |= dict(self.node_ports)
            changed["nodePorts"] = [{"portName": name, "nodePort": number} for name, number in ports.items()]
        if self.health:
            changed["healthCheckNodePort"] = self.health
        return changed


def numbers(addresses: Sequence[str], node_ports: Sequence[str], health: int | None) -> Numbers:
    """The numbers that flags name. Raises click.UsageError."""
    plain = []
    for text in addresses:
        found = canonical(text)
        if found is None:
            raise click.UsageError(f"--address {text}: not an IP address, such as 10.96.0.40 or fd00:10:96::28")
        plain.append(found)
    if len({family_of(each) for each in plain}) < len(plain):
        raise click.UsageError("--address: give at most one address of each family")
    ports = [_node_port(text) for text in node_ports]
    if len(dict(ports)) < len(ports):
        raise click.UsageError("--node-port: give each port once; names tell them apart, as in http=30080")
    return Numbers(tuple(plain), tuple(ports), health)


def _node_port(text: str) -> tuple[str, int]:
    found = _NODE_PORT.fullmatch(text)
    if found is None or not 0 < int(found[3]) < 65536:
        raise click.UsageError(
            f"--node-port {text}: give NAME=PORT with the name of the Service's port, such as http=30080, or the port"
            " alone where the Service's only port has no name"
        )
    return found[1] or "", int(found[3])


def nothing_named(namespace: str, service: str) -> str:
    """What to say when a new reservation would be of nothing."""
    return (
        "no number is named: give --address, --node-port or --health-check-node-port. What is free is told by"
        f" `sliceplane ipam show`; what the Service has now is kept by `sliceplane ipam adopt -n {namespace} {service}`"
    )


def reservation(namespace: str, name: str, spec: Mapping[str, Any]) -> Object:
    """A new ServiceReservation."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceReservation",
        "metadata": {"name": name, "namespace": namespace},
        "spec": dict(spec),
    }


def adoptable(service: Service) -> str:
    """Why what a Service has cannot be reserved; "" when it can."""
    if service.key == KUBERNETES:
        return "it is the API server's own"
    if service.terminating:
        return "it is being deleted"
    if not (service.addresses or service.node_ports):
        kind = "an alias (ExternalName)" if service.external else "headless"
        return f"it is {kind} and has no number" if service.external or service.headless else "it has no number yet"
    return ""


def otherwise_reserved(service: Service, spec: Mapping[str, Any]) -> str:
    """Why adopting would not keep what a Service has: its reservation names other numbers; "" when it does not."""
    addresses = {family_of(each): canonical(each) for each in spec.get("addresses") or ()}
    pairs: list[tuple[object, object]] = [
        (canonical(each), addresses.get(family_of(each))) for each in service.addresses
    ]
    ports = {each.get("portName", ""): each["nodePort"] for each in spec.get("nodePorts") or ()}
    pairs += [(port.node_port, ports.get(port.name)) for port in service.ports if port.node_port]
    if service.health_check_node_port:
        pairs.append((service.health_check_node_port, spec.get("healthCheckNodePort")))
    found = [f"{has}, and {reserved} is reserved for it" for has, reserved in pairs if reserved and reserved != has]
    remedy = "make the Service anew, or delete the reservation and adopt again"
    return f"it has {'; '.join(found)}: {remedy}" if found else ""


def never_has_numbers(service: Service) -> bool:
    """Whether there is nothing to adopt, now or later: it is headless or an alias, and without a node port."""
    return (service.headless or service.external) and not (service.addresses or service.node_ports)


def for_service(existing: Sequence[Object], service: str) -> Object | None:
    """The reservation that a namespace has for a Service: the oldest counts, then the first by name."""
    found = [each for each in existing if each["spec"].get("serviceName") == service]
    return min(found, key=_age, default=None)


def _age(found: Object) -> tuple[str, str]:
    meta = found["metadata"]
    return meta.get("creationTimestamp") or "", meta["name"]
