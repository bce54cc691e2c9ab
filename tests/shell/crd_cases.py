"""Objects for the API server, and what it says to them or shows of them: the tables of test_crds.py."""

from typing import Any

from api.v1alpha1.common import Resource
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation

Object = dict[str, Any]
Kind = type[Resource]

CIDR = {"cidr": "10.96.1.0/24"}
SELECT = {"namespaces": ["payments"]}

# The least that each kind takes.
LEAST: dict[Kind, Object] = {
    ServiceIPPool: {"ranges": [CIDR]},
    ServicePortPool: {"ranges": [{"from": 30000, "to": 30031}]},
    ServiceReservation: {"serviceName": "web", "adopt": True},
}

# Of each kind: what is changed in the least one, and what the API server says to it.
Case = tuple[Kind, Object, str]


def ip(field: str, value: object, message: str) -> Case:
    return ServiceIPPool, {field: value}, message


def one_range(message: str, **given: str) -> Case:
    return ServiceIPPool, {"ranges": [given]}, message


def ports(message: str, *ranges: tuple[int, int], **more: object) -> Case:
    changed: Object = {"ranges": [{"from": first, "to": last} for first, last in ranges]} if ranges else {}
    return ServicePortPool, changed | more, message


def reserved(message: str, **given: object) -> Case:
    return ServiceReservation, {"adopt": False, **given}, message


BITS = "cidr has bits behind its prefix"
EITHER = "give either cidr, or start and end"
OVERLAP = "ranges must not overlap"
NOTHING = "nothing is reserved"
TTL = "ttl is given for the policy TTL, and for it only"
VALUES = "values are given for In and NotIn, and for these only"
CANONICAL = "is not an IP address in canonical form"
ADDRESSES = "addresses must be IP addresses in canonical form"

