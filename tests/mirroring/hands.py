"""The surroundings of the mirroring controller: who tells it of changes, and who takes what it does."""

from typing import Any

from aiohttp import web
from msgspec.structs import replace

from controllers.model.objects import Endpoints, EndpointSlice, Service
from controllers.model.plan import Notice, Writes
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError
from controllers.runtime.events import Regarding
from controllers.runtime.loop import Controller
from controllers.runtime.mirroring_controller import MirroringController
from controllers.runtime.stores import Stores
from controllers.runtime.writer import WRITABLE_SLICES, Writer
from tests.runtime.clocks import FakeClock

VERSIONS = iter(range(1000, 10**9))


class Hands:
    """Takes writes and Events; refuses to write while `error` is set."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.error: ApiError | None = None
        self.writes: list[Writes[EndpointSlice]] = []
        self.told: list[tuple[Regarding, Notice]] = []

    async def apply(self, writes: Writes[EndpointSlice], *, counted: bool = True) -> None:
        if writes:
            self.writes.append(writes)
        if self.error is not None:
            raise self.error
        for each in (*writes.create, *writes.update):
            metadata = replace(each.metadata, uid=f"uid-{each.name}", resource_version=str(next(VERSIONS)))
            self._stores.slices.written_by_us(replace(each, metadata=metadata))
        for each in writes.delete:
            self._stores.slices.deleted_by_us(each)

    def record(self, about: Regarding, notice: Notice) -> None:
        self.told.append((about, notice))

    @property
    def reasons(self) -> list[str]:
        return [notice.reason for _, notice in self.told]


async def asked(controller: Controller, *, sync: bool = False) -> set[str]:
    """The keys that wait, which do not any more; they may be synced, as well."""
    found = set()
    while len(controller.queue):
        key, _ = await controller.queue.get() or ("", 0.0)
        found.add(key)
        if sync:
            await controller.sync(key)
        controller.queue.done(key)
    return found


def put(stores: Stores, of: Endpoints | EndpointSlice | Service, **metadata: Any) -> None:
    """What the watch tells: each time a newer version."""
    if isinstance(of, Service):
        stores.services.put(of)
        return
    meta = replace(of.metadata, **{"resource_version": str(next(VERSIONS)), **metadata})
    if isinstance(of, Endpoints):
        stores.endpoints.put(replace(of, metadata=meta))
    else:
        stores.slices.put(replace(of, metadata=meta))


def started(stores: Stores, hands: Hands, batch_seconds: float = 0) -> Controller:
    made = MirroringController(
        stores,
        None,  # type: ignore[arg-type]
        hands,  # type: ignore[arg-type]
        hands,  # type: ignore[arg-type]
        FakeClock(),
        max_endpoints=2,
        batch_seconds=batch_seconds,
    )
    return made.start()


def writing(client: ApiClient, stores: Stores, changes: list[str]) -> Controller:
    """With a real client and writer; nothing of this records Events."""
    clock = FakeClock()
    writer = Writer(client, WRITABLE_SLICES, stores.slices, clock, changes.append)
    made = MirroringController(
        stores,
        client,
        writer,
        Hands(stores),  # type: ignore[arg-type]
        clock,
        max_endpoints=2,
        batch_seconds=0,
    )
    return made.start()


async def confirm(request: web.Request) -> web.StreamResponse:
    """The answer to a write: its metadata with a uid and the next version."""
    meta = (await request.json())["metadata"]
    meta = {"uid": f"uid-{meta['name']}", **meta, "resourceVersion": str(next(VERSIONS))}
    return web.json_response({"kind": "PartialObjectMetadata", "metadata": meta})
