"""Carries out planned writes of one kind, a few at a time, and lets the store know what came of them (D-1, D-4).

Every request names what it means: a create its name, an update and a delete the uid and resourceVersion they were
planned from. So nothing is overwritten unseen, and a request that is sent twice does nothing the second time.

A write is tried once: its slot is free for other Services while the queue waits for this one's next turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from controllers.model.objects import Endpoints, EndpointSlice, EndpointSubset, ObjectMeta
from controllers.model.plan import Writes
from controllers.runtime.api_client import METADATA_ONLY, ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import AlreadyExists, ApiError, Conflict, NotFound
from controllers.runtime.syncs import writing
from controllers.runtime.watch import ENDPOINTS, SLICES, Kind
from controllers.runtime.written_store import W, WrittenStore
from controllers.telemetry import metrics

IN_FLIGHT: Final = 8
VERBS: Final = ("create", "update", "delete")
_encoder: Final = msgspec.json.Encoder()


class _Partial(Struct):
    metadata: ObjectMeta


class _TypedSlice(EndpointSlice, rename="camel", kw_only=True, frozen=True):
    kind: str = "EndpointSlice"
    api_version: str = "discovery.k8s.io/v1"


class _TypedEndpoints(Struct, rename="camel", frozen=True, gc=False):
    metadata: ObjectMeta
    subsets: tuple[EndpointSubset, ...]
    kind: str = "Endpoints"
    api_version: str = "v1"


def _encode_slice(new: EndpointSlice) -> bytes:
    return _encoder.encode(
        _TypedSlice(metadata=new.metadata, address_type=new.address_type, endpoints=new.endpoints, ports=new.ports)
    )


def _encode_endpoints(new: Endpoints) -> bytes:
    return _encoder.encode(_TypedEndpoints(new.metadata, new.subsets or ()))


@dataclass(frozen=True)
class Writable(Generic[W]):
    """A kind that is read and written."""

    kind: Kind[W]
    encode: Callable[[W], bytes]
    with_metadata: Callable[[W, ObjectMeta], W]

    def path(self, namespace: str, name: str | None = None) -> str:
        """The path of a Namespace's objects, or of one of them."""
        group, _, plural = self.kind.path.rpartition("/")
        path = f"{group}/namespaces/{namespace}/{plural}"
        return path if name is None else f"{path}/{name}"

    def decode(self, text: bytes) -> W:
        """The record of an object as the API server gives it."""
        return self.kind.record(msgspec.json.decode(text, type=self.kind.wire_type))


WRITABLE_SLICES: Final = Writable(SLICES, _encode_slice, lambda new, metadata: replace(new, metadata=metadata))
WRITABLE_ENDPOINTS: Final = Writable(
    ENDPOINTS, _encode_endpoints, lambda new, metadata: replace(new, metadata=metadata)
)


class NamespaceTerminating(Exception):
    """A create was refused because its Namespace is being deleted: no error, but the rest is moot (ES-73, EP-55)."""


class Outdated(ApiError):
    """Somebody else wrote in between. The store knows better now: plan again."""


