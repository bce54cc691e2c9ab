"""How many endpoints each zone gets: golden allocations, refusals, overload (ES-96 ... ES-112)."""

from collections import Counter

import pytest

from controllers.model.objects import ForZone, Hints, Node
from controllers.model.reasons import Reason
from controllers.topology.allocation import Assigned, Refused, assign, overloaded, shares
from controllers.topology.capacity import Capacity, Nodes, capacity_of
from tests.builders import endpoint, existing, pod

ZONES = "abcd"


def node(name: str, zone: str, cpu: float = 1, **more: bool) -> Node:
    return Node(name, zone, nano_cpu=int(cpu * 10**9), **more)


def capacity(*cpus: float) -> Capacity:
    """Zones a, b, … with so much CPU each."""
    return capacity_of({zone: node(zone, zone, cpu) for zone, cpu in zip(ZONES, cpus, strict=False)})


def allocated(cpus: tuple[float, ...], by_zone: tuple[int, ...]) -> tuple[int, ...] | Reason:
    """Hints for each zone, when so many ready endpoints of each are all in one new slice; or why there are none."""
    zones = [zone for zone, count in zip(ZONES, by_zone, strict=False) for _ in range(count)]
    found = existing("s-a", [endpoint(pod(number), zone=zone) for number, zone in enumerate(zones)])
    wanted = shares(capacity(*cpus), len(zones))
    if isinstance(wanted, Refused):
        return wanted.reason
    outcome = assign([found], [], [], wanted, {})
    assert isinstance(outcome, Assigned)
    named = Counter(
        zone.name
        for each in outcome.create[0].endpoints
        for zone in (each.hints.for_zones if each.hints and each.hints.for_zones else ())
    )
    assert named == Counter(outcome.totals)
    return tuple(named[zone] for zone in ZONES[: len(cpus)])


OVERLOAD, FEW = Reason.TOPOLOGY_OVERLOAD, Reason.TOPOLOGY_TOO_FEW_ENDPOINTS


@pytest.mark.parametrize(
    ("cpus", "by_zone", "expected"),
    [
        ((1, 1, 1), (1, 1, 0), FEW),
        ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
        ((1, 1, 1), (2, 1, 1), OVERLOAD),
        ((34, 33, 33), (2, 2, 1), OVERLOAD),
        ((34, 33, 33), (2, 3, 2), (2, 3, 2)),
        ((6, 3, 1), (1, 1, 1), OVERLOAD),
        ((6, 3, 1), (1, 2, 1), (2, 1, 1)),
        ((6, 3, 1), (2, 2, 1), OVERLOAD),
        ((6, 3, 1), (2, 2, 2), (3, 2, 1)),
        ((6, 3, 1), (2, 3, 2), (4, 2, 1)),
        ((6, 3, 1), (3, 4, 3), (6, 3, 1)),
        *(((9, 1, 0.1), (1, 1, count - 2), OVERLOAD) for count in range(3, 8)),
        ((9, 1, 0.1), (3, 4, 3), (8, 1, 1)),
        ((1, 1), (2, 1), OVERLOAD),
        ((0.45, 0.55), (1, 1), (1, 1)),
        ((0.35, 0.35, 0.30), (5, 2, 3), (4, 3, 3)),
        ((1, 1, 1), (0, 0, 3), (1, 1, 1)),
    ],
    ids=str,
)
def test_golden_allocations_es_112(
    cpus: tuple[float, ...], by_zone: tuple[int, ...], expected: tuple[int, ...] | Reason
) -> None:
    assert allocated(cpus, by_zone) == expected


@pytest.mark.parametrize(
    ("cpus", "refused"),
    [
        ((1, 1), {1, 3, 5}),
        ((1, 1, 1), {1, 2, 4, 5, 8, 11}),
        ((1, 1, 1, 1), {1, 2, 3, 5, 6, 7, 10, 11, 15}),
        ((50, 25, 25), {1, 2, 3, 5, 6, 10}),
    ],
    ids=str,
)
def test_refused_counts(cpus: tuple[float, ...], refused: set[int]) -> None:
    assert {count for count in range(1, 61) if isinstance(shares(capacity(*cpus), count), Refused)} == refused


