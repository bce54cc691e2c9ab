"""The EndpointSlice controller's shell: its routes, its snapshot, and what is done with a plan. The rules are
elsewhere.
"""

import asyncio
from typing import Final

from api import names
from controllers.endpointslice.reconcile import Plan, Snapshot, reconcile
from controllers.membership.trigger_time import Seen
from controllers.model.objects import EndpointSlice, Node, Pod, Service
from controllers.model.plan import Notice, Writes
from controllers.model.reasons import Reason
from controllers.runtime import routes
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError
from controllers.runtime.events import EventRecorder, Regarding
from controllers.runtime.loop import Controller, SyncError
from controllers.runtime.queue import WorkQueue
from controllers.runtime.slice_metrics import SliceMetrics
from controllers.runtime.store import NodeStore, PodStore, ServiceStore, SliceStore
from controllers.runtime.writer import Outdated, Writer
from controllers.telemetry import metrics
from controllers.topology.capacity import Capacity, Nodes
from controllers.topology.hints import NOTHING, Memory, concerned

NAME: Final = "endpointslice-controller"
QUEUE_NAME: Final = "endpoint_slice"
_NAMED_PODS: Final = 5


class Stores:
    """All that the controllers know of the cluster."""

    def __init__(self) -> None:
        self.pods = PodStore()
        self.services = ServiceStore()
        self.nodes = NodeStore()
        self.slices = SliceStore(names.SERVICE_NAME_LABEL)


