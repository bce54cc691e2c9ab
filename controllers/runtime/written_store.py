"""Stores of what we write ourselves: they know our writes before the watch has shown them (D-1).

resourceVersions compare as integers (KEP-5504): what is older than what is known is not news. An object that we deleted
stays deleted, whatever the watch still has to tell about it.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from api import names
from controllers.membership.subsets import remembered
from controllers.model.objects import Endpoints, EndpointSlice, ObjectMeta
from controllers.runtime.store import Store, discard, include


class Written(Protocol):
    """A record with the whole of its metadata."""

    @property
    def metadata(self) -> ObjectMeta: ...

    @property
    def name(self) -> str: ...


W = TypeVar("W", bound=Written)


class WrittenStore(Store[W]):
    """Records of one kind, including what we have just written and the watch has not shown yet.

    `put` and `drop_named` are for what the watch and lists tell, `answered`, `written_by_us` and `deleted_by_us` for
    the answers to our own requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[tuple[str, str], list[Callable[[], None]]] = {}
        self._deleted: set[str] = set()
        self._deleted_but_listed: set[str] = set()
        self._older_listed: list[W] = []
        self._newest_before = 0
        self._listed_at = 0

    def put(self, record: W) -> None:
        if self._held and self._hold(self._key(record), partial(self.put, record)):
            return
        if self.own_versions:
            self.own_versions.discard(record.metadata.resource_version.encode())
        self._take(record)

    def answered(self, record: W) -> None:
        """Takes over what the API server has answered about an object: a list that is under way has not named it.

        A list that has ended since, without the object, is newer than the answer: no watch will tell that it has gone.
        """
        if self._overtaken(record):
            return
        listed, self._listed = self._listed, None
        try:
            self._take(record)
        finally:
            self._listed = listed

    def _overtaken(self, record: W) -> bool:
        return 0 < _version(record) <= self._listed_at and self.get(*self._key(record)) is None

    def _take(self, record: W) -> None:
        if record.metadata.uid in self._deleted:
            self._deleted_but_listed.add(record.metadata.uid)
            return
        old = self.get(*self._key(record))
        if old is not None and _version(old) >= _version(record):
            if self._listed is not None:
                self._listed.setdefault(record.metadata.namespace, set()).add(record.name)
                self._older_listed.append(record)
            return
        super().put(self._kept(record))

    def write_begins(self, record: W) -> None:
        """From here to `write_ends`, what the watch tells of the object waits for the answer: most often it is that.

        So the watch can be faster than the answer, and our own write is no news all the same.
        """
        self._held.setdefault(self._key(record), [])

    def write_ends(self, record: W) -> None:
        """The write has been answered, or has failed: what has waited is looked at."""
        for tell in self._held.pop(self._key(record), ()):
            tell()

    def _hold(self, key: tuple[str, str], tell: Callable[[], None]) -> bool:
        held = self._held.get(key)
        # A list must be complete when it ends.
        if held is None or self._listed is not None:
            return False
        held.append(tell)
        return True

    def _kept(self, record: W) -> W:
        """What is worth keeping of a record."""
        return record

    def drop(self, record: W) -> None:
        self._forget(record.metadata.namespace, record.metadata.name, record.metadata.uid)

    def drop_named(self, namespace: str, name: str, uid: str = "") -> None:
        if self._held and self._hold((namespace, name), partial(self.drop_named, namespace, name, uid)):
            return
        self._forget(namespace, name, uid)

    def _forget(self, namespace: str, name: str, uid: str) -> None:
        self._deleted.discard(uid)
        old = self.get(namespace, name)
        # Deleted and made again under the same name: the news is about the one before.
        if old is not None and old.metadata.uid == uid:
            super().drop_named(namespace, name)

    def written_by_us(self, record: W) -> None:
        """Takes note of a write that the API server has confirmed; one that changed nothing has no event."""
        if self._overtaken(record):
            for changed in self._subscribers:
                changed(record, None)
            return
        self._confirmed(record)

    def _confirmed(self, record: W) -> None:
        known = self.get(*self._key(record))
        if _version(record) > (_version(known) if known is not None else 0):
            self.own_versions.add(record.metadata.resource_version.encode())
        self.answered(record)

    def deleted_by_us(self, record: W) -> None:
        """Takes note of a deletion that the API server has confirmed."""
        known = self.get(*self._key(record))
        if known is None or known.metadata.uid != record.metadata.uid:
            return  # the watch was faster than the answer: nothing more will be told about it
        self.drop(record)
        self._deleted.add(record.metadata.uid)
        if self._listed is not None:
            # The list may be older than the deletion: news from before it may still come.
            self._deleted_but_listed.add(record.metadata.uid)

    def begin_list(self) -> None:
        super().begin_list()
        for held in self._held.values():
            held.clear()  # the list knows better
        self._deleted_but_listed.clear()
        self._older_listed.clear()
        self._newest_before = max(map(_version, self.all()), default=0)

    def end_list(self, resource_version: int) -> None:
        self._listed_at = resource_version
        if resource_version < self._newest_before:
            # The server's history went back (etcd restored from a backup): what it lists is what there is.
            resource_version = self._newest_before
            self.own_versions.clear()
            for record in self._older_listed:
                super().put(self._kept(record))
        self._older_listed.clear()
        # The watch that follows begins after this version.
        self.own_versions -= {each for each in self.own_versions if int(each) <= resource_version}
        super().end_list(resource_version)
        # Of the others the list has already seen the end: no event about them can come any more.
        self._deleted &= self._deleted_but_listed

    def _key(self, record: W) -> tuple[str, str]:
        return record.metadata.namespace, record.metadata.name

    def _older(self, record: W, resource_version: int) -> bool:
        return _version(record) <= resource_version


class SliceStore(WrittenStore[EndpointSlice]):
    """EndpointSlices, by Service. Our own writes are no news: each slice has one controller, which knows them."""

    def __init__(self) -> None:
        super().__init__()
        self._of_service: dict[str, dict[str, tuple[str, ...]]] = {}

    def of_service(self, namespace: str, service: str) -> list[EndpointSlice]:
        """The slices labelled with a Service's name, whoever manages them."""
        slices = self._by_namespace.get(namespace, {})
        return [slices[name] for name in self._of_service.get(namespace, {}).get(service, ())]

    def _confirmed(self, record: EndpointSlice) -> None:
        self._quietly(super()._confirmed, record)

    def deleted_by_us(self, record: EndpointSlice) -> None:
        self._quietly(super().deleted_by_us, record)

    def _quietly(self, take: Callable[[EndpointSlice], None], record: EndpointSlice) -> None:
        subscribers, self._subscribers = self._subscribers, []
        try:
            take(record)
        finally:
            self._subscribers = subscribers

    def _reindex(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        if old is not None and new is not None and _service_of(old) == _service_of(new):
            return
        if old is not None:
            discard(self._of_service, old.metadata.namespace, _service_of(old), old.name)
        if new is not None:
            include(self._of_service, new.metadata.namespace, _service_of(new), new.name)


class EndpointsStore(WrittenStore[Endpoints]):
    """Endpoints. What one controller writes may be another's to mirror: our own writes are news like all others."""

    def _kept(self, record: Endpoints) -> Endpoints:
        return remembered(record)


def _service_of(record: EndpointSlice) -> str:
    return record.labels.get(names.SERVICE_NAME_LABEL, "")


def _version(record: Written) -> int:
    text = record.metadata.resource_version
    return int(text) if text.isdecimal() else 0
