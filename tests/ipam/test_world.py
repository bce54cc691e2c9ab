"""What a decision is told of the cluster: its ranges, its reservations, and who is about to hold what."""

from typing import Any

import pytest

from controllers.ipam.objects import Namespace, Service, ServiceCIDR
from controllers.ipam.pools import Reservation
from controllers.ipam.ranges import IPV4, IPV6, NOWHERE, Addresses, Span, Spans
from controllers.ipam.world import PORT, UNKNOWN, Cluster, World, cluster_of
from controllers.model.objects import Labels
from tests.ipam.snapshots import address, addresses, service

PORTS = Span(30000, 32767)
TEN = 0x0A000000


def cidr(name: str, *cidrs: str, **fields: Any) -> ServiceCIDR:
    return ServiceCIDR(name=name, cidrs=cidrs, **fields)


def reservation(
    name: str, service_name: str = "web", *ips: str, created: str = "2026-01-01", **fields: Any
) -> Reservation:
    made = {"namespace": "a", "name": name, "service_name": service_name, "addresses": ips, "created": created}
    return Reservation(**{**made, **fields})


@pytest.mark.parametrize(
    ("cidrs", "families", "usable", "bands", "many"),
    [
        ((), (), NOWHERE, NOWHERE, set()),
        ((cidr("other", "10.0.0.0/28"),), (), addresses("10.0.0.1-10.0.0.14"), NOWHERE, set()),
        (
            (cidr("kubernetes", "10.0.0.0/24"),),
            (IPV4,),
            addresses("10.0.0.1-10.0.0.254"),
            addresses("10.0.0.1-10.0.0.16"),
            set(),
        ),
        # IP-25: its order gives the primary family
        (
            (cidr("kubernetes", "fd00::/124", "10.0.0.0/28"),),
            (IPV6, IPV4),
            addresses("10.0.0.1-10.0.0.14", "fd00::1-fd00::f"),
            NOWHERE,
            set(),
        ),
        # IP-12: those that are going, or not ready; the default's families are the flags' all the same
        (
            (
                cidr("kubernetes", "10.0.0.0/28", terminating=True),
                cidr("unready", "10.0.1.0/28", ready=False),
                cidr("ready", "10.0.2.0/28"),
            ),
            (IPV4,),
            addresses("10.0.2.1-10.0.2.14"),
            NOWHERE,
            set(),
        ),
        # IP-24: several of one family; one text is one allocator (IP-12)
        (
            (cidr("kubernetes", "10.0.0.0/28", "fd00::/124"), cidr("same", "10.0.0.0/28"), cidr("b", "fd00::10/124")),
            (IPV4, IPV6),
            addresses("10.0.0.1-10.0.0.14", "fd00::1-fd00::f", "fd00::11-fd00::1f"),
            NOWHERE,
            {IPV6},
        ),
        # C-5: shorter than /64 there is no allocator, though it is ready (SC-51)
        (
            (cidr("kubernetes", "10.0.0.0/28", "fd00::/63"),),
            (IPV4, IPV6),
            addresses("10.0.0.1-10.0.0.14"),
            NOWHERE,
            set(),
        ),
        ((cidr("kubernetes", "10.0.0.1/28"),), (IPV4,), NOWHERE, NOWHERE, set()),
    ],
)
def test_cluster(
    cidrs: tuple[ServiceCIDR, ...], families: tuple[str, ...], usable: Addresses, bands: Addresses, many: set[str]
) -> None:
    found = cluster_of(cidrs)
    assert (found.families, found.addresses, found.bands, set(found.many)) == (families, usable, bands, many)


def test_ends_are_what_no_other_cidr_gives() -> None:
    """C-7: the network address of a /28 inside of a /24 is that one's ordinary address."""
    whole = [cidr("kubernetes", "10.0.0.0/24", "fd00::/124")]
    ends = addresses("10.0.0.0-10.0.0.0", "10.0.0.255-10.0.0.255", "fd00::-fd00::")
    assert cluster_of(whole).ends == ends
    assert cluster_of([*whole, cidr("inside", "10.0.0.128/28")]).ends == ends
    assert (
        cluster_of([*whole, cidr("around", "10.0.0.0/16")]).ends.ipv4
        == addresses("10.0.0.0-10.0.0.0", "10.0.255.255-10.0.255.255").ipv4
    )
    assert cluster_of([]) == UNKNOWN == Cluster()


def test_oldest_reservation_counts() -> None:
    world = World(PORTS)
    young = reservation("a", "web", "10.0.0.1", created="2026-02-02")
    old = reservation("z", "other", "10.0.0.1", "fd00:0::1", node_ports=(("http", 30080), ("tls", 0)))
    for each in (young, old):
        world.reservation_changed(None, each)
    assert world.reserved_for(IPV4, TEN + 1) == "a/other"
    assert world.reserved_for(IPV6, 0xFD00 << 112 | 1) == "a/other"
    assert (world.reserved_for(PORT, 30080), world.reserved_for(PORT, 0)) == ("a/other", None)
    assert world.reserved_for(IPV6, TEN + 1) is None
    world.reservation_changed(old, None)
    assert world.reserved_for(IPV4, TEN + 1) == "a/web"
    assert world.reserved_for(PORT, 30080) is None
    assert (world.reservation("a/web"), world.reservation("a/other")) == (young, None)


