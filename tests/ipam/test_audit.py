"""Each thing that the audit finds, and the nearest thing that it does not."""

from typing import Any

import pytest
from msgspec.structs import replace

from controllers.ipam.audit import Finding, Kind, Ref, findings, ordered, parts
from controllers.ipam.networks import Networks
from controllers.ipam.objects import Port, ServiceCIDR
from controllers.ipam.pools import Reservation
from controllers.ipam.ranges import Span
from controllers.ipam.repairs import repairs
from controllers.ipam.snapshot import HOLD_MANAGER, Snapshot
from controllers.model.objects import Labels
from tests.ipam.snapshots import DEFAULT_CIDR, NOW, address, addresses, ip_pool, port_pool, service, snapshot, team

WEB = service("shop/web", "10.96.0.20")
JUST_NOW = "2026-11-25T11:59:57Z"
RECENTLY = "2026-11-25T11:59:30Z"
VIP = ip_pool("vip", "10.96.0.16-10.96.0.31", select=team("vip"), exclusive=True)
LATE = Reservation(namespace="late", name="r", service_name="x", addresses=("10.96.0.20",), node_ports=(("", 30080),))
GOING = ServiceCIDR(
    name="old",
    uid="uid-old",
    cidrs=("10.97.0.0/24",),
    terminating=True,
    deleted="2026-11-25T10:00:00Z",
    finalizers=("networking.k8s.io/service-cidr-finalizer",),
)
NOTHING: list[Any] = []


def brief(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(each.kind.value, f"{each.object.namespace}/{each.object.name}".lstrip("/"), each.value) for each in found]


