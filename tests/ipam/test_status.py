"""Statuses of pools: what they show, and that one without news equals the one before, after a round through JSON."""

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.v1alpha1.common import MAX_COUNT, Consumer, Forecast, Summary
from api.v1alpha1.service_ip_pool import AddressCapacity, ServiceIPPoolStatus
from api.v1alpha1.service_port_pool import PortCapacity, ServicePortPoolStatus
from controllers.ipam.audit import findings
from controllers.ipam.conditions import Enforcement, Verdict
from controllers.ipam.objects import ServiceCIDR
from controllers.ipam.pools import Reservation
from controllers.ipam.snapshot import Snapshot
from controllers.ipam.status import conditions, ip_pool_status, port_pool_status
from controllers.telemetry import ipam_metrics, metrics
from tests.ipam.snapshots import DEFAULT_CIDR, NOW, ip_pool, port_pool, service, snapshot, team

POOL = ip_pool("a", "10.96.0.16-10.96.0.31", "fd00::1-fd00::4", select=team("a"), exclusive=True)
PORTS = port_pool("p", 30100, 30109)
SIX = ServiceCIDR(name="six", cidrs=("fd00::/112",))
KEPT = Reservation(namespace="a", name="r", service_name="late", addresses=("10.96.0.20",), phase="Held")


def ip_status(
    view: Snapshot, after: timedelta = timedelta(), previous: ServiceIPPoolStatus | None = None, **fields: Any
) -> ServiceIPPoolStatus:
    now = NOW + after
    given: dict[str, Any] = {"enforcement": Enforcement(), "forecast": None, **fields}
    return ip_pool_status(POOL, view, findings(view, now), now=now, previous=previous or ServiceIPPoolStatus(), **given)


def port_status(
    view: Snapshot, after: timedelta = timedelta(), previous: ServicePortPoolStatus | None = None
) -> ServicePortPoolStatus:
    now = NOW + after
    previous = previous or ServicePortPoolStatus()
    return port_pool_status(PORTS, view, findings(view, now), Enforcement(), None, now, previous)


def read_back(status: ServiceIPPoolStatus) -> ServiceIPPoolStatus:
    return ServiceIPPoolStatus.model_validate(status.wire())


def cluster(*services: Any, **fields: Any) -> Snapshot:
    return snapshot(services, cidrs=[DEFAULT_CIDR, SIX], ip_pools=[POOL], port_pools=[PORTS], **fields)


WEB = service("a/web", "10.96.0.16", "fd00::1", ports=[30100])


def test_what_is_shown() -> None:
    found = ip_status(cluster(WEB, service("b/x", "10.96.0.17"), reservations=[KEPT]))
    assert found.observed_generation == 3
    assert found.capacity == (
        AddressCapacity(family="IPv4", total=16, used=2, reserved=1, cooling=0, free=13),
        AddressCapacity(family="IPv6", total=4, used=1, reserved=0, cooling=0, free=3),
    )
    assert found.summary == Summary(total="16/4", used="2/1", free_percent="81/75")
    assert found.top_consumers == (Consumer(namespace="a", count=2), Consumer(namespace="b", count=1))
    assert found.last_audit is not None
    assert (found.last_audit.time, found.last_audit.findings) == (NOW, 1)
    (drift,) = (each for each in found.conditions if each.type == "Drift")
    assert (drift.status, drift.reason, drift.last_transition_time) == ("True", "ForeignUse", NOW)
    assert drift.message.startswith("1 foreign_use. The first: Service b/x: 10.96.0.17 is in the exclusive pool a")


def test_what_is_shown_of_ports() -> None:
    found = port_status(cluster(WEB))
    assert found.capacity == PortCapacity(total=10, used=1, reserved=0, free=9)
    assert found.summary == Summary(total="10", used="1", free_percent="90")
    assert [(each.type, each.status) for each in found.conditions] == [
        ("Ready", "True"),
        ("RangeConflict", "False"),
        ("EnforcementActive", "False"),
        ("NearExhaustion", "False"),
        ("Exhausted", "False"),
        ("Drift", "False"),
    ]