@pytest.mark.parametrize(
    ("nodes", "shares_or_reason"),
    [
        ([node("1", "a", 3), node("2", "b", 1)], {"a": 0.75, "b": 0.25}),
        ([node("1", "a"), node("2", "b", control_plane=True)], Reason.TOPOLOGY_NODE_INFORMATION),
        ([node("1", "a"), node("2", "b", ready=False)], Reason.TOPOLOGY_NODE_INFORMATION),
        ([node("1", "a"), node("2", "b"), node("3", "")], Reason.TOPOLOGY_NODE_INFORMATION),
        ([node("1", "a"), node("2", "b"), node("3", "b", 0)], Reason.TOPOLOGY_NODE_INFORMATION),
        ([node("1", "a"), node("2", "b"), node("3", "", ready=False)], {"a": 0.5, "b": 0.5}),
        ([node("1", "a", 0.0001), node("2", "b", 0.001)], {"a": 0.5, "b": 0.5}),
        ([], Reason.TOPOLOGY_NODE_INFORMATION),
    ],
    ids=["shares", "ES-T75", "one-zone-ready", "no-zone", "no-cpu", "not-ready-has-no-zone", "milli-up", "none"],
)
def test_capacity_es_96_98(nodes: list[Node], shares_or_reason: dict[str, float] | Reason) -> None:
    found = capacity_of({each.name: each for each in nodes})
    assert (found.unusable or found.shares) == shares_or_reason


def test_capacity_follows_changes_and_forgets_what_went() -> None:
    sums = Nodes()
    first = [node("1", "a"), node("2", "b", 3), node("3", "c", 4)]
    for each in first:
        sums.change(None, each)
    sums.change(first[2], node("3", "", 4))
    assert sums.capacity().unusable is Reason.TOPOLOGY_NODE_INFORMATION
    sums.change(node("3", "", 4), None)
    assert sums.capacity() == capacity(1, 3)


@pytest.mark.parametrize(
    ("totals", "cpus", "expected"),
    [
        ({"b": 5, "c": 4}, (0, 1, 1), False),
        ({"b": 6, "c": 4}, (0, 1, 1), True),
        ({"a": 20, "b": 10}, (2000, 1000, 100), True),
        ({"a": 20, "b": 10, "c": 1}, (2000, 1000, 100), False),
        ({}, (1, 1, 1), False),
    ],
    ids=["ES-T77-even", "ES-T77-uneven", "ES-T78-none-for-c", "ES-T78", "ES-108-nothing-given"],
)
def test_overloaded_es_108(totals: dict[str, int], cpus: tuple[float, ...], expected: bool) -> None:
    nodes = {zone: node(zone, zone, cpu) for zone, cpu in zip(ZONES, cpus, strict=False) if cpu}
    assert overloaded(totals, capacity_of(nodes)) is expected


def test_hints_are_wrong_when_zones_are_unknown_es_t76() -> None:
    assert overloaded({"a": 1, "b": 1}, Capacity(unusable=Reason.TOPOLOGY_NODE_INFORMATION))


def test_an_endpoint_that_serves_another_zone_goes_on_doing_so() -> None:
    found = existing("s-a", [endpoint(pod(number), zone="c") for number in range(3)])
    wanted = shares(capacity(1, 1, 1), 3)
    assert not isinstance(wanted, Refused)
    identities = [(each.addresses, "", "ns", f"pod-{number:03}") for number, each in enumerate(found.endpoints)]
    before = {identities[2]: ("a",), identities[0]: ("b",)}
    outcome = assign([], [found], [], wanted, before)
    assert isinstance(outcome, Assigned)
    hints = [each.hints for each in outcome.update[0].endpoints]
    assert hints == [Hints((ForZone(zone),)) for zone in "bca"]
