"""What pools and reservations are refused for, the nearest thing that they are not, and that old wrongs are let be."""

from typing import Any

import pytest
from msgspec.structs import replace

from controllers.ipam.objects import Namespace, ServiceCIDR
from controllers.ipam.pools import IPPool, LabelSelector, PortPool, Reservation, Select
from controllers.ipam.validation import (
    deletion_objections,
    ip_pool_objections,
    port_pool_objections,
    reservation_objections,
)
from controllers.ipam.world import World
from controllers.model.objects import Labels
from tests.ipam.snapshots import ip_pool, port_pool, service, team
from tests.ipam.worlds import DUAL, reservation, world

OUTSIDE = (
    "is in no ready ServiceCIDR, so no Service can have it: create a ServiceCIDR first, or set serviceCIDR.mode to"
    " Create, or exclude it"
)
RELEASE = "release them first, or annotate the pool with ipam.sliceplane.dev/force=true"
A = ip_pool("a", "10.96.0.16/28")
BOTH = ip_pool("both", "10.96.0.16/28", "fd00::10/124")
A_SPAN = world().node_ports
NOT_READY = ServiceCIDR(name="kubernetes", cidrs=("10.96.0.0/24",), ready=False)


def objections(new: IPPool, *others: Any, old: IPPool | None = None, forced: bool = False, **of: Any) -> list[str]:
    return ip_pool_objections(new, old, world(*others, **of), forced=forced)


