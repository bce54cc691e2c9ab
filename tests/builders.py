"""Small records for tests, written down from the spec and not by the core; and what an API server makes of a plan."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from msgspec.structs import replace

from api.names import (
    ENDPOINTS_MANAGED_BY,
    ENDPOINTS_MANAGED_BY_LABEL,
    ENDPOINTSLICE_MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    TRIGGER_TIME_ANNOTATION,
)
from controllers.endpointslice.reconcile import Plan, Snapshot, reconcile
from controllers.membership.trigger_time import Seen
from controllers.model.objects import (
    Conditions,
    Endpoint,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Labels,
    Node,
    ObjectMeta,
    OwnerReference,
    Pod,
    Service,
    ServicePort,
    SubsetPort,
    TargetRef,
)

CREATED = "2026-01-01T00:00:00Z"
HTTP = EndpointPort("http", "TCP", 8080)
SUBSET_HTTP = SubsetPort("http", 8080, "TCP")
SERVICE = Service(
    namespace="ns",
    name="s",
    uid="uid-s",
    created=CREATED,
    selector=Labels(app="s"),
    ports=(ServicePort("http", "TCP", 8080),),
    cluster_ip="10.96.0.10",
    ip_families=("IPv4",),
)
HEADLESS = replace(SERVICE, cluster_ip="None")
NODE = Node("node-1", "zone-a")


def service(**changes: Any) -> Service:
    """A ClusterIP Service `ns/s` with one TCP port, IPv4 (the Service of the spec's section 21)."""
    return replace(SERVICE, **changes)


def pod(number: int = 0, **changes: Any) -> Pod:
    """A ready Pod with its own IPv4 address, on the Node that exists."""
    made = Pod(
        namespace="ns",
        name=f"pod-{number:03}",
        uid=f"uid-pod-{number}",
        labels=Labels(app="s"),
        node_name="node-1",
        phase="Running",
        first_family="IPv4",
        ipv4=(f"10.0.{number // 200}.{number % 200 + 1}",),
        ready=True,
        ready_since=CREATED,
    )
    return replace(made, **changes)


def pods(number: int, first: int = 0, **changes: Any) -> list[Pod]:
    return [pod(each, **changes) for each in range(first, first + number)]


def conditions(of: Pod) -> Conditions:
    return Conditions(ready=of.ready and not of.terminating, serving=of.ready, terminating=of.terminating)


def endpoint(of: Pod, **changes: Any) -> Endpoint:
    """The IPv4 endpoint that `SERVICE` publishes for a Pod on `NODE`."""
    made = Endpoint(
        addresses=of.ipv4,
        conditions=conditions(of),
        target_ref=TargetRef(kind="Pod", namespace=of.namespace, name=of.name, uid=of.uid),
        node_name=of.node_name,
        zone="zone-a",
    )
    return replace(made, **changes)


def owner(uid: str = "uid-s", **changes: Any) -> OwnerReference:
    made = OwnerReference(
        api_version="v1", kind="Service", name="s", uid=uid, controller=True, block_owner_deletion=True
    )
    return replace(made, **changes)


def labelled(**more: str) -> dict[str, str]:
    """The labels of a slice of `SERVICE`, and some more."""
    return {**more, SERVICE_NAME_LABEL: "s", MANAGED_BY_LABEL: ENDPOINTSLICE_MANAGED_BY}


def existing(
    name: str,
    endpoints: Iterable[Pod | Endpoint] = (),
    *,
    ports: tuple[EndpointPort, ...] = (HTTP,),
    address_type: str = "IPv4",
    **metadata: Any,
) -> EndpointSlice:
    """A slice as the API server returns it; by default one of `SERVICE` that needs no write."""
    meta = ObjectMeta(
        name=name,
        generate_name="s-",
        namespace="ns",
        uid=f"uid-{name}",
        resource_version="7",
        generation=1,
        creation_timestamp=CREATED,
        labels=labelled(),
        owner_references=(owner(),),
    )
    return EndpointSlice(
        metadata=replace(meta, **metadata),
        address_type=address_type,
        endpoints=tuple(endpoint(each) if isinstance(each, Pod) else each for each in endpoints),
        ports=ports,
    )


def placeholder(name: str = "s-empty", **changes: Any) -> EndpointSlice:
    return existing(name, ports=(), **changes)


def address(of: Pod, **changes: Any) -> EndpointAddress:
    """The address that the Endpoints of `SERVICE` have for a Pod (EP-32)."""
    made = EndpointAddress(
        ip=of.ipv4[0],
        node_name=of.node_name,
        target_ref=TargetRef(kind="Pod", namespace=of.namespace, name=of.name, uid=of.uid),
    )
    return replace(made, **changes)


def subset(
    ready: Iterable[Pod | EndpointAddress] = (),
    not_ready: Iterable[Pod | EndpointAddress] = (),
    *ports: SubsetPort,
) -> EndpointSubset:
    """A subset with these addresses, on the port of `SERVICE` if no other is given."""

    def addresses(of: Iterable[Pod | EndpointAddress]) -> tuple[EndpointAddress, ...]:
        return tuple(address(each) if isinstance(each, Pod) else each for each in of)

    return EndpointSubset(addresses(ready), addresses(not_ready), ports or (SUBSET_HTTP,))


def existing_endpoints(*subsets: EndpointSubset, **metadata: Any) -> Endpoints:
    """Endpoints as the API server returns them; by default those of `SERVICE`, with the right labels."""
    meta = ObjectMeta(
        name="s",
        namespace="ns",
        uid="uid-endpoints",
        resource_version="7",
        creation_timestamp=CREATED,
        labels={ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGED_BY},
    )
    return Endpoints(metadata=replace(meta, **metadata), subsets=subsets)


def planned(
    of: Service = SERVICE,
    pods: Sequence[Pod] = (),
    slices: Sequence[EndpointSlice] = (),
    *,
    nodes: Sequence[Node] = (NODE,),
    limit: int = 100,
    seen: Seen | None = None,
    taken: Iterable[str] = (),
) -> Plan:
    return reconcile(
        Snapshot(
            service=of,
            pods=pods,
            nodes={node.name: node for node in nodes},
            slices=slices,
            taken={each.name for each in slices} | set(taken),
            seen=seen,
            max_endpoints=limit,
        )
    )


def created(plan: Plan) -> list[EndpointSlice]:
    return [each for family in plan.families for each in family.writes.create]


def updated(plan: Plan) -> list[EndpointSlice]:
    return [each for family in plan.families for each in family.writes.update]


def deleted(plan: Plan) -> list[EndpointSlice]:
    return [*(each for family in plan.families for each in family.writes.delete), *plan.unsupported]


def counts(plan: Plan) -> tuple[int, int, int]:
    """How many creates, updates and deletes."""
    return len(created(plan)), len(updated(plan)), len(deleted(plan))


def sizes(slices: Iterable[EndpointSlice]) -> list[int]:
    """Endpoints per slice, the fullest first: which slice gets which endpoint is free (ES-65)."""
    return sorted((len(each.endpoints) for each in slices), reverse=True)


def trigger(found: EndpointSlice) -> str | None:
    return (found.metadata.annotations or {}).get(TRIGGER_TIME_ANNOTATION)


def apply(plan: Plan, slices: Sequence[EndpointSlice]) -> list[EndpointSlice]:
    """The slices after all writes of a plan; an impossible write is an AssertionError."""
    store = {each.name: each for each in slices}
    versions = count(1 + max((int(each.metadata.resource_version) for each in slices), default=0))
    for family in plan.families:
        for sent in family.writes.create:
            assert sent.name not in store, "409 AlreadyExists"
            version = next(versions)
            metadata = replace(
                sent.metadata,
                uid=f"uid-new-{version}",
                resource_version=str(version),
                generation=1,
                creation_timestamp=CREATED,
            )
            store[sent.name] = replace(sent, metadata=metadata)
        for sent in family.writes.update:
            store[sent.name] = _updated(store[sent.name], sent, next(versions))
        for sent in family.writes.delete:
            assert store.pop(sent.name) == sent, "409 Conflict"
    for sent in plan.unsupported:
        assert store.pop(sent.name) == sent, "409 Conflict"
    return list(store.values())


def _updated(found: EndpointSlice, sent: EndpointSlice, version: int) -> EndpointSlice:
    """Everything is replaced, except what only the server sets (ES-76, ES-154, ES-155)."""
    have, want = found.metadata, sent.metadata
    assert (want.uid, want.resource_version) == (have.uid, have.resource_version), "409 Conflict"
    assert sent.address_type == found.address_type, "422: addressType is immutable"
    same = (found.endpoints, found.ports, found.labels) == (sent.endpoints, sent.ports, sent.labels)
    metadata = replace(
        want,
        generation=have.generation + (not same),
        creation_timestamp=have.creation_timestamp,
        deletion_timestamp=have.deletion_timestamp,
    )
    result = replace(sent, metadata=metadata)
    return found if result == found else replace(result, metadata=replace(metadata, resource_version=str(version)))


def same_seen(one: Seen | None, other: Seen | None) -> bool:
    """Whether two syncs have seen the same, in whatever order."""
    if one is None or other is None:
        return one is other
    pods, others = ({pod.name: pod for pod in each.pods} for each in (one, other))
    return one.service == other.service and pods == others
