"""The mirroring controller's shell: its routes, its snapshot, and what is done with a plan. The rules are elsewhere."""

from typing import Final

from api import names
from api.controllers import MIRRORING
from controllers.mirroring.mirrorable import mirrored, not_mirrored
from controllers.mirroring.reconcile import Plan, Snapshot, reconcile
from controllers.model.objects import Endpoints, EndpointSlice, Service
from controllers.model.plan import Notice
from controllers.model.reasons import Reason
from controllers.runtime import routes
from controllers.runtime.api_client import ApiClient
from controllers.runtime.causes import Causes, What
from controllers.runtime.clock import Clock
from controllers.runtime.errors import NotFound
from controllers.runtime.events import EventRecorder, Regarding
from controllers.runtime.loop import Controller
from controllers.runtime.mirroring_metrics import MirroringMetrics
from controllers.runtime.queue import WorkQueue
from controllers.runtime.stores import Stores
from controllers.runtime.syncs import planning, tell
from controllers.runtime.writer import WRITABLE_ENDPOINTS, Writer
from controllers.telemetry import metrics

QUEUE_NAME: Final = "endpoint_slice_mirroring"


class MirroringController:
    """Copies the Endpoints of Services without a selector into EndpointSlices."""

    def __init__(
        self,
        stores: Stores,
        client: ApiClient,
        writer: Writer[EndpointSlice],
        recorder: EventRecorder,
        clock: Clock,
        *,
        max_endpoints: int,
        batch_seconds: float,
    ) -> None:
        self._stores, self._client, self._writer, self._recorder = stores, client, writer, recorder
        self._clock, self._max_endpoints, self._batch_seconds = clock, max_endpoints, batch_seconds
        self._queue = WorkQueue(clock, added=metrics.QUEUE_ADDS.labels(name=QUEUE_NAME).inc)
        self._causes = Causes(clock, self._queue)
        # What has been told about each Endpoints object, and about which of that name.
        self._told: dict[str, tuple[str, tuple[Notice, ...]]] = {}
        self._metrics = MirroringMetrics()

    def start(self) -> Controller:
        """Subscribes to changes and asks for all there is; the caches must have synced."""
        self._stores.endpoints.subscribe(self._endpoints_changed)
        self._stores.services.subscribe(self._service_changed)
        self._stores.slices.subscribe(self._slice_changed)
        for endpoints in self._stores.endpoints.all():
            self._ask_for_endpoints(None, endpoints, What.START)
        for found in self._stores.slices.all():
            for key in routes.services_of_slice(None, found, mirrored):
                self._causes.ask(key, What.START, "EndpointSlice", found)
        return Controller(MIRRORING, self._queue, self._causes, self.sync, self._failed)

    def _endpoints_changed(self, old: Endpoints | None, new: Endpoints | None) -> None:
        self._ask_for_endpoints(old, new, What.ENDPOINTS)

    def _ask_for_endpoints(self, old: Endpoints | None, new: Endpoints | None, what: What) -> None:
        found = new or old
        if found is None:
            return
        namespace, name = found.metadata.namespace, found.name
        key = routes.key_of(namespace, name)
        service = self._stores.services.get(namespace, name)
        reason = not_mirrored(new, service)
        # The ordinary case: written by the Endpoints controller for a Service with Pods, and never mirrored.
        nothing_to_do = reason is Reason.ENDPOINTS_SELECTOR and not self._slices(namespace, name)
        if routes.mirrorable_endpoints(old, new) and not nothing_to_do:
            self._causes.ask(key, what, "Endpoints", found)
        else:
            self._metrics.not_mirrored(key, reason)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        keys = routes.selectorless_service(old, new)
        for key in sorted(keys):
            self._causes.ask(key, What.SERVICE, "Service", new or old)
        for key in routes.service_of_service(old, new) - keys:
            found = self._stores.endpoints.get(*routes.split_key(key))
            self._metrics.not_mirrored(key, not_mirrored(found, new))

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for key in sorted(routes.services_of_slice(old, new, mirrored)):
            self._causes.ask(key, What.SLICE, "EndpointSlice", new or old, self._batch_seconds)

    def _slices(self, namespace: str, name: str) -> list[EndpointSlice]:
        return [each for each in self._stores.slices.of_service(namespace, name) if mirrored(each)]

    async def sync(self, key: str) -> None:
        """One sync of Endpoints: snapshot, plan, writes. Raises Outdated or ApiError."""
        start = self._clock.now()
        try:
            await self._sync(key)
        finally:
            metrics.MIRRORING_SECONDS.observe(self._clock.now() - start)

    async def _sync(self, key: str) -> None:
        namespace, name = routes.split_key(key)
        service = self._stores.services.get(namespace, name)
        endpoints = await self._with_subsets(self._stores.endpoints.get(namespace, name), service)
        snapshot = Snapshot(
            endpoints=endpoints,
            service=service,
            slices=self._slices(namespace, name),
            taken=self._stores.slices.names(namespace),
            limit=self._max_endpoints,
        )
        with planning():
            plan = reconcile(snapshot)
        self._metrics.planned(key, plan)
        if plan.not_mirrored is not None:
            tell(reasons=(plan.not_mirrored.value,))
        # Said whether or not the writes succeed: an address that is left out may be why they do not.
        self._tell(key, endpoints, plan)
        # Clean-ups do not count as changes (MI-24).
        await self._writer.apply(plan.writes, counted=plan.not_mirrored is None)

    async def _with_subsets(self, found: Endpoints | None, service: Service | None) -> Endpoints | None:
        """The Endpoints with their subsets, which are not kept of those that our own controller manages.

        They are mirrored only when their Service has lost its selector (MI-55): then they are read.
        """
        if found is None or found.subsets is not None or not_mirrored(found, service) is not None:
            return found
        path = WRITABLE_ENDPOINTS.path(found.metadata.namespace, found.name)
        try:
            return WRITABLE_ENDPOINTS.decode(await self._client.request("GET", path))
        except NotFound:
            return None

    def _tell(self, key: str, endpoints: Endpoints | None, plan: Plan) -> None:
        """An Event when what cannot be mirrored changes, not at every sync."""
        uid, told = self._told.pop(key, ("", ()))
        if plan.notices and endpoints is not None:
            self._told[key] = (endpoints.metadata.uid, plan.notices)
            for notice in plan.notices:
                if notice not in told or uid != endpoints.metadata.uid:
                    self._recorder.record(_regarding(endpoints), notice)

    def _failed(self, key: str, failures: int, message: str) -> None:
        found = self._stores.endpoints.get(*routes.split_key(key))
        if found is not None:
            text = f"Error updating Endpoint Slices for Endpoints {key}: {message}"
            self._recorder.record(_regarding(found), Notice("Warning", names.REASON_UPDATE_FAILED, text))


def _regarding(endpoints: Endpoints) -> Regarding:
    return Regarding("Endpoints", endpoints.metadata.namespace, endpoints.name, endpoints.metadata.uid)
