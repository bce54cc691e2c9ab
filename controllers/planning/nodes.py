"""Where simulated Pods would run and which addresses they would get: given Nodes, or sample Nodes in three zones.

A Pod's Node and addresses follow from its own name as far as possible: editing one workload leaves the Pods of the
others alone, and so their endpoints.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2s
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from msgspec import Struct

from api import names
from controllers.model.addresses import canonical
from controllers.model.objects import Node
from controllers.planning.decoding import decode
from controllers.planning.defaults import Network, pod_networks, uid
from controllers.planning.manifests import GivenNode, brought_up
from controllers.planning.shapes import NodeShape, PodSpec, Taint, Toleration

_SAMPLE_ZONES: Final = ("zone-a", "zone-b", "zone-c")
_SAMPLE_NODES_PER_ZONE: Final = 2
_POD_V4: Final = int(IPv4Address("10.244.0.0"))
_POD_V6: Final = int(IPv6Address("fd00:10:244::"))
_NODE_V4: Final = int(IPv4Address("172.18.0.1"))
_NODE_V6: Final = int(IPv6Address("fd00:172:18::1"))
# Every Pod of a DaemonSet tolerates what the Node's own state taints it with, a cordon included.
_STATE_TAINT: Final = "node.kubernetes.io/"


class Place(Struct, gc=False, kw_only=True):
    """A Node as a scheduler sees it; `networks` is where its Pods get their addresses, one of each family."""

    record: Node
    labels: Mapping[str, str]
    taints: list[Taint]
    unschedulable: bool
    host_ips: tuple[str, ...]
    networks: list[Network]

    @property
    def name(self) -> str:
        return self.record.name


def stable_number(*parts: str) -> int:
    """A number that looks random and is the same in every run."""
    return int.from_bytes(blake2s("\0".join(parts).encode(), digest_size=16).digest())


def sample_nodes() -> dict[str, GivenNode]:
    """Six Nodes in three zones, for input that brings none."""
    found = {}
    for zone in _SAMPLE_ZONES:
        for number in range(1, _SAMPLE_NODES_PER_ZONE + 1):
            name = f"node-{zone[-1]}{number}"
            labels = {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                names.ZONE_LABEL: zone,
            }
            shape = decode({"metadata": {"name": name, "uid": uid("Node", name), "labels": labels}}, NodeShape)
            found[name] = GivenNode(brought_up(Node(name, zone)), shape)
    return found


def _simulated_networks(number: int) -> list[Network]:
    return [IPv4Network((_POD_V4 + (number << 8), 24)), IPv6Network((_POD_V6 + (number << 64), 64))]


def _host_ips(shape: NodeShape, number: int) -> tuple[str, ...]:
    given = shape.status.addresses or () if shape.status else ()
    found = tuple(each.address for each in given if each.type == "InternalIP" and canonical(each.address))
    return found or _simulated_hosts(number)


def _simulated_hosts(number: int) -> tuple[str, ...]:
    return str(IPv4Address(_NODE_V4 + number)), str(IPv6Address(_NODE_V6 + number))


class Cluster:
    """The Nodes, and the addresses already taken on them; `places` holds those that are there."""

    def __init__(self, nodes: Mapping[str, GivenNode], used: Iterable[str] = ()) -> None:
        self._used = set(used)
        self._given: list[Network] = []
        self._blocks = 0
        self.places: dict[str, Place] = {}
        self._missing: dict[str, Place] = {}
        for each in nodes.values():
            self._given += pod_networks(each.shape)
        for number, name in enumerate(sorted(nodes), 1):
            self.places[name] = self._place(nodes[name], number)
        self._in_turn = _zones_in_turn(self.places)

    def _place(self, given: GivenNode, number: int) -> Place:
        spec = given.shape.spec
        return Place(
            record=given.record,
            labels=given.shape.metadata.labels or {},
            taints=(spec.taints or []) if spec else [],
            unschedulable=bool(spec and spec.unschedulable),
            host_ips=_host_ips(given.shape, number),
            networks=pod_networks(given.shape) or self._new_block(),
        )

    def _new_block(self) -> list[Network]:
        while True:
            self._blocks += 1
            made = _simulated_networks(self._blocks)
            if not any(one.overlaps(other) for one in made for other in self._given):
                return made

    def eligible(self, spec: PodSpec, *, daemon: bool = False) -> list[Place]:
        """The Nodes that such a Pod may run on, zones in turn. (Anti-)affinity and resources are not looked at.

        A Pod that names its Node is on it already, be the Node there or not.
        """
        if spec.node_name and not daemon:
            return [self.places.get(spec.node_name) or self._missing_place(spec.node_name)]
        return [place for place in self._in_turn if _admits(place, spec, daemon)]

    def _missing_place(self, name: str) -> Place:
        if name not in self._missing:
            self._missing[name] = Place(
                record=Node(name),
                labels={},
                taints=[],
                unschedulable=False,
                host_ips=_simulated_hosts(len(self.places) + len(self._missing) + 1),
                networks=self._new_block(),
            )
        return self._missing[name]

    def addresses(self, place: Place, key: str) -> tuple[str, ...]:
        """Fresh addresses on a Node for the Pod `key` ("namespace/name"), one of each family that the Node has."""
        start = stable_number("address", key)
        found = [_free(network, start, self._used) for network in place.networks]
        if None in found or not found:
            # More Pods than a real Node would take: the simulation goes on in one more block of addresses.
            families = {network.version for network in place.networks} or {4, 6}
            place.networks = [network for network in self._new_block() if network.version in families]
            found = [_free(network, start, self._used) for network in place.networks]
        taken = tuple(address for address in found if address is not None)
        self._used.update(taken)
        return taken


def _free(network: Network, start: int, used: set[str]) -> str | None:
    """A free address: not the network's own, not the Node's (the first), not the broadcast one."""
    slots = min(network.num_addresses - 3, 253)
    for step in range(slots):
        address = str(network[2 + (start + step) % slots])
        if address not in used:
            return address
    return None


def _zones_in_turn(places: Mapping[str, Place]) -> list[Place]:
    by_zone: dict[str, list[Place]] = {}
    for name in sorted(places):
        by_zone.setdefault(places[name].record.zone, []).append(places[name])
    zones = [by_zone[zone] for zone in sorted(by_zone)]
    longest = max(map(len, zones), default=0)
    return [zone[turn] for turn in range(longest) for zone in zones if turn < len(zone)]


def _admits(place: Place, spec: PodSpec, daemon: bool) -> bool:
    if spec.node_name:
        return place.name == spec.node_name
    if not (spec.node_selector or {}).items() <= place.labels.items():
        return False
    if place.unschedulable and not daemon:
        return False
    return all(
        taint.effect == "PreferNoSchedule"
        or (daemon and taint.key.startswith(_STATE_TAINT))
        or any(_tolerates(each, taint) for each in spec.tolerations or ())
        for taint in place.taints
    )


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if not toleration.key:
        return toleration.operator == "Exists"
    if toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or (toleration.value or "") == (taint.value or "")
