"""The lean informer's source: lists a kind, then watches it, for ever (DESIGN section 5).

One reflector per kind. It never gives up and never spins: whatever goes wrong, it waits with a growing, jittered delay,
resumes from the last resourceVersion it saw, and lists anew only when the server says that this is too old.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

import aiohttp
import msgspec
from msgspec import Raw, Struct

from controllers.model import wire
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError, Expired, Status, error_for
from controllers.runtime.listing import ListMeta, listed
from controllers.telemetry import metrics
from controllers.telemetry.logs import bind

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)

# Bookmarks come about once a minute: a watch that is silent for longer has died without saying so.
IDLE_SECONDS: Final = 90.0
# How many events may be handed over before other tasks get the loop.
BATCH: Final = 32


@dataclass(frozen=True)
class Kind(Generic[R]):
    """What is listed and watched: its name, its collection's path, how its JSON is typed and becomes a record."""

    name: str
    path: str
    wire_type: Any
    record: Callable[[Any], R]


PODS: Final = Kind("Pod", "/api/v1/pods", wire.WirePod, wire.pod_from_wire)
SERVICES: Final = Kind("Service", "/api/v1/services", wire.WireService, wire.service_from_wire)
NODES: Final = Kind("Node", "/api/v1/nodes", wire.WireNode, wire.node_from_wire)
SLICES: Final = Kind("EndpointSlice", "/apis/discovery.k8s.io/v1/endpointslices", wire.WireSlice, wire.slice_from_wire)
ENDPOINTS: Final = Kind("Endpoints", "/api/v1/endpoints", wire.WireEndpoints, wire.endpoints_from_wire)


class Sink(Protocol[R_contra]):
    """Where a reflector puts what it reads."""

    def put(self, record: R_contra) -> None:
        """An object as it now is."""
        ...

    def drop_named(self, namespace: str, name: str, uid: str) -> None:
        """An object that has gone."""
        ...

    def begin_list(self) -> None:
        """From here on, `put` names what exists ..."""
        ...

    def end_list(self, resource_version: int) -> None:
        """... and what was not named since `begin_list` had gone by this version."""
        ...

    @property
    def own_versions(self) -> set[bytes]:
        """The resourceVersions of writes of our own whose answer is known already: their events are no news."""
        ...


class Malformed(Struct, frozen=True):
    """An object that does not decode: which one, and why. It is skipped, the others are not."""

    kind: str
    namespace: str
    name: str
    uid: str
    error: str


