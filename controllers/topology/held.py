"""The zones' capacity for Adaptive hints: a node that stops being ready, or vanishes, counts for a while yet.

A node that flaps would otherwise move hints twice, and with them the traffic of a whole zone.
"""

from controllers.model.objects import Node
from controllers.topology.capacity import Capacity, Nodes


class HeldNodes:
    """Sums over nodes, and those that are held: what they were, until when. Times are seconds that never run back."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._sums = Nodes()
        # By name; in the order in which they are due, since all are held for the same time.
        self._held: dict[str, tuple[float, Node]] = {}

    def change(self, old: Node | None, new: Node | None, now: float) -> None:
        """Takes over that a node came, went (None) or became another."""
        node = new or old
        if node is None:
            return
        held = self._held.get(node.name)
        gone = new is None or not (new.ready or new.control_plane)
        if gone and held is not None:
            return
        if gone and old is not None and self._grace > 0 and _complete(old):
            self._held[node.name] = now + self._grace, old
            return
        self._held.pop(node.name, None)
        self._sums.change(held[1] if held is not None else old, new)

    def expire(self, now: float) -> None:
        """Lets go of the nodes whose time is over."""
        due = [name for name, (until, _) in self._held.items() if until <= now]
        for name in due:
            self._sums.change(self._held.pop(name)[1], None)

    def next_due(self) -> float | None:
        """When the next node is let go of; None when none is held."""
        return next((until for until, _ in self._held.values()), None)

    def capacity(self) -> Capacity:
        """The zones' shares, with the nodes that are held."""
        return self._sums.adaptive_capacity()


def _complete(node: Node) -> bool:
    """Whether a node brings CPU to a zone; one that does not is no loss."""
    return node.ready and not node.control_plane and bool(node.zone) and node.nano_cpu > 0