def test_without_news_the_status_is_the_one_before() -> None:
    first = ip_status(cluster(WEB))
    assert ip_status(cluster(WEB), timedelta(minutes=59), read_back(first)) == read_back(first)
    ports = port_status(cluster(WEB))
    assert port_status(cluster(WEB), timedelta(minutes=59), ports) == ports


def test_an_audit_without_news_is_told_of_once_an_hour() -> None:
    first = ip_status(cluster(WEB))
    later = ip_status(cluster(WEB), timedelta(hours=1), first)
    assert later.last_audit is not None
    assert later.last_audit.time == NOW + timedelta(hours=1)
    assert later.conditions == first.conditions
    # One of the future, by a clock that was wrong, does not stay.
    assert ip_status(cluster(WEB), timedelta(), later).last_audit == first.last_audit


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    def times(status: ServiceIPPoolStatus) -> dict[str, Any]:
        return {each.type: each.last_transition_time - NOW for each in status.conditions}

    full = [service(f"a/s{n}", f"10.96.0.{n}") for n in range(16, 32)]
    first = ip_status(cluster(*full[:13]))
    minute = timedelta(minutes=1)
    fuller = ip_status(cluster(*full), minute, first)
    # From Warning to Critical it is the same status, with another reason and message.
    assert times(fuller) == {**times(first), "Exhausted": minute}
    assert [each.reason for each in (*first.conditions, *fuller.conditions) if each.type == "NearExhaustion"] == [
        "Warning",
        "Critical",
    ]
    empty = ip_status(cluster(), 2 * minute, fuller)
    assert times(empty) == {**times(first), "NearExhaustion": 2 * minute, "Exhausted": 2 * minute}


def test_forecast_is_handed_on() -> None:
    told = Forecast(rate_per_day=2.5, exhausts_at=NOW, confidence="Low")
    assert ip_status(cluster(), forecast=told).forecast == told


def test_no_message_is_too_long() -> None:
    (found,) = conditions([Verdict("Drift", True, "X", "x" * 40_000)], 1, NOW, ())
    assert len(found.message) == 4096


def test_more_than_can_be_counted() -> None:
    pool = ip_pool("a", "fd00::/64")
    found = ip_pool_status(pool, snapshot(), [], Enforcement(), None, NOW, ServiceIPPoolStatus())
    assert found.capacity[0].total == MAX_COUNT
    assert found.summary is not None
    assert found.summary.free_percent == "100"


SPOTS = st.lists(st.integers(14, 33), max_size=10)


@given(held=SPOTS, kept=SPOTS, minutes=st.integers(0, 59), micros=st.integers(0, 999_999))
def test_law_equal_when_nothing_changed(held: list[int], kept: list[int], minutes: int, micros: int) -> None:
    view = cluster(
        *(service(f"n{spot % 3}/s{at}", f"10.96.0.{spot}") for at, spot in enumerate(held)),
        reservations=[Reservation(namespace="n", name=f"r{n}", addresses=(f"10.96.0.{n}",)) for n in kept],
    )
    first = ip_status(view, timedelta(microseconds=micros))
    assert ip_status(view, timedelta(minutes=minutes, microseconds=micros), read_back(first)) == first


