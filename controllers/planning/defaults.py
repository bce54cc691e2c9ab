"""What the API server would have filled in or allocated by the time a controller sees an object (ES-156, IP-27 ...
IP-33), as far as a plan depends on it. The cluster is taken to be dual-stack, IPv4 first.
"""

from collections.abc import Iterable
from hashlib import blake2s
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from msgspec.structs import replace

from api import names
from controllers.model.addresses import canonical, is_ipv6
from controllers.model.objects import FAMILIES, EndpointSlice, Service
from controllers.planning.shapes import NodeShape, ServiceShape, ServiceSpec

Network = IPv4Network | IPv6Network

# Nothing but "headless or not" and the family is ever read from a ClusterIP.
_ALLOCATED: Final = {"IPv4": "10.96.0.10", "IPv6": "fd00:10:96::a"}


class Refused(Exception):
    """A value that the API server would not accept: the field, and why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")


def uid(*parts: str) -> str:
    """A UID for an object that has none: the same one in every run."""
    digest = blake2s("\0".join(parts).encode(), digest_size=16).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))


def service_uid(record: Service, slices: Iterable[EndpointSlice]) -> str:
    """The UID of a Service: its own, else that which its slices are owned by.

    Applying a manifest, which has no UID, keeps the Service and the slices that are in the cluster.
    """
    if record.uid:
        return record.uid
    owners = {
        owner.uid
        for each in slices
        if each.labels.get(names.SERVICE_NAME_LABEL) == record.name
        for owner in each.metadata.owner_references or ()
        if (owner.api_version, owner.kind, owner.name) == ("v1", "Service", record.name) and owner.uid
    }
    return owners.pop() if len(owners) == 1 else uid("Service", record.namespace, record.name)


def complete_service(record: Service, shape: ServiceShape) -> Service:
    """The Service as the API server would return it; raises Refused for what it would not accept."""
    _check_ports(shape.spec)
    if record.type == "ExternalName":
        return record
    live = bool(shape.metadata.uid and shape.spec.ip_families)
    families = tuple(shape.spec.ip_families or ()) if live else ip_families(shape.spec)
    given = _cluster_ips(shape.spec)
    ports = tuple(
        replace(port, target=wanted.port) if port.target in (0, "") else port
        for port, wanted in zip(record.ports, shape.spec.ports or (), strict=True)
    )
    cluster_ip = given[0] if given else _ALLOCATED[families[0]]
    return replace(record, ip_families=families, cluster_ip=cluster_ip, ports=ports)


def pod_networks(shape: NodeShape) -> list[Network]:
    """The address ranges that a Node was given for its Pods; raises Refused for what is none."""
    spec = shape.spec
    if spec is None:
        return []
    given = [(f"spec.podCIDRs[{index}]", text) for index, text in enumerate(spec.pod_cidrs or ())]
    if not given and spec.pod_cidr:
        given = [("spec.podCIDR", spec.pod_cidr)]
    networks: list[Network] = []
    for field, text in given:
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError as error:
            raise Refused(field, f"'{text}' is not a range of addresses") from error
    return networks


def _check_ports(spec: ServiceSpec) -> None:
    ports = spec.ports or []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name = port.name or ""
        if not name and len(ports) > 1:
            raise Refused(f"spec.ports[{index}].name", "required when a Service has several ports")
        if name in seen:
            raise Refused(f"spec.ports[{index}].name", f"duplicate value '{name}'")
        seen.add(name)


def _cluster_ips(spec: ServiceSpec) -> list[str]:
    """clusterIPs, or clusterIP alone: ["None"] when headless, empty when they are to be allocated."""
    given = spec.cluster_ips or ([spec.cluster_ip] if spec.cluster_ip else [])
    if spec.cluster_ip and given[0] != spec.cluster_ip:
        raise Refused("spec.clusterIPs[0]", "must be equal to spec.clusterIP")
    if given == ["None"]:
        return given
    for index, each in enumerate(given):
        if canonical(each) is None:
            field = f"spec.clusterIPs[{index}]" if spec.cluster_ips else "spec.clusterIP"
            raise Refused(field, f"'{each}' is neither an IP address nor None")
    return given


def ip_families(spec: ServiceSpec) -> tuple[str, ...]:
    """The families of a Service that is created on a dual-stack cluster (IP-27 ... IP-33)."""
    given = _cluster_ips(spec)
    headless = given == ["None"]
    policy = spec.ip_family_policy or ("RequireDualStack" if headless and spec.selector is None else "SingleStack")
    families: list[str] = list(spec.ip_families or ())
    if len(set(families)) < len(families):
        raise Refused("spec.ipFamilies", "the same family twice")
    for index, each in enumerate(() if headless else given):
        family = "IPv6" if is_ipv6(each) else "IPv4"
        if index == len(families):
            families.append(family)
        elif families[index] != family:
            raise Refused("spec.clusterIPs", f"'{each}' is not of the family in spec.ipFamilies[{index}]")
    if len(set(families)) < len(families) or len(families) > len(FAMILIES):
        raise Refused("spec.clusterIPs", "at most one address of each family")
    if policy == "SingleStack" and len(families) > 1:
        raise Refused("spec.ipFamilyPolicy", "must be PreferDualStack or RequireDualStack with two families")
    if not families:
        families.append(FAMILIES[0])
    if policy != "SingleStack":
        families += [family for family in FAMILIES if family not in families]
    return tuple(families)
