"""What address management reads of Services, IPAddresses, ServiceCIDRs and Namespaces: flat immutable records.

Made from the API's JSON (watch events, admission reviews); compared as a whole, so an update that changes nothing here
is no event.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from api import names
from controllers.ipam.ranges import IPV4, IPV6, family_of
from controllers.model.objects import Labels

HEADLESS: Final = "None"
SINGLE: Final = "SingleStack"
PREFER: Final = "PreferDualStack"
REQUIRE: Final = "RequireDualStack"
LOCAL: Final = "Local"

ALLOCATOR: Final = "ipallocator.k8s.io"
# The API server's own Service: made by it before anything of ours runs, and never judged (IP-67).
KUBERNETES: Final = "default/kubernetes"
IPADDRESS_MANAGED_BY_LABEL: Final = "ipaddress.kubernetes.io/managed-by"
IP_FAMILY_LABEL: Final = "ipaddress.kubernetes.io/ip-family"


class Port(Struct, frozen=True, gc=False, rename="camel"):
    """One port of a Service; `node_port` is 0 when it has none (yet)."""

    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    node_port: int = 0


class Service(Struct, frozen=True, gc=False, kw_only=True):
    """What decides which numbers a Service has, may have or still needs.

    `cluster_ip` is the singular field, "None" for a headless Service; `families` and `policy` are empty when they are
    not set. `allocates_node_ports` is false only where spec.allocateLoadBalancerNodePorts is. `pool` is what our
    annotation says. `created` is RFC 3339, UTC, whole seconds.
    """

    namespace: str
    name: str
    uid: str = ""
    labels: Labels = Labels()
    created: str = ""
    terminating: bool = False
    type: str = "ClusterIP"
    has_selector: bool = False
    cluster_ip: str = ""
    cluster_ips: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    policy: str = ""
    ports: tuple[Port, ...] = ()
    allocates_node_ports: bool = True
    local: bool = False
    health_check_node_port: int = 0
    pool: str = ""

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def headless(self) -> bool:
        """Whether it asks for no ClusterIP (its type may say so, too: `external`)."""
        return self.cluster_ip == HEADLESS or HEADLESS in self.cluster_ips

    @property
    def external(self) -> bool:
        """Whether it is an alias of a DNS name, with no numbers at all."""
        return self.type == "ExternalName"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The ClusterIPs that it holds."""
        return () if self.headless or self.external else self.cluster_ips

    @property
    def takes_node_ports(self) -> bool:
        """Whether ports without a node port get one (IP-39)."""
        return self.type == "NodePort" or (self.type == "LoadBalancer" and self.allocates_node_ports)

    @property
    def takes_health_port(self) -> bool:
        """Whether it has a health-check node port (IP-43)."""
        return self.type == "LoadBalancer" and self.local

    @property
    def node_ports(self) -> tuple[int, ...]:
        """Every node port that it holds, the health check's last; a number once."""
        held = [port.node_port for port in self.ports if port.node_port and self.type in ("NodePort", "LoadBalancer")]
        held += [self.health_check_node_port] if self.takes_health_port and self.health_check_node_port else []
        return tuple(dict.fromkeys(held))


class Address(Struct, frozen=True, gc=False, kw_only=True):
    """An IPAddress object. `name` is the address; `parent` is (group, resource, namespace, name)."""

    name: str
    uid: str = ""
    labels: Labels = Labels()
    parent: tuple[str, str, str, str] = ("", "", "", "")
    created: str = ""
    terminating: bool = False

    @property
    def manager(self) -> str:
        """Who keeps it: the API server's own are `ipallocator.k8s.io`."""
        return self.labels.get(IPADDRESS_MANAGED_BY_LABEL, "")

    @property
    def service(self) -> str | None:
        """`namespace/name` of the Service that it belongs to, if its parent is one."""
        group, resource, namespace, name = self.parent
        return f"{namespace}/{name}" if (group, resource) == ("", "services") else None


class ServiceCIDR(Struct, frozen=True, gc=False, kw_only=True):
    """A ServiceCIDR. `ready` is true also while nobody has said so (IP-12)."""

    name: str
    uid: str = ""
    cidrs: tuple[str, ...] = ()
    ready: bool = True
    terminating: bool = False
    created: str = ""
    deleted: str = ""
    finalizers: tuple[str, ...] = ()


class Namespace(Struct, frozen=True, gc=False):
    """A Namespace and its labels."""

    name: str
    labels: Labels = Labels()