REFUSED: list[Case] = [
    ip("use", "LoadBalancer", 'Unsupported value: "LoadBalancer"'),
    ip("ranges", None, "spec.ranges: Required value"),
    ip("ranges", [], "should have at least 1 items"),
    ip("ranges", [{"cidr": f"10.96.{each}.0/24"} for each in range(17)], "must have at most 16 items"),
    ip("exclude", [{"cidr": f"10.96.1.{each}/32"} for each in range(65)], "must have at most 64 items"),
    one_range(EITHER),
    one_range(EITHER, cidr="10.96.1.0/24", start="10.96.1.1", end="10.96.1.2"),
    one_range("start and end are given together", start="10.96.1.1"),
    one_range("start and end are given together", end="10.96.1.1"),
    one_range("start and end are given together", cidr="10.96.1.0/24", end="10.96.1.1"),
    one_range("cidr is not a CIDR", cidr="10.96.1.0"),
    one_range("cidr is not a CIDR", cidr="10.96.1.0/33"),
    one_range("cidr is not a CIDR", cidr=""),
    one_range("cidr is not a CIDR", cidr="::ffff:10.96.0.0/112"),
    one_range(BITS, cidr="10.96.1.1/24"),
    one_range(BITS, cidr="fd00::1/112"),
    one_range("an IPv6 cidr must be a /64 or smaller", cidr="fd00::/63"),
    one_range(f"start {CANONICAL}", start="10.96.1.01", end="10.96.1.2"),
    one_range(f"start {CANONICAL}", start="fd00::0001", end="fd00::2"),
    one_range(f"end {CANONICAL}", start="fd00::a", end="fd00::B"),
    one_range(f"end {CANONICAL}", start="10.96.1.1", end="web"),
    one_range("start and end must be of one family", start="10.96.1.1", end="fd00::1"),
    ip("exclude", [{"cidr": "10.96.1.1/31"}], f"spec.exclude[0]: Invalid value: {BITS}"),
    ip("exclusive", True, "an exclusive pool needs select"),
    (
        ServiceIPPool,
        {"exclusive": True, "select": SELECT, "onExhausted": "ClusterDefault"},
        "an exclusive pool cannot have onExhausted ClusterDefault",
    ),
    ip("select", {}, "should have at least 1 properties"),
    ip("select", {"namespaces": ["Payments"]}, "spec.select.namespaces[0] in body should match"),
    ip("select", {"namespaces": ["a", "a"]}, 'Duplicate value: "a"'),
    ip("select", {"serviceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, VALUES),
    ip(
        "select",
        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        VALUES,
    ),
    ip(
        "select",
        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]}},
        'Unsupported value: "Like"',
    ),
    ip("priority", -1, "should be greater than or equal to 0"),
    ip("enforcement", "Warn", 'Unsupported value: "Warn"'),
    ip("strategy", "Lowest", 'Unsupported value: "Lowest"'),
    ip("cooldown", "10", "spec.cooldown in body should match"),
    ip("cooldown", "1d", "spec.cooldown in body should match"),
    ip("sticky", {"mode": "ByLabel"}, 'Unsupported value: "ByLabel"'),
    ip("quota", {"perNamespace": 0}, "should be greater than or equal to 1"),
    ip("onExhausted", "Pending", 'Unsupported value: "Pending"'),
    ip("serviceCIDR", {"mode": "Own"}, 'Unsupported value: "Own"'),
    ip("loadBalancer", {}, 'unknown field "spec.loadBalancer"'),
    ip("thresholds", {"warnPercent": 95}, "warnPercent must be less than criticalPercent"),
    ip("thresholds", {"criticalPercent": 80}, "warnPercent must be less than criticalPercent"),
    ip("thresholds", {"criticalPercent": 101}, "should be less than or equal to 100"),
    ports("from must not be above to", (30001, 30000)),
    ports("should be greater than or equal to 1", (0, 1)),
    ports("should be less than or equal to 65535", (30000, 65536)),
    ports(OVERLAP, (30000, 30010), (30010, 30020)),
    ports(OVERLAP, (30000, 30100), (30200, 30300), (30050, 30060)),
    ports(OVERLAP, (30000, 30000), (30000, 30000)),
    ports("an exclusive pool needs select", exclusive=True),
    ports(
        "an exclusive pool cannot have onExhausted ClusterDefault",
        exclusive=True,
        select=SELECT,
        onExhausted="ClusterDefault",
    ),
    ports(VALUES, select={"serviceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
    ports(VALUES, select={"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn"}]}}),
    ports("warnPercent must be less than criticalPercent", thresholds={"warnPercent": 96}),
    ports("should have at least 1 items", purposes=[]),
    ports('Unsupported value: "Metrics"', purposes=["Metrics"]),
    ports('Duplicate value: "NodePort"', purposes=["NodePort", "NodePort"]),
    ports("spec.ranges[0].to: Required value", ranges=[{"from": 30000}]),
    reserved(NOTHING),
    reserved(NOTHING, addresses=[], nodePorts=[]),
    reserved("spec.serviceName: Required value", serviceName=None, adopt=True),
    reserved("spec.serviceName in body should match", serviceName="Web", adopt=True),
    reserved(ADDRESSES, addresses=["10.96.1.256"]),
    reserved(ADDRESSES, addresses=["fd00:0::1"]),
    reserved(ADDRESSES, addresses=["None"]),
    reserved("give one address per family", addresses=["10.96.1.1", "10.96.1.2"]),
    reserved("give one address per family", addresses=["fd00::1", "fd00::1"]),
    reserved("must have at most 2 items", addresses=["10.96.1.1", "fd00::1", "10.96.1.2"]),
    reserved('Duplicate value: {"portName":"https"}', nodePorts=[{"portName": "https", "nodePort": 30000}] * 2),
    reserved("spec.nodePorts[0].nodePort: Required value", nodePorts=[{"portName": "https"}]),
    reserved("should be less than or equal to 65535", healthCheckNodePort=65536),
    reserved(TTL, adopt=True, retain={"policy": "TTL"}),
    reserved(TTL, adopt=True, retain={"policy": "Forever", "ttl": "1h"}),
    reserved(TTL, adopt=True, retain={"ttl": "1h"}),
    reserved('Unsupported value: "Audit"', adopt=True, enforcement="Audit"),
]

