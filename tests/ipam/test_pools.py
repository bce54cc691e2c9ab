"""Who is selected by labels, as the API's own machinery has it, and how pools and reservations are ranked."""

import pytest
from msgspec.structs import replace

from controllers.ipam.objects import Namespace
from controllers.ipam.pools import (
    EVERYONE,
    LabelSelector,
    Requirement,
    Select,
    banned_addresses,
    banned_ports,
    by_priority,
    concerning,
    ports_concerning,
)
from controllers.ipam.ranges import NONE, NOWHERE, Span, Spans
from controllers.model.objects import Labels
from tests.ipam.snapshots import addresses, ip_pool, port_pool, service, team
from tests.ipam.worlds import reservation


@pytest.mark.parametrize(
    ("operator", "values", "one_of_them", "another", "absent"),
    [
        ("In", ("a", "b"), True, False, False),
        ("NotIn", ("a", "b"), False, True, True),
        ("Exists", (), True, True, False),
        ("DoesNotExist", (), False, False, True),
    ],
)
def test_requirements(operator: str, values: tuple[str, ...], one_of_them: bool, another: bool, absent: bool) -> None:
    required = Requirement("k", operator, values)
    assert required.admits({"k": "b", "x": "y"}) is one_of_them
    assert required.admits({"k": "c"}) is another
    assert required.admits({"x": "a"}) is absent
    assert Requirement("k", "In", ("",)).admits({}) is False


def test_a_selector_takes_all_of_its_parts() -> None:
    selector = LabelSelector(Labels(a="1", b="2"), (Requirement("c", "Exists"), Requirement("d", "DoesNotExist")))
    assert selector.admits({"a": "1", "b": "2", "c": ""})
    for wrong in ({"a": "2"}, {"b": ""}, {"d": ""}):
        assert not selector.admits({"a": "1", "b": "2", "c": "", **wrong})
    assert not selector.admits({"a": "1", "b": "2"})
    assert LabelSelector().admits({})


WEB = replace(service("a/web", "10.96.0.1"), labels=Labels(tier="gold"))


@pytest.mark.parametrize(
    ("select", "namespace", "expected"),
    [
        (EVERYONE, True, True),
        (team("a", "b"), True, True),
        (team("b"), False, False),
        (Select(namespace=LabelSelector(Labels(team="x"))), True, True),
        (Select(namespace=LabelSelector(Labels(team="y"))), False, False),
        (Select(frozenset({"a"}), LabelSelector(Labels(team="y"))), False, False),
        (Select(frozenset({"b"}), LabelSelector(Labels(team="x"))), False, False),
        (Select(service=LabelSelector(Labels(tier="gold"))), True, True),
        (Select(service=LabelSelector(Labels(tier="lab"))), True, False),
        (Select(frozenset({"b"}), service=LabelSelector(Labels(tier="gold"))), False, False),
    ],
)
def test_who_may_draw(select: Select, namespace: bool, expected: bool) -> None:
    """A Service's labels do not tell whom a whole namespace is for."""
    space = Namespace("a", Labels(team="x"))
    assert select.admits_namespace(space) is namespace
    assert select.admits(space, WEB) is expected


def test_the_lowest_number_first_then_by_name() -> None:
    pools = [ip_pool("c", "10.0.0.1/32", priority=5), ip_pool("a", "10.0.0.2/32"), ip_pool("b", "10.0.0.3/32")]
    pools += [ip_pool("z", "10.0.0.4/32", priority=0)]
    assert [each.name for each in by_priority(pools)] == ["z", "c", "a", "b"]


def test_pools_that_concern_a_service() -> None:
    space = Namespace("a")
    four, six = ip_pool("four", "10.0.0.0/28"), ip_pool("six", "fd00::/124")
    strange = ip_pool("strange", "10.0.1.0/28", "fd00::10/124", select=team("b"))
    assert concerning([four, six, strange], space, WEB, "IPv4") == [four]
    assert concerning([four, six, strange], space, WEB, "IPv6") == [six]
    both, health = port_pool("both", 1, 9), port_pool("health", 10, 19, purposes=frozenset({"HealthCheck"}))
    assert ports_concerning([health, both], space, WEB, "NodePort") == [both]
    assert ports_concerning([health, both], space, WEB, "HealthCheck") == [health, both]


def test_only_what_is_exclusive_and_enforced_is_banned() -> None:
    pools = [
        ip_pool(f"{exclusive}{enforced}", f"10.0.{at}.0/28", exclusive=exclusive, enforced=enforced)
        for at, (exclusive, enforced) in enumerate([(True, True), (True, False), (False, True), (True, True)])
    ]
    assert banned_addresses(pools) == addresses("10.0.0.0/28", "10.0.3.0/28")
    ports = [port_pool("a", 1, 9, exclusive=True, enforced=True), port_pool("b", 20, 29, exclusive=True)]
    assert banned_ports([*ports, replace(ports[0], name="c", ports=Spans([Span(9, 12)]))]) == Spans([Span(1, 12)])
    assert (banned_addresses([]), banned_ports([])) == (NOWHERE, NONE)


def test_reservations_by_age_and_what_is_in_force() -> None:
    old, new = reservation("z/web", created="2026-01"), reservation("a/web", created="2026-02")
    assert min([new, old], key=lambda each: each.rank) is old
    alike = [reservation("b/web", name="a"), reservation("a/web", name="b"), reservation("a/web", name="a")]
    assert sorted(alike, key=lambda each: each.rank) == [alike[2], alike[1], alike[0]]
    phases = ("", "Pending", "Held", "Bound", "HandingOver", "Conflict", "Expired")
    assert [phase for phase in phases if not replace(old, phase=phase).in_force] == ["Conflict", "Expired"]
    assert not replace(old, terminating=True).in_force


def test_ports_of_a_reservation_count_once() -> None:
    made = reservation("a/web", node_ports=(("x", 30001), ("y", 30002), ("z", 30001)), health_check_node_port=30002)
    assert made.numbers() == (30001, 30002)
    assert replace(made, health_check_node_port=30003).numbers() == (30001, 30002, 30003)
    assert reservation("a/web", node_ports=(("x", 0),)).numbers() == ()
