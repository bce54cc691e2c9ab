"""The demo's own view of the cluster: what there is now, by watches of its own and not through Sliceplane."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from e2e.cluster.mirror import DELETED, Mirror
from e2e.cluster.rest import Api, Object, Objects
from e2e.demo.demands import Cluster, service_of
from e2e.demo.latency import Latency
from e2e.demo.workloads import NAMESPACE, SHAPES, Shape

_KINDS = ("Service", "Pod", "Node", "EndpointSlice", "Event")
_LOOK_PAUSE = 0.1


@dataclass(slots=True)
class Row:
    """A Service's endpoints of one family, as the slices show them; the counters are by zone.

    `hinted` counts the endpoints whose hints name a zone, wherever they are.
    """

    shape: Shape
    family: str
    pods: int
    ready_pods: int
    slices: int
    ready: Counter[str]
    serving: Counter[str]
    terminating: Counter[str]
    hinted: Counter[str]
    last: float | None


class View:
    """A context manager around the watches. `slice_events` counts what came of EndpointSlices since the start."""

    def __init__(self, api: Api, latency: Latency) -> None:
        self._latency = latency
        self._changed = threading.Condition()
        self._version = 0
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in _KINDS}
        self._mirrors = [
            Mirror(api, kind, self._listener(kind), None if kind == "Node" else NAMESPACE) for kind in _KINDS
        ]
        self._running = ExitStack()
        self.slice_events = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for mirror in self._mirrors:
                stack.enter_context(mirror)
            self._running = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._running.close()

    def all(self, kind: str) -> Objects:
        """The objects of a kind as they are now."""
        with self._changed:
            return list(self._objects[kind].values())

    def pods(self, app: str) -> Objects:
        """The Pods with the label app=`app`, those on their way out too."""
        return [each for each in self.all("Pod") if each["metadata"]["labels"].get("app") == app]

    def cluster(self) -> Cluster:
        return Cluster(self.all("Service"), self.all("Pod"), self.all("Node"), self.all("EndpointSlice"))

    def rows(self) -> list[Row]:
        """What the table shows."""
        slices = self.all("EndpointSlice")
        return [self._row(shape, family, slices) for shape in SHAPES for family in shape.families]

    def wait(self, true: Callable[[], bool], seconds: float) -> bool:
        """Wait until something is true, looking again when something has changed; False when it is not so in time."""
        until = time.monotonic() + seconds
        while True:
            seen, looked = self._version, time.monotonic()
            if true():
                return True
            with self._changed:
                if self._version == seen and not self._changed.wait(until - time.monotonic()):
                    return False
                # Looking takes the time of the threads whose clock this is: so not at every change.
                while (left := looked + _LOOK_PAUSE - time.monotonic()) > 0:
                    self._changed.wait(left)

    def _row(self, shape: Shape, family: str, slices: Objects) -> Row:
        pods = self.pods(shape.name)
        mine = [each for each in slices if service_of(each) == shape.name and each["addressType"] == family]
        row = Row(
            shape=shape,
            family=family,
            pods=len(pods),
            ready_pods=sum(map(is_ready, pods)),
            slices=len(mine),
            ready=Counter(),
            serving=Counter(),
            terminating=Counter(),
            hinted=Counter(),
            last=self._latency.last.get((shape.name, family)),
        )
        for endpoint in (each for one in mine for each in one.get("endpoints") or []):
            for name, counter in (("ready", row.ready), ("serving", row.serving), ("terminating", row.terminating)):
                counter[endpoint.get("zone", "")] += bool(endpoint["conditions"][name])
            row.hinted.update(zone["name"] for zone in (endpoint.get("hints") or {}).get("forZones") or [])
        return row

    def _listener(self, kind: str) -> Callable[[str, Object], None]:
        def heard(change: str, obj: Object) -> None:
            if kind == "EndpointSlice":
                self._latency.heard_slice(change, obj)
            with self._changed:
                if change == DELETED:
                    self._objects[kind].pop(obj["metadata"]["uid"], None)
                else:
                    self._objects[kind][obj["metadata"]["uid"]] = obj
                self.slice_events += kind == "EndpointSlice"
                self._version += 1
                self._changed.notify_all()

        return heard


def is_ready(pod: Object) -> bool:
    """Whether a Pod is ready and not on its way out."""
    conditions = pod["status"].get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
