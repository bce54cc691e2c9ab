"""Objects that clients write: kept as the bytes that are answered, with what a write must be checked against."""

import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from e2e.bench.synthetic.population import Key
from e2e.bench.synthetic.statuses import (
    Resource,
    already_exists,
    another_uid,
    bad_request,
    deleted,
    modified,
    not_deleted,
    not_found,
)
from e2e.bench.synthetic.watching import Channel, event
from e2e.bench.synthetic.wire import Answer

_OURS: Final = ("labels", "annotations", "ownerReferences", "finalizers")
_encoder: Final = msgspec.json.Encoder()


class Entry(Struct, gc=False):
    """An object: `own` is what its writer says in its metadata, `rest` everything else that it says."""

    uid: str
    created: str
    version: int
    generation: int
    generate_name: str
    own: bytes
    managed: bytes
    rest: bytes


class _Preconditions(Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteOptions(Struct):
    preconditions: _Preconditions | None = None


class Write(Struct):
    """A create or an update, taken apart."""

    namespace: str
    name: str
    metadata: dict[str, Any]
    own: bytes
    rest: bytes
    fields: dict[str, Raw]


class Stored:
    """All objects of one kind that is written."""

    def __init__(
        self,
        resource: Resource,
        fields: tuple[str, ...],
        channel: Channel,
        next_version: Callable[[], int],
        *,
        generations: bool,
    ) -> None:
        """`fields` are those beside the metadata, in the API's order."""
        self._resource, self._fields, self._channel, self._next = resource, fields, channel, next_version
        self._generations = generations
        self._objects: dict[Key, Entry] = {}
        self._order: list[Key] = []

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, namespace: str, name: str) -> Answer:
        """The object, or 404."""
        entry = self._objects.get((namespace, name))
        return not_found(self._resource, name) if entry is None else Answer(200, self._alone((namespace, name), entry))

    def create(self, write: Write, manager: str, metadata_only: bool) -> Answer:
        """201, or 409 when the name is taken."""
        key = (write.namespace, write.name)
        if key in self._objects:
            return already_exists(self._resource, write.name, bool(write.metadata.get("generateName")))
        version = self._next()
        entry = Entry(
            uid=f"{version:08x}-0000-4000-8000-00000000000a",
            created=_now(),
            version=version,
            generation=1 if self._generations else 0,
            generate_name=str(write.metadata.get("generateName") or ""),
            own=write.own,
            managed=self._managed(write, manager),
            rest=write.rest,
        )
        self._objects[key] = entry
        insort(self._order, key)
        self._tell("ADDED", key, entry)
        return Answer(201, self._alone(key, entry, metadata_only))

    def update(self, write: Write, manager: str, metadata_only: bool) -> Answer:
        """200, or 404, or 409 when another version or uid is meant."""
        key = (write.namespace, write.name)
        entry = self._objects.get(key)
        if entry is None:
            return not_found(self._resource, write.name)
        uid, version = write.metadata.get("uid") or "", write.metadata.get("resourceVersion") or ""
        if uid not in ("", entry.uid):
            return another_uid(self._resource, write.namespace, write.name, str(uid), entry.uid)
        if version not in ("", str(entry.version)):
            return modified(self._resource, write.name)
        # An update that changes nothing is none: nobody is told, and the version stays.
        if (write.own, write.rest) != (entry.own, entry.rest):
            entry.generation += self._generations and write.rest != entry.rest
            entry.own, entry.rest, entry.managed = write.own, write.rest, self._managed(write, manager)
            entry.version = self._next()
            self._tell("MODIFIED", key, entry)
        return Answer(200, self._alone(key, entry, metadata_only))

    def delete(self, namespace: str, name: str, body: bytes) -> Answer:
        """200, or 404, or 409 when a precondition does not hold."""
        entry = self._objects.get((namespace, name))
        if entry is None:
            return not_found(self._resource, name)
        options = msgspec.json.decode(body, type=_DeleteOptions) if body else _DeleteOptions()
        wanted = options.preconditions or _Preconditions()
        for what, asked, is_now in (
            ("UID", wanted.uid, entry.uid),
            ("ResourceVersion", wanted.resource_version, str(entry.version)),
        ):
            if asked not in (None, is_now):
                return not_deleted(self._resource, name, what, str(asked), is_now)
        self._remove((namespace, name))
        return deleted(self._resource, name, entry.uid)

    def delete_all(self, namespace: str) -> None:
        """Deletes what a Namespace has ("": everything)."""
        for key in [key for key in self._order if namespace in ("", key[0])]:
            self._remove(key)

    def page(self, after: Key | None, limit: int, namespace: str) -> tuple[list[Key], int]:
        """The keys that come after one, `limit` at most (0: all), and how many more there are."""
        start = 0 if after is None else bisect_right(self._order, after)
        end = len(self._order)
        if namespace:
            start = max(start, bisect_right(self._order, (namespace, "")))
            end = bisect_right(self._order, (namespace + "\0", ""))
        stop = min(end, start + limit) if limit else end
        return self._order[start:stop], max(0, end - stop)

    def items(self, keys: list[Key]) -> Iterator[bytes]:
        """The objects as items of a list; those that have gone meanwhile are left out."""
        for key in keys:
            entry = self._objects.get(key)
            if entry is not None:
                yield b"{%b%b}" % (_metadata(key, entry), entry.rest)

    def parse(self, namespace: str, name: str, body: bytes) -> Write | Answer:
        """A create (`name` "") or an update taken apart, or why it is refused."""
        try:
            fields = msgspec.json.decode(body, type=dict[str, Raw])
            metadata = msgspec.json.decode(fields.pop("metadata", Raw(b"{}")), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            return bad_request(f"the object provided is unrecognized: {error}")
        found = str(metadata.get("name") or "")
        if not found or (name and name != found):
            return bad_request(f"the name of the object ({found}) does not match the name on the URL ({name})")
        own = b"".join(b',"%b":%b' % (key.encode(), _own(metadata[key])) for key in _OURS if metadata.get(key))
        rest = b"".join(b',"%b":%b' % (key.encode(), _line(fields[key])) for key in self._fields if key in fields)
        return Write(namespace, found, metadata, own, rest, fields)

    def _alone(self, key: Key, entry: Entry, metadata_only: bool = False) -> bytes:
        if metadata_only:
            head = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",'
            return b"%b%b}\n" % (head, _metadata(key, entry))
        return b"%b%b%b}\n" % (self._resource.head, _metadata(key, entry), entry.rest)

    def _tell(self, kind: str, key: Key, entry: Entry) -> None:
        self._channel.publish(entry.version, *key, event(kind, self._alone(key, entry)[:-1]))

    def _remove(self, key: Key) -> None:
        entry = self._objects.pop(key)
        del self._order[bisect_right(self._order, key) - 1]
        entry.version = self._next()
        self._tell("DELETED", key, entry)

    def _managed(self, write: Write, manager: str) -> bytes:
        """managedFields as the API server notes them for one writer that updates everything."""
        fields: dict[str, Any] = {f"f:{key}": {} for key in self._fields if key in write.fields}
        about: dict[str, Any] = {}
        for key in ("annotations", "labels"):
            if write.metadata.get(key):
                about[f"f:{key}"] = {".": {}, **{f"f:{each}": {} for each in sorted(write.metadata[key])}}
        if write.metadata.get("generateName"):
            about["f:generateName"] = {}
        if write.metadata.get("ownerReferences"):
            owners: dict[str, Any] = {f'k:{{"uid":"{each["uid"]}"}}': {} for each in write.metadata["ownerReferences"]}
            about["f:ownerReferences"] = {".": {}, **owners}
        if about:
            fields["f:metadata"] = dict(sorted(about.items()))
        noted = {
            "manager": manager,
            "operation": "Update",
            "apiVersion": self._resource.api_version,
            "time": _now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": dict(sorted(fields.items())),
        }
        return _encoder.encode([noted])


def _metadata(key: Key, entry: Entry) -> bytes:
    namespace, name = key
    generated = f'"generateName":"{entry.generate_name}",' if entry.generate_name else ""
    generation = f'"generation":{entry.generation},' if entry.generation else ""
    front = (
        f'"metadata":{{"name":"{name}",{generated}"namespace":"{namespace}","uid":"{entry.uid}",'
        f'"resourceVersion":"{entry.version}",{generation}"creationTimestamp":"{entry.created}"'
    )
    return b'%b%b,"managedFields":%b}' % (front.encode(), entry.own, entry.managed)


def _own(value: Any) -> bytes:  # noqa: ANN401 (a field of the metadata)
    """Labels and annotations come in order, as Go encodes maps."""
    return _encoder.encode(dict(sorted(value.items())) if isinstance(value, dict) else value)


def _line(raw: Raw) -> bytes:
    """An event must be one line."""
    text = bytes(raw)
    return msgspec.json.format(text, indent=-1) if b"\n" in text else text


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
