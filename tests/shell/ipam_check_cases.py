"""Specs of Services that `ipam check` and the real API server must agree on (test_ipam_tools.py)."""

from e2e.cluster.rest import Object

WITH_PORT = [{"name": "a", "port": 80, "nodePort": 30085}]
TWINS = [{"name": "a", "port": 80}, {"name": "b", "port": 80}]
BOTH = [
    {"name": "a", "port": 53, "protocol": "TCP", "nodePort": 30083},
    {"name": "b", "port": 53, "protocol": "UDP", "nodePort": 30083},
]
# Addresses and node ports are of the static bands: the API server picks none of them for others (IP-14, IP-38).
# No pool is concerned: what the API server itself refuses of a Service, and what it takes.
ALONE: list[Object] = [
    {},
    {"clusterIP": "10.96.0.91"},
    {"clusterIP": "10.96.0.91", "clusterIPs": ["10.96.0.91"]},
    {"clusterIPs": ["10.96.0.91"]},
    {"clusterIP": "10.96.0.91", "clusterIPs": ["10.96.0.92"]},
    {"clusterIP": "10.96.0.91", "clusterIPs": ["10.96.0.91", "fd00:10:96::31"]},
    {"clusterIP": "10.96.0.91", "clusterIPs": ["10.96.0.91", "fd00:10:96::31"], "ipFamilyPolicy": "PreferDualStack"},
    {"clusterIP": "10.97.3.1"},
    {"clusterIP": "10.96.0.999"},
    {"clusterIP": "fd00:10:96::31"},
    {"clusterIP": "fd00:10:96::31", "ipFamilies": ["IPv4"]},
    {"clusterIP": "10.96.0.90"},
    {"clusterIP": "None"},
    {"ports": WITH_PORT},
    {"type": "NodePort", "ports": WITH_PORT},
    {"type": "NodePort", "ports": BOTH},
    {"type": "NodePort", "ports": TWINS},
    {"type": "NodePort", "ports": [{"port": 80, "nodePort": 29999}]},
    {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30084}]},
    {"type": "NodePort", "ports": [WITH_PORT[0], {**WITH_PORT[0], "name": "b", "port": 81}]},
    {"type": "LoadBalancer", "healthCheckNodePort": 30082},
    {"type": "LoadBalancer", "healthCheckNodePort": 30082, "externalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "healthCheckNodePort": 30084, "externalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "healthCheckNodePort": 30083, "externalTrafficPolicy": "Local", "ports": BOTH},
    {"ports": [{"port": 80}, {"name": "b", "port": 81}]},
    {"type": "ExternalName", "externalName": "example.com"},
    {"type": "ExternalName", "externalName": "example.com", "clusterIP": "10.96.0.91"},
    {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]},
    {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
    {"ports": [{"port": 0}]},
    {"ports": [{"port": 80, "protocol": "ICMP"}]},
]

WITHOUT_PORT = [{"name": "a", "port": 80}]
BEFORE: Object = {
    "selector": {"app": "a"},
    "type": "NodePort",
    "clusterIP": "10.96.0.92",
    "ports": [{"name": "a", "port": 80, "nodePort": 30081}],
}
# By PUT on that, as manifests have it: what they do not name stays.
CHANGES: list[Object] = [
    BEFORE,
    {"type": "NodePort", "ports": WITHOUT_PORT},
    {"type": "ClusterIP", "ports": WITHOUT_PORT},
    {"type": "ClusterIP", "ports": BEFORE["ports"]},
    {"type": "ClusterIP", "ports": [{"name": "a", "port": 80, "nodePort": 30080}]},
    {"clusterIP": "10.96.0.93", "ports": WITHOUT_PORT},
    {"clusterIP": "None", "ports": WITHOUT_PORT},
    {"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30084}]},
    {"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30080}]},
    {"ipFamilyPolicy": "RequireDualStack", "ports": WITHOUT_PORT},
    {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"], "ports": WITHOUT_PORT},
    {"type": "ExternalName", "externalName": "example.com", "ports": WITHOUT_PORT},
    {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30084, "ports": WITHOUT_PORT},
]
