"""What the Pods demand of the slices, written down apart from the product, and how the slices differ from it."""

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from e2e.cluster.rest import Object, Objects

MOST_ENDPOINTS = 100

_MANAGER = "endpointslice-controller.k8s.io"
_SHOWN = 3

Ports = frozenset[tuple[str, str, int | None]]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The objects of one namespace, and the Nodes."""

    services: Objects
    pods: Objects
    nodes: Objects
    slices: Objects


@dataclass(frozen=True, slots=True, order=True)
class Demand:
    """An endpoint with all that a slice says of it."""

    addresses: tuple[str, ...]
    pod: str
    uid: str
    node: str
    zone: str
    hostname: str
    ready: bool
    serving: bool
    terminating: bool

    def __str__(self) -> str:
        conditions = f"ready {self.ready}, serving {self.serving}, terminating {self.terminating}"
        return (
            f"{self.pod} {list(self.addresses)} on {self.node} in {self.zone}, hostname {self.hostname!r}, {conditions}"
        )


def differences(cluster: Cluster) -> list[str]:
    """How the slices are other than the Services' Pods demand, a line each; none when all is right."""
    zones = {each["metadata"]["name"]: _zone(each) for each in cluster.nodes}
    found = []
    for service in cluster.services:
        name, families = service["metadata"]["name"], service["spec"]["ipFamilies"]
        slices = [each for each in cluster.slices if service_of(each) == name]
        found += [f"{name}: slice {_name(each)}: {wrong}" for each in slices for wrong in _malformed(each, service)]
        for family in families:
            mine = [each for each in slices if each["addressType"] == family]
            pods = [each for each in cluster.pods if _selects(service, each)]
            found += [f"{name} {family}: {wrong}" for wrong in _family(service, family, pods, zones, mine)]
    return found


def service_of(endpoint_slice: Object) -> str:
    """The name of the Service that a slice belongs to."""
    return str((endpoint_slice["metadata"].get("labels") or {}).get("kubernetes.io/service-name", ""))


def _family(service: Object, family: str, pods: Objects, zones: dict[str, str], slices: Objects) -> Iterable[str]:
    wanted: dict[Ports, Counter[Demand]] = defaultdict(Counter)
    for pod in pods:
        if demand := _demand(service, family, pod, zones):
            wanted[_pod_ports(service, pod)][demand] += 1
    actual: dict[Ports, Counter[Demand]] = defaultdict(Counter)
    for each in slices:
        actual[_slice_ports(each)].update(map(_said, each.get("endpoints") or []))
    if not wanted:
        placeholder = len(slices) == 1 and not slices[0].get("endpoints") and not slices[0].get("ports")
        if not placeholder:
            yield f"expected one placeholder, found {len(slices)} slices"
        return
    for ports in sorted({*wanted, *actual}, key=repr):
        missing, surplus = wanted[ports] - actual[ports], actual[ports] - wanted[ports]
        if missing:
            yield f"{missing.total()} endpoints missing, such as {_some(missing)}"
        if surplus:
            yield f"{surplus.total()} endpoints too many or outdated, such as {_some(surplus)}"
    if empty := [_name(each) for each in slices if not each.get("endpoints")]:
        yield f"slices without endpoints: {empty}"


def _demand(service: Object, family: str, pod: Object, zones: dict[str, str]) -> Demand | None:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    addresses = [each["ip"] for each in status.get("podIPs") or [] if _publishable(each["ip"], family)]
    if not addresses or status.get("phase") in ("Succeeded", "Failed") or spec.get("nodeName") not in zones:
        return None
    serving = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])
    terminating = "deletionTimestamp" in metadata
    named = spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]
    return Demand(
        addresses=tuple(sorted(addresses)),
        pod=metadata["name"],
        uid=metadata["uid"],
        node=spec["nodeName"],
        zone=zones[spec["nodeName"]],
        hostname=spec["hostname"] if named else "",
        ready=serving and not terminating,
        serving=serving,
        terminating=terminating,
    )


def _some(demands: Iterable[Demand]) -> str:
    return "; ".join(map(str, sorted(demands)[:_SHOWN]))


def _said(endpoint: Object) -> Demand:
    conditions, target = endpoint["conditions"], endpoint["targetRef"]
    return Demand(
        addresses=tuple(endpoint["addresses"]),
        pod=target["name"],
        uid=target["uid"],
        node=endpoint.get("nodeName", ""),
        zone=endpoint.get("zone", ""),
        hostname=endpoint.get("hostname", ""),
        ready=conditions["ready"],
        serving=conditions["serving"],
        terminating=conditions["terminating"],
    )


def _malformed(each: Object, service: Object) -> Iterable[str]:
    owners = [owner["uid"] for owner in each["metadata"].get("ownerReferences") or []]
    if owners != [service["metadata"]["uid"]]:
        yield "it is not owned by its Service alone"
    if each["metadata"]["labels"].get("endpointslice.kubernetes.io/managed-by") != _MANAGER:
        yield "it has no managed-by label"
    if each["addressType"] not in service["spec"]["ipFamilies"]:
        yield f"its Service has no {each['addressType']} addresses"
    if (count := len(each.get("endpoints") or [])) > MOST_ENDPOINTS:
        yield f"it has {count} endpoints"


def _pod_ports(service: Object, pod: Object) -> Ports:
    found = set()
    for each in service["spec"]["ports"]:
        number = each["targetPort"]
        if isinstance(number, str):
            ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
            number = next((port["containerPort"] for port in ports if port.get("name") == number), None)
        if number is not None:
            found.add((each.get("name", ""), each["protocol"], number))
    return frozenset(found)


def _slice_ports(each: Object) -> Ports:
    ports = each.get("ports") or []
    return frozenset((port.get("name", ""), port["protocol"], port.get("port")) for port in ports)


def _publishable(text: str, family: str) -> bool:
    address = ipaddress.ip_address(text)
    usable = not (address.is_link_local or address.is_loopback or address.is_unspecified)
    return usable and family == f"IPv{address.version}"


def _selects(service: Object, pod: Object) -> bool:
    wanted: dict[str, str] = service["spec"]["selector"]
    return wanted.items() <= (pod["metadata"].get("labels") or {}).items()


def _zone(node: Object) -> str:
    return str((node["metadata"].get("labels") or {}).get("topology.kubernetes.io/zone", ""))


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
