"""Custom resources as users write them, and what is worked with instead: every field, defaults, and nonsense."""

from typing import Any

import pytest

from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam import compiled
from controllers.ipam.pools import EVERYONE, IPPool, LabelSelector, PortPool, Requirement, Reservation, Select
from controllers.ipam.ranges import Span, Spans
from controllers.model.objects import Labels
from tests.ipam.snapshots import addresses

META: dict[str, Any] = {"name": "x", "uid": "u", "generation": 7}
SELECT = {
    "namespaces": ["b", "a"],
    "namespaceSelector": {"matchLabels": {"team": "t"}},
    "serviceSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["gold", "lab"]}]},
}
SELECTED = Select(
    frozenset({"a", "b"}),
    LabelSelector(Labels(team="t")),
    LabelSelector(Labels(), (Requirement("tier", "NotIn", ("gold", "lab")),)),
)


def ip_pool(**spec: Any) -> IPPool:
    spec = {"ranges": [{"cidr": "10.96.0.16/28"}], **spec}
    return compiled.ip_pool(ServiceIPPool.model_validate({"metadata": META, "spec": spec}))


def port_pool(**spec: Any) -> PortPool:
    spec = {"ranges": [{"from": 30000, "to": 30009}], **spec}
    return compiled.port_pool(ServicePortPool.model_validate({"metadata": META, "spec": spec}))


def reservation(spec: dict[str, Any], status: dict[str, Any] | None = None, **meta: Any) -> Reservation:
    body = {
        "metadata": {**META, "namespace": "n", **meta},
        "spec": {"serviceName": "web", **spec},
        "status": status or {},
    }
    return compiled.reservation(ServiceReservation.model_validate(body))


def test_a_pool_of_which_nothing_is_said_but_its_range() -> None:
    assert ip_pool() == IPPool(
        name="x",
        uid="u",
        generation=7,
        select=EVERYONE,
        priority=100,
        exclusive=False,
        enforced=False,
        quota=None,
        on_exhausted="NextPool",
        warn_percent=80,
        critical_percent=95,
        addresses=addresses("10.96.0.16/28"),
        strategy="Random",
        cooldown=0.0,
        sticky=False,
        sticky_ttl=None,
        creates_service_cidr=False,
        cidrs=("10.96.0.16/28",),
        broken=(),
    )


def test_a_pool_of_which_everything_is_said() -> None:
    made = ip_pool(
        ranges=[{"cidr": "10.96.0.16/28"}, {"start": "fd00::9", "end": "fd00::f"}, {"cidr": "10.96.0.64/31"}],
        exclude=[{"cidr": "10.96.0.16/31"}, {"start": "fd00::a", "end": "fd00::e"}],
        select=SELECT,
        priority=3,
        exclusive=True,
        enforcement="Enforce",
        strategy="LeastRecentlyUsed",
        cooldown="1h30m",
        sticky={"mode": "ByName", "ttl": "90s"},
        quota={"perNamespace": 5},
        onExhausted="Deny",
        serviceCIDR={"mode": "Create"},
        thresholds={"warnPercent": 50, "criticalPercent": 60},
    )
    assert made == IPPool(
        name="x",
        uid="u",
        generation=7,
        select=SELECTED,
        priority=3,
        exclusive=True,
        enforced=True,
        quota=5,
        on_exhausted="Deny",
        warn_percent=50,
        critical_percent=60,
        addresses=addresses("10.96.0.18-10.96.0.31", "10.96.0.64/31", "fd00::9-fd00::9", "fd00::f-fd00::f"),
        strategy="LeastRecentlyUsed",
        cooldown=5400.0,
        sticky=True,
        sticky_ttl=90.0,
        creates_service_cidr=True,
        # Only what was given as one can be a ServiceCIDR; what is excluded is part of it.
        cidrs=("10.96.0.16/28", "10.96.0.64/31"),
    )


@pytest.mark.parametrize(
    ("sticky", "expected"),
    [
        ({"mode": "ByName"}, (True, None)),
        ({"mode": "ByName", "ttl": "0s"}, (True, 0.0)),
        ({"mode": "None", "ttl": "1h"}, (False, None)),
    ],
)
def test_sticky_for_ever_for_a_time_or_not_at_all(sticky: dict[str, str], expected: tuple[bool, float | None]) -> None:
    made = ip_pool(sticky=sticky)
    assert (made.sticky, made.sticky_ttl) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"start": "10.96.0.9", "end": "10.96.0.1"}, "10.96.0.9 - 10.96.0.1 is no range: its end must not be below"),
        ({"start": "10.96.0.9", "end": "fd00::9"}, "10.96.0.9 - fd00::9 is no range"),
        ({"cidr": "10.96.0.1/28"}, "10.96.0.1/28 has host bits set"),
        ({"cidr": "10.96.0.0/33"}, "10.96.0.0/33"),
        ({"cidr": "nonsense"}, "'nonsense' does not appear to be an IPv4 or IPv6 network"),
        ({"start": "10.96.0.9"}, "''"),
        ({}, "''"),
    ],
    ids=str,
)
@pytest.mark.parametrize("field", ["ranges", "exclude"])
def test_a_range_that_makes_no_sense_is_named_and_the_others_count(
    field: str, given: dict[str, str], said: str
) -> None:
    good = {"cidr": "10.96.0.32/28"} if field == "ranges" else {"cidr": "10.96.0.24/29"}
    made = ip_pool(**{field: [given, good]})
    (broken,) = made.broken
    assert said in broken
    assert made.addresses == addresses("10.96.0.32/28" if field == "ranges" else "10.96.0.16/29")