CASES: list[tuple[str, Snapshot, list[tuple[str, str, str]]]] = [
    ("all is well", snapshot([WEB, service("shop/dual", "10.96.0.3"), service("a/none", "None")]), NOTHING),
    (
        "IP-51: the IPAddress is missing",
        snapshot([WEB], without=["10.96.0.20"]),
        [("missing_ipaddress", "shop/web", "10.96.0.20")],
    ),
    (
        "IP-53: it may only not have been seen yet",
        snapshot([service("shop/web", "10.96.0.20", created=JUST_NOW)], without=["10.96.0.20"]),
        NOTHING,
    ),
    (
        "C44: two Services list one address, and it is the one's",
        snapshot([WEB, service("a/b", "10.96.0.20")], [address("10.96.0.20", "shop/web")]),
        [("duplicate_address", "a/b", "10.96.0.20")],
    ),
    (
        "two Services list one address, and it is nobody's: the first's by name",
        snapshot([WEB, service("a/b", "10.96.0.20")], without=["10.96.0.20"]),
        [
            ("duplicate_address", "shop/web", "10.96.0.20"),
            ("missing_ipaddress", "a/b", "10.96.0.20"),
            ("missing_ipaddress", "shop/web", "10.96.0.20"),
        ],
    ),
    (
        "C43: the IPAddress is a Gateway's",
        snapshot([WEB], [address("10.96.0.20")]),
        [("wrong_parent", "shop/web", "10.96.0.20")],
    ),
    (
        "IP-51: the IPAddress is that of a Service that is not there",
        snapshot([WEB], [address("10.96.0.20", "a/gone")]),
        [("stale_ipaddress", "10.96.0.20", "10.96.0.20"), ("wrong_parent", "shop/web", "10.96.0.20")],
    ),
    (
        "IP-53: ExternalName to ClusterIP, in flight",
        snapshot([WEB], [address("10.96.0.20", "a/gone", created=JUST_NOW)]),
        NOTHING,
    ),
    (
        "IP-51: labels that are not the allocator's",
        snapshot([WEB], [address("10.96.0.20", "shop/web", manager="me")]),
        [("wrong_parent", "shop/web", "10.96.0.20")],
    ),
    (
        "C49: outside all ServiceCIDRs; no IPAddress is missing there",
        snapshot([service("a/b", "10.200.0.1")], without=["10.200.0.1"]),
        [("outside_service_cidr", "a/b", "10.200.0.1")],
    ),
    (
        "IP-13: the broadcast address is in it, but not usable",
        snapshot([service("a/b", "10.96.0.255")]),
        [("outside_service_cidr", "a/b", "10.96.0.255")],
    ),
    (
        "IP-55: not canonical, so that its IPAddress is nobody's",
        snapshot([service("a/b", "fd00:0::7")], cidrs=[ServiceCIDR(name="six", cidrs=("fd00::/112",))]),
        [("non_canonical", "a/b", "fd00:0::7")],
    ),
    (
        "IP-23: the first family of a Service whose second failed",
        snapshot([WEB], [address("fd00::7", "shop/web")]),
        [("half_dual_stack", "fd00::7", "fd00::7")],
    ),
    ("IP-54: it may be under way", snapshot([WEB], [address("fd00::7", "shop/web", created=RECENTLY)]), NOTHING),
    (
        "IP-53: an address that its Service has no more",
        snapshot([WEB], [address("10.96.0.7", "shop/web")]),
        [("stale_ipaddress", "10.96.0.7", "10.96.0.7")],
    ),
    ("C45: no Service, 5 s old", snapshot([], [address("10.96.0.7", "a/b", created=JUST_NOW)]), NOTHING),
    (
        "C45: no Service, old",
        snapshot([], [address("10.96.0.7", "a/b")]),
        [("stale_ipaddress", "10.96.0.7", "10.96.0.7")],
    ),
    ("C46: foreign, no Service", snapshot([], [address("10.96.0.7", "a/b", manager="me")]), NOTHING),
    (
        "RequireDualStack, one address",
        snapshot([service("a/b", "10.96.0.7", policy="RequireDualStack", families=("IPv4", "IPv6"))]),
        [("half_dual_stack", "a/b", "10.96.0.7")],
    ),
    (
        "IP-35: PreferDualStack may stay with one",
        snapshot([service("a/b", "10.96.0.7", policy="PreferDualStack")]),
        NOTHING,
    ),
    (
        "a hold without its reservation",
        snapshot([], [address("10.96.0.20", manager=HOLD_MANAGER)]),
        [("leaked_hold", "10.96.0.20", "10.96.0.20")],
    ),
    (
        "a hold with its reservation",
        snapshot(
            [],
            [address("10.96.0.20", manager=HOLD_MANAGER)],
            reservations=[Reservation(namespace="a", name="r", addresses=("10.96.0.20",), hold=True, phase="Held")],
        ),
        NOTHING,
    ),
    (
        "a reserved address and port of another's",
        snapshot([service("shop/web", "10.96.0.20", ports=[30080])], reservations=[LATE]),
        [("reserved_for_other", "shop/web", "10.96.0.20"), ("reserved_for_other", "shop/web", "30080")],
    ),
    ("its own", snapshot([service("late/x", "10.96.0.20", ports=[30080])], reservations=[LATE]), NOTHING),
    (
        "an exclusive pool's, in audit",
        snapshot([WEB], ip_pools=[VIP]),
        [("foreign_use", "shop/web", "10.96.0.20")],
    ),
    ("who is selected", snapshot([service("vip/web", "10.96.0.20")], ip_pools=[VIP]), NOTHING),
    ("IP-67: exempt", snapshot([service("kube-system/dns", "10.96.0.20")], ip_pools=[VIP]), NOTHING),
    (
        "IP-67: what --exempt-namespaces names",
        snapshot([service("ours/x", "10.96.0.20")], ip_pools=[VIP], exempt_namespaces=frozenset({"ours"})),
        NOTHING,
    ),
    (
        "IP-67: kube-system where it is not named",
        snapshot([service("kube-system/x", "10.96.0.20")], ip_pools=[VIP], exempt_namespaces=frozenset({"ours"})),
        [("foreign_use", "kube-system/x", "10.96.0.20")],
    ),
    (
        "an exclusive pool's, of a Gateway",
        snapshot([], [address("10.96.0.20", manager="me")], ip_pools=[VIP]),
        [("foreign_use", "10.96.0.20", "10.96.0.20")],
    ),
    (
        "an exclusive pool's Service elsewhere",
        snapshot([service("vip/web", "10.96.0.77")], ip_pools=[VIP]),
        [("outside_pool", "vip/web", "10.96.0.77")],
    ),
    (
        "elsewhere, in another of its pools",
        snapshot([service("vip/web", "10.96.0.77")], ip_pools=[VIP, ip_pool("all", "10.96.0.64-10.96.0.99")]),
        NOTHING,
    ),
    (
        "elsewhere, where the API server may choose",
        snapshot(
            [service("vip/web", "10.96.0.77")],
            ip_pools=[ip_pool("p", "10.96.0.1-10.96.0.2", enforced=True, on_exhausted="ClusterDefault")],
        ),
        NOTHING,
    ),
    (
        "elsewhere, of a pool without rules",
        snapshot([service("vip/web", "10.96.0.77")], ip_pools=[ip_pool("p", "10.96.0.1-10.96.0.2")]),
        NOTHING,
    ),
    (
        "IP-57: one node port of two Services",
        snapshot([service("a/b", "10.96.0.1", ports=[30080]), service("c/d", "10.96.0.2", ports=[30080])]),
        [("duplicate_node_port", "c/d", "30080")],
    ),
    (
        "IP-57: outside the range",
        snapshot([service("a/b", "10.96.0.1", ports=[20000])]),
        [("port_outside_range", "a/b", "20000")],
    ),
    (
        "a port of an exclusive pool",
        snapshot(
            [service("a/b", "10.96.0.1", ports=[30080])],
            port_pools=[port_pool("p", 30080, 30081, exclusive=True, select=team("vip"))],
        ),
        [("foreign_use", "a/b", "30080")],
    ),
    (
        "a ServiceCIDR that has been going for two hours",
        snapshot([service("a/b", "10.97.0.7")], cidrs=[DEFAULT_CIDR, GOING]),
        [("service_cidr_terminating", "old", "old")],
    ),
    (
        "a ServiceCIDR that Pods and Nodes have addresses of",
        snapshot(networks=Networks(addresses("10.96.0.128/25"), addresses("10.96.0.9/32", "10.0.0.0/24"))),
        [
            ("network_overlap", "kubernetes", "10.96.0.0/24 Nodes"),
            ("network_overlap", "kubernetes", "10.96.0.0/24 Pods"),
        ],
    ),
    (
        "networks beside a ServiceCIDR",
        snapshot(networks=Networks(addresses("10.96.1.0/24", "fd00::/64"), addresses("10.95.255.255/32"))),
        NOTHING,
    ),
    (
        "a ServiceCIDR that has just begun to go",
        snapshot(cidrs=[ServiceCIDR(name="x", cidrs=("10.97.0.0/24",), terminating=True, deleted=RECENTLY)]),
        NOTHING,
    ),
]