class Writer(Generic[W]):
    """Writes objects of one kind; at most `in_flight` requests at a time, over all Services.

    `changed` is told the verb of each write that has succeeded.
    """

    def __init__(
        self,
        client: ApiClient,
        writable: Writable[W],
        store: WrittenStore[W],
        clock: Clock,
        changed: Callable[[str], None] = lambda _: None,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._client, self._writable, self._store, self._clock = client, writable, store, clock
        self._changed = changed
        self._slots = asyncio.Semaphore(in_flight)
        kind = writable.kind.name
        self._seconds = {verb: metrics.WRITE_SECONDS.labels(kind=kind, verb=verb) for verb in VERBS}

    async def apply(self, writes: Writes[W], *, counted: bool = True) -> None:
        """Creates, then updates, then deletes; a stage starts when the one before has succeeded.

        `changed` is not told of what is not `counted`.

        Raises Outdated (plan again at once), or the ApiError of a write that failed otherwise.
        """
        try:
            for verb, write, objects in (
                ("create", self._create, writes.create),
                ("update", self._update, writes.update),
                ("delete", self._delete, writes.delete),
            ):
                if objects:
                    await self._stage(verb, write, objects, counted)
        except NamespaceTerminating:
            return

    async def _stage(
        self, verb: str, write: Callable[[W], Awaitable[None]], objects: Sequence[W], counted: bool
    ) -> None:
        if len(objects) == 1:
            # The ordinary case needs no task of its own.
            await self._one(verb, write, objects[0], counted)
            return
        requests = (self._one(verb, write, each, counted) for each in objects)
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        # An outdated plan explains the other failures of its stage.
        failures.sort(key=lambda failure: not isinstance(failure, Outdated))
        for failure in failures:
            raise failure

    async def _one(self, verb: str, write: Callable[[W], Awaitable[None]], each: W, counted: bool) -> None:
        async with self._slots:
            start = self._clock.now()
            self._store.write_begins(each)
            try:
                with writing(verb, self._writable.kind.name, each.name):
                    await write(each)
            finally:
                self._store.write_ends(each)
            self._seconds[verb].observe(self._clock.now() - start)
            if counted:
                self._changed(verb)

    async def _create(self, new: W) -> None:
        namespace, name = new.metadata.namespace, new.metadata.name
        try:
            answer = await self._client.request(
                "POST", self._path(namespace), body=self._writable.encode(new), accept=METADATA_ONLY, attempts=1
            )
        except AlreadyExists as error:
            await self.reread(namespace, name)
            raise Outdated(str(error), status=error.status) from error
        except ApiError as error:
            if error.namespace_terminating:
                raise NamespaceTerminating from error
            raise
        self._written(new, answer)

    async def _update(self, new: W) -> None:
        namespace, name = new.metadata.namespace, new.metadata.name
        try:
            answer = await self._client.request(
                "PUT", self._path(namespace, name), body=self._writable.encode(new), accept=METADATA_ONLY, attempts=1
            )
        except (Conflict, NotFound) as error:
            await self.reread(namespace, name)
            raise Outdated(str(error), status=error.status) from error
        self._written(new, answer)

    async def _delete(self, doomed: W) -> None:
        found = doomed.metadata
        preconditions = {"uid": found.uid, "resourceVersion": found.resource_version}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        try:
            answer = await self._client.request(
                "DELETE", self._path(found.namespace, found.name), body=msgspec.json.encode(body), attempts=1
            )
        except NotFound:
            self._store.deleted_by_us(doomed)
            return
        except Conflict as error:
            await self.reread(found.namespace, found.name)
            raise Outdated(str(error), status=error.status) from error
        # With finalizers the object is answered, marked for deletion, and stays until they are done.
        left = msgspec.json.decode(answer, type=_KindOnly)
        if left.kind == self._writable.kind.name:
            self._store.answered(self._writable.decode(answer))
        else:
            self._store.deleted_by_us(doomed)

    def _written(self, new: W, answer: bytes) -> None:
        """Read your own writes: what the server has confirmed is known before the watch tells it (D-1)."""
        metadata = msgspec.json.decode(answer, type=_Partial).metadata
        self._store.written_by_us(self._writable.with_metadata(new, metadata))

    async def reread(self, namespace: str, name: str) -> None:
        """Puts into the store what the API server holds, without waiting for the watch. Raises ApiError."""
        try:
            answer = await self._client.request("GET", self._path(namespace, name))
        except NotFound:
            gone = self._store.get(namespace, name)
            if gone is not None:
                self._store.deleted_by_us(gone)
            return
        self._store.answered(self._writable.decode(answer))

    def _path(self, namespace: str, name: str | None = None) -> str:
        return self._writable.path(namespace, name)


class _KindOnly(Struct):
    kind: str = ""
