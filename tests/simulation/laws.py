"""What must hold when nothing goes wrong any more and nothing has changed for a while: each law tells its breaches.

A breach is what is wrong and of which object. All is judged by what the API server holds, never by what a store says.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from api import names
from api.controllers import ENDPOINTS as ENDPOINTS_CONTROLLER
from controllers.endpoints import reconcile as endpoints
from controllers.endpointslice import reconcile as slices
from controllers.endpointslice.slices import managed
from controllers.mirroring import reconcile as mirroring
from controllers.mirroring.mirrorable import mirrored
from controllers.model.objects import Endpoints, EndpointSlice, Node, Pod, Service
from controllers.model.plan import Writes
from controllers.runtime.routes import key_of, split_key
from controllers.runtime.slice_controller import NAME as SLICE_CONTROLLER
from controllers.runtime.slice_controller import SliceController
from controllers.runtime.store import Store
from controllers.runtime.written_store import WrittenStore
from controllers.topology.capacity import capacity_of
from controllers.topology.hints import concerned
from tests.simulation.api import KINDS, Key, Server, dumped
from tests.simulation.process import MAX_ENDPOINTS, Process
from tests.simulation.world import ENDPOINTS, NODES, PODS, SERVICES, SLICES

# What a controller remembers of each Service by its key.
_MEMORIES: Final = ("_seen", "_hints", "_told", "_told_annotations", "_uncertain")


@dataclass(frozen=True)
class Rest:
    """The server and the processes, at rest."""

    server: Server
    processes: list[Process]

    @cached_property
    def records(self) -> Mapping[str, Mapping[Key, Any]]:
        """What the server holds, as a controller reads it."""
        return {
            path: {key: _record(path, found) for key, found in sorted(objects.items())}
            for path, objects in self.server.objects.items()
        }

    @property
    def services(self) -> Iterator[Service]:
        yield from self.records[SERVICES].values()

    @property
    def nodes(self) -> Mapping[str, Node]:
        return {name: node for (_, name), node in self.records[NODES].items()}

    def pods(self, service: Service) -> list[Pod]:
        """The Pods that a Service selects, found by going through all."""
        wanted = (service.selector or {}).items()
        found = self.records[PODS].values()
        return [pod for pod in found if pod.namespace == service.namespace and wanted and wanted <= pod.labels.items()]

    def slices(self, service: Service, ours: Callable[[EndpointSlice], bool]) -> list[EndpointSlice]:
        """The slices of a Service that one controller manages."""
        return [
            each
            for (namespace, _), each in self.records[SLICES].items()
            if namespace == service.namespace
            and each.labels.get(names.SERVICE_NAME_LABEL) == service.name
            and ours(each)
        ]

    def endpoints(self, service: Service) -> Endpoints | None:
        found: Endpoints | None = self.records[ENDPOINTS].get((service.namespace, service.name))
        return found

    def taken(self, service: Service) -> set[str]:
        return {name for namespace, name in self.records[SLICES] if namespace == service.namespace}

    def process(self, namespace: str) -> Process:
        """Whose a Namespace is."""
        return next(each for each in self.processes if each.has(namespace))

    def controller(self, service: Service) -> SliceController:
        """Who writes the slices of a Service."""
        found = _shell(self.process(service.namespace), SLICE_CONTROLLER)
        assert isinstance(found, SliceController)
        return found


Law = Callable[[Rest], Iterator[str]]


def _record(path: str, found: Mapping[str, Any]) -> Any:
    return KINDS[path].record(msgspec.json.decode(dumped(dict(found)), type=KINDS[path].wire_type))


def _shell(process: Process, name: str) -> object:
    """The object behind a controller: what it remembers is looked at."""
    return getattr(process.controllers[name].sync, "__self__", None)


def _stores(process: Process) -> dict[str, Store[Any]]:
    stores = process.stores
    return {
        PODS: stores.pods,
        SERVICES: stores.services,
        NODES: stores.nodes,
        SLICES: stores.slices,
        ENDPOINTS: stores.endpoints,
    }


def _known(path: str, record: Any) -> Any:
    """What of a record a store must have right. Subsets are compared by what is planned from them."""
    if path == ENDPOINTS:
        return record.metadata.uid, record.metadata.resource_version
    if path == SLICES:
        return record.metadata.uid, record.metadata.resource_version, record.labels, record.ports, record.endpoints
    return record


def _planned(writes: Writes[Any]) -> str:
    """The writes of a plan in a few words; "" for none."""
    told = {"create": writes.create, "update": writes.update, "delete": writes.delete}
    return ", ".join(f"{verb} {each.name}" for verb, objects in told.items() for each in objects)


def stores_hold_what_the_server_holds(rest: Rest) -> Iterator[str]:
    """Of its Namespaces, a process knows just what there is: after lists, watches and its own writes (D-1)."""
    for process in rest.processes:
        for path, store in _stores(process).items():
            want = {key: _known(path, found) for key, found in rest.records[path].items() if process.has(key[0])}
            have = {store._key(found): _known(path, found) for found in store.all()}
            for key in sorted(want.keys() | have.keys()):
                if want.get(key) != have.get(key):
                    yield f"{path} {key}: the store has {have.get(key)}, the server {want.get(key)}"


def no_news_is_held_back(rest: Rest) -> Iterator[str]:
    """Once a write is answered, the watch is listened to again, and each own version has been seen (D-1)."""
    for process in rest.processes:
        for path, store in _stores(process).items():
            if store.own_versions:
                yield f"{path}: versions {sorted(store.own_versions)} of our own are waited for"
            if isinstance(store, WrittenStore) and store._held:
                yield f"{path}: news of {sorted(store._held)} are held back"


def deletions_are_forgotten(rest: Rest) -> Iterator[str]:
    """A list that begins after a deletion of ours has been answered ends the wait for its event (D-1)."""
    for process in rest.processes:
        for path, store in _stores(process).items():
            if isinstance(store, WrittenStore) and store._deleted:
                yield f"{path}: the ends of {sorted(store._deleted)} are waited for"


def nobody_has_given_up(rest: Rest) -> Iterator[str]:
    """Reflectors, recorders and workers run on, whatever went wrong (D-2)."""
    for number, process in enumerate(rest.processes):
        for task in process.ended():
            yield f"process {number}: {task} has ended"


def queues_are_idle(rest: Rest) -> Iterator[str]:
    """No key waits, is delayed or is in work, none has failed for good, and no cause waits for a sync (ES-21, D-2)."""
    for process in rest.processes:
        for name, controller in process.controllers.items():
            queue = controller.queue
            left = {*queue._dirty, *queue._processing, *queue._due, *queue._failures, *controller.causes._first}
            for key in sorted(left):
                yield f"{name} {key}: not done, {queue.failures(key)} failures"


def slices_need_no_write(rest: Rest) -> Iterator[str]:
    """Every Service has the slices that a sync would write now, and so a sync was asked for in time.

    Changes of Services, Pods, slices and Nodes ask for one (ES-23, ES-25, ES-32, D-7, D-9). Without hints that need a
    memory: these may differ until they are overloaded (ES-30).
    """
    for service in rest.services:
        if not (service.adaptive or service.topology_mode):
            yield from _slices_to_write(rest, service)


def synced_slices_need_no_write(rest: Rest) -> Iterator[str]:
    """The same of all Services, hints included, when each has been synced (ES-93, ES-108, D-8)."""
    for service in rest.services:
        yield from _slices_to_write(rest, service)


def _slices_to_write(rest: Rest, service: Service) -> Iterator[str]:
    key, controller = key_of(service.namespace, service.name), rest.controller(service)
    snapshot = slices.Snapshot(
        service=service,
        pods=rest.pods(service),
        nodes=rest.nodes,
        slices=rest.slices(service, managed),
        taken=rest.taken(service),
        seen=controller._seen.get(key),
        max_endpoints=MAX_ENDPOINTS,
        capacity=capacity_of(rest.nodes, adaptive=service.adaptive),
        hints=controller._hints.get(key, {}),
    )
    plan = slices.reconcile(snapshot)
    for writes in (*(family.writes for family in plan.families), Writes(delete=plan.unsupported)):
        if writes:
            yield f"Service {key}: a sync would {_planned(writes)}"


def hints_fit_the_nodes(rest: Rest) -> Iterator[str]:
    """No Service has hints that the zones' capacity has made wrong (ES-30, ES-108)."""
    for service in rest.services:
        key = key_of(service.namespace, service.name)
        for family, memory in rest.controller(service)._hints.get(key, {}).items():
            if concerned(memory, capacity_of(rest.nodes, adaptive=memory.adaptive is not None)):
                yield f"Service {key}: its hints for {family} were not looked at"


