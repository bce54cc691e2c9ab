"""Simulated nodes: what the API server shows of them, the addresses of their Pods, and which Pod goes where."""

import heapq
import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence

from e2e.cluster.rest import Object

ZONES = ("zone-a", "zone-b", "zone-c")
PODS_PER_NODE = 250
MOST_NODES = 254

_ZONE_LABEL = "topology.kubernetes.io/zone"


class SimulatedNode:
    """A node with a /24 and a /64 for its Pods. Not safe for threads."""

    def __init__(self, number: int, name: str, zone: str, *, cpu: int = 4) -> None:
        """`number`, from 1 to MOST_NODES, must be its own: the addresses follow from it."""
        if not 1 <= number <= MOST_NODES:
            raise ValueError(f"node number {number} is not between 1 and {MOST_NODES}")
        self.name = name
        self.zone = zone
        self.addresses = (f"172.18.0.{number}", f"fd00:172:18::{number:x}")
        self.pod_ranges = (f"10.244.{number}.0/24", f"fd00:10:244:{number:x}::/64")
        self._cpu = cpu
        self._free = list(range(2, 2 + PODS_PER_NODE))
        self._bases = [ipaddress.ip_network(each).network_address for each in self.pod_ranges]

    def manifest(self) -> Object:
        """The Node, with its status."""
        labels = {
            _ZONE_LABEL: self.zone,
            "topology.kubernetes.io/region": "region-1",
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
        }
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated"}
        resources = {"cpu": str(self._cpu), "memory": "8Gi", "pods": str(PODS_PER_NODE)}
        addresses = [{"type": "InternalIP", "address": each} for each in self.addresses]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"podCIDR": self.pod_ranges[0], "podCIDRs": list(self.pod_ranges)},
            "status": {
                "addresses": [*addresses, {"type": "Hostname", "address": self.name}],
                "allocatable": resources,
                "capacity": resources,
                "conditions": [ready],
            },
        }

    def take_addresses(self) -> tuple[str, ...]:
        """An unused IPv4 and IPv6 address for a Pod. Raises IndexError when all are used."""
        number = heapq.heappop(self._free)
        return tuple(str(base + number) for base in self._bases)

    def return_addresses(self, addresses: Sequence[str]) -> None:
        """Give back what `take_addresses` gave."""
        heapq.heappush(self._free, self._number(addresses))

    def claim_addresses(self, addresses: Sequence[str]) -> bool:
        """Mark addresses that a Pod has already; False when they are not to be returned later."""
        number = self._number(addresses)
        if number not in self._free:
            return False
        self._free.remove(number)
        heapq.heapify(self._free)
        return True

    def _number(self, addresses: Sequence[str]) -> int:
        try:
            return int(ipaddress.ip_address(addresses[0])) - int(self._bases[0])
        except ValueError:
            return -1


def in_zones(per_zone: int, zones: Sequence[str] = ZONES) -> list[SimulatedNode]:
    """`per_zone` nodes in each zone: "node-a1", "node-a2", … in "zone-a"."""
    return [
        SimulatedNode(at * per_zone + each, f"node-{zone.rpartition('-')[2]}{each}", zone)
        for at, zone in enumerate(zones)
        for each in range(1, per_zone + 1)
    ]


class Scheduler:
    """Spreads the Pods of one owner over zones, then over nodes. Not safe for threads."""

    def __init__(self, nodes: Iterable[SimulatedNode]) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._labels: dict[str, dict[str, str]] = {}
        self._pods: Counter[str] = Counter()
        self._spread: Counter[tuple[str, str]] = Counter()
        self._placed: dict[str, tuple[str, SimulatedNode]] = {}

    def heard_node(self, obj: Object, *, gone: bool) -> None:
        """Take note of a Node's labels, and that it is cordoned or gone."""
        name = obj["metadata"]["name"]
        self._labels.pop(name, None)
        if not gone and not obj["spec"].get("unschedulable"):
            self._labels[name] = obj["metadata"].get("labels") or {}

    def choose(self, pod: Object) -> SimulatedNode | None:
        """The node for a Pod; None when there is none now."""
        wanted = (pod["spec"].get("nodeSelector") or {}).items()
        owner = _owner(pod)
        fitting = [
            node
            for name, node in self._nodes.items()
            if name in self._labels and wanted <= self._labels[name].items() and self._pods[name] < PODS_PER_NODE
        ]
        # Compared by zone first; min keeps the order of the nodes among equals.
        rank = {node.name: (self._spread[owner, node.zone], self._pods[node.name]) for node in fitting}
        return min(fitting, key=lambda node: rank[node.name], default=None)

    def placed(self, uid: str) -> bool:
        return uid in self._placed

    def note(self, pod: Object, node: SimulatedNode) -> None:
        """Count a Pod as being on a node, once."""
        uid, owner = pod["metadata"]["uid"], _owner(pod)
        if uid not in self._placed:
            self._placed[uid] = (owner, node)
            self._pods[node.name] += 1
            self._spread[owner, node.zone] += 1

    def forget(self, uid: str) -> None:
        if uid in self._placed:
            owner, node = self._placed.pop(uid)
            self._pods[node.name] -= 1
            self._spread[owner, node.zone] -= 1


def _owner(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid", ""))
