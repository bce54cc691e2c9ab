"""The few fields of each Kubernetes object that the controllers read, as flat immutable records.

Pods, Services and Nodes are *records*: made from the API's JSON by `wire.py`, compared as a whole (an update that
changes no field here is not an event) and shared freely, since nothing in them can change. EndpointSlices and Endpoints
keep the API's shape, because what is read is also what is written.

No other record holds a resourceVersion: only what we write can be behind our own knowledge of it.
"""

from typing import Final

from msgspec import Struct

FAMILIES: Final = ("IPv4", "IPv6")


class Labels(dict[str, str]):
    """Labels or a selector: a mapping that is never changed after it was made, and so can be shared and hashed."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:  # type: ignore[override]
        try:
            return self._hash
        except AttributeError:
            self._hash = hash(frozenset(self.items()))
            return self._hash


NO_LABELS: Final = Labels()


class ContainerPort(Struct, frozen=True, gc=False):
    """A named port of a container. `number` is a TCP, UDP or SCTP port."""

    name: str
    protocol: str
    number: int


class Pod(Struct, frozen=True, gc=False, kw_only=True):
    """What decides whether and how a Pod becomes an endpoint.

    `ipv4` and `ipv6` are canonical and sorted as strings (ES-39); `refused_ips` are those of `status.podIPs` that no
    slice may hold; `first_family` is that of `status.podIP`, "" when the Pod has no address at all. `ports` are the
    named ports in the order in which a Service's target port is looked up (ES-49). `ready_since` is the Ready
    condition's lastTransitionTime (RFC 3339, UTC, whole seconds), or "".
    """

    namespace: str
    name: str
    uid: str = ""
    labels: Labels = NO_LABELS
    node_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    ports: tuple[ContainerPort, ...] = ()
    phase: str = ""
    first_family: str = ""
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    refused_ips: tuple[str, ...] = ()
    ready: bool = False
    ready_since: str = ""
    terminating: bool = False


class ServicePort(Struct, frozen=True, gc=False):
    """One port of a Service; `target` is a number, or the name of a container port."""

    name: str
    protocol: str
    target: int | str
    app_protocol: str | None = None


class Service(Struct, frozen=True, gc=False, kw_only=True):
    """What decides which Pods a Service selects and how their endpoints are published.

    `created` is metadata.creationTimestamp (RFC 3339, UTC, whole seconds). `topology_mode` is KCM's annotation;
    `adaptive` and `topology_floor` (ready endpoints for each zone) are our own, and `refused_annotations` say which of
    those have no valid value.
    """

    namespace: str
    name: str
    uid: str = ""
    labels: Labels = NO_LABELS
    created: str = ""
    terminating: bool = False
    type: str = "ClusterIP"
    selector: Labels | None = None
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = ""
    ip_families: tuple[str, ...] = ()
    publish_not_ready: bool = False
    topology_mode: str = ""
    adaptive: bool = False
    topology_floor: int = 1
    refused_annotations: tuple[str, ...] = ()
    traffic_distribution: str | None = None


class Node(Struct, frozen=True, gc=False):
    """A Node as far as its endpoints and their hints need it.

    `zone` is "" when the Node carries no zone label (ES-8); `nano_cpu` is its allocatable CPU in billionths of a core;
    `control_plane` tells a Node that no ordinary Pod runs on (ES-96).
    """

    name: str
    zone: str = ""
    ready: bool = True
    nano_cpu: int = 0
    control_plane: bool = False


class OwnerReference(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, kw_only=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, kw_only=True):
    """Metadata as read and as sent back; managedFields are never kept (ES-17)."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None
    finalizers: tuple[str, ...] | None = None


class Conditions(Struct, frozen=True, gc=False, omit_defaults=True):
    """An endpoint's conditions; None is "unknown", which no writer of this century leaves (ES-41)."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, kw_only=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class ForZone(Struct, frozen=True, gc=False):
    name: str


class ForNode(Struct, frozen=True, gc=False):
    name: str


class Hints(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    for_zones: tuple[ForZone, ...] | None = None
    for_nodes: tuple[ForNode, ...] | None = None


class Endpoint(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, kw_only=True):
    addresses: tuple[str, ...]
    conditions: Conditions = Conditions()
    hostname: str | None = None
    target_ref: TargetRef | None = None
    deprecated_topology: dict[str, str] | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: Hints | None = None


class EndpointPort(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """discovery.k8s.io/v1 EndpointSlice; the three lists are always sent, possibly empty (ES-77)."""

    metadata: ObjectMeta
    address_type: str
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.labels or {}


class EndpointAddress(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, kw_only=True):
    ip: str = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: TargetRef | None = None


class SubsetPort(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """core/v1 EndpointPort: unlike that of a slice, it has a name and a protocol always, possibly empty ones."""

    name: str = ""
    port: int = 0
    protocol: str = ""
    app_protocol: str | None = None


class EndpointSubset(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[SubsetPort, ...] = ()


class Fingerprints(Struct, frozen=True, gc=False):
    """What is remembered of subsets instead of themselves: digests as they stand and in canonical order."""

    as_is: bytes
    repacked: bytes


class Endpoints(Struct, frozen=True, gc=False, kw_only=True):
    """core/v1 Endpoints. Of one that our controller manages, `subsets` may be None: `fingerprints` tell it apart."""

    metadata: ObjectMeta
    subsets: tuple[EndpointSubset, ...] | None = ()
    fingerprints: Fingerprints | None = None

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.labels or {}