@pytest.mark.parametrize(
    ("line", "there"),
    [
        ('sliceplane_ipam_pool_addresses{pool="a",family="IPv4",state="free"} 14', True),
        ('sliceplane_ipam_pool_addresses{pool="a",family="IPv6",state="cooling"} 0', True),
        ('sliceplane_ipam_pool_ports{pool="p",state="used"} 1', True),
        ('sliceplane_ipam_pool_level{kind="ServiceIPPool",pool="a"} 0', True),
        ('sliceplane_ipam_servicecidr_addresses{cidr="10.96.0.0/24",family="IPv4",state="free"} 252', True),
        ('sliceplane_ipam_pool_exhaustion_seconds{pool="a",family="IPv4"} 3600', True),
        ('sliceplane_ipam_pool_exhaustion_seconds{pool="a",family="IPv6"}', False),
        ('sliceplane_ipam_reservations{phase="Held"} 1', True),
        ('sliceplane_ipam_reservations{phase="Conflict"} 0', True),
        ('sliceplane_ipam_drift{kind="missing_ipaddress"} 1', True),
        ('sliceplane_ipam_drift{kind="foreign_use"} 0', True),
        ('sliceplane_ipam_repairs_total{kind="recreate_ipaddress"} 0', True),
        ('sliceplane_ipam_admission_decisions_total{decision="denied",reason="PoolExhausted"} 0', True),
        ('sliceplane_ipam_pool_addresses{pool="gone"', False),
    ],
)
def test_gauges_are_those_of_the_snapshot_alone(line: str, there: bool) -> None:
    gone = ip_pool("gone", "10.96.0.40-10.96.0.41")
    ipam_metrics.measure(snapshot(ip_pools=[gone]), [], {}, NOW)
    view = cluster(WEB, without=["fd00::1"], reservations=[KEPT])
    sure = Forecast(rate_per_day=1, exhausts_at=NOW + timedelta(hours=1), confidence="High")
    unsure = Forecast(rate_per_day=1, exhausts_at=NOW + timedelta(hours=1), confidence="Low")
    forecasts = {("a", "IPv4"): sure, ("a", "IPv6"): unsure}
    ipam_metrics.measure(view, findings(view, NOW), forecasts, NOW)
    page = metrics.render(ipam_metrics.REGISTRY).decode()
    assert (f"\n{line}" in page) is there
    assert not there or f"\n{line}\n" in page


def test_forgotten_gauges_are_on_no_page_and_counters_stay() -> None:
    """A replica that no longer leads tells nothing of pools, reservations or drift, not even zeros."""
    sure = Forecast(rate_per_day=1, exhausts_at=NOW + timedelta(hours=1), confidence="High")
    view = cluster(WEB, without=["fd00::1"], reservations=[KEPT])
    ipam_metrics.measure(view, findings(view, NOW), {("a", "IPv4"): sure}, NOW)

    def told() -> set[str]:
        page = metrics.render(ipam_metrics.REGISTRY).decode()
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
        return {
            name for name, kind in kinds.items() if kind == "gauge" and re.search(rf"^{name}[ {{]", page, re.MULTILINE)
        }

    assert len(told()) == 7
    ipam_metrics.forget()
    assert told() == set()
    assert "\nsliceplane_ipam_repairs_total{" in metrics.render(ipam_metrics.REGISTRY).decode()


@pytest.mark.parametrize(("used", "expected"), [(12, 0), (13, 1), (15, 1), (16, 3)])
def test_level_of_a_pool(used: int, expected: int) -> None:
    pool = ip_pool("a", "10.96.0.16-10.96.0.31")
    view = snapshot([service(f"a/s{n}", f"10.96.0.{16 + n}") for n in range(used)], ip_pools=[pool])
    ipam_metrics.measure(view, [], {}, NOW)
    page = metrics.render(ipam_metrics.REGISTRY).decode()
    assert f'sliceplane_ipam_pool_level{{kind="ServiceIPPool",pool="a"}} {expected}\n' in page


def test_series_are_bounded() -> None:
    pools = [ip_pool(f"p{n:03}", f"10.96.0.{n % 250 + 1}-10.96.0.{n % 250 + 1}") for n in range(300)]
    ipam_metrics.measure(snapshot(ip_pools=pools), [], {}, NOW)
    page = metrics.render(ipam_metrics.REGISTRY).decode()
    assert page.count("sliceplane_ipam_pool_level{") == ipam_metrics.MOST
