"""What the EndpointSlice controller would write for the manifests: its own reconcile, Service by Service."""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from api import names
from controllers.endpointslice.reconcile import Plan, Snapshot, address_types, reconcile
from controllers.model.objects import EndpointSlice, Node, Pod, Service
from controllers.model.plan import Notice, Writes
from controllers.model.reasons import Reason
from controllers.model.selectors import matches
from controllers.model.wire import WirePod, pod_from_wire
from controllers.planning.decoding import decode
from controllers.planning.defaults import service_uid, uid
from controllers.planning.manifests import Key, Manifests
from controllers.planning.nodes import Cluster, sample_nodes
from controllers.planning.workloads import represented, simulate
from controllers.topology.capacity import capacity_of


class Absent(NamedTuple):
    """A selected Pod that is not published; `families` says where, and is empty when it is nowhere."""

    pod: str
    reason: Reason
    families: tuple[str, ...]

    @property
    def text(self) -> str:
        return self.reason.text + (f" ({', '.join(self.families)})" if self.families else "")


class ServicePlan(Struct, frozen=True, gc=False, kw_only=True):
    """The plan of one Service; `unchanged` are its slices that stay as they are."""

    service: Service
    selected: int
    writes: Writes[EndpointSlice]
    unchanged: tuple[EndpointSlice, ...]
    absent: tuple[Absent, ...]
    not_synced: Reason | None
    notices: tuple[Notice, ...] = ()


class Outcome(Struct, frozen=True, gc=False, kw_only=True):
    """All plans, by Namespace and name, and what they were made for.

    Where no Nodes were given, there are `sample` of the sample Nodes, and those `assumed` that Pods name.
    """

    plans: tuple[ServicePlan, ...]
    pods: int
    simulated: int
    nodes: int
    sample: int
    assumed: tuple[str, ...]
    represented: tuple[str, ...]

    @property
    def writes(self) -> Writes[EndpointSlice]:
        """The writes of all Services."""
        return Writes(
            create=tuple(each for plan in self.plans for each in plan.writes.create),
            update=tuple(each for plan in self.plans for each in plan.writes.update),
            delete=tuple(each for plan in self.plans for each in plan.writes.delete),
        )


def plan(manifests: Manifests, max_endpoints: int) -> Outcome:
    """Plans every Service of the manifests, on the given Nodes or, when there are none, on sample Nodes."""
    live = _live_pods(manifests)
    used = [ip for pod in live for ip in (*pod.ipv4, *pod.ipv6)]
    cluster = Cluster(manifests.nodes or sample_nodes(), used)
    simulated = simulate(manifests, cluster)
    nodes = {name: place.record for name, place in cluster.places.items()}
    assumed: list[str] = []
    if not manifests.nodes:
        nodes, assumed = _without_nodes(nodes, {pod.node_name for pod in (*live, *simulated) if pod.node_name})
    around = _Surroundings(_pods_by_namespace([*live, *simulated]), nodes, _slices_by_service(manifests))
    taken = _names(manifests)
    return Outcome(
        plans=tuple(
            _plan_service(manifests.services[key], around, taken.setdefault(key[0], set()), max_endpoints)
            for key in sorted(manifests.services)
        ),
        pods=len(live) + len(simulated),
        simulated=len(simulated),
        nodes=len(nodes),
        sample=0 if manifests.nodes else len(nodes) - len(assumed),
        assumed=tuple(assumed),
        represented=tuple(f"{kind} {namespace}/{name}" for kind, namespace, name in represented(manifests)),
    )


def _without_nodes(sample: dict[str, Node], named: set[str]) -> tuple[dict[str, Node], list[str]]:
    """The Nodes of input that brings none, and which of them are assumed.

    Those that Pods name are there, only their zones are not known. The sample ones are for all other Pods.
    """
    assumed = sorted(named - sample.keys())
    given = {} if assumed and named.isdisjoint(sample) else sample
    return {**given, **{name: Node(name) for name in assumed}}, assumed


def _live_pods(manifests: Manifests) -> list[Pod]:
    records = (pod_from_wire(decode(pod.content, WirePod)) for pod in manifests.pods.values() if pod.live)
    return [pod if pod.uid else replace(pod, uid=uid("Pod", pod.namespace, pod.name)) for pod in records]


def _pods_by_namespace(pods: Iterable[Pod]) -> dict[str, list[Pod]]:
    found: dict[str, list[Pod]] = {}
    for pod in sorted(pods, key=lambda pod: (pod.namespace, pod.name)):
        found.setdefault(pod.namespace, []).append(pod)
    return found


def _slices_by_service(manifests: Manifests) -> dict[Key, list[EndpointSlice]]:
    """The slices that are the controller's to keep, by Namespace and Service (ES-32.6)."""
    found: dict[Key, list[EndpointSlice]] = {}
    for (namespace, _), each in sorted(manifests.slices.items(), key=lambda item: item[0]):
        if each.labels.get(names.MANAGED_BY_LABEL) == names.ENDPOINTSLICE_MANAGED_BY:
            found.setdefault((namespace, each.labels.get(names.SERVICE_NAME_LABEL, "")), []).append(each)
    return found


def _names(manifests: Manifests) -> dict[str, set[str]]:
    taken: dict[str, set[str]] = {}
    for namespace, name in manifests.slices:
        taken.setdefault(namespace, set()).add(name)
    return taken


class _Surroundings(NamedTuple):
    pods: dict[str, list[Pod]]
    nodes: dict[str, Node]
    slices: dict[Key, list[EndpointSlice]]


def _plan_service(service: Service, around: _Surroundings, taken: set[str], max_endpoints: int) -> ServicePlan:
    managed = around.slices.get((service.namespace, service.name), [])
    service = replace(service, uid=service_uid(service, managed))
    pods = around.pods.get(service.namespace, [])
    selected = [pod for pod in pods if matches(service.selector, pod.labels)]
    snapshot = Snapshot(
        service=service,
        pods=selected,
        nodes=around.nodes,
        slices=managed,
        taken=taken,
        max_endpoints=max_endpoints,
        capacity=capacity_of(around.nodes, adaptive=service.adaptive),
    )
    made = reconcile(snapshot)
    writes = Writes(
        create=tuple(each for family in made.families for each in family.writes.create),
        update=tuple(each for family in made.families for each in family.writes.update),
        delete=tuple(each for family in made.families for each in family.writes.delete) + made.unsupported,
    )
    taken.update(each.name for each in writes.create)
    touched = {each.name for each in (*writes.update, *writes.delete)}
    return ServicePlan(
        service=service,
        selected=len(selected),
        writes=writes,
        unchanged=tuple(each for each in managed if each.name not in touched),
        absent=_absent(made, service),
        not_synced=made.not_synced,
        notices=tuple(notice for family in made.families for notice in family.notices if notice.type == "Warning"),
    )


def _absent(made: Plan, service: Service) -> tuple[Absent, ...]:
    """One entry for a Pod and a reason, in the order of their names, whatever the number of families."""
    types = address_types(service)
    found: dict[tuple[str, str], Absent] = {}
    for pod, reason, family in made.left_out:
        key = pod.name, reason.value
        before = found[key].families if key in found else ()
        found[key] = Absent(pod.name, reason, (*before, family) if family else ())
    whole = (each._replace(families=()) if len(each.families) == len(types) else each for each in found.values())
    return tuple(sorted(whole, key=lambda each: (each.pod, each.reason.value)))
