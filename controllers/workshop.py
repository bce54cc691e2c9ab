"""What `sliceplane run` consists of: for the controllers that were chosen, their caches, writers and queues."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from prometheus_client import Counter

from api import names
from api.config import Configuration
from api.controllers import ENDPOINTS, ENDPOINTSLICE, MIRRORING, chosen
from controllers.model.plan import Notice
from controllers.runtime import election, endpoints_controller, mirroring_controller, shards, slice_controller, watch
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.election import Election
from controllers.runtime.endpoints_controller import EndpointsController
from controllers.runtime.events import EventRecorder, Regarding
from controllers.runtime.loop import Loop
from controllers.runtime.mirroring_controller import MirroringController
from controllers.runtime.queue import WorkQueue
from controllers.runtime.sharded_watch import ShardReflector
from controllers.runtime.slice_controller import SliceController
from controllers.runtime.stores import Stores
from controllers.runtime.watch import Malformed, Reflector, Sink
from controllers.runtime.writer import VERBS, WRITABLE_ENDPOINTS, WRITABLE_SLICES, Writer
from controllers.telemetry import metrics
from controllers.telemetry.tracing import Tracing

_COMPONENTS: Final = {
    ENDPOINTSLICE: names.EVENT_COMPONENT_ENDPOINTSLICE,
    ENDPOINTS: names.EVENT_COMPONENT_ENDPOINTS,
    MIRRORING: names.EVENT_COMPONENT_MIRRORING,
}
_VERSIONS: Final = {"EndpointSlice": "discovery.k8s.io/v1"}


class Workshop:
    """Builds the chosen controllers; only the kinds that one of them reads are watched."""

    def __init__(self, configuration: Configuration, stores: Stores, client: ApiClient, clock: Clock) -> None:
        self._configuration, self._stores, self._client, self._clock = configuration, stores, client, clock
        self.names = sorted(chosen(configuration.controllers))
        self._shard = shards.chosen(configuration.shard, configuration.shards)
        metrics.SHARDS.labels(shard=str(configuration.shard)).set(configuration.shards)
        self._recorders = {name: EventRecorder(client, clock, _COMPONENTS[name]) for name in self.names}
        self.reflectors = self._watch()
        endpoint, rate = configuration.tracing_endpoint, configuration.tracing_sampling_rate_per_million
        self._tracing = Tracing(endpoint, rate) if endpoint and rate else None
        self._slices_queue: WorkQueue | None = None

    def close(self) -> None:
        """Exports the traces that are left; takes a few seconds at most."""
        if self._tracing is not None:
            self._tracing.close()

    @property
    def recorders(self) -> list[EventRecorder]:
        """One for each controller: they differ in the component that they record for."""
        return list(self._recorders.values())

    def loops(self) -> list[tuple[Loop, int]]:
        """Starts the controllers, whose caches have synced; returns what to run, each with its number of workers."""
        # The Endpoints stand behind the slices, which therefore come first.
        builders = {
            ENDPOINTSLICE: self._endpointslice,
            ENDPOINTS: self._endpoints,
            MIRRORING: self._mirroring,
        }
        return [build() for name, build in builders.items() if name in self.names]

    @contextlib.asynccontextmanager
    async def lease_recorder(self, client: ApiClient) -> AsyncIterator[EventRecorder]:
        """Records what is said of the Lease, which also a replica may say that does not lead any more."""
        recorder = EventRecorder(client, self._clock, names.EVENT_COMPONENT_LEADER_ELECTION)
        running = asyncio.create_task(recorder.run())
        try:
            yield recorder
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def elector(self, client: ApiClient, recorder: EventRecorder) -> Election:
        """Our part in the election of the replica that works, on all Namespaces or on those of our shard."""
        config, own = self._configuration, election.identity()
        if self._shard is None:
            return election.elector(config, client, self._clock, recorder, own)
        return election.shard_elector(config, client, self._clock, recorder, own, self._shard)

    def _watch(self) -> list[Reflector[Any]]:
        stores, wanted = self._stores, set(self.names)
        kinds: list[tuple[watch.Kind[Any], Any, set[str]]] = [
            (watch.PODS, stores.pods, {ENDPOINTSLICE, ENDPOINTS}),
            (watch.SERVICES, stores.services, {ENDPOINTSLICE, ENDPOINTS, MIRRORING}),
            (watch.NODES, stores.nodes, {ENDPOINTSLICE}),
            (watch.SLICES, stores.slices, {ENDPOINTSLICE, MIRRORING}),
            (watch.ENDPOINTS, stores.endpoints, {ENDPOINTS, MIRRORING}),
        ]
        reflectors = []
        for kind, store, readers in kinds:
            if readers & wanted:
                metrics.STORED.labels(kind=kind.name).set_function(store.__len__)
                reflectors.append(self._reflector(kind, store))
        return reflectors

    def _reflector(self, kind: watch.Kind[Any], store: Sink[Any]) -> Reflector[Any]:
        if self._shard is None or kind is watch.NODES:
            return Reflector(self._client, kind, store, self._clock, self._malformed)
        return ShardReflector(self._client, kind, store, self._clock, self._malformed, self._shard.has)

    def _malformed(self, found: Malformed) -> None:
        about = Regarding(found.kind, found.namespace, found.name, found.uid, _VERSIONS.get(found.kind, "v1"))
        notice = Notice("Warning", names.REASON_MALFORMED, f"Skipped: {found.error}")
        next(iter(self._recorders.values())).record(about, notice)

    def _endpointslice(self) -> tuple[Loop, int]:
        config, stores = self._configuration, self._stores
        changed = _counting(metrics.SLICE_CHANGES)
        writer = Writer(self._client, WRITABLE_SLICES, stores.slices, self._clock, changed)
        controller = SliceController(
            stores,
            writer,
            self._recorders[ENDPOINTSLICE],
            self._clock,
            max_endpoints=config.max_endpoints_per_slice,
            batch_seconds=config.endpointslice_updates_batch_period,
            grace_seconds=config.topology_grace_period,
        )
        started = controller.start()
        self._slices_queue = started.queue
        loop = Loop(started, self._clock, slice_controller.QUEUE_NAME, self._tracing)
        return loop, config.concurrent_service_endpoint_syncs

    def _endpoints(self) -> tuple[Loop, int]:
        config, stores = self._configuration, self._stores
        changed = _counting(metrics.ENDPOINTS_WRITES)
        writer = Writer(self._client, WRITABLE_ENDPOINTS, stores.endpoints, self._clock, changed)
        controller = EndpointsController(
            stores,
            writer,
            self._recorders[ENDPOINTS],
            self._clock,
            batch_seconds=config.endpoint_updates_batch_period,
            behind=self._slices_queue,
        )
        loop = Loop(controller.start(), self._clock, endpoints_controller.QUEUE_NAME, self._tracing)
        return loop, config.concurrent_endpoint_syncs

    def _mirroring(self) -> tuple[Loop, int]:
        config, stores = self._configuration, self._stores
        changed = _counting(metrics.MIRRORED_CHANGES)
        writer = Writer(self._client, WRITABLE_SLICES, stores.slices, self._clock, changed)
        controller = MirroringController(
            stores,
            self._client,
            writer,
            self._recorders[MIRRORING],
            self._clock,
            max_endpoints=config.mirroring_max_endpoints_per_subset,
            batch_seconds=config.mirroring_endpointslice_updates_batch_period,
        )
        loop = Loop(controller.start(), self._clock, mirroring_controller.QUEUE_NAME, self._tracing)
        return loop, config.mirroring_concurrent_service_endpoint_syncs


def _counting(counter: Counter) -> Callable[[str], None]:
    """Counts writes by their verb."""
    of_verb = {verb: counter.labels(operation=verb) for verb in VERBS}
    return lambda verb: of_verb[verb].inc()
