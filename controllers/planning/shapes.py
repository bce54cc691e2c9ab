"""What a manifest must look like before it is planned: the fields that are read, with the API server's types and
ranges.

`model/wire.py` decodes what an API server has already accepted; these shapes refuse what it would refuse, and hold the
fields that only a plan needs.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Name = Annotated[str, Meta(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Namespace = Annotated[str, Meta(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Timestamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
PortNumber = Annotated[int, Meta(ge=1, le=65535)]
Protocol = Literal["TCP", "UDP", "SCTP"]
Family = Literal["IPv4", "IPv6"]
# Simulated Pods live in memory: a mistyped number of replicas should be an error, not a full machine.
Replicas = Annotated[int, Meta(ge=0, le=100_000)]
Ordinal = Annotated[int, Meta(ge=0)]


class Owner(Struct, gc=False):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Metadata(Struct, rename="camel", gc=False, kw_only=True):
    name: Name
    namespace: Namespace | None = None
    uid: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None
    owner_references: list[Owner] | None = None


class Shape(Struct, gc=False, kw_only=True):
    """What every kind has."""

    metadata: Metadata


class ServicePort(Struct, rename="camel", gc=False, kw_only=True):
    name: str | None = None
    protocol: Protocol | None = None
    port: PortNumber
    target_port: Annotated[int, Meta(ge=0, le=65535)] | str | None = None
    app_protocol: str | None = None


class ServiceSpec(Struct, rename="camel", gc=False, kw_only=True):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] | None = None
    selector: dict[str, str] | None = None
    ports: list[ServicePort] | None = None
    cluster_ip: str | None = field(default=None, name="clusterIP")
    cluster_ips: list[str] | None = field(default=None, name="clusterIPs")
    ip_families: list[Family] | None = None
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    traffic_distribution: Literal["PreferClose", "PreferSameZone", "PreferSameNode"] | None = None


class ServiceShape(Shape, gc=False, kw_only=True):
    spec: ServiceSpec


class ContainerPort(Struct, rename="camel", gc=False, kw_only=True):
    name: str | None = None
    protocol: Protocol | None = None
    container_port: PortNumber


class Container(Struct, rename="camel", gc=False, kw_only=True):
    name: str | None = None
    ports: list[ContainerPort] | None = None


class Toleration(Struct, gc=False):
    key: str | None = None
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = None
    value: str | None = None
    effect: str | None = None


class PodSpec(Struct, rename="camel", gc=False, kw_only=True):
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    tolerations: list[Toleration] | None = None
    host_network: bool | None = None


class Condition(Struct, rename="camel", gc=False, kw_only=True):
    last_transition_time: Timestamp | None = None


class PodStatus(Struct, gc=False):
    conditions: list[Condition] | None = None


class PodShape(Shape, gc=False, kw_only=True):
    spec: PodSpec | None = None
    status: PodStatus | None = None


class Taint(Struct, gc=False, kw_only=True):
    key: str
    value: str | None = None
    effect: str


class NodeSpec(Struct, rename="camel", gc=False, kw_only=True):
    pod_cidr: str | None = field(default=None, name="podCIDR")
    pod_cidrs: list[str] | None = field(default=None, name="podCIDRs")
    taints: list[Taint] | None = None
    unschedulable: bool | None = None


class NodeAddress(Struct, gc=False, kw_only=True):
    type: str
    address: str


class NodeStatus(Struct, gc=False):
    addresses: list[NodeAddress] | None = None


class NodeShape(Shape, gc=False, kw_only=True):
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


class SliceShape(Shape, rename="camel", gc=False, kw_only=True):
    address_type: Literal["IPv4", "IPv6", "FQDN"]


class TemplateMetadata(Struct, gc=False):
    labels: dict[str, str] | None = None


class Template(Struct, gc=False, kw_only=True):
    metadata: TemplateMetadata | None = None
    spec: PodSpec


class Ordinals(Struct, gc=False):
    start: Ordinal | None = None


class WorkloadSpec(Struct, rename="camel", gc=False, kw_only=True):
    template: Template
    replicas: Replicas | None = None
    service_name: str | None = None
    ordinals: Ordinals | None = None


class WorkloadShape(Shape, gc=False, kw_only=True):
    """A Deployment, ReplicaSet, StatefulSet or DaemonSet."""

    spec: WorkloadSpec
