"""Counts of pools and ServiceCIDRs add up, and nothing is counted twice."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.v1alpha1.common import MAX_COUNT
from api.v1alpha1.service_ip_pool import AddressCapacity
from controllers.ipam.capacity import (
    Count,
    ip_pool_consumers,
    ip_pool_counts,
    port_pool_consumers,
    port_pool_count,
    service_cidr_counts,
)
from controllers.ipam.objects import ServiceCIDR
from controllers.ipam.pools import Reservation
from controllers.ipam.ranges import Span, Spans
from controllers.ipam.snapshot import HOLD_MANAGER, Places, Sorted
from tests.ipam.snapshots import DEFAULT_CIDR, address, ip_pool, port_pool, service, snapshot

POOL = ip_pool("a", "10.96.0.16-10.96.0.31", cooldown=60.0)
WEB = service("shop/web", "10.96.0.16")
KEPT = Reservation(namespace="shop", name="r", service_name="late", addresses=("10.96.0.20",), phase="Held")


def figures(count: Count) -> tuple[int, ...]:
    return count.total, count.used, count.reserved, count.cooling, count.free


@pytest.mark.parametrize(
    ("case", "made", "expected"),
    [
        ("empty", {}, (16, 0, 0, 0, 16)),
        ("a Service's", {"services": [WEB]}, (16, 1, 0, 0, 15)),
        ("listed, without its IPAddress (IP-56)", {"services": [WEB], "without": ["10.96.0.16"]}, (16, 1, 0, 0, 15)),
        ("of two Services (IP-51)", {"services": [WEB, service("a/b", "10.96.0.16")]}, (16, 1, 0, 0, 15)),
        ("an IPAddress of another's (IP-19)", {"others": [address("10.96.0.17")]}, (16, 1, 0, 0, 15)),
        ("reserved", {"reservations": [KEPT]}, (16, 0, 1, 0, 15)),
        (
            "held for a reservation",
            {"reservations": [KEPT], "others": [address("10.96.0.20", manager=HOLD_MANAGER)]},
            (16, 0, 1, 0, 15),
        ),
        (
            "reserved, and its Service has it",
            {"reservations": [KEPT], "services": [service("shop/late", "10.96.0.20")]},
            (16, 1, 0, 0, 15),
        ),
        ("cooling down", {"released": [(WEB, 59.0)]}, (16, 0, 0, 1, 15)),
        ("cooled down", {"released": [(WEB, 61.0)]}, (16, 0, 0, 0, 16)),
        ("released, and taken again", {"released": [(WEB, 5.0)], "services": [WEB]}, (16, 1, 0, 0, 15)),
        (
            "released, and reserved",
            {"released": [(service("shop/late", "10.96.0.20"), 5.0)], "reservations": [KEPT]},
            (16, 0, 1, 0, 15),
        ),
        ("not of the pool", {"services": [service("shop/x", "10.96.0.99")]}, (16, 0, 0, 0, 16)),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_states_of_a_pool(case: str, made: dict[str, Any], expected: tuple[int, ...]) -> None:
    (count,) = ip_pool_counts(POOL, snapshot(**made))
    assert figures(count) == expected, case
    assert count.assignable == count.free


@pytest.mark.parametrize(
    ("name", "cidrs", "total", "assignable"),
    [
        ("network and broadcast are nobody's (IP-13)", [("10.96.0.0/24",)], 254, 254),
        ("the network's address of a narrower one is the wider's (C7)", [("10.96.0.0/24",), ("10.0.0.0/8",)], 256, 256),
        ("no ServiceCIDR: nothing to give", [], 256, 0),
        ("half of it", [("10.96.0.0/25",)], 254, 126),
    ],
)
def test_only_what_a_service_can_have(name: str, cidrs: list[tuple[str]], total: int, assignable: int) -> None:
    made = [ServiceCIDR(name=f"c{at}", cidrs=each) for at, each in enumerate(cidrs)]
    (count,) = ip_pool_counts(ip_pool("a", "10.96.0.0/24"), snapshot(cidrs=made))
    assert (count.total, count.assignable) == (total, assignable), name


def test_families_by_themselves_and_more_than_can_be_counted() -> None:
    pool = ip_pool("a", "fd00::/64", "10.96.0.0/30")
    four, six = ip_pool_counts(pool, snapshot([service("a/b", "fd00::7")]))
    # The pool's network address is the ServiceCIDR's, too; its last one is not.
    assert (four.family, four.total) == ("IPv4", 3)
    assert (six.family, six.total, six.used, six.free) == ("IPv6", 2**64, 1, 2**64 - 1)
    told = AddressCapacity(family="IPv6", total=six.total, used=1, reserved=0, cooling=0, free=six.free)
    assert (told.total, told.free) == (MAX_COUNT, MAX_COUNT)


def test_ports() -> None:
    pool = port_pool("p", 32760, 32780)
    view = snapshot([service("a/b", "10.96.0.1", ports=[32761, 32770])])
    count = port_pool_count(pool, view)
    assert figures(count) == (21, 2, 0, 0, 19)
    # What is beyond --service-node-port-range is counted, but cannot be given (IP-44).
    assert (count.reach, count.assignable) == (8, 7)
    assert port_pool_consumers(pool, view) == [("a", 2)]


def test_consumers_are_the_largest_ten() -> None:
    services = [service(f"n{n:02}/s{each}", f"10.96.0.{16 * n + each + 1}") for n in range(12) for each in range(n + 1)]
    found = ip_pool_consumers(ip_pool("a", "10.96.0.0/24"), snapshot([*services, service("n00/t", "10.96.0.1")]))
    assert found == [(f"n{n:02}", n + 1) for n in range(11, 1, -1)]


def test_service_cidrs_count_an_address_once() -> None:
    """Kubernetes' own metric counts it in each range (IP-26)."""
    wide = ServiceCIDR(name="wide", cidrs=("10.96.0.0/16", "fd00::/112"), terminating=True)
    same = ServiceCIDR(name="same", cidrs=("10.96.0.0/24",))
    view = snapshot([service("a/b", "10.96.0.9"), service("a/c", "10.96.7.7")], cidrs=[DEFAULT_CIDR, wide, same])
    found = {each.cidr: (each.count.total, each.count.used) for each in service_cidr_counts(view)}
    assert found == {"10.96.0.0/24": (254, 1), "10.96.0.0/16": (65534 - 254, 1), "fd00::/112": (65535, 0)}


