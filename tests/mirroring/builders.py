"""Endpoints and their mirrored slices, written down from the spec; and what an API server makes of writes."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from msgspec.structs import replace

from api.names import MANAGED_BY_LABEL, SERVICE_NAME_LABEL
from controllers.mirroring.reconcile import Plan, Snapshot, reconcile
from controllers.model.objects import (
    Conditions,
    Endpoint,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    ObjectMeta,
    OwnerReference,
    Service,
    SubsetPort,
)
from controllers.model.plan import Writes

CREATED = "2026-01-01T00:00:00Z"
MIRRORING = "endpointslicemirroring-controller.k8s.io"
# The same ports in Endpoints and in a slice.
HTTP, DNS = SubsetPort("http", 80, "TCP"), SubsetPort("dns", 53, "UDP")
HTTP_PORT, DNS_PORT = EndpointPort("http", "TCP", 80), EndpointPort("dns", "UDP", 53)
SERVICE = Service(namespace="ns", name="e", uid="uid-service")


def subset(
    *ready: str | EndpointAddress,
    not_ready: Iterable[str | EndpointAddress] = (),
    ports: Iterable[SubsetPort] = (HTTP,),
) -> EndpointSubset:
    """A subset; an address is its IP unless it is more."""
    return EndpointSubset(_addresses(ready), _addresses(not_ready), tuple(ports))


def _addresses(of: Iterable[str | EndpointAddress]) -> tuple[EndpointAddress, ...]:
    return tuple(EndpointAddress(ip=each) if isinstance(each, str) else each for each in of)


def endpoints(*subsets: EndpointSubset, **metadata: Any) -> Endpoints:
    """Endpoints `ns/e`."""
    meta = ObjectMeta(name="e", namespace="ns", uid="uid-e", resource_version="5", creation_timestamp=CREATED)
    return Endpoints(metadata=replace(meta, **metadata), subsets=subsets)


def endpoint(ip: str, ready: bool = True, **changes: Any) -> Endpoint:
    """What is mirrored of an address: `ready` alone is known of it (MI-30)."""
    return replace(Endpoint(addresses=(ip,), conditions=Conditions(ready=ready)), **changes)


def owner(uid: str = "uid-e", **changes: Any) -> OwnerReference:
    made = OwnerReference(
        api_version="v1", kind="Endpoints", name="e", uid=uid, controller=True, block_owner_deletion=True
    )
    return replace(made, **changes)


def labelled(**more: str) -> dict[str, str]:
    """The labels of a mirrored slice of Endpoints `e`, and some more."""
    return {**more, SERVICE_NAME_LABEL: "e", MANAGED_BY_LABEL: MIRRORING}


def existing(
    name: str,
    of: Iterable[str | Endpoint] = (),
    *,
    ports: tuple[EndpointPort, ...] = (HTTP_PORT,),
    address_type: str = "IPv4",
    **metadata: Any,
) -> EndpointSlice:
    """A slice as the API server returns it; by default one of `ns/e` that needs no write."""
    meta = ObjectMeta(
        name=name,
        generate_name="e-",
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
        endpoints=tuple(endpoint(each) if isinstance(each, str) else each for each in of),
        ports=ports,
    )


def planned(
    of: Endpoints | None,
    slices: Sequence[EndpointSlice] = (),
    *,
    service: Service | None = SERVICE,
    limit: int = 1000,
    taken: Iterable[str] = (),
) -> Plan:
    names = {each.name for each in slices} | set(taken)
    return reconcile(Snapshot(endpoints=of, service=service, slices=slices, taken=names, limit=limit))


def counts(plan: Plan) -> tuple[int, int, int]:
    """How many creates, updates and deletes."""
    return len(plan.writes.create), len(plan.writes.update), len(plan.writes.delete)


def apply(writes: Writes[EndpointSlice], slices: Sequence[EndpointSlice]) -> list[EndpointSlice]:
    """The slices after all writes of a plan; an impossible write is an AssertionError."""
    store = {each.name: each for each in slices}
    versions = count(1 + max((int(each.metadata.resource_version) for each in slices), default=0))
    for sent in writes.create:
        _valid(sent)
        assert sent.name not in store, "409 AlreadyExists"
        assert (sent.metadata.uid, sent.metadata.resource_version) == ("", ""), "400"
        store[sent.name] = _stamped(sent, next(versions), f"uid-new-{sent.name}")
    for sent in writes.update:
        _valid(sent)
        found = store[sent.name]
        have, want = found.metadata, sent.metadata
        assert (want.uid, want.resource_version) == (have.uid, have.resource_version), "409 Conflict"
        assert sent.address_type == found.address_type, "422: addressType is immutable"
        result = _stamped(sent, int(have.resource_version), have.uid)
        # What is equal keeps its version.
        store[sent.name] = found if result == found else _stamped(sent, next(versions), have.uid)
    for sent in writes.delete:
        assert store.pop(sent.name) == sent, "409 Conflict"
    return list(store.values())


def _valid(sent: EndpointSlice) -> None:
    assert sent.name, "422: no name"
    assert len(set(sent.ports)) == len(sent.ports), "422: duplicate ports"
    assert sent.address_type in ("IPv4", "IPv6"), "MI-29"
    assert sent.metadata.namespace == "ns"


def _stamped(sent: EndpointSlice, version: int, uid: str) -> EndpointSlice:
    """What is sent replaces everything, except what only the server sets."""
    metadata = replace(sent.metadata, uid=uid, resource_version=str(version), generation=1, creation_timestamp=CREATED)
    return replace(sent, metadata=metadata)
