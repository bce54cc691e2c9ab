"""From the API's JSON to records: decodes only the fields that are read, and shares what replicas have in common.

Every list and object of the API may be `null` (the last bookmark of a streaming list has `"containers": null`).
"""

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from api import names
from controllers.model import addresses
from controllers.model.objects import (
    NO_LABELS,
    Conditions,
    ContainerPort,
    Endpoint,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSlice,
    EndpointSubset,
    Labels,
    Node,
    ObjectMeta,
    Pod,
    Service,
    ServicePort,
    SubsetPort,
)
from controllers.model.quantity import nano
from controllers.model.reasons import Reason

_T = TypeVar("_T")
_NULL: Final = (b"", b"null")
_LONGEST_SHARED: Final = 2048
_FLOOR: Final = re.compile("[1-9][0-9]?|100")
# So much of a value that is not valid is repeated in an Event.
_SHOWN: Final = 40


class _Shared(Generic[_T]):
    """Makes one value per distinct JSON text, so that the replicas of a workload share it.

    Keeps no text of more than 2 kB (it is hardly shared), and forgets everything when `limit` is reached: that costs
    sharing, never correctness, and bounds the memory.
    """

    def __init__(self, make: Callable[[bytes], _T], limit: int = 20_000) -> None:
        self._make = make
        self._limit = limit
        self._known: dict[bytes, _T] = {}

    def __call__(self, raw: Raw) -> _T:
        text = bytes(raw)
        if len(text) > _LONGEST_SHARED:
            return self._make(text)
        value = self._known.get(text)
        if value is None:
            if len(self._known) >= self._limit:
                self._known.clear()
            value = self._known[text] = self._make(text)
        return value


class _Strings(dict[str, str]):
    """Names that many objects repeat (Namespaces, Nodes): one copy each."""

    def __missing__(self, key: str) -> str:
        if len(self) >= 200_000:
            self.clear()
        self[key] = key
        return key


