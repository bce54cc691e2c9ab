"""Carries out planned writes of EndpointSlices, a few at a time, and lets the store know what came of them (D-1, D-4).

Every request names what it means: a create its name, an update and a delete the uid and resourceVersion they were
planned from. So nothing is overwritten unseen, and a request that is sent twice does nothing the second time.

A write is tried once: its slot is free for other Services while the queue waits for this one's next turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from controllers.model import wire
from controllers.model.objects import EndpointSlice, ObjectMeta
from controllers.model.plan import Writes
from controllers.runtime.api_client import METADATA_ONLY, ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import AlreadyExists, ApiError, Conflict, NotFound
from controllers.runtime.store import SliceStore
from controllers.runtime.watch import SLICES
from controllers.telemetry import metrics

IN_FLIGHT: Final = 8


class _Partial(Struct):
    metadata: ObjectMeta


class _Typed(EndpointSlice, rename="camel", kw_only=True, frozen=True):
    kind: str = "EndpointSlice"
    api_version: str = "discovery.k8s.io/v1"


class NamespaceTerminating(Exception):
    """A create was refused because its Namespace is being deleted: no error, but the rest is moot (ES-73)."""


class Outdated(ApiError):
    """Somebody else wrote in between. The store knows better now: plan again."""


class Writer:
    """Writes slices; at most `in_flight` requests at a time, over all Services."""

    def __init__(self, client: ApiClient, store: SliceStore, clock: Clock, in_flight: int = IN_FLIGHT) -> None:
        self._client, self._store, self._clock = client, store, clock
        self._slots = asyncio.Semaphore(in_flight)
        self._encoder = msgspec.json.Encoder()
        self._seconds = {verb: metrics.WRITE_SECONDS.labels(verb=verb) for verb in ("create", "update", "delete")}
        self._changes = {verb: metrics.SLICE_CHANGES.labels(operation=verb) for verb in ("create", "update", "delete")}

    async def apply(self, writes: Writes) -> None:
        """Creates, then updates, then deletes; a stage starts when the one before has succeeded.

        Raises Outdated (plan again at once), or the ApiError of a write that failed otherwise.
        """
        try:
            for verb, write, objects in (
                ("create", self._create, writes.create),
                ("update", self._update, writes.update),
                ("delete", self._delete, writes.delete),
            ):
                await self._stage(verb, write, objects)
        except NamespaceTerminating:
            return

    async def _stage(
        self, verb: str, write: Callable[[EndpointSlice], Awaitable[None]], objects: Iterable[EndpointSlice]
    ) -> None:
        outcomes = await asyncio.gather(*(self._one(verb, write, each) for each in objects), return_exceptions=True)
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        # An outdated plan explains the other failures of its stage.
        failures.sort(key=lambda failure: not isinstance(failure, Outdated))
        for failure in failures:
            raise failure

    async def _one(self, verb: str, write: Callable[[EndpointSlice], Awaitable[None]], each: EndpointSlice) -> None:
        async with self._slots:
            start = self._clock.now()
            await write(each)
            self._seconds[verb].observe(self._clock.now() - start)
            self._changes[verb].inc()

    async def _create(self, new: EndpointSlice) -> None:
        namespace, name = new.metadata.namespace, new.metadata.name
        try:
            answer = await self._client.request(
                "POST", _path(namespace), body=self._encode(new), accept=METADATA_ONLY, attempts=1
            )
        except AlreadyExists as error:
            await self._reread(namespace, name)
            raise Outdated(str(error), status=error.status) from error
        except ApiError as error:
            if error.namespace_terminating:
                raise NamespaceTerminating from error
            raise
        self._written(new, answer)

    async def _update(self, new: EndpointSlice) -> None:
        namespace, name = new.metadata.namespace, new.metadata.name
        try:
            answer = await self._client.request(
                "PUT", _path(namespace, name), body=self._encode(new), accept=METADATA_ONLY, attempts=1
            )
        except (Conflict, NotFound) as error:
            await self._reread(namespace, name)
            raise Outdated(str(error), status=error.status) from error
        self._written(new, answer)

    async def _delete(self, doomed: EndpointSlice) -> None:
        found = doomed.metadata
        preconditions = {"uid": found.uid, "resourceVersion": found.resource_version}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        try:
            answer = await self._client.request(
                "DELETE", _path(found.namespace, found.name), body=msgspec.json.encode(body), attempts=1
            )
        except NotFound:
            self._store.deleted_by_us(doomed)
            return
        except Conflict as error:
            await self._reread(found.namespace, found.name)
            raise Outdated(str(error), status=error.status) from error
        # With finalizers the object is answered, marked for deletion, and stays until they are done.
        left = msgspec.json.decode(answer, type=_KindOnly)
        if left.kind == "EndpointSlice":
            self._store.put(wire.slice_from_wire(msgspec.json.decode(answer, type=wire.WireSlice)))
        else:
            self._store.deleted_by_us(doomed)

    def _encode(self, new: EndpointSlice) -> bytes:
        return self._encoder.encode(
            _Typed(metadata=new.metadata, address_type=new.address_type, endpoints=new.endpoints, ports=new.ports)
        )

    def _written(self, new: EndpointSlice, answer: bytes) -> None:
        """Read your own writes: what the server has confirmed is known before the watch tells it (D-1)."""
        self._store.written_by_us(replace(new, metadata=msgspec.json.decode(answer, type=_Partial).metadata))

    async def _reread(self, namespace: str, name: str) -> None:
        """Puts into the store what the API server holds, without waiting for the watch."""
        try:
            answer = await self._client.request("GET", _path(namespace, name))
        except NotFound:
            gone = self._store.get(namespace, name)
            if gone is not None:
                self._store.deleted_by_us(gone)
            return
        self._store.put(wire.slice_from_wire(msgspec.json.decode(answer, type=wire.WireSlice)))


class _KindOnly(Struct):
    kind: str = ""


def _path(namespace: str, name: str | None = None) -> str:
    group, _, plural = SLICES.path.rpartition("/")
    path = f"{group}/namespaces/{namespace}/{plural}"
    return path if name is None else f"{path}/{name}"
