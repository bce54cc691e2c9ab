"""Phases of reservations, what they adopt, and who wins."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from api.v1alpha1.common import ObjectMeta
from api.v1alpha1.service_reservation import (
    ReservedPort,
    Retain,
    ServiceReservation,
    ServiceReservationSpec,
    ServiceReservationStatus,
)
from controllers.ipam.compiled import reservation as compiled
from controllers.ipam.objects import Port
from controllers.ipam.reservation_status import reservation_status
from controllers.ipam.snapshot import HOLD_MANAGER
from tests.ipam.snapshots import NOW, address, service, snapshot

HOUR = timedelta(hours=1)


def reserve(
    name: str = "r", age: timedelta = 24 * HOUR, status: ServiceReservationStatus | None = None, **spec: Any
) -> ServiceReservation:
    spec = {"service_name": "web", **spec}
    if not spec.get("adopt"):
        spec = {"addresses": ("10.96.0.20",), **spec}
    meta = ObjectMeta(name=name, namespace="shop", uid=f"uid-{name}", generation=2, creation_timestamp=NOW - age)
    return ServiceReservation(
        metadata=meta, spec=ServiceReservationSpec(**spec), status=status or ServiceReservationStatus()
    )


def after(resource: ServiceReservation, status: ServiceReservationStatus) -> ServiceReservation:
    """The reservation once a status is written, as it is read back."""
    read = ServiceReservationStatus.model_validate(status.wire())
    return resource.model_copy(update={"status": read})


WEB = service("shop/web", "10.96.0.20")
OTHER = service("shop/other", "10.96.0.20")
HOLD = address("10.96.0.20", manager=HOLD_MANAGER)
TTL: dict[str, Any] = {"retain": Retain(policy="TTL", ttl="1h")}
BOUND_ONCE = ServiceReservationStatus(phase="Held", last_bound=NOW - 2 * HOUR)
PORTS: dict[str, Any] = {"addresses": (), "node_ports": (ReservedPort(port_name="p30080", node_port=30080),)}


@pytest.mark.parametrize(
    ("case", "spec", "cluster", "phase", "reason"),
    [
        ("kept by policies alone", {}, {}, "Held", "NoService"),
        ("its Service has it", {}, {"services": [WEB]}, "Bound", "ServiceHasIt"),
        ("its Service has another", {}, {"services": [service("shop/web", "10.96.0.9")]}, "Held", "NotUsed"),
        ("its Service is headless", {}, {"services": [service("shop/web", "None")]}, "Held", "NotUsed"),
        ("another's Service has it", {}, {"services": [OTHER]}, "Conflict", "HeldByOther"),
        ("two Services have it", {}, {"services": [WEB, OTHER]}, "Conflict", "HeldByOther"),
        ("an IPAddress of a Gateway has it", {}, {"others": [address("10.96.0.20")]}, "Conflict", "HeldByOther"),
        (
            "the API server is about to give it to its Service",
            {},
            {"others": [address("10.96.0.20", "shop/web")]},
            "HandingOver",
            "BeingAllocated",
        ),
        (
            "IP-54: an IPAddress of a Service that is not there",
            {},
            {"others": [address("10.96.0.20", "a/gone")]},
            "Held",
            "NoService",
        ),
        ("not in any ServiceCIDR", {"addresses": ("10.9.0.1",)}, {}, "Pending", "OutOfReach"),
        ("Hold, without an object yet", {"enforcement": "Hold"}, {}, "Pending", "HoldMissing"),
        ("Hold", {"enforcement": "Hold"}, {"others": [HOLD]}, "Held", "NoService"),
        ("Hold, and its Service has it", {"enforcement": "Hold"}, {"services": [WEB]}, "Bound", "ServiceHasIt"),
        (
            "Hold, handed over",
            {"enforcement": "Hold", "status": ServiceReservationStatus(phase="Held")},
            {},
            "HandingOver",
            "HoldReleased",
        ),
        ("a port", PORTS, {}, "Held", "NoService"),
        (
            "a port that its Service has",
            PORTS,
            {"services": [service("shop/web", ports=[30080])]},
            "Bound",
            "ServiceHasIt",
        ),
        ("a port of another's", PORTS, {"services": [service("a/b", ports=[30080])]}, "Conflict", "HeldByOther"),
        (
            "a port outside the range",
            {"addresses": (), "health_check_node_port": 80},
            {},
            "Pending",
            "OutOfReach",
        ),
        (
            "a port and an address, of which its Service has one",
            {"node_ports": PORTS["node_ports"]},
            {"services": [WEB]},
            "Held",
            "NotUsed",
        ),
        ("nothing to adopt yet", {"adopt": True}, {}, "Pending", "NothingToAdopt"),
        ("TTL, not over", {**TTL, "age": HOUR / 2}, {}, "Held", "NoService"),
        ("TTL since it was made", TTL, {}, "Expired", "TTLExpired"),
        ("TTL since it was bound", {**TTL, "status": BOUND_ONCE}, {}, "Expired", "TTLExpired"),
        (
            "TTL since it was bound, later than made",
            {**TTL, "status": ServiceReservationStatus(phase="Held", last_bound=NOW - HOUR / 2)},
            {},
            "Held",
            "NoService",
        ),
        ("TTL, and its Service has it", {**TTL, "status": BOUND_ONCE}, {"services": [WEB]}, "Bound", "ServiceHasIt"),
        ("TTL over: others may have it", TTL, {"services": [OTHER]}, "Expired", "TTLExpired"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_phase(case: str, spec: dict[str, Any], cluster: dict[str, Any], phase: str, reason: str) -> None:
    resource = reserve(**spec)
    found = reservation_status(resource, snapshot(**cluster), NOW)
    bound, conflict = found.conditions
    assert (found.phase, bound.type, bound.reason) == (phase, "Bound", reason), case
    assert (bound.status == "True") == (phase == "Bound") == (found.bound_uid == "uid-web")
    assert (conflict.type, conflict.status) == ("Conflict", "True" if phase == "Conflict" else "False")
    # Whatever it is, it is told once.
    again = after(resource, found)
    if phase != "HandingOver":
        assert reservation_status(again, snapshot(**cluster), NOW + timedelta(minutes=1)) == found


def test_a_conflict_names_who_is_in_the_way() -> None:
    found = reservation_status(reserve(), snapshot([OTHER]), NOW)
    assert found.conditions[1].message.startswith("10.96.0.20 is held by the Service shop/other. ")
    gateway = reservation_status(reserve(), snapshot([], [address("10.96.0.20")]), NOW)
    assert "taken by an IPAddress of gateway.networking.k8s.io/gateways/infra/web" in gateway.conditions[1].message


def test_a_ttl_counts_from_when_its_service_was_seen_to_be_gone() -> None:
    """Not from when it was first bound: no status is written while nothing happens."""
    resource = reserve(**TTL)
    bound = reservation_status(resource, snapshot([WEB]), NOW)
    assert (bound.phase, bound.last_bound) == ("Bound", NOW)
    resource = after(resource, bound)
    assert reservation_status(resource, snapshot([WEB]), NOW + 9 * HOUR) == bound
    gone = reservation_status(resource, snapshot(), NOW + 10 * HOUR)
    assert (gone.phase, gone.last_bound, gone.bound_uid) == ("Held", NOW + 10 * HOUR, None)
    resource = after(resource, gone)
    assert reservation_status(resource, snapshot(), NOW + 10.9 * HOUR).phase == "Held"
    over = reservation_status(resource, snapshot(), NOW + 11 * HOUR)
    assert over.phase == "Expired"
    assert not compiled(after(resource, over)).in_force
    back = reservation_status(after(resource, over), snapshot([WEB]), NOW + 12 * HOUR)
    assert back.phase == "Bound"


FULL = replace(
    service("shop/web", "10.96.0.20", "fd00::20", type="LoadBalancer", local=True, health_check_node_port=30099),
    ports=(Port("b", "TCP", 81, 30081), Port("a", "TCP", 80, 30080)),
)


def test_adoption_takes_all_over_and_keeps_it() -> None:
    resource = reserve(adopt=True)
    found = reservation_status(resource, snapshot([FULL]), NOW)
    assert found.phase == "Bound"
    assert found.addresses == ("10.96.0.20", "fd00::20")
    assert [(each.port_name, each.node_port) for each in found.node_ports] == [("a", 30080), ("b", 30081)]
    assert found.health_check_node_port == 30099
    resource = after(resource, found)
    gone = reservation_status(resource, snapshot(), NOW + HOUR)
    assert gone.phase == "Pending"  # The second family is in no ServiceCIDR here.
    assert (gone.addresses, gone.node_ports) == (found.addresses, found.node_ports)
    assert gone.health_check_node_port == 30099
    assert set(compiled(after(resource, gone)).numbers()) == {30080, 30081, 30099}


def test_adoption_follows_the_live_service_but_not_into_nothing() -> None:
    resource = reserve(adopt=True)
    resource = after(resource, reservation_status(resource, snapshot([FULL]), NOW))
    single = reservation_status(resource, snapshot([WEB]), NOW)
    assert (single.phase, single.addresses) == ("Held", ("10.96.0.20",))
    # A Service without node ports for a while gets the same ones again.
    assert [each.node_port for each in single.node_ports] == [30080, 30081]
    alias = service("shop/web", type="ExternalName")
    assert reservation_status(resource, snapshot([alias]), NOW).addresses == ("10.96.0.20", "fd00::20")
    moved = reservation_status(resource, snapshot([service("shop/web", "10.96.0.9")]), NOW)
    assert moved.addresses == ("10.96.0.9",)


def test_what_the_spec_names_is_not_adopted_over() -> None:
    named: dict[str, Any] = {"addresses": ("10.96.0.7",), "node_ports": (ReservedPort(port_name="a", node_port=30007),)}
    found = reservation_status(reserve(adopt=True, **named), snapshot([FULL]), NOW)
    assert found.addresses == ("10.96.0.7", "fd00::20")
    assert [(each.port_name, each.node_port) for each in found.node_ports] == [("a", 30007), ("b", 30081)]


def test_without_adoption_nothing_is_taken_over() -> None:
    found = reservation_status(reserve(), snapshot([FULL]), NOW)
    assert (found.addresses, found.node_ports, found.health_check_node_port) == (("10.96.0.20",), (), None)


@pytest.mark.parametrize(
    ("case", "other", "expected"),
    [
        ("an older one", reserve("z", 48 * HOUR, service_name="x"), "Conflict"),
        ("of the same second: by name", reserve("q", service_name="x"), "Conflict"),
        ("of the same second: by name, the other way", reserve("s", service_name="x"), "Held"),
        ("a younger one", reserve("a", HOUR, service_name="x"), "Held"),
        ("an older one for the same Service", reserve("z", 48 * HOUR), "Held"),
        (
            "an older one of another number",
            reserve("z", 48 * HOUR, service_name="x", addresses=("10.96.0.21",)),
            "Held",
        ),
        (
            "an older one that has expired",
            reserve("z", 48 * HOUR, ServiceReservationStatus(phase="Expired"), service_name="x"),
            "Held",
        ),
        (
            "an older one that is in conflict itself",
            reserve("z", 48 * HOUR, ServiceReservationStatus(phase="Conflict"), service_name="x"),
            "Held",
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_the_older_reservation_wins(case: str, other: ServiceReservation, expected: str) -> None:
    mine = reserve("r")
    view = snapshot(reservations=[compiled(mine), compiled(other)])
    found = reservation_status(mine, view, NOW)
    assert found.phase == expected, case
    if expected == "Conflict":
        assert f"10.96.0.20 is reserved by shop/{other.metadata.name}, which is older" in found.conditions[1].message


def test_who_has_it_keeps_it() -> None:
    """A reservation for a live Service is not upset by an older one, which then is the one in conflict."""
    mine, older = reserve("r"), reserve("z", 48 * HOUR, service_name="x")
    view = snapshot([WEB], reservations=[compiled(mine), compiled(older)])
    assert reservation_status(mine, view, NOW).phase == "Bound"
    assert reservation_status(older, view, NOW).phase == "Conflict"


def test_three_that_want_the_same_come_to_rest() -> None:
    all_ = [reserve(name, age * HOUR, service_name=name) for name, age in (("a", 3), ("b", 2), ("c", 1))]
    for _ in range(3):
        view = snapshot(reservations=[compiled(each) for each in all_])
        all_ = [after(each, reservation_status(each, view, NOW)) for each in all_]
    assert [each.status.phase for each in all_] == ["Held", "Conflict", "Conflict"]


def test_a_reservation_that_goes_is_left_as_it_is() -> None:
    resource = reserve(status=ServiceReservationStatus(phase="Held"))
    going = resource.model_copy(update={"metadata": resource.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert reservation_status(going, snapshot([OTHER]), NOW) == going.status


def test_a_service_with_very_many_ports_is_adopted_in_part() -> None:
    """The API keeps 64 of them."""
    many = service("shop/web", "10.96.0.20", ports=range(30000, 30100))
    found = reservation_status(reserve(adopt=True), snapshot([many]), NOW)
    assert (len(found.node_ports), found.phase) == (64, "Bound")
