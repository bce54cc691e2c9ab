"""Adaptive hints in a sync: precedence, what is written, what is said, and what is remembered."""

from typing import Any

import pytest
from msgspec.structs import replace

from api.names import REASON_HINTS_DISABLED, REASON_HINTS_ENABLED
from controllers.endpointslice.reconcile import Plan
from controllers.model.objects import EndpointSlice, Hints, Node
from controllers.model.plan import Notice
from controllers.topology.capacity import capacity_of
from controllers.topology.hints import concerned
from tests.builders import apply, counts, service, updated
from tests.topology.test_hints import NODES, THREE, given, in_zone, memory, synced, zone

ADAPTIVE = service(adaptive=True)
FOUR = [*THREE, in_zone(4, "a")]
SIXTEEN = {f"node-{name}": Node(f"node-{name}", f"zone-{name}", nano_cpu=10**9) for name in "abcdefghijklmnop"}


def said(plan: Plan) -> list[Notice]:
    return [notice for family in plan.families for notice in family.notices]


def reasons(plan: Plan) -> list[str]:
    return [notice.reason for notice in said(plan)]


def named(hints: list[Hints | None]) -> list[set[str]]:
    return [{zone.name for zone in each.for_zones} if each and each.for_zones else set() for each in hints]


@pytest.mark.parametrize(
    "changes",
    [{}, {"topology_mode": "Auto"}, {"traffic_distribution": "PreferSameNode"}],
    ids=["alone", "wins-over-auto", "wins-over-distribution"],
)
def test_what_auto_refuses_is_hinted_and_neither_written_nor_said_twice(changes: dict[str, Any]) -> None:
    of = service(adaptive=True, **changes)
    first = synced(of, FOUR)
    slices = apply(first, [])
    zones = named(given(slices))
    assert all(zones)
    assert set().union(*zones) == {"zone-a", "zone-b", "zone-c"}
    assert given(slices)[0] != given(apply(synced(service(topology_mode="Auto"), FOUR), []))[0]
    (notice,) = said(first)
    assert (notice.type, notice.reason) == ("Normal", REASON_HINTS_ENABLED)
    assert "Adaptive" in notice.message
    assert notice.message.endswith("addressType: IPv4")
    second = synced(of, FOUR, slices, memory(first))
    assert (counts(second), said(second)) == ((0, 0, 0), [])
    assert memory(second) == memory(first)
    # After a restart nothing is remembered: still nothing is written.
    assert counts(synced(of, FOUR, slices)) == (0, 0, 0)


def test_only_slices_whose_hints_change_are_written() -> None:
    pods = [in_zone(number, "ab"[number % 2]) for number in range(20)]
    nodes = {name: node for name, node in NODES.items() if node.zone != "zone-c"}
    first = synced(ADAPTIVE, pods, nodes=nodes, max_endpoints=5)
    slices = apply(first, [])
    assert len(slices) == 4
    # Zone a has 12 of 20 clients and more: one of b's endpoints is enough to help.
    more = nodes | {"node-z": Node("node-z", "zone-a", nano_cpu=5 * 10**8)}
    second = synced(ADAPTIVE, pods, slices, memory(first), more, max_endpoints=5)
    assert counts(second) == (0, 0, 0)
    most = nodes | {"node-z": Node("node-z", "zone-a", nano_cpu=7 * 10**8)}
    third = synced(ADAPTIVE, pods, slices, memory(first), most, max_endpoints=5)
    assert counts(third) == (0, 1, 0)
    before = {name: hints for each in slices for name, hints in _by_name(each)}
    after = {name: hints for each in updated(third) for name, hints in _by_name(each)}
    assert sum(before[name] != hints for name, hints in after.items()) == 1


def test_hints_change_rather_in_a_slice_that_is_written_anyway() -> None:
    """A Pod that comes is added to the slice with room; another of that slice is the one to serve zone b."""
    nodes = {name: node for name, node in NODES.items() if node.zone != "zone-c"}
    pods = [in_zone(number, "a" if number < 11 else "b") for number in range(20)]
    first = synced(ADAPTIVE, pods, nodes=nodes, max_endpoints=8)
    slices = apply(first, [])
    more = [*pods, in_zone(20, "a"), in_zone(21, "a"), in_zone(22, "a")]
    second = synced(ADAPTIVE, more, slices, memory(first), nodes, max_endpoints=8)
    assert counts(second) == (0, 1, 0)
    before = {name: hints for each in slices for name, hints in _by_name(each)}
    assert any(
        before.get(name, hints) != hints or hints != zone("zone-a") for name, hints in _by_name(updated(second)[0])
    )


def _by_name(found: EndpointSlice) -> list[tuple[str, Hints | None]]:
    return [(each.target_ref.name if each.target_ref else "", each.hints) for each in found.endpoints]


