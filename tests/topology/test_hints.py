"""Which hints a Service gets, and what is said about it (ES-93 ... ES-117; ES-T70 ... ES-T84; D-8)."""

from typing import Any

import pytest
from msgspec.structs import replace

from api.names import REASON_HINTS_DISABLED, REASON_HINTS_ENABLED
from controllers.endpointslice.reconcile import Plan, Snapshot, reconcile
from controllers.model.objects import Endpoint, EndpointSlice, ForNode, ForZone, Hints, Node, Pod, Service
from controllers.topology.capacity import capacity_of
from controllers.topology.hints import Memory, concerned
from tests.builders import apply, counts, endpoint, existing, pod, service, updated

NODES = {f"node-{zone}": Node(f"node-{zone}", f"zone-{zone}", nano_cpu=10**9) for zone in "abc"}
AUTO = service(topology_mode="Auto")


def zone(*zones: str, node: str | None = None) -> Hints:
    return Hints(tuple(map(ForZone, zones)) or None, (ForNode(node),) if node else None)


def in_zone(number: int, name: str, **changes: Any) -> Pod:
    return pod(number, node_name=f"node-{name}", **changes)


def published(of: Pod, **changes: Any) -> Endpoint:
    node = NODES[of.node_name]
    return endpoint(of, zone=node.zone or None, **changes)


def synced(
    of: Service,
    pods: list[Pod],
    slices: list[EndpointSlice] | None = None,
    hints: dict[str, Memory] | None = None,
    nodes: dict[str, Node] = NODES,
    **more: Any,
) -> Plan:
    return reconcile(
        Snapshot(
            service=of,
            pods=pods,
            nodes=nodes,
            slices=slices or [],
            taken={each.name for each in slices or ()},
            capacity=capacity_of(nodes, adaptive=of.adaptive),
            hints=hints or {},
            **more,
        )
    )


def memory(plan: Plan) -> dict[str, Memory]:
    return {family.address_type: family.hints for family in plan.families}


def notices(plan: Plan) -> list[str]:
    return [notice.reason for family in plan.families for notice in family.notices]


def given(slices: list[EndpointSlice]) -> list[Hints | None]:
    return [each.hints for found in slices for each in found.endpoints]


THREE = [in_zone(1, "a"), in_zone(2, "b"), in_zone(3, "c")]
TWO_IN_A = [in_zone(number, "a") for number in (1, 2)]


@pytest.mark.parametrize("mode", ["aUto", "enabled", "disabled", "Disabled", ""])
def test_only_auto_switches_hints_on_es_t70(mode: str) -> None:
    assert given(apply(synced(service(topology_mode=mode), THREE), [])) == [None] * 3


def test_a_plan_carried_out_is_not_written_again_es_104() -> None:
    first = synced(AUTO, THREE)
    slices = apply(first, [])
    assert given(slices) == [zone("zone-a"), zone("zone-b"), zone("zone-c")]
    second = synced(AUTO, THREE, slices, memory(first))
    assert (counts(second), notices(first), notices(second)) == ((0, 0, 0), [REASON_HINTS_ENABLED], [])


def test_all_in_one_zone_es_t72() -> None:
    slices = apply(synced(AUTO, [in_zone(number, "c") for number in range(3)]), [])
    named = sorted(hints.for_zones[0].name for hints in given(slices) if hints and hints.for_zones)
    assert named == ["zone-a", "zone-b", "zone-c"]


def test_a_refusal_is_said_once_and_removes_hints_es_103_t73() -> None:
    four = [*THREE, in_zone(4, "a")]
    first = synced(AUTO, four, apply(synced(AUTO, THREE), []), {"IPv4": Memory({}, 3, "enabled")})
    assert notices(first) == [REASON_HINTS_DISABLED]
    assert given(updated(first)) == [None] * 4
    (notice,) = first.families[0].notices
    assert "(4 endpoints, 3 zones)" in notice.message
    assert notice.message.endswith("IPv4")
    second = synced(AUTO, four, apply(first, apply(synced(AUTO, THREE), [])), memory(first))
    assert (counts(second), notices(second)) == ((0, 0, 0), [])


def test_an_endpoint_without_a_zone_switches_off_but_writes_nothing_again_es_105() -> None:
    nodes = NODES | {"node-x": Node("node-x", control_plane=True)}
    pods = [*THREE, in_zone(4, "a"), in_zone(5, "b"), pod(6, node_name="node-x")]
    first = synced(AUTO, pods, nodes=nodes)
    second = synced(AUTO, pods, apply(first, []), memory(first), nodes)
    assert notices(first) == [REASON_HINTS_DISABLED]
    assert (counts(second), notices(second)) == ((0, 0, 0), [])


def test_a_zone_that_does_not_count_is_not_written_again_es_107() -> None:
    nodes = NODES | {"node-z": Node("node-z", "zone-z", ready=False, nano_cpu=10**9)}
    pods = [*THREE, pod(4, node_name="node-z"), in_zone(5, "a"), in_zone(6, "b")]
    first = synced(AUTO, pods, nodes=nodes)
    assert notices(first) == [REASON_HINTS_ENABLED]
    second = synced(AUTO, pods, apply(first, []), memory(first), nodes)
    assert counts(second) == (0, 0, 0)


