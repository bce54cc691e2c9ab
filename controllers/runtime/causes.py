"""Why a key is synced: the first change since its last sync, so that the time from it to the write can be told."""

from enum import StrEnum
from typing import NamedTuple

from controllers.model.objects import Pod
from controllers.runtime.clock import Clock
from controllers.runtime.queue import WorkQueue
from controllers.runtime.store import Record, namespace_of


class What(StrEnum):
    """What has changed; a metric label."""

    START = "start"
    SERVICE = "service"
    POD_ADDED = "pod_added"
    POD_GONE = "pod_gone"
    POD_READY = "pod_ready"
    POD_LABEL = "pod_label"
    POD_OTHER = "pod_other"
    NODE = "node"
    SLICE = "slice"
    ENDPOINTS = "endpoints"


class Cause(NamedTuple):
    """A change, when it was seen (seconds, monotonic), and the object by kind, Namespace and name."""

    what: What
    at: float
    kind: str
    namespace: str
    name: str


def of_pod(old: Pod | None, new: Pod | None) -> What:
    """What has happened to a Pod; one that begins to terminate is gone for those who send it traffic."""
    if old is None:
        return What.POD_ADDED
    if new is None or (new.terminating and not old.terminating):
        return What.POD_GONE
    if old.labels != new.labels:
        return What.POD_LABEL
    return What.POD_READY if old.ready is not new.ready else What.POD_OTHER


class Causes:
    """Asks a queue for keys, and keeps the first cause of each that waits to be synced."""

    def __init__(self, clock: Clock, queue: WorkQueue) -> None:
        self._clock, self._queue = clock, queue
        self._first: dict[str, Cause] = {}

    def ask(self, key: str, what: What, kind: str, about: Record | None, seconds: float = 0.0) -> None:
        """A change of an object asks for a key to be synced after a delay."""
        self.note(key, what, kind, about)
        self._queue.add_after(key, seconds)

    def note(self, key: str, what: What, kind: str, about: Record | None) -> None:
        """A change asks for a key; changes that follow before it is synced do not count."""
        if key not in self._first:
            name = about.name if about is not None else ""
            self._first[key] = Cause(what, self._clock.now(), kind, namespace_of(about), name)

    def take(self, key: str) -> Cause | None:
        """What the sync that begins now is for."""
        return self._first.pop(key, None)

    def give_back(self, key: str, cause: Cause | None) -> None:
        """The sync has failed: what it was for waits on."""
        if cause is not None:
            self._first[key] = cause
