"""How long a Pod's change takes to show: from the answer to the kubelet's status patch to the slice event.

The event and the answer come to different threads, so either may be told first. A change counts once for each family.
A change that is overtaken by the next one of its Pod before it shows counts until that one shows; when the next one
takes it back, there is nothing to show, and both are counted as overtaken.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from e2e.cluster.kubelets import Change
from e2e.cluster.mirror import DELETED
from e2e.cluster.rest import Object
from e2e.demo.demands import service_of
from e2e.demo.workloads import SHAPES

# Service, family, the Pod's uid
_Place = tuple[str, str, str]

_FAMILIES = {shape.name: shape.families for shape in SHAPES}


@dataclass(slots=True)
class _Shown:
    """What the slices say of a Pod (None: nothing), and since when."""

    ready: bool | None = None
    since: float = 0.0


class Latency:
    """Collects both sides; `samples` are seconds, in the order in which the changes showed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slices: dict[_Place, dict[str, bool]] = defaultdict(dict)
        self._contents: dict[str, set[_Place]] = {}
        self._shown: dict[_Place, _Shown] = defaultdict(_Shown)
        self._pending: dict[_Place, list[Change]] = {}
        self.samples: list[float] = []
        self.overtaken = 0
        self.last: dict[tuple[str, str], float] = {}

    @property
    def pending(self) -> int:
        """How many changes no slice shows yet."""
        return sum(map(len, list(self._pending.values())))

    def changed(self, change: Change) -> None:
        """Told by the kubelets."""
        service = change.labels.get("app", "")
        with self._lock:
            for family in _FAMILIES.get(service, ()):
                place = (service, family, change.uid)
                pending = self._pending.setdefault(place, [])
                pending.append(change)
                self._compare(place)
                if self._shown[place].ready is change.ready and place in self._pending:
                    self.overtaken += len(self._pending.pop(place))

    def heard_slice(self, change: str, obj: Object) -> None:
        """Told by the watch of the EndpointSlices."""
        at = time.monotonic()
        name, service, family = obj["metadata"]["name"], service_of(obj), obj["addressType"]
        endpoints = [] if change == DELETED else obj.get("endpoints") or []
        said = {(service, family, each["targetRef"]["uid"]): bool(each["conditions"]["serving"]) for each in endpoints}
        with self._lock:
            before = self._contents.get(name, set())
            self._contents[name] = set(said)
            for place in before | said.keys():
                self._slices[place].pop(name, None)
                if place in said:
                    self._slices[place][name] = said[place]
                self._show(place, at)

    def _show(self, place: _Place, at: float) -> None:
        # While an endpoint moves between slices it may be in both.
        states = self._slices[place].values()
        ready = any(states) if states else None
        if ready is not self._shown[place].ready:
            self._shown[place] = _Shown(ready, at)
            self._compare(place)

    def _compare(self, place: _Place) -> None:
        pending, shown = self._pending.get(place), self._shown[place]
        if not pending or pending[-1].ready is not shown.ready or shown.since < pending[-1].sent:
            return
        del self._pending[place]
        for change in pending:
            seconds = max(0.0, shown.since - change.answered)
            self.samples.append(seconds)
            self.last[place[:2]] = seconds


def percentile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that at least `share` of all do not exceed; 0 without samples."""
    ordered: Sequence[float] = sorted(samples)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
