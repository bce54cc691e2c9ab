"""The EndpointSlice controller's shell: its routes, its snapshot, and what is done with a plan. The rules are
elsewhere.
"""

import asyncio
from typing import Final

from api import names
from controllers.endpointslice.reconcile import Plan, Snapshot, reconcile
from controllers.endpointslice.slices import managed
from controllers.membership.trigger_time import Seen
from controllers.model.objects import EndpointSlice, Node, Pod, Service
from controllers.model.plan import Notice, Writes
from controllers.model.reasons import Reason
from controllers.runtime import causes, routes
from controllers.runtime.causes import Causes, What
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError
from controllers.runtime.events import EventRecorder, Regarding
from controllers.runtime.loop import Controller, SyncError
from controllers.runtime.queue import WorkQueue
from controllers.runtime.slice_metrics import SliceMetrics
from controllers.runtime.stores import Stores
from controllers.runtime.syncs import planning, tell, traced
from controllers.runtime.writer import Outdated, Writer
from controllers.telemetry import metrics
from controllers.topology.capacity import Capacity, Nodes
from controllers.topology.held import HeldNodes
from controllers.topology.hints import NOTHING, Memory, concerned

NAME: Final = "endpointslice-controller"
QUEUE_NAME: Final = "endpoint_slice"
# No Service's key: it asks for what the Nodes add up to to be looked at again.
_NODES: Final = "nodes"
# All Services with hints are gone through for that: not for each Node of a storm.
_NODES_SECONDS: Final = 0.1
_NAMED_PODS: Final = 5