class _Meta(Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Identified(Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)


class _ListOf(Struct, Generic[R]):
    metadata: ListMeta
    items: list[R] | None = None


class _EventOf(Struct, Generic[R]):
    type: str
    object: R


class Lines:
    """Cuts a stream of chunks into lines; a chunk may hold many lines, or a part of one."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines completed by this chunk, without their ends."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line for line in lines if line]


class Reflector(Generic[R]):
    """Keeps a sink equal to what the API server holds of one kind."""

    def __init__(
        self,
        client: ApiClient,
        kind: Kind[R],
        sink: Sink[R],
        clock: Clock,
        malformed: Callable[[Malformed], None],
    ) -> None:
        self._client, self._kind, self._sink, self._clock, self._malformed = client, kind, sink, clock, malformed
        self._list_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_ListOf[kind.wire_type])  # type: ignore[name-defined]
        self._event_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_EventOf[kind.wire_type])  # type: ignore[name-defined]
        self._item_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind.wire_type)
        self._log = bind("controllers.runtime.watch", kind=kind.name)
        self._version = ""
        self._failures = 0
        self._decode_errors = metrics.DECODE_ERRORS.labels(kind=kind.name)
        self.kind = kind.name
        self.synced = asyncio.Event()
        # When anything was last heard or tried: a reflector that is silent for long has lost its way.
        self.last_progress = clock.now()

    async def run(self) -> None:
        """Lists and watches until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Expired as error:
                self._log.info("resource version too old, listing again", error=str(error))
                self._version = ""
                await self._back_off()
            except (ApiError, msgspec.MsgspecError, ValueError) as error:
                self._log.warning("list or watch failed", error=str(error))
                if isinstance(error, ApiError) and error.version_from_the_future:
                    self._version = ""
                await self._back_off()

    async def _back_off(self) -> None:
        """1 s, 1.5 s, … up to 5 s, and as much again at random: quick to come back, never a storm."""
        self.last_progress = self._clock.now()
        delay = min(1.5 ** min(self._failures, 4), 5.0)
        self._failures += 1
        await self._clock.sleep(delay * random.uniform(1.0, 2.0))

    async def _list(self) -> None:
        """Reads the whole collection, page by page. A list that does not begin waits in `_back_off`."""
        self._sink.begin_list()
        version = ""
        async with listed(self._client, self._kind.path) as pages:
            async for page in pages:
                await self._put_page(page.body)
                version = page.meta.resource_version
        self._sink.end_list(int(version or 0))
        self._version = version
        self.synced.set()
        self._log.debug("listed", resource_version=self._version)

    async def _put_page(self, page: bytes) -> None:
        self.last_progress = self._clock.now()
        for index, item in enumerate(self._items(page)):
            self._put(item)
            if index % BATCH == BATCH - 1:
                await asyncio.sleep(0)

    def _items(self, page: bytes) -> Iterable[Any]:
        """What of a page decodes; the rest is reported. Raises msgspec.MsgspecError when it is no page of a list."""
        try:
            return self._list_decoder.decode(page).items or ()
        except msgspec.MsgspecError:
            raws = msgspec.json.decode(page, type=_ListOf[Raw]).items or ()
            return [item for item in map(self._decode_item, raws) if item is not None]

    def _put(self, item: Any) -> None:  # noqa: ANN401 (whatever this kind's wire type is)
        record = self._record(item)
        if record is not None:
            self._sink.put(record)

    def _record(self, item: Any) -> R | None:  # noqa: ANN401
        """The record, or None: whatever is wrong with one object must not stop the others."""
        try:
            return self._kind.record(item)
        except Exception as error:
            meta = item.metadata
            self._skip(Malformed(self._kind.name, meta.namespace, meta.name, meta.uid, str(error)))
            return None

    def _decode_item(self, raw: Raw) -> object | None:
        try:
            item: object = self._item_decoder.decode(raw)
        except msgspec.MsgspecError as error:
            self._report(raw, error)
            return None
        return item

    async def _watch(self) -> None:
        """Follows changes from the last version; returns when the server ends the watch, as it does every few
        minutes.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(300, 600)),
        }
        opened = self._clock.now()
        async with self._client.stream(self._kind.path, query, idle_seconds=IDLE_SECONDS) as stream:
            async for batch in _batches(stream):
                for line in batch:
                    self._event(line)
                self.last_progress = self._clock.now()
                self._failures = 0
                await asyncio.sleep(0)
        if self._clock.now() - opened < 1.0:
            # A server that closes at once must not be asked again at once.
            await self._back_off()

    def _event(self, line: bytes) -> None:
        own = self._sink.own_versions
        if own:
            version = _first_version(line)
            if version in own:
                own.discard(version)
                self._version = version.decode()
                return
        self._read(line)

    def _read(self, line: bytes) -> None:
        """An event that may be news."""
        try:
            event = self._event_decoder.decode(line)
        except msgspec.MsgspecError as error:
            self._odd_event(line, error)
            return
        if event.type in ("ADDED", "MODIFIED"):
            self._put(event.object)
        elif event.type == "DELETED":
            self._sink.drop_named(
                event.object.metadata.namespace, event.object.metadata.name, event.object.metadata.uid
            )
        elif event.type == "ERROR":
            self._odd_event(line, None)
        self._version = event.object.metadata.resource_version or self._version

    def _odd_event(self, line: bytes, error: msgspec.MsgspecError | None) -> None:
        """An ERROR event (raised as ApiError), or an object that does not decode (reported and skipped)."""
        raw = msgspec.json.decode(line, type=_EventOf[Raw])
        if raw.type == "ERROR":
            status = msgspec.json.decode(raw.object, type=Status)
            raise error_for(status.code or 500, bytes(raw.object), f"watch {self._kind.path}")
        meta = self._report(raw.object, error)
        if raw.type == "DELETED":
            self._sink.drop_named(meta.namespace, meta.name, meta.uid)
        self._version = meta.resource_version or self._version

    def _report(self, raw: Raw, error: msgspec.MsgspecError | None) -> "_Meta":
        """Says which object is skipped, as far as that can be read; returns that."""
        try:
            meta = msgspec.json.decode(raw, type=_Identified).metadata
        except msgspec.MsgspecError:
            meta = _Meta()
        self._skip(Malformed(self._kind.name, meta.namespace, meta.name, meta.uid, str(error)))
        return meta

    def _skip(self, found: Malformed) -> None:
        self._decode_errors.inc()
        self._log.error("object skipped", namespace=found.namespace, name=found.name, error=found.error)
        self._malformed(found)


def _first_version(line: bytes) -> bytes:
    """The first resourceVersion in an event; the API server writes the object's own before those that it refers to."""
    _, _, rest = line.partition(b'"resourceVersion":"')
    return rest[: rest.find(b'"')]


async def _batches(stream: aiohttp.StreamReader) -> AsyncGenerator[list[bytes]]:
    """Lines as they come, at most BATCH at a time."""
    lines = Lines()
    async for chunk in stream.iter_any():
        ready = lines.feed(chunk)
        for start in range(0, len(ready), BATCH):
            yield ready[start : start + BATCH]
