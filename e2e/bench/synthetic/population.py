"""Pods, Services and Nodes made from their number: what is kept of a million is what has changed since they began."""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from e2e.bench.load import NAMESPACE, READY_SINCE, ZONES
from e2e.bench.synthetic.templates import load

Key = tuple[str, str]

# Versions below are those of the objects that nobody has changed; the first change gets the next.
FIRST_VERSION: Final = 10_000_000


@dataclass(frozen=True)
class Scale:
    """How much there is: Pods spread evenly over Services, and Services over Namespaces and over IP families.

    Of `shards`, each of which sees the Namespaces whose names hash to its number, this is `shard`.
    """

    pods: int
    services: int
    nodes: int
    namespaces: int = 1
    dual: bool = True
    shards: int = 1
    shard: int = 0

    @property
    def slices(self) -> int:
        """How many there must be in all shards: one for each family of a Service (100 Pods of it at most)."""
        return self.services * (2 if self.dual else 1)

    def namespace(self, service: int) -> str:
        """The Namespace of a Service and its Pods."""
        return NAMESPACE if self.namespaces == 1 else f"{NAMESPACE}-{service % self.namespaces}"

    def shown(self, service: int) -> bool:
        """Whether this shard sees a Service."""
        return self.shard_of(service) == self.shard

    def shard_of(self, service: int) -> int:
        """The shard that sees a Service."""
        return crc32(self.namespace(service).encode()) % self.shards if self.shards > 1 else 0


@dataclass(frozen=True)
class PodState:
    """What has changed of a Pod: its readiness, since when (RFC 3339), and the version that says so."""

    version: int
    ready: bool
    since: str


class Numbered:
    """Objects of one kind, in the order in which the API server lists them: by Namespace, then by name."""

    def __init__(self, count: int, key: Callable[[int], Key], shown: Callable[[int], bool]) -> None:
        self._key, self._count, self._shown = key, count, shown
        numbers = [number for number in range(count) if shown(number)]
        numbers.sort(key=key)
        self._order = array("I", numbers)

    def __len__(self) -> int:
        return len(self._order)

    def key(self, number: int) -> Key:
        """Namespace ("" for Nodes) and name."""
        return self._key(number)

    def has(self, number: int) -> bool:
        """Whether there is an object of this number."""
        return 0 <= number < self._count and self._shown(number)

    def page(self, after: Key | None, limit: int, namespace: str = "") -> tuple[Sequence[int], int]:
        """The numbers that come after a key, `limit` at most (0: all), and how many more there are."""
        start = 0 if after is None else bisect_right(self._order, after, key=self._key)
        end = len(self._order)
        if namespace:
            start = max(start, bisect_right(self._order, (namespace, ""), key=self._key))
            end = bisect_right(self._order, (namespace + "\0", ""), key=self._key)
        stop = min(end, start + limit) if limit else end
        return self._order[start:stop], max(0, end - stop)


class Pods(Numbered):
    """Pod `n` belongs to Service `n % services`, and runs on Node `n % nodes`."""

    def __init__(self, scale: Scale) -> None:
        self._scale, self._template = scale, load("pod")
        self._changed: dict[int, PodState] = {}
        super().__init__(scale.pods, self._named, lambda number: scale.shown(number % scale.services))

    def _named(self, number: int) -> Key:
        return self._scale.namespace(number % self._scale.services), f"pod-{number}"

    def ready(self, number: int) -> bool:
        """Whether the Pod is ready now."""
        state = self._changed.get(number)
        return state is None or state.ready

    def change(self, number: int, state: PodState) -> None:
        """Remembers how a Pod is now."""
        self._changed[number] = state

    def version(self, number: int) -> int:
        """The Pod's resourceVersion."""
        state = self._changed.get(number)
        return state.version if state is not None else 1 + number

    def render(self, number: int) -> bytes:
        """The Pod as JSON, as an item of a list."""
        state = self._changed.get(number) or PodState(1 + number, True, READY_SINCE)
        service, node = number % self._scale.services, number % self._scale.nodes
        namespace, name = self._named(number)
        return self._template.fill(
            {
                b"name": name.encode(),
                b"namespace": namespace.encode(),
                b"uid": b"%08x-0000-4000-8000-000000000001" % number,
                b"version": b"%d" % state.version,
                b"app": b"app-%d" % service,
                b"hash": b"%08x" % service,
                b"zone": ZONES[node % 3].encode(),
                b"node": b"node-%d" % node,
                b"ready": b"True" if state.ready else b"False",
                b"since": state.since.encode(),
                b"ipv4": b"10.%d.%d.%d" % (number >> 16 & 255, number >> 8 & 255, number & 255),
                b"ipv6": _ipv6(number),
            }
        )


def _ipv6(number: int) -> bytes:
    """As it is written: without a group of zeros after the colons."""
    high, low = divmod(number, 1 << 16)
    return b"fd00:10:244::%x:%x" % (high, low) if high else b"fd00:10:244::%x" % low


class Services(Numbered):
    """Service `n` selects the Pods with its label."""

    def __init__(self, scale: Scale) -> None:
        self._scale, self._template = scale, load("service-dual" if scale.dual else "service-single")
        super().__init__(scale.services, lambda number: (scale.namespace(number), f"svc-{number}"), scale.shown)

    def version(self, number: int) -> int:
        """The Service's resourceVersion: it never changes."""
        return 1 + number

    def render(self, number: int) -> bytes:
        """The Service as JSON, as an item of a list."""
        namespace, name = self.key(number)
        return self._template.fill(
            {
                b"name": name.encode(),
                b"namespace": namespace.encode(),
                b"uid": b"%08x-0000-4000-8000-000000000002" % number,
                b"version": b"%d" % self.version(number),
                b"app": b"app-%d" % number,
                b"ipv4": b"10.96.%d.%d" % (number + 1 >> 8 & 255, number + 1 & 255),
                b"ipv6": b"fd00:10:96::%x" % (number + 1),
            }
        )


class Nodes(Numbered):
    """Node `n` is in the zone `n % 3`."""

    def __init__(self, scale: Scale) -> None:
        self._template = load("node")
        super().__init__(scale.nodes, lambda number: ("", f"node-{number}"), lambda _: True)

    def version(self, number: int) -> int:
        """The Node's resourceVersion: it never changes."""
        return 1 + number

    def render(self, number: int) -> bytes:
        """The Node as JSON, as an item of a list."""
        return self._template.fill(
            {
                b"name": b"node-%d" % number,
                b"uid": b"%08x-0000-4000-8000-000000000003" % number,
                b"version": b"%d" % self.version(number),
                b"zone": ZONES[number % 3].encode(),
            }
        )