@pytest.mark.parametrize(("case", "view", "expected"), CASES, ids=[case for case, _, _ in CASES])
def test_findings(case: str, view: Snapshot, expected: list[tuple[str, str, str]]) -> None:
    assert brief(findings(view, NOW)) == expected, case


def test_every_kind_has_a_case() -> None:
    found = {kind for _, _, expected in CASES for kind, _, _ in expected}
    assert found | {Kind.STATIC_BAND_INVASION} == set(Kind)


def test_a_finding_names_its_object_its_pools_and_the_way_out() -> None:
    (found,) = findings(snapshot([WEB], ip_pools=[VIP, ip_pool("all", "10.96.0.0/24")]), NOW)
    assert found.object == Ref("Service", "shop", "web", "uid-web")
    assert found.pools == ("vip",)
    assert found.message == (
        "10.96.0.20 is in the exclusive pool vip, which does not select this Service. Make it anew"
    )


@pytest.mark.parametrize(
    ("recreates", "ready", "said"),
    [
        (True, True, "It is made again at once"),
        (False, True, "The API server makes it again within 3 minutes"),
        (True, False, "The API server makes it again within 3 minutes"),
    ],
    ids=["on", "off-or-report", "on-in-a-range-that-is-not-ready"],
)
def test_what_becomes_of_a_missing_ipaddress_is_told_as_it_is(recreates: bool, ready: bool, said: str) -> None:
    """IP-56; nothing is promised that `repairs` would not do, or that is not switched on."""
    cidr = replace(DEFAULT_CIDR, ready=ready)
    view = snapshot([WEB], without=["10.96.0.20"], cidrs=[cidr], recreates=recreates)
    (found,) = findings(view, NOW)
    assert found.message == f"The IPAddress 10.96.0.20 is missing: another Service could be given the address. {said}"
    assert ("at once" in said) is (recreates and bool(repairs(view, [found])))