def test_endpoints_that_are_not_ready_have_no_hints() -> None:
    first = synced(ADAPTIVE, FOUR)
    pods = [*FOUR[:3], replace(FOUR[3], ready=False)]
    slices = apply(synced(ADAPTIVE, pods, apply(first, []), memory(first)), apply(first, []))
    by_name = dict(pair for each in slices for pair in _by_name(each))
    assert by_name["pod-004"] is None
    assert all(by_name[f"pod-00{number}"] for number in (1, 2, 3))


def test_without_ready_endpoints_nothing_is_said_and_what_was_said_is_known() -> None:
    first = synced(ADAPTIVE, FOUR)
    slices = apply(first, [])
    asleep = [replace(each, ready=False) for each in FOUR]
    second = synced(ADAPTIVE, asleep, slices, memory(first))
    slices = apply(second, slices)
    assert (said(second), named(given(slices))) == ([], [set()] * 4)
    assert not any(concerned(each, capacity_of({}, adaptive=True)) for each in memory(second).values())
    assert said(synced(ADAPTIVE, FOUR, slices, memory(second))) == []
    assert said(synced(ADAPTIVE, asleep)) == []


def test_a_refusal_is_said_once_removes_hints_and_heals() -> None:
    first = synced(ADAPTIVE, FOUR)
    slices = apply(first, [])
    alone = {"node-a": NODES["node-a"], "node-b": Node("node-b", "zone-b", ready=False)}
    alone["node-c"] = Node("node-c", "zone-c", ready=False)
    assert concerned(memory(first)["IPv4"], capacity_of(alone, adaptive=True))
    second = synced(ADAPTIVE, FOUR, slices, memory(first), alone)
    slices = apply(second, slices)
    (notice,) = said(second)
    assert (notice.type, notice.reason, named(given(slices))) == ("Warning", REASON_HINTS_DISABLED, [set()] * 4)
    assert "(Adaptive)" in notice.message
    third = synced(ADAPTIVE, FOUR, slices, memory(second), alone)
    assert (counts(third), said(third)) == ((0, 0, 0), [])
    assert not concerned(memory(second)["IPv4"], capacity_of(alone, adaptive=True))
    assert concerned(memory(second)["IPv4"], capacity_of(NODES, adaptive=True))
    assert reasons(synced(ADAPTIVE, FOUR, slices, memory(second))) == [REASON_HINTS_ENABLED]


def test_an_overload_that_eight_zones_force_is_said() -> None:
    nodes = SIXTEEN | {"node-a": Node("node-a", "zone-a", nano_cpu=20 * 10**9)}
    pods = [in_zone(number, "ab"[number]) for number in range(2)]
    first = synced(ADAPTIVE, pods, nodes=nodes)
    (notice,) = said(first)
    assert (notice.type, notice.reason) == ("Normal", REASON_HINTS_ENABLED)
    assert "times the mean" in notice.message
    second = synced(ADAPTIVE, pods, apply(first, []), memory(first), nodes)
    assert (counts(second), said(second)) == ((0, 0, 0), [])
    enough = [in_zone(number, "abcdefghijklmnop"[number % 16]) for number in range(32)]
    assert reasons(synced(ADAPTIVE, enough, apply(first, []), memory(first), SIXTEEN)) == [REASON_HINTS_ENABLED]


def test_one_endpoint_cannot_be_for_nine_zones() -> None:
    plan = synced(ADAPTIVE, THREE[:1], nodes=SIXTEEN)
    (notice,) = said(plan)
    assert "(1 endpoints, 16 zones)" in notice.message
    assert given(apply(plan, [])) == [None]


def test_the_floor_is_kept() -> None:
    pods = [in_zone(number, "abc"[number % 3]) for number in range(12)]
    slices = apply(synced(service(adaptive=True, topology_floor=6), pods), [])
    zones = named(given(slices))
    assert all(sum(f"zone-{name}" in each for each in zones) >= 6 for name in "abc")


def test_changing_the_mode_says_so_once() -> None:
    auto = service(topology_mode="Auto")
    first = synced(auto, THREE)
    slices = apply(first, [])
    second = synced(ADAPTIVE, THREE, slices, memory(first))
    assert reasons(second) == [REASON_HINTS_ENABLED]
    assert counts(second) == (0, 0, 0)
    third = synced(auto, THREE, slices, memory(second))
    assert reasons(third) == [REASON_HINTS_ENABLED]
    off = synced(service(), THREE, slices, memory(second))
    assert (reasons(off), given(updated(off))) == ([REASON_HINTS_DISABLED], [None] * 3)


def test_endpoints_keep_their_own_zone_where_every_zone_has_enough() -> None:
    assert given(apply(synced(ADAPTIVE, THREE), [])) == [zone("zone-a"), zone("zone-b"), zone("zone-c")]