class SliceController:
    """Keeps the EndpointSlices of every Service with a selector."""

    def __init__(
        self,
        stores: Stores,
        writer: Writer,
        recorder: EventRecorder,
        clock: Clock,
        *,
        max_endpoints: int,
        batch_seconds: float,
    ) -> None:
        self._stores, self._writer, self._recorder = stores, writer, recorder
        self._max_endpoints, self._batch_seconds = max_endpoints, batch_seconds
        self._queue = WorkQueue(clock, added=metrics.QUEUE_ADDS.labels(name=QUEUE_NAME).inc)
        self._seen: dict[str, Seen] = {}
        self._hints: dict[str, dict[str, Memory]] = {}
        self._capacity_sums = Nodes()
        self._capacity = Capacity(unusable=Reason.TOPOLOGY_NODE_INFORMATION)
        self._told: dict[str, tuple[str, ...]] = {}
        self._metrics = SliceMetrics(max_endpoints)

    def start(self) -> Controller:
        """Subscribes to changes and asks for every Service; the caches must have synced."""
        self._stores.services.subscribe(self._service_changed)
        self._stores.pods.subscribe(self._pod_changed)
        self._stores.nodes.subscribe(self._node_changed)
        self._stores.slices.subscribe(self._slice_changed)
        for node in self._stores.nodes.all():
            self._capacity_sums.change(None, node)
        self._capacity = self._capacity_sums.capacity()
        for service in self._stores.services.all():
            self._queue.add(routes.key_of(service.namespace, service.name))
        return Controller(NAME, self._queue, self.sync, self._failed, self._succeeded, self._outdated)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        for key in routes.service_of_service(old, new):
            self._queue.add(key)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for key in routes.services_of_pod(old, new, self._stores.services):
            self._queue.add_after(key, self._batch_seconds)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        for key in routes.services_of_node(old, new, self._stores.pods, self._stores.services):
            self._queue.add_after(key, self._batch_seconds)
        self._capacity_sums.change(old, new)
        capacity = self._capacity_sums.capacity()
        if capacity != self._capacity:
            self._capacity = capacity
            for key, families in self._hints.items():
                if any(concerned(memory, capacity) for memory in families.values()):
                    self._queue.add(key)

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for key in routes.services_of_slice(old, new):
            self._queue.add_after(key, max(routes.SLICE_DELAY_SECONDS, self._batch_seconds))

    async def sync(self, key: str) -> None:
        """One sync of a Service: snapshot, plan, writes.

        Raises Outdated, ApiError, or SyncError when a Pod's Node does not exist (ES-38).
        """
        namespace, name = routes.split_key(key)
        service = self._stores.services.get(namespace, name)
        if service is None:
            self._forget(key)
            return
        plan = reconcile(self._snapshot(service, key))
        self._metrics.planned(key, service, plan)
        self._warn(key, service, plan)
        await self._carry_out(plan)
        self._metrics.written(service, plan)
        if self._stores.services.get(namespace, name) is not None:
            self._remember(key, service, plan)
        missing = sorted({left.pod.node_name for left in plan.left_out if left.reason is Reason.NODE_NOT_FOUND})
        if missing:
            raise SyncError(f"Pods are left out because their Nodes do not exist: {', '.join(map(repr, missing))}")

    def _remember(self, key: str, service: Service, plan: Plan) -> None:
        """What the next sync has to know, and what people should, now that every write has succeeded (ES-110)."""
        if plan.seen is not None:
            self._seen[key] = plan.seen
        memory = {family.address_type: family.hints for family in plan.families if family.hints != NOTHING}
        if memory:
            self._hints[key] = memory
        else:
            self._hints.pop(key, None)
        for family in plan.families:
            for notice in family.notices:
                self._recorder.record(_regarding(service), notice)

    def _snapshot(self, service: Service, key: str) -> Snapshot:
        stores = self._stores
        return Snapshot(
            service=service,
            pods=stores.pods.selected_by(service.namespace, service.selector) if service.selector else (),
            nodes=stores.nodes.by_name(),
            slices=routes.managed_slices(stores.slices.of_service(service.namespace, service.name)),
            taken=stores.slices.names(service.namespace),
            seen=self._seen.get(key),
            max_endpoints=self._max_endpoints,
            capacity=self._capacity,
            hints=self._hints.get(key, {}),
        )

    async def _carry_out(self, plan: Plan) -> None:
        """Families at the same time, since none depends on another (ES-54); what has no family, last (ES-75)."""
        if not plan:
            return
        families = (self._writer.apply(family.writes) for family in plan.families)
        outcomes = await asyncio.gather(*families, return_exceptions=True)
        if plan.unsupported:
            last = self._writer.apply(Writes(delete=plan.unsupported))
            outcomes += await asyncio.gather(last, return_exceptions=True)
        _raise_together([outcome for outcome in outcomes if outcome is not None])

    def _warn(self, key: str, service: Service, plan: Plan) -> None:
        """One Warning per change for Pods whose address no slice may hold."""
        refused = tuple(sorted({left.pod.name for left in plan.left_out if left.reason is Reason.POD_ADDRESS_REFUSED}))
        if refused == self._told.get(key, ()):
            return
        self._told.pop(key, None)
        if refused:
            self._told[key] = refused
            self._warn_refused(service, refused)

    def _warn_refused(self, service: Service, pods: tuple[str, ...]) -> None:
        shown = ", ".join(pods[:_NAMED_PODS]) + (
            f" and {len(pods) - _NAMED_PODS} more" if len(pods) > _NAMED_PODS else ""
        )
        message = f"Left out of the EndpointSlices: {shown}: {Reason.POD_ADDRESS_REFUSED.text}"
        self._recorder.record(_regarding(service), Notice("Warning", names.REASON_PODS_LEFT_OUT, message))

    def _forget(self, key: str) -> None:
        """The Service has gone; its slices are the garbage collector's (ES-32.2)."""
        self._seen.pop(key, None)
        self._hints.pop(key, None)
        self._told.pop(key, None)
        self._metrics.forget(key)

    def _succeeded(self, key: str) -> None:
        metrics.SYNCS.labels(result="success").inc()

    def _outdated(self, key: str) -> None:
        metrics.SYNCS.labels(result="stale").inc()

    def _failed(self, key: str, failures: int, message: str) -> None:
        metrics.SYNCS.labels(result="error").inc()
        service = self._stores.services.get(*routes.split_key(key))
        if service is not None:
            text = f"Error updating Endpoint Slices for Service {key}: {message}"
            self._recorder.record(_regarding(service), Notice("Warning", names.REASON_UPDATE_FAILED, text))


def _regarding(service: Service) -> Regarding:
    return Regarding("Service", service.namespace, service.name, service.uid)


def _raise_together(failures: list[BaseException]) -> None:
    """One error for all (ES-144); anything but an API error, and a cancellation, is raised as it is."""
    if not failures:
        return
    for failure in failures:
        if not isinstance(failure, ApiError):
            raise failure
    texts = list(dict.fromkeys(map(str, failures)))
    if len(texts) == 1:
        raise failures[0]
    kind = Outdated if all(isinstance(failure, Outdated) for failure in failures) else ApiError
    raise kind(f"[{', '.join(texts)}]")