class _Meta(Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    finalizers: list[str] | None = None


class _Port(Struct, rename="camel", gc=False):
    name: str | None = None
    protocol: str | None = None
    port: int = 0
    node_port: int | None = None


class _ServiceSpec(Struct, rename="camel", gc=False):
    type: str | None = None
    selector: dict[str, str] | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")
    ip_families: list[str] | None = None
    ip_family_policy: str | None = None
    ports: list[_Port] | None = None
    allocate_load_balancer_node_ports: bool | None = None
    external_traffic_policy: str | None = None
    health_check_node_port: int | None = None


class WireService(Struct, gc=False):
    """A Service as the API sends it."""

    metadata: _Meta
    spec: _ServiceSpec | None = None


class _Parent(Struct, gc=False):
    group: str | None = None
    resource: str | None = None
    namespace: str | None = None
    name: str | None = None


class _AddressSpec(Struct, rename="camel", gc=False):
    parent_ref: _Parent | None = None


class WireAddress(Struct, gc=False):
    """An IPAddress as the API sends it."""

    metadata: _Meta
    spec: _AddressSpec | None = None


class _Condition(Struct, gc=False):
    type: str = ""
    status: str = ""


class _CIDRSpec(Struct, gc=False):
    cidrs: list[str] | None = None


class _CIDRStatus(Struct, gc=False):
    conditions: list[_Condition] | None = None


class WireServiceCIDR(Struct, gc=False):
    """A ServiceCIDR as the API sends it."""

    metadata: _Meta
    spec: _CIDRSpec | None = None
    status: _CIDRStatus | None = None


class WireNamespace(Struct, gc=False):
    """A Namespace as the API sends it."""

    metadata: _Meta


def service_from_wire(wire: WireService) -> Service:
    """The record of a Service."""
    meta, spec = wire.metadata, wire.spec or _ServiceSpec()
    return Service(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        labels=Labels(meta.labels or {}),
        created=meta.creation_timestamp or "",
        terminating=meta.deletion_timestamp is not None,
        type=spec.type or "ClusterIP",
        has_selector=bool(spec.selector),
        cluster_ip=spec.cluster_ip or "",
        cluster_ips=tuple(spec.cluster_ips or ()),
        families=tuple(spec.ip_families or ()),
        policy=spec.ip_family_policy or "",
        ports=tuple(Port(p.name or "", p.protocol or "TCP", p.port, p.node_port or 0) for p in spec.ports or ()),
        allocates_node_ports=spec.allocate_load_balancer_node_ports is not False,
        local=spec.external_traffic_policy == LOCAL,
        health_check_node_port=spec.health_check_node_port or 0,
        pool=(meta.annotations or {}).get(names.IPAM_POOL_ANNOTATION, ""),
    )


def service_from_object(body: Any) -> Service:  # noqa: ANN401 (decoded JSON)
    """The record of a Service that came in an admission review. Raises msgspec.ValidationError."""
    return service_from_wire(msgspec.convert(body, WireService))


def address_from_wire(wire: WireAddress) -> Address:
    """The record of an IPAddress."""
    meta = wire.metadata
    parent = (wire.spec.parent_ref if wire.spec else None) or _Parent()
    return Address(
        name=meta.name,
        uid=meta.uid,
        labels=Labels(meta.labels or {}),
        parent=(parent.group or "", parent.resource or "", parent.namespace or "", parent.name or ""),
        created=meta.creation_timestamp or "",
        terminating=meta.deletion_timestamp is not None,
    )


def address_from_object(body: Any) -> Address:  # noqa: ANN401 (decoded JSON)
    """The record of an IPAddress that came in an admission review. Raises msgspec.ValidationError."""
    return address_from_wire(msgspec.convert(body, WireAddress))


def service_cidr_from_wire(wire: WireServiceCIDR) -> ServiceCIDR:
    """The record of a ServiceCIDR."""
    meta = wire.metadata
    conditions = (wire.status.conditions if wire.status else None) or []
    return ServiceCIDR(
        name=meta.name,
        uid=meta.uid,
        cidrs=tuple((wire.spec.cidrs if wire.spec else None) or ()),
        ready=all(each.status == "True" for each in conditions if each.type == "Ready"),
        terminating=meta.deletion_timestamp is not None,
        created=meta.creation_timestamp or "",
        deleted=meta.deletion_timestamp or "",
        finalizers=tuple(meta.finalizers or ()),
    )


def namespace_from_wire(wire: WireNamespace) -> Namespace:
    """The record of a Namespace."""
    return Namespace(wire.metadata.name, Labels(wire.metadata.labels or {}))


def other(family: str) -> str:
    """The other family."""
    return IPV6 if family == IPV4 else IPV4


def families_of(texts: tuple[str, ...]) -> tuple[str, ...]:
    """The families of these addresses, in their order."""
    return tuple(family_of(text) for text in texts)
