"""Objects, and what the guards of `guarding.FACTS` make of them on a real API server (test_ipam_guards.py)."""

from typing import Any

from e2e.cluster.rest import Object
from tests.shell.guarding import address, service

# An object, and what its refusal says; "" where it is not refused.
TABLE: dict[str, tuple[Object, str]] = {
    "entitled": (address("10.96.1.5", "payments/web"), ""),
    "stranger": (address("10.96.1.5", "shop/web"), "10.96.1.5 is kept by ServiceIPPool pay"),
    "stranger, IPv6": (address("fd00:10:96::101", "shop/web"), "fd00:10:96::101 is kept by ServiceIPPool pay"),
    "grandfathered": (address("10.96.1.3", "old/svc"), ""),
    "exempt": (address("10.96.1.5", "kube-system/dns"), ""),
    "reserved, owner": (address("10.96.3.7", "shop/web"), ""),
    "reserved, another": (address("10.96.3.7", "shop/x"), "10.96.3.7 is reserved for Service shop/web"),
    "reserved, live holder": (address("10.96.3.8", "shop/svc"), ""),
    "free": (address("10.96.3.9", "shop/x"), ""),
    "for nobody": (address("10.96.3.241", "shop/x"), "namespaces that it selects (none now)"),
    "service for nobody": (service("shop/x", clusterIP="10.96.3.241"), "namespaces that it selects (none now)"),
    "service by a stranger": (service("shop/a", clusterIP="10.96.1.5"), "kept by ServiceIPPool pay"),
    "service by namespace": (service("payments/a", clusterIP="10.96.1.5"), ""),
    "service without labels": (service("shop/a", clusterIP="10.96.2.5"), "kept by ServiceIPPool gold"),
    "service by labels": (service("shop/a", {"tier": "gold", "v": "1"}, clusterIP="10.96.2.5"), ""),
    "service by wrong labels": (
        service("shop/a", {"tier": "gold", "v": "1", "stage": "lab"}, clusterIP="10.96.2.5"),
        "kept by ServiceIPPool gold",
    ),
    "service of both pools": (service("shop/a", {"tier": "gold", "v": "1"}, clusterIP="10.96.1.41"), ""),
    "exempt service": (service("kube-system/a", clusterIP="10.96.1.5"), ""),
    "headless": (service("shop/a", clusterIP="None"), ""),
    "external": (service("shop/a", type="ExternalName", externalName="example.com"), ""),
    "port by a stranger": (
        service("shop/a", type="NodePort", ports=[{"port": 80, "nodePort": 30001}]),
        "kept by ServicePortPool ports (30000-30015)",
    ),
    "port by labels": (
        service("payments/a", {"tier": "gold", "v": "1"}, type="NodePort", ports=[{"port": 80, "nodePort": 30001}]),
        "",
    ),
    "port reserved for another": (
        service("payments/a", type="NodePort", ports=[{"port": 80, "nodePort": 30100}]),
        "is reserved for another one",
    ),
    "health port reserved for another": (
        service("shop/a", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30102),
        "is reserved for another one",
    ),
    "port reserved for it": (
        service("shop/web", type="NodePort", ports=[{"port": 80, "nodePort": 30102}]),
        "",
    ),
}

# The spec of Service shop/web, and then its addresses, policy, node ports (-1: any) and health check's port.
FILLS: dict[str, tuple[dict[str, Any], tuple[str, ...], str, list[int], int]] = {
    "all open": ({}, ("10.96.3.7", "fd00:10:96::77"), "PreferDualStack", [0], 0),
    "single stack": ({"ipFamilyPolicy": "SingleStack"}, ("10.96.3.7",), "SingleStack", [0], 0),
    "the other family": ({"ipFamilies": ["IPv6"]}, ("fd00:10:96::77",), "SingleStack", [0], 0),
    "the other family first": (
        {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "RequireDualStack"},
        ("fd00:10:96::77", "10.96.3.7"),
        "RequireDualStack",
        [0],
        0,
    ),
    "named by the user": ({"clusterIP": "10.96.3.200"}, ("10.96.3.200",), "SingleStack", [0], 0),
    "headless": ({"clusterIP": "None", "selector": {"a": "b"}}, ("None",), "SingleStack", [0], 0),
    "everything": (
        {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "ports": [{"port": 443, "name": "https"}, {"port": 80, "name": "http"}],
        },
        ("10.96.3.7", "fd00:10:96::77"),
        "PreferDualStack",
        [30101, 30100],
        30102,
    ),
    "a port of the user": (
        {
            "type": "NodePort",
            "ports": [{"port": 443, "name": "https", "nodePort": 30200}, {"port": 80, "name": "http"}],
        },
        ("10.96.3.7", "fd00:10:96::77"),
        "PreferDualStack",
        [30200, 30100],
        0,
    ),
    "a reserved port, given to another": (
        {"type": "NodePort", "ports": [{"port": 443, "name": "http", "nodePort": 30101}, {"port": 80, "name": "x"}]},
        ("10.96.3.7", "fd00:10:96::77"),
        "PreferDualStack",
        [30101, -1],
        0,
    ),
    "no node ports wanted": (
        {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
        ("10.96.3.7", "fd00:10:96::77"),
        "PreferDualStack",
        [0],
        0,
    ),
}