def test_one_address_is_a_range() -> None:
    made = ip_pool(ranges=[{"start": "10.96.0.9", "end": "10.96.0.9"}])
    assert (made.addresses, made.cidrs, made.broken) == (addresses("10.96.0.9/32"), (), ())


def test_pools_of_ports() -> None:
    assert port_pool().ports == Spans([Span(30000, 30009)])
    assert port_pool().purposes == frozenset({"NodePort", "HealthCheck"})
    assert port_pool().select is EVERYONE
    made = port_pool(
        ranges=[{"from": 30000, "to": 30000}, {"from": 30005, "to": 30006}],
        purposes=["HealthCheck"],
        select=SELECT,
        priority=0,
        exclusive=True,
        enforcement="Enforce",
        quota={"perNamespace": 1},
        onExhausted="ClusterDefault",
        thresholds={"warnPercent": 1, "criticalPercent": 2},
    )
    assert made == PortPool(
        name="x",
        uid="u",
        generation=7,
        select=SELECTED,
        priority=0,
        exclusive=True,
        enforced=True,
        quota=1,
        on_exhausted="ClusterDefault",
        warn_percent=1,
        critical_percent=2,
        ports=Spans([Span(30000, 30000), Span(30005, 30006)]),
        purposes=frozenset({"HealthCheck"}),
    )


TOLD = {
    "addresses": ["10.96.0.5", "fd00::5"],
    "nodePorts": [{"portName": "a", "nodePort": 30001}, {"portName": "b", "nodePort": 30002}],
    "healthCheckNodePort": 30003,
}


def test_a_reservation_is_what_its_spec_names() -> None:
    made = reservation(
        {**TOLD, "retain": {"policy": "TTL", "ttl": "2m"}, "enforcement": "Hold"},
        {"phase": "Held", "lastBound": "2026-11-25T08:00:00.9Z"},
        creationTimestamp="2026-11-24T08:00:00Z",
    )
    assert made == Reservation(
        namespace="n",
        name="x",
        uid="u",
        generation=7,
        created="2026-11-24T08:00:00Z",
        service_name="web",
        addresses=("10.96.0.5", "fd00::5"),
        node_ports=(("a", 30001), ("b", 30002)),
        health_check_node_port=30003,
        adopt=False,
        ttl=120.0,
        hold=True,
        phase="Held",
        last_bound="2026-11-25T08:00:00Z",
        terminating=False,
    )


def test_what_is_not_said_of_a_reservation_is_nothing() -> None:
    made = reservation({"addresses": ["10.96.0.5"]})
    assert (made.created, made.phase, made.last_bound, made.ttl, made.hold) == ("", "", "", None, False)
    assert (made.node_ports, made.health_check_node_port, made.terminating) == ((), 0, False)
    assert reservation({"adopt": True}, deletionTimestamp="2026-11-25T08:00:00Z").terminating


def test_a_status_counts_only_where_the_reservation_adopts() -> None:
    """Otherwise what was written to a status once would be kept for ever."""
    assert reservation({"addresses": ["10.96.0.9"]}, TOLD).addresses == ("10.96.0.9",)
    assert reservation({"addresses": ["10.96.0.9"]}, TOLD).numbers() == ()
    made = reservation({"adopt": True}, TOLD)
    assert (made.addresses, made.numbers()) == (("10.96.0.5", "fd00::5"), (30001, 30002, 30003))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"addresses": ["10.96.0.9"]}, ("10.96.0.9", "fd00::5")),
        ({"addresses": ["fd00::9"]}, ("fd00::9", "10.96.0.5")),
        ({"addresses": ["10.96.0.9", "fd00::9"]}, ("10.96.0.9", "fd00::9")),
    ],
)
def test_what_the_spec_names_takes_the_place_of_what_was_adopted(
    spec: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """By family, by the name of the port, and the health check's port."""
    assert reservation({"adopt": True, **spec}, TOLD).addresses == expected
    ports = {"nodePorts": [{"portName": "b", "nodePort": 30009}], "healthCheckNodePort": 30008}
    made = reservation({"adopt": True, **ports}, TOLD)
    assert made.node_ports == (("a", 30001), ("b", 30009))
    assert made.health_check_node_port == 30008
