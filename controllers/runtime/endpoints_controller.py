"""The Endpoints controller's shell: its routes, its snapshot, and what is done with a plan. The rules are elsewhere."""

from typing import Final

from api import names
from api.controllers import ENDPOINTS
from controllers.endpoints.reconcile import Snapshot, reconcile
from controllers.membership.trigger_time import Seen
from controllers.model.objects import Endpoints, Pod, Service
from controllers.model.plan import Notice
from controllers.runtime import causes, routes
from controllers.runtime.causes import Causes, What
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ServerError, Unreachable
from controllers.runtime.events import EventRecorder, Regarding
from controllers.runtime.loop import Controller
from controllers.runtime.queue import WorkQueue
from controllers.runtime.stores import Stores
from controllers.runtime.syncs import planning, tell
from controllers.runtime.writer import Writer
from controllers.telemetry import metrics

QUEUE_NAME: Final = "endpoint"


class EndpointsController:
    """Keeps the Endpoints of every Service with a selector, for those who do not read EndpointSlices yet."""

    def __init__(
        self,
        stores: Stores,
        writer: Writer[Endpoints],
        recorder: EventRecorder,
        clock: Clock,
        *,
        batch_seconds: float,
        behind: WorkQueue | None = None,
    ) -> None:
        """`behind` is a queue that goes first: that of the slices, which is what proxies and DNS read."""
        self._stores, self._writer, self._recorder = stores, writer, recorder
        self._batch_seconds = batch_seconds
        self._queue = WorkQueue(clock, added=metrics.QUEUE_ADDS.labels(name=QUEUE_NAME).inc, behind=behind)
        self._causes = Causes(clock, self._queue)
        self._seen: dict[str, Seen] = {}
        # Creates that nobody has answered: perhaps they were carried out.
        self._uncertain: set[str] = set()

    def start(self) -> Controller:
        """Subscribes to changes and asks for every Service; the caches must have synced.

        Endpoints without a Service are asked for, too, and go: but not locks of leader election (EP-21).
        """
        self._stores.services.subscribe(self._service_changed)
        self._stores.services.subscribe_touched(self._service_touched)
        self._stores.pods.subscribe(self._pod_changed)
        self._stores.endpoints.subscribe(self._endpoints_changed)
        for service in self._stores.services.all():
            self._causes.ask(routes.key_of(service.namespace, service.name), What.START, "Service", service)
        for endpoints in self._stores.endpoints.all():
            if names.LEADER_ANNOTATION not in (endpoints.metadata.annotations or {}):
                self._causes.ask(
                    routes.key_of(endpoints.metadata.namespace, endpoints.name), What.START, "Endpoints", endpoints
                )
        return Controller(ENDPOINTS, self._queue, self._causes, self.sync, self._failed)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        for key in sorted(routes.service_of_service(old, new)):
            self._causes.ask(key, What.SERVICE, "Service", new or old)

    def _service_touched(self, service: Service) -> None:
        """Any news of a Service mends what somebody has done to its Endpoints, as in KCM (EP-14, EP-20)."""
        self._causes.ask(routes.key_of(service.namespace, service.name), What.SERVICE, "Service", service)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for key in sorted(routes.services_of_pod(old, new, self._stores.services)):
            self._causes.ask(key, causes.of_pod(old, new), "Pod", new or old, self._batch_seconds)

    def _endpoints_changed(self, old: Endpoints | None, new: Endpoints | None) -> None:
        """Endpoints that went come back if their Service lives; other changes ask for nothing (EP-17, EP-18)."""
        if old is not None and new is None:
            self._causes.ask(routes.key_of(old.metadata.namespace, old.name), What.ENDPOINTS, "Endpoints", old)

    async def sync(self, key: str) -> None:
        """One sync of a Service: snapshot, plan, write. Raises Outdated or ApiError."""
        namespace, name = routes.split_key(key)
        service = self._stores.services.get(namespace, name)
        if service is None and key in self._uncertain:
            await self._writer.reread(namespace, name)
        with planning():
            plan = reconcile(self._snapshot(key, service))
        if plan.not_synced is not None:
            tell(reasons=(plan.not_synced.value,))
        try:
            await self._writer.apply(plan.writes)
        except (ServerError, Unreachable):
            if plan.writes.create:
                self._uncertain.add(key)
            raise
        self._uncertain.discard(key)
        if plan.seen is not None:
            self._seen[key] = plan.seen
        else:
            self._seen.pop(key, None)
        if service is not None:
            about = Regarding("Service", namespace, name, service.uid)
            for notice in plan.notices:
                self._recorder.record(about, notice)

    def _snapshot(self, key: str, service: Service | None) -> Snapshot:
        pods = self._stores.pods
        return Snapshot(
            service=service,
            pods=pods.selected_by(service.namespace, service.selector) if service and service.selector else (),
            current=self._stores.endpoints.get(*routes.split_key(key)),
            seen=self._seen.get(key),
        )

    def _failed(self, key: str, failures: int, message: str) -> None:
        namespace, name = routes.split_key(key)
        if self._stores.services.get(namespace, name) is None:
            return  # a clean-up: nobody is waiting for it
        found = self._stores.endpoints.get(namespace, name)
        about = Regarding("Endpoints", namespace, name, found.metadata.uid if found is not None else "")
        if found is None:
            reason, text = (
                names.REASON_ENDPOINTS_CREATE_FAILED,
                f"Failed to create endpoint for service {key}: {message}",
            )
        else:
            reason, text = names.REASON_ENDPOINTS_UPDATE_FAILED, f"Failed to update endpoint {key}: {message}"
        self._recorder.record(about, Notice("Warning", reason, text))
