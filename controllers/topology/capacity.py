"""How much CPU each zone has, as far as hints care (ES-96 ... ES-98, ES-100); kept up to date node by node."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from controllers.model.objects import Node
from controllers.model.reasons import Reason

# Adaptive hints ignore nodes without a zone or CPU while they are no larger a share of the nodes that count.
TOLERATED_INCOMPLETE: Final = 0.2
_NANO_PER_MILLI: Final = 10**6


class Capacity(Struct, frozen=True, gc=False):
    """Each zone's share of the CPU of all nodes that count; without a reason not to use it, two zones at least."""

    shares: Mapping[str, float] = {}
    unusable: Reason | None = None


class Nodes:
    """Sums over nodes: what one node changes costs the same however many there are."""

    def __init__(self) -> None:
        self._nano_cpu: dict[str, int] = {}
        self._count: dict[str, int] = {}
        self._incomplete = 0

    def change(self, old: Node | None, new: Node | None) -> None:
        """Takes over that a node came, went (None) or became another."""
        for node, sign in ((old, -1), (new, 1)):
            if node is not None and node.ready and not node.control_plane:
                self._add(node, sign)

    def _add(self, node: Node, sign: int) -> None:
        if not node.zone or not node.nano_cpu:
            self._incomplete += sign
            return
        self._nano_cpu[node.zone] = self._nano_cpu.get(node.zone, 0) + sign * node.nano_cpu
        self._count[node.zone] = self._count.get(node.zone, 0) + sign
        if not self._count[node.zone]:
            del self._count[node.zone], self._nano_cpu[node.zone]

    def capacity(self) -> Capacity:
        """The zones' shares, unless a node that counts lacks a zone or CPU, or all are in one zone (ES-97, ES-98)."""
        if self._incomplete or len(self._nano_cpu) < 2:
            return Capacity(unusable=Reason.TOPOLOGY_NODE_INFORMATION)
        return self._shares()

    def adaptive_capacity(self) -> Capacity:
        """The same for Adaptive hints: a few nodes without a zone or CPU are ignored."""
        if self._incomplete > TOLERATED_INCOMPLETE * (self._incomplete + sum(self._count.values())):
            return Capacity(unusable=Reason.TOPOLOGY_NODES_INCOMPLETE)
        if len(self._nano_cpu) < 2:
            return Capacity(unusable=Reason.TOPOLOGY_SINGLE_ZONE)
        return self._shares()

    def _shares(self) -> Capacity:
        milli = {zone: _up(nano) for zone, nano in sorted(self._nano_cpu.items())}
        total = _up(sum(self._nano_cpu.values()))
        return Capacity({zone: cpu / total for zone, cpu in milli.items()})


def _up(nano: int) -> int:
    """Thousandths of a CPU, rounded up as Kubernetes' quantities are."""
    return -(-nano // _NANO_PER_MILLI)


def capacity_of(nodes: Mapping[str, Node], *, adaptive: bool = False) -> Capacity:
    """The capacity of nodes that are all there at once, for KCM's or for Adaptive hints."""
    sums = Nodes()
    for node in nodes.values():
        sums.change(None, node)
    return sums.adaptive_capacity() if adaptive else sums.capacity()