def endpoints_need_no_write(rest: Rest) -> Iterator[str]:
    """Every Service that has been synced has the Endpoints that EP-22 … EP-54 ask for."""
    for service in rest.services:
        snapshot = endpoints.Snapshot(service=service, pods=rest.pods(service), current=rest.endpoints(service))
        writes = endpoints.reconcile(snapshot).writes
        if writes:
            yield f"Service {key_of(service.namespace, service.name)}: a sync would {_planned(writes)}"


def endpoints_go_with_their_service(rest: Rest) -> Iterator[str]:
    """No Endpoints are left of a Service that has gone (EP-24), unless they came with a new term.

    Who has made them, and was not told so, forgets it with its term; the next one begins before the watch shows them,
    and Endpoints that come ask for nothing (EP-18, EP-21).
    """
    for namespace, name in sorted(rest.records[ENDPOINTS].keys() - rest.records[SERVICES].keys()):
        if rest.process(namespace).terms == 1:
            yield f"Endpoints {namespace}/{name}: no Service"


def mirrors_need_no_write(rest: Rest) -> Iterator[str]:
    """Endpoints of Services without a selector are mirrored, others are not (MI-13 … MI-20, MI-22 … MI-39)."""
    for service in rest.services:
        snapshot = mirroring.Snapshot(
            endpoints=rest.endpoints(service),
            service=service,
            slices=rest.slices(service, mirrored),
            taken=rest.taken(service),
        )
        writes = mirroring.reconcile(snapshot).writes
        if writes:
            yield f"Service {key_of(service.namespace, service.name)}: a sync would {_planned(writes)}"