def test_an_overlap_names_the_part_whose_it_is_and_the_pools_there() -> None:
    view = snapshot(
        networks=Networks(pods=addresses("10.96.0.24/29", "10.244.0.0/24")),
        ip_pools=[VIP, ip_pool("beside", "10.96.0.32/28")],
    )
    (found,) = findings(view, NOW)
    assert found.object == Ref("ServiceCIDR", "", "kubernetes", "sc")
    assert found.message.startswith("10.96.0.24-10.96.0.31 of 10.96.0.0/24 is also in a network of Pods: ")
    assert found.pools == ("vip",)


def test_a_terminating_service_cidr_lists_its_blockers() -> None:
    """Not those that another ServiceCIDR has, too: they do not keep it."""
    inside = ServiceCIDR(name="part", cidrs=("10.97.0.0/28",))
    services = [service(f"a/s{n:02}", f"10.97.0.{n}") for n in range(5, 30)]
    view = snapshot(services, cidrs=[DEFAULT_CIDR, GOING, inside], ip_pools=[ip_pool("p", "10.97.0.0/24")])
    (found,) = findings(view, NOW)
    assert found.pools == ("p",)
    assert "10.97.0.15 (a/s15), 10.97.0.16 (a/s16)" in found.message
    assert "10.97.0.14 (a/s14)" not in found.message
    assert "and 5 more" in found.message
    assert "networking.k8s.io/service-cidr-finalizer" in found.message


@pytest.mark.parametrize(("missing", "expected"), [(0, 1), (1, 0)])
def test_invasion_begins_when_the_dynamic_part_is_full(missing: int, expected: int) -> None:
    """10.96.0.0/24: static .1 to .16, dynamic .17 to .254 (IP-14, C2)."""
    pool = ip_pool("vip", "10.96.0.1-10.96.0.8", select=team("vip"), exclusive=True)
    services = [service(f"a/s{n}", f"10.96.0.{n}") for n in range(17, 255 - missing)]
    found = findings(snapshot(services, ip_pools=[pool, ip_pool("all", "10.96.0.9-10.96.0.254")]), NOW)
    assert [(each.kind, each.object.name, each.pools) for each in found] == [
        (Kind.STATIC_BAND_INVASION, "kubernetes", ("vip",))
    ] * expected


@pytest.mark.parametrize(("last", "expected"), [(132, ["p"]), (131, [])])
def test_invasion_of_ports(last: int, expected: list[str]) -> None:
    """33 ports: 16 of them static (IP-38)."""
    pools = [port_pool("p", 100, 103, exclusive=True, select=team("vip")), port_pool("q", 104, 132)]
    services = [service("a/b", "10.96.0.1", ports=range(116, last + 1))]
    found = findings(snapshot(services, node_ports=Span(100, 132), port_pools=pools), NOW)
    assert [name for each in found for name in each.port_pools] == expected


def test_order_is_stable() -> None:
    services = [service(f"n{n}/s", "10.200.0.1") for n in (3, 1, 2)]
    ahead, back = snapshot(services), snapshot(reversed(services))
    assert findings(ahead, NOW) == findings(back, NOW)


def test_ports_and_health_checks_of_a_service_are_its_own() -> None:
    """C52; and a number that is nobody's is no finding: the bitmap cannot be seen (IP-37)."""
    both = (Port("t", "TCP", 53, 30053), Port("u", "UDP", 53, 30053))
    dns = service("a/dns", "10.96.0.1", type="LoadBalancer", local=True, health_check_node_port=30099)
    dns = replace(dns, ports=both)
    assert findings(snapshot([dns]), NOW) == []


def test_without_labels_nobody_manages() -> None:
    (found,) = findings(snapshot([WEB], [address("10.96.0.20", "shop/web", labels=Labels())]), NOW)
    assert "managed by nobody" in found.message


def test_parts_are_the_findings_object_by_object() -> None:
    view = snapshot([WEB, service("a/b", "10.200.0.1")], [address("10.96.0.9", "a/gone")], ip_pools=[VIP])
    made = list(parts(view, NOW))
    assert len(made) == len(view.services) + len(view.addresses) + len(view.service_cidrs) + 1
    assert ordered(each for part in reversed(made) for each in part) == findings(view, NOW)