def test_service_cidrs_that_the_allocator_passes_over_count_for_nothing() -> None:
    """Wider than /64 (IP-12), or no CIDR at all."""
    view = snapshot(cidrs=[ServiceCIDR(name="x", cidrs=("fd00::/63", "nonsense", "10.0.0.0/32"))])
    assert [(each.cidr, each.count.total) for each in service_cidr_counts(view)] == [("10.0.0.0/32", 0)]


SPOTS = st.integers(0, 40)


@given(
    held=st.lists(SPOTS, max_size=12),
    foreign=st.sets(SPOTS, max_size=5),
    kept=st.sets(SPOTS, max_size=5),
    left=st.sets(st.tuples(SPOTS, st.floats(0, 120)), max_size=8),
    first=SPOTS,
    size=st.integers(0, 40),
    ready=st.booleans(),
)
def test_it_adds_up(
    held: list[int], foreign: set[int], kept: set[int], left: set[tuple[int, float]], first: int, size: int, ready: bool
) -> None:
    base = int(ip_address("10.96.0.0"))
    texts = {spot: str(ip_address(base + spot)) for spot in range(81)}
    pool = ip_pool("a", f"{texts[first]}-{texts[first + size]}", cooldown=60.0)
    cidr = ServiceCIDR(name="c", cidrs=("10.96.0.0/27",), ready=ready)
    view = snapshot(
        [service(f"n/s{at}", texts[spot]) for at, spot in enumerate(held)],
        [address(texts[spot], manager=HOLD_MANAGER) for spot in foreign],
        released=[(service(f"n/g{spot}", texts[spot]), ago) for spot, ago in left],
        reservations=[Reservation(namespace="n", name=f"r{spot}", addresses=(texts[spot],)) for spot in kept],
        cidrs=[cidr],
    )
    (count,) = ip_pool_counts(pool, view)
    assert count.total == count.used + count.reserved + count.cooling + count.free
    assert min(figures(count)) >= 0
    assert 0 <= count.assignable <= min(count.free, count.reach)
    free = [
        spot
        for spot in range(first, first + size + 1)
        if spot not in {*held, *foreign, *kept}
        and not any(spot == each and ago < 60 for each, ago in left)
        and spot not in (0, 31)
    ]
    assert count.free == len(free)
    assert count.assignable == len([spot for spot in free if ready and 0 < spot < 31])


def test_the_range_of_node_ports_is_as_told() -> None:
    count = port_pool_count(port_pool("p", 100, 110), snapshot(node_ports=Span(105, 200)))
    assert (count.total, count.reach, count.assignable) == (11, 6, 6)


def test_figures_are_of_one_moment_while_the_ledger_goes_on() -> None:
    """What the operator sees: it writes statuses one after the other, and Services come and go meanwhile."""
    full = ip_pool("a", "10.96.0.20-10.96.0.20")
    late = service("shop/late", "10.96.0.20")
    view = snapshot([late], reservations=[KEPT], ip_pools=[full])
    before = ip_pool_counts(full, view)
    view.ledger.service_changed(late, None, 1.0)
    view.ledger.address_changed(address("10.96.0.20"), None, 1.0)
    assert ip_pool_counts(full, view) == before
    assert ip_pool_consumers(full, view) == [("shop", 1)]
    assert view.holdings("IPv4").of_namespace("shop", full.addresses.ipv4) == 1


@given(st.lists(st.lists(st.tuples(SPOTS, st.integers(0, 9)), max_size=4), max_size=5))
def test_places_are_where_asking_each_pool_finds_them(ranges: list[list[tuple[int, int]]]) -> None:
    pools = [(f"p{at}", Spans(Span(a, a + size) for a, size in each)) for at, each in enumerate(ranges)]
    places = Places(pools)
    for number in range(-1, 52):
        assert places.of(number) == tuple(name for name, spans in pools if number in spans)


@given(st.lists(SPOTS), st.lists(st.tuples(SPOTS, st.integers(-1, 9))))
def test_sorted_numbers_are_counted_as_one_by_one(numbers: list[int], ranges: list[tuple[int, int]]) -> None:
    spans, found = Spans(Span(a, a + size) for a, size in ranges), Sorted(set(numbers))
    assert list(found.within(spans)) == sorted(number for number in set(numbers) if number in spans)
    assert found.count(spans) == len(list(found.within(spans)))