def test_families_are_told_apart_es_108() -> None:
    """Where one family can be hinted and the other cannot, nothing is said twice."""
    dual = service(topology_mode="Auto", ip_families=("IPv4", "IPv6"))
    pods = [replace(each, ipv6=("fd00::1",)) if number else each for number, each in enumerate(THREE)]
    first = synced(dual, pods)
    second = synced(dual, pods, apply(first, []), memory(first))
    assert notices(first) == [REASON_HINTS_ENABLED, REASON_HINTS_DISABLED]
    assert (notices(second), counts(second)) == ([], (0, 0, 0))


def test_switching_off_says_so_once_es_109() -> None:
    first = synced(AUTO, THREE)
    slices = apply(first, [])
    off = synced(service(), THREE, slices, memory(first))
    assert (notices(off), given(updated(off))) == ([REASON_HINTS_DISABLED], [None] * 3)
    assert memory(off) == {"IPv4": Memory()}


@pytest.mark.parametrize(
    ("told", "totals", "ready", "expected"),
    [
        pytest.param("topology_node_information", {}, 3, True, id="healed"),
        pytest.param("topology_too_few_endpoints", {}, 2, False, id="still-too-few"),
        pytest.param("topology_overload", {}, 4, False, id="still-overloaded"),
        pytest.param("enabled", {"zone-a": 1, "zone-b": 1, "zone-c": 1}, 3, False, id="in-order"),
        pytest.param("enabled", {"zone-a": 2, "zone-b": 1}, 3, True, id="zone-without-endpoints"),
        pytest.param("", {}, 0, False, id="never-asked"),
    ],
)
def test_which_services_a_change_of_nodes_concerns(
    told: str, totals: dict[str, int], ready: int, expected: bool
) -> None:
    assert concerned(Memory(totals, ready, told), capacity_of(NODES)) is expected


@pytest.mark.parametrize(
    ("distribution", "mode", "hints"),
    [
        pytest.param("PreferClose", "Disabled", zone("zone-a"), id="ES-T79"),
        pytest.param("PreferSameZone", "", zone("zone-a"), id="ES-114-same-zone"),
        pytest.param("PreferSameNode", "", zone("zone-a", node="node-a"), id="ES-T81"),
        pytest.param("PreferNobody", "", None, id="ES-T84-unknown"),
        pytest.param(None, "", None, id="ES-T84-unset"),
    ],
)
def test_traffic_distribution(distribution: str | None, mode: str, hints: Hints | None) -> None:
    of = service(traffic_distribution=distribution, topology_mode=mode)
    slices = apply(synced(of, TWO_IN_A), [])
    assert given(slices) == [hints, hints]
    assert counts(synced(of, TWO_IN_A, slices)) == (0, 0, 0)


def test_auto_wins_over_traffic_distribution_es_t80() -> None:
    of = service(topology_mode="Auto", traffic_distribution="PreferClose")
    pods = [in_zone(1, "a"), *(in_zone(number, "b") for number in (2, 3, 4)), in_zone(5, "c"), in_zone(6, "c")]
    named = [hints.for_zones[0].name for hints in given(apply(synced(of, pods), [])) if hints and hints.for_zones]
    assert {name: named.count(name) for name in named} == {"zone-a": 2, "zone-b": 2, "zone-c": 2}


def test_no_zone_means_no_zone_hint_es_t81_t82() -> None:
    nodes = {"node-a": Node("node-a")}
    assert given(apply(synced(service(traffic_distribution="PreferSameNode"), TWO_IN_A, nodes=nodes), [])) == [
        zone(node="node-a"),
        zone(node="node-a"),
    ]
    assert given(apply(synced(service(traffic_distribution="PreferClose"), TWO_IN_A, nodes=nodes), [])) == [None, None]


def test_an_endpoint_that_is_not_ready_asks_for_no_write_es_t83() -> None:
    asleep = in_zone(1, "a", ready=False)
    found = [existing("s-a", [published(asleep)])]
    assert counts(synced(service(traffic_distribution="PreferClose"), [asleep], found)) == (0, 0, 0)


def test_an_endpoint_that_is_not_ready_keeps_no_stale_hint() -> None:
    asleep = in_zone(1, "a", ready=False)
    found = [existing("s-a", [published(asleep, hints=zone("zone-b"))])]
    plan = synced(service(traffic_distribution="PreferClose"), [asleep], found)
    assert given(updated(plan)) == [None]


def test_hints_that_nobody_asks_for_are_removed_es_117_t84() -> None:
    found = [existing("s-a", [published(THREE[0], hints=zone("zone-b", node="node-b"))])]
    plan = synced(service(), THREE[:1], found)
    assert given(updated(plan)) == [None]


def test_auto_removes_a_stale_hint_too() -> None:
    asleep = in_zone(4, "a", ready=False)
    first = synced(AUTO, [*THREE, asleep])
    (found,) = apply(first, [])
    stale = [each if each.conditions.ready else replace(each, hints=zone("zone-b")) for each in found.endpoints]
    plan = synced(AUTO, [*THREE, asleep], [replace(found, endpoints=tuple(stale))], memory(first))
    assert [each.endpoints for each in updated(plan)] == [found.endpoints]
