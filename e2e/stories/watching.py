"""Every state that the slices of a namespace were in, as whoever watches them has seen it."""

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

from e2e.cluster.mirror import DELETED, MODIFIED, Mirror
from e2e.cluster.rest import Api, Object
from tests.shell.waiting import eventually

Conditions = dict[str, bool]

READY: Conditions = {"ready": True, "serving": True, "terminating": False}
# No longer offered to those who come, but answering those who are there.
ENDING: Conditions = {"ready": False, "serving": True, "terminating": True}


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one slice, and the endpoints that its Service has in its family since: (Pod, conditions)."""

    change: str
    service: str
    family: str
    slice: Object
    endpoints: tuple[tuple[str, Conditions], ...]

    @property
    def ready(self) -> int:
        return sum(conditions["ready"] for _, conditions in self.endpoints)

    @property
    def repeated(self) -> list[str]:
        """The Pods that are there more than once."""
        names = [name for name, _ in self.endpoints]
        return sorted({name for name in names if names.count(name) > 1})


class SliceLog:
    """A context manager around the watch; entered when all that was there has been heard."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._lock = threading.Lock()
        self._slices: dict[str, Object] = {}
        self._events: list[Event] = []
        self._rewritten: list[str] = []
        self._api, self._namespace = api, namespace
        self._mirror = Mirror(api, "EndpointSlice", self._heard, namespace)

    def __enter__(self) -> Self:
        self._mirror.__enter__()
        if not self._mirror.synced.wait(30):
            self._mirror.__exit__(None, None, None)
            raise TimeoutError("the slices could not be listed")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._mirror.__exit__(kind, value, at)

    def catch_up(self) -> None:
        """Returns when all that was written before has been heard: a slice that is made here comes after it."""
        name = f"marker-{uuid.uuid4().hex[:10]}"
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": []}
        uid = self._api.create({**kind, "metadata": {"name": name, "namespace": self._namespace}})["metadata"]["uid"]
        try:
            eventually(lambda: self._has(uid))
        finally:
            self._api.delete("EndpointSlice", name, self._namespace)

    def _has(self, uid: str) -> None:
        with self._lock:
            assert uid in self._slices, "the watch is late"

    def mark(self) -> int:
        """A point in time, for `since`."""
        with self._lock:
            return len(self._events)

    def since(self, mark: int, service: str = "web") -> list[Event]:
        """What has come of a Service's slices since then."""
        with self._lock:
            return [each for each in self._events[mark:] if each.service == service]

    @property
    def rewritten(self) -> list[str]:
        """The slices that were written with nothing changed in them but their version, once for each time."""
        with self._lock:
            return list(self._rewritten)

    def _heard(self, change: str, each: Object) -> None:
        metadata = each["metadata"]
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name", "")
        family = each["addressType"]
        with self._lock:
            before = self._slices.pop(metadata["uid"], None)
            if change != DELETED:
                self._slices[metadata["uid"]] = each
            # What is listed anew is told again, although nobody has written it.
            written = before is not None and before["metadata"]["resourceVersion"] != metadata["resourceVersion"]
            if change == MODIFIED and before is not None and written and _content(before) == _content(each):
                self._rewritten.append(metadata["name"])
            endpoints = tuple(self._endpoints(service, family))
            self._events.append(Event(change, service, family, each, endpoints))

    def _endpoints(self, service: str, family: str) -> Iterator[tuple[str, Conditions]]:
        for each in self._slices.values():
            labels = each["metadata"].get("labels") or {}
            if (labels.get("kubernetes.io/service-name"), each["addressType"]) == (service, family):
                for endpoint in each.get("endpoints") or []:
                    name = (endpoint.get("targetRef") or {}).get("name") or endpoint["addresses"][0]
                    yield name, endpoint["conditions"]


def fates(events: list[Event], family: str) -> dict[str, list[Conditions]]:
    """What was told of each Pod in a family: its conditions, one after the other, each once in a row.

    Of a Pod that has gone the last is {}.
    """
    found: dict[str, list[Conditions]] = {}
    for event in events:
        if event.family != family:
            continue
        now = dict(event.endpoints)
        for name in [*found, *(name for name in now if name not in found)]:
            told = found.setdefault(name, [])
            conditions = now.get(name, {})
            if not told or told[-1] != conditions:
                told.append(conditions)
    return found


def left_gracefully(fate: list[Conditions]) -> bool:
    """Whether a Pod was ready, then on its way out while it still served, and then gone."""
    turns = list(pairwise(fate))
    return (READY, ENDING) in turns and fate[-1] == {}


def _content(each: Object) -> Object:
    """What a reader would act on."""
    labels = each["metadata"].get("labels")
    return {"labels": labels, "endpoints": each.get("endpoints"), "ports": each.get("ports")}