ACCEPTED: list[tuple[Kind, Object]] = [
    (ServiceIPPool, {}),
    (ServiceIPPool, {"ranges": [{"cidr": "fd00::/64"}, {"cidr": "10.0.0.0/8"}, {"cidr": "10.96.0.1/32"}]}),
    (ServiceIPPool, {"ranges": [{"cidr": f"10.96.{each}.0/24"} for each in range(16)]}),
    (ServiceIPPool, {"exclude": [{"cidr": f"10.96.1.{each}/32"} for each in range(64)]}),
    (ServiceIPPool, {"ranges": [{"start": "fd00::a", "end": "fd00::ff"}, {"start": "10.96.1.1", "end": "10.96.1.1"}]}),
    (ServiceIPPool, {"exclusive": True, "select": SELECT, "onExhausted": "Deny"}),
    (ServiceIPPool, {"select": {"serviceSelector": {}}, "onExhausted": "ClusterDefault"}),
    (
        ServiceIPPool,
        {"select": {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": [""]}]}}},
    ),
    (ServiceIPPool, {"cooldown": "1h30m", "sticky": {"mode": "ByName", "ttl": "720h"}, "quota": {}}),
    (ServiceIPPool, {"thresholds": {"warnPercent": 1, "criticalPercent": 100}, "serviceCIDR": {"mode": "Create"}}),
    (ServicePortPool, {"ranges": [{"from": 1, "to": 1}, {"from": 2, "to": 65535}]}),
    (ServicePortPool, {"ranges": [{"from": 30000 + 2 * each, "to": 30001 + 2 * each} for each in range(16)]}),
    (ServicePortPool, {"purposes": ["HealthCheck"], "exclusive": True, "select": SELECT}),
    (ServiceReservation, {}),
    (ServiceReservation, {"adopt": False, "addresses": ["fd00::1", "10.96.1.1"]}),
    (ServiceReservation, {"adopt": False, "nodePorts": [{"nodePort": 30000}, {"portName": "a", "nodePort": 30000}]}),
    (ServiceReservation, {"adopt": False, "healthCheckNodePort": 30000, "retain": {"policy": "TTL", "ttl": "1h"}}),
]


WHEN = "2026-11-25T04:00:00Z"
READY = {"type": "Ready", "status": "True", "lastTransitionTime": WHEN, "reason": "Ready", "message": "All is well."}
FIGURES: Object = {
    "summary": {"total": "254/65535", "used": "25/25", "freePercent": "90/99"},
    "forecast": {"ratePerDay": 1.5, "exhaustsAt": "2027-05-01T00:00:00Z", "confidence": "High"},
    "topConsumers": [{"namespace": "payments", "count": 20}, {"namespace": "shop", "count": 5}],
    "lastAudit": {"time": WHEN, "findings": 0},
    "observedGeneration": 1,
    "conditions": [READY],
}
COUNTS = {"total": 254, "used": 25, "reserved": 1, "free": 228}

STATUSES: dict[Kind, Object] = {
    ServiceIPPool: {**FIGURES, "capacity": [{**COUNTS, "family": "IPv4", "cooling": 2}]},
    ServicePortPool: {**FIGURES, "capacity": COUNTS},
    ServiceReservation: {
        "observedGeneration": 1,
        "phase": "Bound",
        "boundUID": "3f0c0f4e-4f0c-4f57-9d9e-1a2b3c4d5e6f",
        "addresses": ["10.96.1.1", "fd00::1"],
        "nodePorts": [{"portName": "https", "nodePort": 30000}],
        "healthCheckNodePort": 30001,
        "lastBound": WHEN,
        "conditions": [READY | {"type": "Bound"}],
    },
}

POOL_CELLS: Object = {
    "Ready": "True",
    "Total": "254/65535",
    "Used": "25/25",
    "Free%": "90/99",
    "Exhausts": "2027-05-01T00:00:00Z",
    "Priority": 100,
    "Exclusive": False,
}
CELLS: dict[Kind, Object] = {
    ServiceIPPool: {"Use": "ClusterIP", **POOL_CELLS},
    ServicePortPool: POOL_CELLS,
    ServiceReservation: {
        "Service": "web",
        "Phase": "Bound",
        "Addresses": '["10.96.1.1","fd00::1"]',
        "Enforcement": "Guard",
        "Retain": "Forever",
    },
}
WIDE = {"Priority", "Exclusive", "Enforcement", "Retain"}

DEFAULTS: dict[Kind, Object] = {
    ServiceIPPool: {
        "use": "ClusterIP",
        "priority": 100,
        "exclusive": False,
        "enforcement": "Audit",
        "strategy": "Random",
        "cooldown": "0s",
        "sticky": {"mode": "None"},
        "onExhausted": "NextPool",
        "serviceCIDR": {"mode": "Require"},
        "thresholds": {"warnPercent": 80, "criticalPercent": 95},
    },
    ServicePortPool: {
        "purposes": ["NodePort", "HealthCheck"],
        "priority": 100,
        "exclusive": False,
        "enforcement": "Audit",
        "onExhausted": "NextPool",
        "thresholds": {"warnPercent": 80, "criticalPercent": 95},
    },
    ServiceReservation: {"adopt": True, "retain": {"policy": "Forever"}, "enforcement": "Guard"},
}
