"""Who holds what, however changes come; and when a number was given back."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.ipam import ledger as module
from controllers.ipam.ledger import Holdings, Ledger
from controllers.ipam.objects import HEADLESS, Port, Service
from controllers.ipam.ranges import IPV4, IPV6, Span, Spans, number_of
from tests.ipam.snapshots import address, service

A, B, SIX = "10.96.0.20", "10.96.0.21", "fd00::20"
EVERY = Spans([Span(0, 1 << 128)])


def fed(*services: Service) -> Ledger:
    made = Ledger()
    for each in services:
        made.service_changed(None, each, 0.0)
    return made


def number(text: str) -> int:
    return number_of(text)[1]


def test_what_a_service_holds() -> None:
    found = fed(service("a/web", A, SIX, ports=(30080, 30081)))
    assert list(found.holders(A)) == list(found.holders(SIX)) == list(found.port_holders(30081)) == ["a/web"]
    assert (list(found.holders(B)), list(found.port_holders(30082))) == ([], [])
    # Another family's address of the same number is another.
    assert number(SIX) not in found.of(IPV4)
    assert number(SIX) in found.of(IPV6)


@pytest.mark.parametrize(
    "holder",
    [
        service("a/web", HEADLESS),
        service("a/web", A, type="ExternalName"),
        service("a/web", "x", "10.0.0.0/8"),
        service("a/web", ports=(0,)),
        service("a/web", ports=(30080,), type="ClusterIP"),  # IP-45: on its way out
    ],
)
def test_what_holds_nothing(holder: Service) -> None:
    found = fed(holder)
    assert not any(list(each.held()) for each in (found.ipv4, found.ipv6, found.ports))


def test_text_that_is_not_canonical_is_the_same_address() -> None:
    """IP-55."""
    plain, other = service("a/web", "fd00::20"), service("a/web", "fd00:0:0::0020")
    found = fed(other)
    assert list(found.holders("fd00::20")) == ["a/web"]
    found.service_changed(other, plain, 5.0)
    assert number("fd00::20") in found.ipv6
    assert not found.ipv6.freed


def test_two_list_the_same_address() -> None:
    """C-44: it is free when both have gone."""
    one, two = service("a/one", A), service("b/two", A)
    found = fed(one, two)
    assert list(found.holders(A)) == ["a/one", "b/two"]
    found.service_changed(one, None, 5.0)
    assert list(found.holders(A)) == ["b/two"]
    assert not found.ipv4.freed
    found.service_changed(two, None, 6.0)
    assert number(A) not in found.ipv4
    assert found.ipv4.freed == {number(A): 6.0}


def test_protocols_that_share_a_number_hold_it_once() -> None:
    """IP-40: and it is given back with the last of them."""
    ports = (Port("t", "TCP", 53, 30053), Port("u", "UDP", 53, 30053))
    both = service("a/dns", type="NodePort", ports=()), service("a/dns", type="NodePort")
    whole = msgspec.structs.replace(both[0], ports=ports)
    found = fed(whole)
    assert found.ports.of_namespace("a", EVERY) == 1
    half = msgspec.structs.replace(whole, ports=ports[:1])
    found.service_changed(whole, half, 5.0)
    assert list(found.port_holders(30053)) == ["a/dns"]
    found.service_changed(half, msgspec.structs.replace(half, ports=()), 6.0)
    assert (list(found.port_holders(30053)), found.ports.freed) == ([], {30053: 6.0})


def test_health_check_port_counts() -> None:
    """IP-43; also beside a node port of its number (C-50)."""
    holder = service("a/lb", ports=(30080,), type="LoadBalancer", local=True, health_check_node_port=30081)
    found = fed(holder)
    assert sorted(found.ports.held()) == [30080, 30081]
    found.service_changed(holder, msgspec.structs.replace(holder, local=False), 1.0)
    assert sorted(found.ports.held()) == [30080]


def test_update_gives_back_what_it_drops() -> None:
    before, after = service("a/web", A, SIX, ports=(30080,)), service("a/web", A, ports=(30081,))
    found = fed(before)
    found.service_changed(before, after, 7.0)
    assert (found.ipv4.freed, found.ipv6.freed, found.ports.freed) == ({}, {number(SIX): 7.0}, {30080: 7.0})
    assert list(found.port_holders(30081)) == ["a/web"]
    found.service_changed(None, None, 8.0)
    assert sorted(found.ports.held()) == [30081]


def test_ipaddress_blocks_whatever_its_parent() -> None:
    """IP-19: it is free when both Service and object have gone, whichever goes first."""
    holder, held = service("a/web", A), address(A, "a/web")
    found = fed(holder)
    found.address_changed(None, held, 0.0)
    assert list(found.ipv4.held()) == [number(A)]
    found.address_changed(held, held, 1.0)
    found.service_changed(holder, None, 2.0)
    assert (number(A) in found.ipv4, list(found.holders(A)), dict(found.ipv4.freed)) == (True, [], {})
    found.address_changed(held, None, 3.0)
    assert (number(A) in found.ipv4, found.ipv4.freed) == (False, {number(A): 3.0})
    found.address_changed(None, address("not-an-address"), 3.0)
    found.address_changed(held, None, 9.0)
    assert found.ipv4.freed == {number(A): 3.0}


def test_count_of_pool_and_namespace() -> None:
    found = fed(service("a/one", A), service("a/two", A, SIX), service("b/web", B))
    found.address_changed(None, address("10.96.0.22"), 0.0)
    found.address_changed(None, address(A), 0.0)
    pool = Spans([Span(number(A), number(A) + 1)])
    assert found.ipv4.count(pool) == 2
    assert found.ipv4.count(EVERY) == 3
    # What two of a Namespace list is one number.
    assert (found.ipv4.of_namespace("a", pool), found.ipv4.of_namespace("c", pool)) == (1, 0)


@pytest.mark.parametrize(
    ("freed", "cooldown", "now", "cooling"),
    [
        (None, 60.0, 0.0, False),
        (None, 60.0, -1000.0, False),  # monotonic, from wherever
        (100.0, 60.0, 100.0, True),
        (100.0, 60.0, 159.9, True),
        (100.0, 60.0, 160.0, False),
        (100.0, 0.0, 100.0, False),
    ],
)
def test_cooling(freed: float | None, cooldown: float, now: float, cooling: bool) -> None:
    holdings = Holdings()
    if freed is not None:
        holdings.take(7, "a/web")
        holdings.give_back(7, "a/web", freed)
    assert holdings.cooling(7, cooldown, now) is cooling


def test_last_time_counts() -> None:
    """Given back, taken and given back again: it has moved to the end of what is remembered."""
    holdings = Holdings()
    for number_, now in ((1, 1.0), (2, 2.0), (1, 3.0)):
        holdings.take(number_, "a/web")
        holdings.give_back(number_, "a/web", now)
    assert list(holdings.freed.items()) == [(2, 2.0), (1, 3.0)]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    holdings = Holdings()
    for each in (1, 2, 3):
        holdings.take(each, "a/web")
        holdings.give_back(each, "a/web", float(each))
    assert list(holdings.freed) == [2, 3]


def test_giving_back_what_one_does_not_hold_is_nothing() -> None:
    holdings = Holdings()
    holdings.take(1, "a/web")
    holdings.take(1, "a/web")
    holdings.give_back(1, "b/web", 1.0)
    holdings.give_back(2, "a/web", 1.0)
    holdings.unblock(3, 1.0)
    assert (holdings.holders, dict(holdings.freed)) == ({1: {"a/web": None}}, {})
    holdings.give_back(1, "a/web", 1.0)
    assert (holdings.holders, holdings.by_namespace) == ({}, {})


ports = st.integers(1, 4)
states = st.none() | st.lists(ports, max_size=3).map(tuple)
histories = st.lists(st.tuples(st.sampled_from(["a/one", "a/two", "b/one"]), states), max_size=20)


@given(histories)
def test_law_holders_are_what_services_list_now(history: list[tuple[str, tuple[int, ...] | None]]) -> None:
    """After any history, the ledger is what it would be had it been told of the end alone."""
    found = Ledger()
    now: dict[str, Service | None] = {}
    for time, (key, listed) in enumerate(history):
        new = None if listed is None else service(key, *(f"10.0.0.{each}" for each in listed), ports=listed)
        found.service_changed(now.get(key), new, float(time))
        now[key] = new
    anew = fed(*(each for each in now.values() if each is not None))
    for one, two in ((found.ipv4, anew.ipv4), (found.ports, anew.ports)):
        assert {n: set(keys) for n, keys in one.holders.items()} == {n: set(keys) for n, keys in two.holders.items()}
        assert one.by_namespace == two.by_namespace
        assert sum(one.of_namespace(each, EVERY) for each in ("a", "b")) == sum(
            len(Counter(key.partition("/")[0] for key in keys)) for keys in one.holders.values()
        )