@pytest.mark.parametrize(
    ("case", "new", "others", "expected"),
    [
        ("alone", A, [], []),
        # An update is judged beside the pool as it was.
        ("beside itself", ip_pool("a", "10.96.0.0/27"), [A], []),
        ("beside a neighbour", A, [ip_pool("b", "10.96.0.0/28"), ip_pool("c", "10.96.0.32/28")], []),
        (
            "over others, each by name",
            ip_pool("new", "10.96.0.0/26"),
            [ip_pool("b", "10.96.0.8-10.96.0.9"), ip_pool("c", "10.96.0.63-10.96.0.70")],
            [
                '10.96.0.8-10.96.0.9 also belongs to ServiceIPPool "b": give each address one pool',
                '10.96.0.63 also belongs to ServiceIPPool "c": give each address one pool',
            ],
        ),
        ("a whole ServiceCIDR, with its ends", ip_pool("a", "10.96.0.0/24"), [], []),
        ("outside in part", ip_pool("a", "10.96.0.250-10.96.1.1"), [], [f"10.96.1.0-10.96.1.1 {OUTSIDE}"]),
        ("of a family that is not there", ip_pool("a", "fd00::/124"), [], [f"fd00::-fd00::f {OUTSIDE}"]),
        ("which a ServiceCIDR is made for", ip_pool("a", "192.0.2.0/28", creates_service_cidr=True), [], []),
        ("nonsense", replace(A, broken=("one", "two")), [], ["one", "two"]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_new_pool(case: str, new: IPPool, others: list[Any], expected: list[str]) -> None:
    assert objections(new, *others) == expected, case


def test_both_families_are_looked_at() -> None:
    other = ip_pool("o", "fd00::18/125")
    assert objections(BOTH, other, cidr=DUAL) == [
        'fd00::18-fd00::1f also belongs to ServiceIPPool "o": give each address one pool'
    ]


def test_while_no_service_cidr_is_known_nothing_is_outside() -> None:
    """The caches have not shown any yet: better to be told by a condition than to be refused."""
    assert ip_pool_objections(ip_pool("a", "192.0.2.0/28"), None, World(A_SPAN), forced=False) == []
    (said,) = objections(A, cidr=NOT_READY)
    assert OUTSIDE in said


@pytest.mark.parametrize(
    ("case", "old", "new", "expected"),
    [
        ("no other ranges", ip_pool("a", "192.0.2.0/28"), ip_pool("a", "192.0.2.0/28", priority=1), []),
        ("a part is mended", ip_pool("a", "192.0.2.0/28", "10.96.0.64/28"), ip_pool("a", "192.0.2.0/28"), []),
        (
            "more of the same wrong",
            ip_pool("a", "192.0.2.0/29"),
            ip_pool("a", "192.0.2.0/28"),
            [f"192.0.2.8-192.0.2.15 {OUTSIDE}"],
        ),
        (
            "no ServiceCIDR is made for it any more",
            ip_pool("a", "192.0.2.0/28", creates_service_cidr=True),
            ip_pool("a", "192.0.2.0/28"),
            [f"192.0.2.0-192.0.2.15 {OUTSIDE}"],
        ),
        (
            "one that is made from now on",
            ip_pool("a", "192.0.2.0/28"),
            ip_pool("a", "192.0.2.0/27", creates_service_cidr=True),
            [],
        ),
        ("old nonsense", replace(A, broken=("one",)), replace(A, broken=("one",), priority=1), []),
        ("new nonsense", replace(A, broken=("one",)), replace(A, broken=("one", "two")), ["two"]),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_was_wrong_before_is_not_said_again(case: str, old: IPPool, new: IPPool, expected: list[str]) -> None:
    assert objections(new, old, old=old) == expected, case


def test_an_overlap_that_was_there_is_not_said_again_but_a_larger_one_is() -> None:
    other, old = ip_pool("o", "10.96.0.16/28"), ip_pool("a", "10.96.0.8-10.96.0.19")
    assert objections(replace(old, priority=1), old, other, old=old) == []
    (said,) = objections(ip_pool("a", "10.96.0.8-10.96.0.20"), old, other, old=old)
    assert said.startswith('10.96.0.20 also belongs to ServiceIPPool "o"')


HELD = [service("a/two", "10.96.0.20"), service("a/one", "10.96.0.18"), service("b/x", "10.96.0.19")]


@pytest.mark.parametrize(
    ("case", "select", "new", "forced", "expected"),
    [
        ("what is kept is kept", team("a"), ip_pool("a", "10.96.0.18-10.96.0.31"), False, []),
        (
            "by who may draw from it",
            team("a"),
            ip_pool("a", "10.96.0.21-10.96.0.31"),
            False,
            [f"in use by Service a/one (10.96.0.18), a/two (10.96.0.20): {RELEASE}"],
        ),
        (
            "each one that goes",
            team("a"),
            ip_pool("a", "10.96.0.16-10.96.0.19"),
            False,
            [f"in use by Service a/two (10.96.0.20): {RELEASE}"],
        ),
        ("by force", team("a"), ip_pool("a", "10.96.0.21-10.96.0.31"), True, []),
        ("by nobody of it", team("c"), ip_pool("a", "10.96.0.21-10.96.0.31"), False, []),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_range_that_goes_while_services_have_it(
    case: str, select: Select, new: IPPool, forced: bool, expected: list[str]
) -> None:
    """By whom the old pool selects: they would be the ones that are stranded, whomever the new one selects."""
    old = replace(A, select=select)
    assert objections(replace(new, select=team("nobody")), old, *HELD, old=old, forced=forced) == expected, case


def test_labels_of_namespaces_decide_who_is_stranded() -> None:
    pool = replace(A, select=Select(namespace=LabelSelector(Labels(team="x"))))
    made = world(pool, *HELD)
    assert deletion_objections(pool, made, forced=False) == []
    made.namespaces["b"] = Namespace("b", Labels(team="x"))
    assert deletion_objections(pool, made, forced=False) == [f"in use by Service b/x (10.96.0.19): {RELEASE}"]


def test_a_deletion_names_three_and_tells_how_many_more() -> None:
    made = world(BOTH, *(service(f"a/s{at}", f"10.96.0.{16 + at}", f"fd00::1{at}") for at in range(5)), cidr=DUAL)
    four, six = deletion_objections(BOTH, made, forced=False)
    assert four == (f"in use by Service a/s0 (10.96.0.16), a/s1 (10.96.0.17), a/s2 (10.96.0.18) and 2 more: {RELEASE}")
    assert "a/s0 (fd00::10)" in six
    assert deletion_objections(BOTH, made, forced=True) == []
    assert deletion_objections(ip_pool("beside", "10.96.0.32/28"), made, forced=False) == []


P = port_pool("p", 30020, 30029)


@pytest.mark.parametrize(
    ("case", "new", "old", "others", "expected"),
    [
        ("alone", P, None, [], []),
        ("all there are", port_pool("p", 30000, 30099), None, [], []),
        ("beside", P, None, [port_pool("q", 30030, 30039), port_pool("r", 30010, 30019)], []),
        (
            "over another",
            P,
            None,
            [port_pool("q", 30029, 30039)],
            ['ports 30029 also belong to ServicePortPool "q": give each port one pool'],
        ),
        (
            "outside",
            port_pool("p", 30090, 30110),
            None,
            [],
            [
                "ports 30100-30110 are outside the node port range 30000-30099, which is given by"
                " --service-node-port-range to the API server and to us"
            ],
        ),
        ("outside already", port_pool("p", 30090, 30110, priority=1), port_pool("p", 30090, 30110), [], []),
        (
            "less, in use",
            port_pool("p", 30022, 30029),
            P,
            [service("a/web", "10.96.0.9", ports=[30021, 30022])],
            [f"in use by Service a/web (30021): {RELEASE}"],
        ),
        (
            "less, of a stranger's",
            port_pool("p", 30022, 30029),
            replace(P, select=team("b")),
            [service("a/web", "10.96.0.9", ports=[30021])],
            [],
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_pools_of_ports(case: str, new: PortPool, old: PortPool | None, others: list[Any], expected: list[str]) -> None:
    assert port_pool_objections(new, old, world(*others), forced=False) == expected, case
    forced = port_pool_objections(new, old, world(*others), forced=True)
    assert forced == [each for each in expected if not each.startswith("in use")]


def test_a_pool_of_ports_that_is_in_use_is_not_deleted() -> None:
    made = world(P, service("a/web", "10.96.0.9", ports=[30020]))
    assert deletion_objections(P, made, forced=False) == [f"in use by Service a/web (30020): {RELEASE}"]
    assert deletion_objections(P, made, forced=True) == []


KEPT = ip_pool("kept", "10.96.0.32/28", exclusive=True, select=team("a"))
KEPT_PORTS = port_pool("kept", 30040, 30049, exclusive=True, select=team("a"))
FIRST = reservation("x/first", "10.96.0.9", node_ports=(("", 30009),), name="first")


@pytest.mark.parametrize(
    ("case", "new", "others", "expected"),
    [
        ("free", reservation("b/web", "10.96.0.5", node_ports=(("", 30001),)), [], []),
        ("its own Service's", reservation("b/web", "10.96.0.5"), [service("b/web", "10.96.0.5")], []),
        (
            "held",
            reservation("b/web", "10.96.0.5", node_ports=(("", 30005),)),
            [service("b/other", "10.96.0.5", ports=[30005])],
            ["10.96.0.5 is held by Service b/other", "30005 is held by Service b/other"],
        ),
        (
            "reserved",
            reservation("b/web", "10.96.0.9", health_check_node_port=30009),
            [FIRST],
            [
                "10.96.0.9 is reserved for Service x/first already",
                "30009 is reserved for Service x/first already",
            ],
        ),
        ("reserved by one that has expired", reservation("b/web", "10.96.0.9"), [replace(FIRST, phase="Expired")], []),
        ("for the same Service by two", reservation("x/first", "10.96.0.9", name="second"), [FIRST], []),
        (
            "out of reach",
            reservation("b/web", "192.0.2.1", node_ports=(("", 80),)),
            [],
            ["192.0.2.1 is outside every ready ServiceCIDR", "80 is outside the node port range 30000-30099"],
        ),
        # What no Service can have: the network's address and the broadcast address (IP-13).
        (
            "the ends of a ServiceCIDR",
            reservation("b/web", "10.96.0.255"),
            [],
            ["10.96.0.255 is outside every ready ServiceCIDR"],
        ),
        (
            "of another's pools",
            reservation("b/web", "10.96.0.33", node_ports=(("", 30041),)),
            [KEPT, KEPT_PORTS],
            [
                '10.96.0.33 belongs to ServiceIPPool "kept", which is exclusive to namespace a',
                '30041 belongs to ServicePortPool "kept", which is exclusive to namespace a',
            ],
        ),
        ("of pools of its own", reservation("a/web", "10.96.0.33", node_ports=(("", 30041),)), [KEPT, KEPT_PORTS], []),
        (
            "of another's that keeps nobody out",
            reservation("b/web", "10.96.0.33"),
            [replace(KEPT, exclusive=False)],
            [],
        ),
        (
            "of two, and one is its own",
            reservation("b/web", "10.96.0.33"),
            [KEPT, ip_pool("o", "10.96.0.33/32", select=team("b"))],
            [],
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_new_reservation(case: str, new: Reservation, others: list[Any], expected: list[str]) -> None:
    assert reservation_objections(new, None, world(*others)) == expected, case


def test_what_a_reservation_had_is_not_asked_again() -> None:
    others = [service("b/other", "10.96.0.5"), service("b/more", "10.96.0.6")]
    old = reservation("b/web", "10.96.0.5")
    assert reservation_objections(replace(old, ttl=60.0), old, world(*others)) == []
    new = replace(old, node_ports=(("", 80),))
    assert reservation_objections(new, old, world(*others)) == ["80 is outside the node port range 30000-30099"]


def test_while_no_service_cidr_is_known_any_address_can_be_reserved_but_no_odd_port() -> None:
    made = World(A_SPAN)
    assert reservation_objections(reservation("b/web", "192.0.2.1"), None, made) == []
    odd = reservation("b/web", node_ports=(("", 80),))
    assert reservation_objections(odd, None, made) == ["80 is outside the node port range 30000-30099"]
