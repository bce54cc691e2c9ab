"""The API's objects as they are read: every field, what is absent, and what a Service holds by its type."""

from typing import Any

import msgspec
import pytest

from controllers.ipam.objects import (
    Address,
    Namespace,
    Port,
    Service,
    ServiceCIDR,
    WireNamespace,
    WireServiceCIDR,
    address_from_object,
    families_of,
    namespace_from_wire,
    other,
    service_cidr_from_wire,
    service_from_object,
)
from controllers.model.objects import Labels

META = {
    "name": "web",
    "namespace": "shop",
    "uid": "u",
    "resourceVersion": "9",
    "labels": {"a": "b"},
    "creationTimestamp": "2026-11-25T08:00:00Z",
}


def test_a_service_with_everything() -> None:
    body = {
        "metadata": {
            **META,
            "annotations": {"ipam.sliceplane.dev/pool": "own", "other": "x"},
            "deletionTimestamp": "2026-11-25T09:00:00Z",
        },
        "spec": {
            "type": "LoadBalancer",
            "selector": {"app": "web"},
            "clusterIP": "10.96.0.5",
            "clusterIPs": ["10.96.0.5", "fd00::5"],
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack",
            "ports": [{"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053}, {"port": 80}],
            "allocateLoadBalancerNodePorts": False,
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 30099,
        },
    }
    assert service_from_object(body) == Service(
        namespace="shop",
        name="web",
        uid="u",
        labels=Labels(a="b"),
        created="2026-11-25T08:00:00Z",
        terminating=True,
        type="LoadBalancer",
        has_selector=True,
        cluster_ip="10.96.0.5",
        cluster_ips=("10.96.0.5", "fd00::5"),
        families=("IPv4", "IPv6"),
        policy="RequireDualStack",
        ports=(Port("dns", "UDP", 53, 30053), Port("", "TCP", 80, 0)),
        allocates_node_ports=False,
        local=True,
        health_check_node_port=30099,
        pool="own",
    )


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"name": "web", "namespace": "shop"}},
        {"metadata": {"name": "web", "namespace": "shop", "labels": None}, "spec": None},
        {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": None, "clusterIPs": None, "type": None}},
        {"metadata": {"name": "web", "namespace": "shop", "annotations": None}, "spec": {"selector": {}, "ports": []}},
    ],
)
def test_what_is_absent_has_the_api_servers_defaults(body: dict[str, Any]) -> None:
    found = service_from_object(body)
    assert found == Service(namespace="shop", name="web")
    assert (found.type, found.allocates_node_ports, found.local, found.has_selector) == (
        "ClusterIP",
        True,
        False,
        False,
    )


def test_what_changes_nothing_here_is_no_change() -> None:
    """An update of a status or of a version is no event (`compared as a whole`)."""
    before = {"metadata": META, "spec": {"clusterIP": "10.96.0.5"}}
    after = {"metadata": {**META, "resourceVersion": "10", "annotations": {"x": "y"}}, "spec": before["spec"]}
    assert service_from_object(before) == service_from_object({**after, "status": {"loadBalancer": {}}})


@pytest.mark.parametrize("body", [{}, {"metadata": {}, "spec": {"ports": [{"port": "http"}]}}, {"metadata": "web"}, 7])
def test_what_is_no_service_is_an_error_of_its_own(body: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        service_from_object(body)


def service(**fields: Any) -> Service:
    return Service(namespace="shop", name="web", **fields)


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({"cluster_ip": "10.96.0.5", "cluster_ips": ("10.96.0.5",)}, ("10.96.0.5",)),
        ({"cluster_ip": "None", "cluster_ips": ("None",)}, ()),
        ({"cluster_ips": ("None",)}, ()),
        ({"cluster_ip": "None"}, ()),
        # What was left of the time before it became an alias counts no more.
        ({"type": "ExternalName", "cluster_ips": ("10.96.0.5",)}, ()),
        ({}, ()),
    ],
    ids=str,
)
def test_addresses_that_a_service_holds(fields: dict[str, Any], held: tuple[str, ...]) -> None:
    assert service(**fields).addresses == held


PORTS = (Port("a", "TCP", 80, 30001), Port("b", "UDP", 80, 30001), Port("c", "TCP", 81, 0), Port("d", "TCP", 82, 30000))


