"""Nodes that flap go on counting for a while (Adaptive hints), and a few without a zone are ignored."""

import pytest
from msgspec.structs import replace

from controllers.model.objects import Node
from controllers.model.reasons import Reason
from controllers.topology.capacity import Capacity, capacity_of
from controllers.topology.held import HeldNodes

A, B, C = (Node(f"node-{zone}", zone, nano_cpu=10**9) for zone in "abc")
ALL = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
HALF = {"a": 0.5, "b": 0.5}
DOWN = replace(C, ready=False)


@pytest.fixture
def held() -> HeldNodes:
    made = HeldNodes(60)
    for node in (A, B, C):
        made.change(None, node, 0)
    return made


def shares(held: HeldNodes) -> dict[str, float]:
    capacity = held.capacity()
    assert capacity.unusable is None
    return dict(capacity.shares)


@pytest.mark.parametrize("after", [DOWN, replace(DOWN, zone="", nano_cpu=0), None], ids=["down", "emptied", "gone"])
def test_held_until_the_time_is_over(held: HeldNodes, after: Node | None) -> None:
    held.change(C, after, 10)
    assert held.next_due() == 70
    held.expire(69.9)
    assert shares(held) == ALL
    held.expire(70)
    assert (shares(held), held.next_due()) == (HALF, None)


def test_what_comes_back_is_held_no_more_and_anew_when_it_goes_again(held: HeldNodes) -> None:
    held.change(C, DOWN, 10)
    held.change(DOWN, C, 20)
    assert held.next_due() is None
    held.expire(100)
    assert shares(held) == ALL
    held.change(C, DOWN, 100)
    held.change(DOWN, None, 130)
    assert held.next_due() == 160
    held.expire(160)
    held.change(None, C, 170)
    assert shares(held) == ALL


def test_it_comes_back_as_another(held: HeldNodes) -> None:
    held.change(C, DOWN, 10)
    held.change(DOWN, replace(C, zone="a"), 20)
    assert shares(held) == {"a": 2 / 3, "b": 1 / 3}


@pytest.mark.parametrize(
    "after", [replace(C, control_plane=True), replace(C, zone="b")], ids=["control-plane", "moved"]
)
def test_what_is_done_on_purpose_counts_at_once(held: HeldNodes, after: Node) -> None:
    held.change(C, after, 10)
    assert set(shares(held)) == {"a", "b"}


def test_several_are_let_go_of_one_after_the_other(held: HeldNodes) -> None:
    held.change(C, DOWN, 10)
    held.change(B, replace(B, ready=False), 20)
    held.expire(70)
    assert (set(shares(held)), held.next_due()) == ({"a", "b"}, 80)
    held.expire(80)
    assert held.capacity() == Capacity(unusable=Reason.TOPOLOGY_SINGLE_ZONE)


def test_no_grace_period() -> None:
    held = HeldNodes(0)
    for node in (A, B, C):
        held.change(None, node, 0)
    held.change(C, DOWN, 10)
    assert (shares(held), held.next_due()) == (HALF, None)


def test_what_never_counted_is_not_held(held: HeldNodes) -> None:
    bare = Node("node-x")
    held.change(None, bare, 0)
    held.change(bare, replace(bare, ready=False), 10)
    held.change(None, Node("node-y", "y", ready=False, nano_cpu=1), 10)
    assert (shares(held), held.next_due()) == (ALL, None)


@pytest.mark.parametrize(
    ("zones", "bare", "expected"),
    [
        (["a", "b", "a", "b"], 1, HALF),
        (["a", "b", "a"], 1, Reason.TOPOLOGY_NODES_INCOMPLETE),
        (["a", "a"], 0, Reason.TOPOLOGY_SINGLE_ZONE),
        ([], 0, Reason.TOPOLOGY_SINGLE_ZONE),
    ],
    ids=["one-of-five", "one-of-four", "one-zone", "none"],
)
def test_a_few_nodes_without_a_zone_are_ignored(
    zones: list[str], bare: int, expected: dict[str, float] | Reason
) -> None:
    nodes = [Node(f"node-{number}", zone, nano_cpu=10**9) for number, zone in enumerate([*zones, *[""] * bare])]
    found = capacity_of({node.name: node for node in nodes}, adaptive=True)
    assert (found.unusable or found.shares) == expected