class WireMeta(Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Raw = Raw()


class _Annotations(Struct, gc=False):
    topology_hints: str | None = msgspec.field(default=None, name=names.TOPOLOGY_HINTS_ANNOTATION)
    topology_mode: str | None = msgspec.field(default=None, name=names.TOPOLOGY_MODE_ANNOTATION)
    adaptive_mode: str | None = msgspec.field(default=None, name=names.ADAPTIVE_MODE_ANNOTATION)
    topology_floor: str | None = msgspec.field(default=None, name=names.TOPOLOGY_FLOOR_ANNOTATION)


class _ServiceMeta(WireMeta, rename="camel", gc=False):
    annotations: _Annotations | None = None


class _Port(Struct, rename="camel", gc=False):
    container_port: int = 0
    name: str | None = None
    protocol: str | None = None


class _Container(Struct, rename="camel", gc=False):
    ports: Raw = Raw()
    restart_policy: str | None = None


class _PodSpec(Struct, rename="camel", gc=False):
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    node_name: str | None = None
    hostname: str | None = None
    subdomain: str | None = None


class _Condition(Struct, rename="camel", gc=False):
    type: str = ""
    status: str = ""
    last_transition_time: str | None = None


class _PodIP(Struct, gc=False):
    ip: str | None = None


class _PodStatus(Struct, rename="camel", gc=False):
    phase: str | None = None
    conditions: list[_Condition] | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: list[_PodIP] | None = msgspec.field(default=None, name="podIPs")


class WirePod(Struct, gc=False):
    metadata: WireMeta
    spec: _PodSpec | None = None
    status: _PodStatus | None = None


class _ServicePort(Struct, rename="camel", gc=False):
    name: str | None = None
    protocol: str | None = None
    port: int = 0
    target_port: int | str | None = None
    app_protocol: str | None = None


class _ServiceSpec(Struct, rename="camel", gc=False):
    type: str | None = None
    selector: dict[str, str] | None = None
    ports: list[_ServicePort] | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    ip_families: list[str] | None = None
    publish_not_ready_addresses: bool | None = None
    traffic_distribution: str | None = None


class WireService(Struct, gc=False):
    metadata: _ServiceMeta
    spec: _ServiceSpec | None = None


class _Allocatable(Struct, gc=False):
    cpu: str | int | float | None = None


class _NodeStatus(Struct, gc=False):
    conditions: list[_Condition] | None = None
    allocatable: _Allocatable | None = None


class WireNode(Struct, gc=False):
    metadata: WireMeta
    status: _NodeStatus | None = None


class WireSlice(Struct, rename="camel", gc=False):
    metadata: ObjectMeta
    address_type: str = ""
    endpoints: tuple[Endpoint, ...] | None = None
    ports: tuple[EndpointPort, ...] | None = None


class _Subset(Struct, rename="camel", gc=False):
    addresses: tuple[EndpointAddress, ...] | None = None
    not_ready_addresses: tuple[EndpointAddress, ...] | None = None
    ports: tuple[SubsetPort, ...] | None = None


class WireEndpoints(Struct, gc=False):
    metadata: ObjectMeta
    subsets: list[_Subset] | None = None


def _labels(text: bytes) -> Labels:
    return NO_LABELS if text in _NULL else Labels(msgspec.json.decode(text, type=dict[str, str]))


def _named_ports(text: bytes) -> tuple[ContainerPort, ...]:
    ports = None if text in _NULL else msgspec.json.decode(text, type=list[_Port] | None)
    # Only a name can be looked up (ES-49); a port without one cannot be found, and is not kept.
    return tuple(ContainerPort(p.name, p.protocol or "TCP", p.container_port) for p in ports or () if p.name)


_shared_labels: Final = _Shared(_labels)
_shared_ports: Final = _Shared(_named_ports)
_strings: Final = _Strings()
# Of these there are 27.
_conditions: Final[dict[Conditions, Conditions]] = {}


def _pod_ports(spec: _PodSpec) -> tuple[ContainerPort, ...]:
    """Containers in order, then sidecars: init containers that restart always (ES-49)."""
    containers = spec.containers or []
    sidecars = [c for c in spec.init_containers or () if c.restart_policy == "Always"]
    if len(containers) == 1 and not sidecars:
        return _shared_ports(containers[0].ports)
    return tuple(port for container in (*containers, *sidecars) for port in _shared_ports(container.ports))


def _first_family(pod_ip: str, texts: tuple[str, ...]) -> str:
    if ":" in pod_ip and addresses.is_ipv6(pod_ip):
        return "IPv6"
    return "IPv4" if pod_ip or texts else ""


def pod_from_wire(wire: WirePod) -> Pod:
    """The record of a Pod.

    Raises msgspec.ValidationError when its labels or ports are not what the API has there.
    """
    meta, spec, status = wire.metadata, wire.spec or _PodSpec(), wire.status or _PodStatus()
    ready, ready_since = False, ""
    for condition in status.conditions or ():
        if condition.type == "Ready":
            ready, ready_since = condition.status == "True", condition.last_transition_time or ""
            break
    texts = tuple(item.ip for item in status.pod_ips or () if item.ip is not None)
    ips = addresses.by_family(texts)
    return Pod(
        namespace=_strings[meta.namespace],
        name=meta.name,
        uid=meta.uid,
        labels=_shared_labels(meta.labels),
        node_name=_strings[spec.node_name or ""],
        hostname=spec.hostname or "",
        subdomain=_strings[spec.subdomain or ""],
        ports=_pod_ports(spec),
        phase=_strings[status.phase or ""],
        first_family=_first_family(status.pod_ip or "", texts),
        ipv4=ips.ipv4,
        ipv6=ips.ipv6,
        refused_ips=ips.refused,
        ready=ready,
        ready_since=_strings[ready_since],
        terminating=meta.deletion_timestamp is not None,
    )


def _topology_mode(annotations: _Annotations | None) -> str:
    """The deprecated key wins when it is present, whatever its value (ES-93)."""
    if annotations is None:
        return ""
    hints = annotations.topology_hints
    return hints if hints is not None else annotations.topology_mode or ""


def _adaptive_topology(annotations: _Annotations | None) -> tuple[bool, int, tuple[str, ...]]:
    """Whether Adaptive hints are wanted, the floor, and what is said of annotations that count as not set."""
    if annotations is None:
        return False, 1, ()
    mode, floor = annotations.adaptive_mode, annotations.topology_floor
    refused = []
    if mode not in (None, names.ADAPTIVE_MODE):
        refused.append(_refused(names.ADAPTIVE_MODE_ANNOTATION, mode, names.ADAPTIVE_MODE))
    count = 1
    if floor is not None:
        if _FLOOR.fullmatch(floor):
            count = int(floor)
        else:
            refused.append(_refused(names.TOPOLOGY_FLOOR_ANNOTATION, floor, "a whole number from 1 to 100"))
    return mode == names.ADAPTIVE_MODE, count, tuple(refused)


def _refused(annotation: str, value: str | None, valid: str) -> str:
    return f"{annotation}: {(value or '')[:_SHOWN]!r}: {Reason.TOPOLOGY_ANNOTATION_INVALID.text}; valid is {valid}"


def _service_port(port: _ServicePort) -> ServicePort:
    target = port.port if port.target_port is None else port.target_port
    return ServicePort(port.name or "", port.protocol or "TCP", target, port.app_protocol)


def service_from_wire(wire: WireService) -> Service:
    """The record of a Service, with the API server's defaults where a manifest leaves them out (ES-156)."""
    meta, spec = wire.metadata, wire.spec or _ServiceSpec()
    adaptive, floor, refused = _adaptive_topology(meta.annotations)
    return Service(
        namespace=_strings[meta.namespace],
        name=meta.name,
        uid=meta.uid,
        labels=_shared_labels(meta.labels),
        created=meta.creation_timestamp or "",
        terminating=meta.deletion_timestamp is not None,
        type=spec.type or "ClusterIP",
        # An empty selector is never listed (ES-35), and must not select a whole Namespace if it ever is.
        selector=Labels(spec.selector) if spec.selector else None,
        ports=tuple(map(_service_port, spec.ports or ())),
        cluster_ip=spec.cluster_ip or "",
        ip_families=tuple(spec.ip_families or ()),
        publish_not_ready=bool(spec.publish_not_ready_addresses),
        topology_mode=_topology_mode(meta.annotations),
        adaptive=adaptive,
        topology_floor=floor,
        refused_annotations=refused,
        traffic_distribution=spec.traffic_distribution,
    )


def node_from_wire(wire: WireNode) -> Node:
    """The record of a Node; one that has no Ready condition is not ready (ES-100).

    Raises msgspec.ValidationError when its labels are not what the API has there.
    """
    labels = _shared_labels(wire.metadata.labels)
    status = wire.status or _NodeStatus()
    ready = next((each.status for each in status.conditions or () if each.type == "Ready"), "")
    cpu = status.allocatable.cpu if status.allocatable is not None else None
    return Node(
        name=wire.metadata.name,
        zone=labels.get(names.ZONE_LABEL, ""),
        ready=ready == "True",
        nano_cpu=nano(str(cpu)) if cpu is not None else 0,
        control_plane=any(label in labels for label in names.CONTROL_PLANE_LABELS),
    )


def slice_from_wire(wire: WireSlice) -> EndpointSlice:
    """An EndpointSlice; its lists may come as null or not at all (ES-153)."""
    return EndpointSlice(
        metadata=wire.metadata,
        address_type=wire.address_type,
        endpoints=tuple(map(_sharing, wire.endpoints or ())),
        ports=wire.ports or (),
    )


def _sharing(endpoint: Endpoint) -> Endpoint:
    """The same endpoint; what others have as well is one object with theirs: more than half of what it takes."""
    target, node, zone, conditions = endpoint.target_ref, endpoint.node_name, endpoint.zone, endpoint.conditions
    if target is not None:
        target = replace(target, kind=_strings[target.kind], namespace=_strings[target.namespace])
    return replace(
        endpoint,
        conditions=_conditions.setdefault(conditions, conditions),
        target_ref=target,
        node_name=None if node is None else _strings[node],
        zone=None if zone is None else _strings[zone],
    )


def endpoints_from_wire(wire: WireEndpoints) -> Endpoints:
    """Endpoints; the lists of a subset may come as null or not at all."""
    return Endpoints(
        metadata=wire.metadata,
        subsets=tuple(
            EndpointSubset(each.addresses or (), each.not_ready_addresses or (), each.ports or ())
            for each in wire.subsets or ()
        ),
    )