@pytest.mark.parametrize(
    ("fields", "held", "takes", "health"),
    [
        ({"type": "NodePort"}, (30001, 30000), True, False),
        ({"type": "LoadBalancer"}, (30001, 30000), True, False),
        ({"type": "LoadBalancer", "allocates_node_ports": False}, (30001, 30000), False, False),
        ({"type": "LoadBalancer", "local": True}, (30001, 30000, 30099), True, True),
        ({"type": "LoadBalancer", "local": True, "allocates_node_ports": False}, (30001, 30000, 30099), False, True),
        ({"type": "NodePort", "local": True}, (30001, 30000), True, False),
        ({"type": "NodePort", "allocates_node_ports": False}, (30001, 30000), True, False),
        ({"type": "ClusterIP"}, (), False, False),
        ({"type": "ExternalName"}, (), False, False),
    ],
    ids=str,
)
def test_node_ports_that_a_service_holds_and_takes(
    fields: dict[str, Any], held: tuple[int, ...], takes: bool, health: bool
) -> None:
    """IP-39, IP-40 (a number once, whatever the protocol) and IP-43."""
    found = service(ports=PORTS, health_check_node_port=30099, **fields)
    assert (found.node_ports, found.takes_node_ports, found.takes_health_port) == (held, takes, health)


def test_a_health_port_that_is_a_node_port_too_counts_once() -> None:
    found = service(ports=PORTS, type="LoadBalancer", local=True, health_check_node_port=30001)
    assert found.node_ports == (30001, 30000)


@pytest.mark.parametrize(
    ("parent", "owner"),
    [
        ({"group": "", "resource": "services", "namespace": "shop", "name": "web"}, "shop/web"),
        ({"resource": "services", "namespace": "shop", "name": "web"}, "shop/web"),
        ({"group": "apps", "resource": "services", "namespace": "shop", "name": "web"}, None),
        ({"group": "", "resource": "gateways", "namespace": "shop", "name": "web"}, None),
        (None, None),
    ],
)
def test_whose_an_ipaddress_is(parent: dict[str, str] | None, owner: str | None) -> None:
    """IP-18, IP-19."""
    labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
    found = address_from_object({"metadata": {"name": "10.96.0.5", "labels": labels}, "spec": {"parentRef": parent}})
    assert (found.service, found.manager) == (owner, "ipallocator.k8s.io")


def test_an_ipaddress() -> None:
    body = {
        "metadata": {**META, "name": "fd00::5", "namespace": "", "deletionTimestamp": "2026-11-25T09:00:00Z"},
        "spec": {"parentRef": {"group": "g", "resource": "r", "namespace": "n", "name": "m"}},
    }
    assert address_from_object(body) == Address(
        name="fd00::5",
        uid="u",
        labels=Labels(a="b"),
        parent=("g", "r", "n", "m"),
        created="2026-11-25T08:00:00Z",
        terminating=True,
    )
    bare = address_from_object({"metadata": {"name": "fd00::5"}})
    assert (bare, bare.manager, bare.service) == (Address(name="fd00::5"), "", None)


def cidr(status: object, **meta: object) -> ServiceCIDR:
    body = {"metadata": {"name": "x", **meta}, "spec": {"cidrs": ["10.96.0.0/24", "fd00::/112"]}, "status": status}
    return service_cidr_from_wire(msgspec.convert(body, WireServiceCIDR))


@pytest.mark.parametrize(
    ("conditions", "ready"),
    [
        ([{"type": "Ready", "status": "True"}], True),
        ([{"type": "Ready", "status": "False"}], False),
        ([{"type": "Ready", "status": "Unknown"}], False),
        ([{"type": "Other", "status": "False"}], True),
        ([], True),
        (None, True),
    ],
)
def test_a_service_cidr_is_ready_until_somebody_says_no(conditions: object, ready: bool) -> None:
    """IP-12."""
    assert cidr({"conditions": conditions}).ready is ready
    assert cidr(None).ready


def test_a_service_cidr() -> None:
    found = cidr(None, uid="u", creationTimestamp="c", deletionTimestamp="d", finalizers=["f"])
    assert found == ServiceCIDR(
        name="x",
        uid="u",
        cidrs=("10.96.0.0/24", "fd00::/112"),
        ready=True,
        terminating=True,
        created="c",
        deleted="d",
        finalizers=("f",),
    )
    bare = service_cidr_from_wire(msgspec.convert({"metadata": {"name": "x"}, "spec": None}, WireServiceCIDR))
    assert bare == ServiceCIDR(name="x")


def test_a_namespace() -> None:
    made = msgspec.convert({"metadata": {"name": "n", "labels": {"a": "b"}}}, WireNamespace)
    assert namespace_from_wire(made) == Namespace("n", Labels(a="b"))
    assert namespace_from_wire(msgspec.convert({"metadata": {"name": "n"}}, WireNamespace)) == Namespace("n")


def test_families() -> None:
    assert (other("IPv4"), other("IPv6")) == ("IPv6", "IPv4")
    assert families_of(("fd00::/112", "10.96.0.0/24")) == ("IPv6", "IPv4")