class SliceController:
    """Keeps the EndpointSlices of every Service with a selector."""

    def __init__(
        self,
        stores: Stores,
        writer: Writer[EndpointSlice],
        recorder: EventRecorder,
        clock: Clock,
        *,
        max_endpoints: int,
        batch_seconds: float,
        grace_seconds: float = 60.0,
    ) -> None:
        self._stores, self._writer, self._recorder, self._clock = stores, writer, recorder, clock
        self._max_endpoints, self._batch_seconds = max_endpoints, batch_seconds
        self._queue = WorkQueue(clock, added=metrics.QUEUE_ADDS.labels(name=QUEUE_NAME).inc)
        self._causes = Causes(clock, self._queue)
        self._seen: dict[str, Seen] = {}
        self._hints: dict[str, dict[str, Memory]] = {}
        self._nodes = Nodes()
        self._held = HeldNodes(grace_seconds)
        # What the zones have, for Auto and for Adaptive, and whether it was something else since the last look at all
        # Services with hints: who was synced meanwhile may have been given hints for that.
        self._capacities = self._nodes.capacity(), self._held.capacity()
        self._capacities_moved = False
        self._told: dict[str, tuple[str, ...]] = {}
        self._told_annotations: dict[str, tuple[str, ...]] = {}
        self._metrics = SliceMetrics(max_endpoints)
        self._ended = {result: metrics.SYNCS.labels(result=result) for result in ("success", "stale", "error")}

    def start(self) -> Controller:
        """Subscribes to changes and asks for every Service; the caches must have synced."""
        self._stores.services.subscribe(self._service_changed)
        self._stores.pods.subscribe(self._pod_changed)
        self._stores.nodes.subscribe(self._node_changed)
        self._stores.slices.subscribe(self._slice_changed)
        for node in self._stores.nodes.all():
            self._nodes.change(None, node)
            self._held.change(None, node, self._clock.now())
        self._capacities = self._nodes.capacity(), self._held.capacity()
        for service in self._stores.services.all():
            self._causes.ask(routes.key_of(service.namespace, service.name), What.START, "Service", service)
        return Controller(NAME, self._queue, self._causes, self.sync, self._failed, self._succeeded, self._outdated)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        for key in sorted(routes.service_of_service(old, new)):
            self._causes.ask(key, What.SERVICE, "Service", new or old)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for key in sorted(routes.services_of_pod(old, new, self._stores.services)):
            self._causes.ask(key, causes.of_pod(old, new), "Pod", new or old, self._batch_seconds)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        for key in sorted(routes.services_of_node(old, new, self._stores.pods, self._stores.services)):
            self._causes.ask(key, What.NODE, "Node", new or old, self._batch_seconds)
        self._nodes.change(old, new)
        self._held.change(old, new, self._clock.now())
        self._sum_up()
        if self._capacities_moved:
            self._queue.add_after(_NODES, _NODES_SECONDS)
        self._await_due()

    def _sum_up(self) -> None:
        before, self._capacities = self._capacities, (self._nodes.capacity(), self._held.capacity())
        self._capacities_moved = self._capacities_moved or self._capacities != before

    def _await_due(self) -> None:
        """Has the Nodes looked at when the next grace period is over."""
        due = self._held.next_due()
        if due is not None:
            self._queue.add_after(_NODES, due - self._clock.now())

    def _look_at_nodes(self) -> None:
        """Asks for the Services whose hints, given or refused, the zones' new capacity concerns.

        Nodes whose grace period is over count no more.
        """
        self._held.expire(self._clock.now())
        self._sum_up()
        self._await_due()
        if not self._capacities_moved:
            return
        self._capacities_moved = False
        for key in self._hints:
            self._ask_if_concerned(key)

    def _ask_if_concerned(self, key: str) -> None:
        for memory in self._hints.get(key, {}).values():
            if concerned(memory, self._capacities[memory.adaptive is not None]):
                self._causes.ask(key, What.NODE, "Node", None)
                return

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for key in sorted(routes.services_of_slice(old, new, managed)):
            delay = max(routes.SLICE_DELAY_SECONDS, self._batch_seconds)
            self._causes.ask(key, What.SLICE, "EndpointSlice", new or old, delay)

    async def sync(self, key: str) -> None:
        """One sync of a Service: snapshot, plan, writes.

        Raises Outdated, ApiError, or SyncError when a Pod's Node does not exist (ES-38).
        """
        if key == _NODES:
            self._look_at_nodes()
            return
        namespace, name = routes.split_key(key)
        service = self._stores.services.get(namespace, name)
        if service is None:
            self._forget(key)
            return
        snapshot = self._snapshot(service, key)
        with planning():
            plan = reconcile(snapshot)
        self._metrics.planned(key, service, plan)
        self._warn(key, service, plan)
        if traced():
            tell(
                families=tuple(family.address_type for family in plan.families),
                endpoints=sum(size.endpoints for family in plan.families for size in family.sizes),
                slices=sum(size.slices for family in plan.families for size in family.sizes),
                reasons=tuple(sorted({left.reason.value for left in plan.left_out})),
            )
        await self._carry_out(plan)
        self._metrics.written(service, plan)
        if self._stores.services.get(namespace, name) is not None:
            self._remember(key, service, plan)
            if snapshot.capacity != self._capacity_for(service):
                # Nodes changed while the plan was carried out, when there was no memory of it to be asked.
                self._ask_if_concerned(key)
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
            slices=[each for each in stores.slices.of_service(service.namespace, service.name) if managed(each)],
            taken=stores.slices.names(service.namespace),
            seen=self._seen.get(key),
            max_endpoints=self._max_endpoints,
            capacity=self._capacity_for(service),
            hints=self._hints.get(key, {}),
        )

    def _capacity_for(self, service: Service) -> Capacity:
        return self._capacities[service.adaptive]

    async def _carry_out(self, plan: Plan) -> None:
        """Families at the same time, since none depends on another (ES-54); what has no family, last (ES-75)."""
        if not plan:
            return
        families = (self._writer.apply(family.writes) for family in plan.families if family.writes)
        outcomes = await asyncio.gather(*families, return_exceptions=True)
        if plan.unsupported:
            last = self._writer.apply(Writes(delete=plan.unsupported))
            outcomes += await asyncio.gather(last, return_exceptions=True)
        _raise_together([outcome for outcome in outcomes if outcome is not None])

    def _warn(self, key: str, service: Service, plan: Plan) -> None:
        """One Warning per change for annotations that are not valid, and for Pods whose address no slice may hold."""
        self._warn_annotations(key, service.refused_annotations if plan.not_synced is None else (), service)
        refused = tuple(sorted({left.pod.name for left in plan.left_out if left.reason is Reason.POD_ADDRESS_REFUSED}))
        if refused == self._told.get(key, ()):
            return
        self._told.pop(key, None)
        if refused:
            self._told[key] = refused
            self._warn_refused(service, refused)

    def _warn_annotations(self, key: str, refused: tuple[str, ...], service: Service) -> None:
        for text in refused:
            if text not in self._told_annotations.get(key, ()):
                self._recorder.record(_regarding(service), Notice("Warning", names.REASON_INVALID_ANNOTATION, text))
        self._told_annotations.pop(key, None)
        if refused:
            self._told_annotations[key] = refused

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
        self._told_annotations.pop(key, None)
        self._metrics.forget(key)

    def _succeeded(self, key: str) -> None:
        if key != _NODES:
            self._ended["success"].inc()

    def _outdated(self, key: str) -> None:
        self._ended["stale"].inc()

    def _failed(self, key: str, failures: int, message: str) -> None:
        self._ended["error"].inc()
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
    wait = max(failure.retry_after for failure in failures if isinstance(failure, ApiError))
    raise kind(f"[{', '.join(texts)}]", retry_after=wait)