def test_of_several_for_one_service_the_oldest() -> None:
    world = World(PORTS)
    same = [reservation(name, "web", ip) for name, ip in (("b", "10.0.0.2"), ("a", "10.0.0.1"))]
    for each in same:
        world.reservation_changed(None, each)
    assert world.reservation("a/web") == same[1]
    # All are kept for it.
    assert world.reserved_for(IPV4, TEN + 2) == "a/web"
    world.reservation_changed(same[1], None)
    assert world.reservation("a/web") == same[0]


@pytest.mark.parametrize("gone", [{"phase": "Expired"}, {"phase": "Conflict"}, {"terminating": True}])
def test_reservation_out_of_force_is_gone(gone: dict[str, Any]) -> None:
    world = World(PORTS)
    live = reservation("r", "web", "10.0.0.1", "not-an-address", health_check_node_port=30100)
    dead = reservation("r", "web", "10.0.0.1", "not-an-address", health_check_node_port=30100, **gone)
    world.reservation_changed(None, dead)
    assert world.reserved_for(IPV4, TEN + 1) is None
    world.reservation_changed(dead, live)
    assert (world.reserved_for(IPV4, TEN + 1), world.reserved_for(PORT, 30100)) == ("a/web", "a/web")
    world.reservation_changed(live, dead)
    assert (world.reserved_for(IPV4, TEN + 1), world.reserved_for(PORT, 30100)) == (None, None)
    assert world.reservation("a/web") is None
    world.reservation_changed(dead, None)
    assert world.reservation("a/web") is None


def test_change_moves_what_is_reserved() -> None:
    world = World(PORTS)
    before, after = reservation("r", "web", "10.0.0.1"), reservation("r", "web", "10.0.0.2")
    world.reservation_changed(None, before)
    world.reservation_changed(before, after)
    assert (world.reserved_for(IPV4, TEN + 1), world.reserved_for(IPV4, TEN + 2)) == (None, "a/web")


def test_namespace_that_no_cache_shows_has_its_name_as_label() -> None:
    known = Namespace("a", Labels({"team": "x"}))
    world = World(PORTS, namespaces={"a": known})
    assert world.namespace("a") == known
    assert world.namespace("b") == Namespace("b", Labels({"kubernetes.io/metadata.name": "b"}))


def test_holdings_by_kind() -> None:
    world = World(PORTS)
    world.ledger.address_changed(None, address("10.0.0.9"), 0.0)
    world.ledger.service_changed(None, service("a/web", "fd00::1", ports=(30080,)), 0.0)
    held = {kind: list(world.holdings(kind).held()) for kind in (IPV4, IPV6, PORT)}
    assert held == {IPV4: [TEN + 9], IPV6: [0xFD00 << 112 | 1], PORT: [30080]}


@pytest.mark.parametrize(
    ("requested", "in_flight", "count"),
    [
        (service("a/new"), [], 2),
        (service("b/new"), [], 0),
        # about to be held by another Service of the namespace, or outside of the pool
        (service("a/new"), [(TEN + 7, "a/other")], 3),
        (service("a/new"), [(TEN + 99, "a/other")], 2),
        # by an earlier attempt of this one
        (service("a/new"), [(TEN + 7, "a/new")], 2),
        # IP-74: it comes again, with what we gave it
        (service("a/new", "10.0.0.7"), [(TEN + 7, "a/other")], 2),
        # IP-2: names that do not exist yet are not the same name
        (service("a/"), [(TEN + 7, "a/")], 3),
        (service("a/", "10.0.0.7"), [(TEN + 7, "a/")], 2),
    ],
)
def test_held_beside(requested: Service, in_flight: list[tuple[int, str]], count: int) -> None:
    world = World(PORTS, in_flight=lambda kind, namespace: in_flight if kind == IPV4 else [])
    for each in (service("a/one", "10.0.0.1", ports=(30081,)), service("a/two", "10.0.0.2")):
        world.ledger.service_changed(None, each, 0.0)
    pool = Spans([Span(TEN, TEN + 15)])
    assert world.held_beside(requested, IPV4, pool) == count


def test_held_beside_of_ports() -> None:
    world = World(PORTS, in_flight=lambda kind, namespace: [(30090, "a/x"), (30091, "a/x")] if kind == PORT else [])
    world.ledger.service_changed(None, service("a/one", ports=(30081,)), 0.0)
    assert world.held_beside(service("a/new", ports=(30090,)), PORT, Spans([PORTS])) == 2