def slices_go_with_their_service(rest: Rest) -> Iterator[str]:
    """The owner that a slice names is there: the garbage collector has got what it needs (ES-32.2, ES-55, MI-57)."""
    for (namespace, name), found in rest.records[SLICES].items():
        service = found.labels.get(names.SERVICE_NAME_LABEL, "")
        if (managed(found) or mirrored(found)) and (namespace, service) not in rest.records[SERVICES]:
            yield f"EndpointSlice {namespace}/{name}: no Service {service!r}"


def nothing_is_remembered_of_what_has_gone(rest: Rest) -> Iterator[str]:
    """What controllers remember of a Service goes with it (ES-32.2, EP-24)."""
    for process in rest.processes:
        for name in (SLICE_CONTROLLER, ENDPOINTS_CONTROLLER):
            for memory in _MEMORIES:
                for key in sorted(getattr(_shell(process, name), memory, ())):
                    if split_key(key) not in rest.records[SERVICES]:
                        yield f"{name} {key}: remembered in {memory}"


# At rest; and after every Service has been looked at, and every kind listed, once more.
UNTOUCHED: Final[tuple[Law, ...]] = (
    nobody_has_given_up,
    stores_hold_what_the_server_holds,
    no_news_is_held_back,
    queues_are_idle,
    slices_need_no_write,
    hints_fit_the_nodes,
    endpoints_go_with_their_service,
    mirrors_need_no_write,
    slices_go_with_their_service,
    nothing_is_remembered_of_what_has_gone,
)
TOUCHED: Final[tuple[Law, ...]] = (
    *UNTOUCHED,
    synced_slices_need_no_write,
    endpoints_need_no_write,
    deletions_are_forgotten,
)


def breaches(rest: Rest, laws: tuple[Law, ...]) -> list[str]:
    """What is wrong, each as law, object and what it is that is wrong."""
    return [f"{law.__name__}: {found}" for law in laws for found in law(rest)]
