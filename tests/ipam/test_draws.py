"""Where the numbers of a request come from: reservations, pools in their order, and what is left."""

from typing import Any

import msgspec
import pytest

from controllers.ipam.admission import (
    SETTLING,
    Draw,
)
from controllers.ipam.objects import PREFER, Port
from controllers.ipam.pools import IPPool
from controllers.ipam.ranges import IPV4, IPV6, Span, Spans
from controllers.ipam.world import PORT, World
from tests.ipam.snapshots import addresses, ip_pool, port_pool, service, team
from tests.ipam.worlds import (
    DUAL,
    EXCLUSIVE,
    HTTP,
    KEPT,
    address_ask,
    chosen,
    names,
    new,
    number,
    reservation,
    world,
)


def test_pools_by_priority_those_that_have_the_family() -> None:
    of = world(
        ip_pool("late", "10.96.0.64/28", priority=200),
        ip_pool("second", "10.96.0.32/28", "fd00::10/124"),
        ip_pool("first", "10.96.0.16/28"),
        ip_pool("others", "10.96.0.80/28", select=team("a")),
        cidr=DUAL,
    )
    four, six = chosen(new(policy=PREFER), of).addresses
    assert four is not None
    assert six is not None
    assert (four.kind, names(four), four.denies) == (IPV4, ["first", "second", "late"], None)
    assert (six.kind, names(six)) == (IPV6, ["second"])
    assert four.draws[0].parts == (addresses("10.96.0.16/28").ipv4,)


def test_only_what_the_api_server_accepts_is_drawn() -> None:
    """IP-13, IP-17: neither the network's address, nor what is in no ServiceCIDR."""
    ask = address_ask(new(), world(ip_pool("wide", "10.95.0.0/16", "10.96.0.0/16")))
    assert ask.draws[0].parts == (addresses("10.96.0.1-10.96.0.254").ipv4,)
    [port] = chosen(new(ports=(0,)), world(port_pool("wide", 1, 65535))).ports
    assert port.draws[0].parts == (Spans([Span(30000, 30099)]),)


ENFORCED = {"enforced": True}


@pytest.mark.parametrize(
    ("first", "drawn", "denies"),
    [
        ({}, ["p1", "p2", ""], None),
        ({"on_exhausted": "NextPool", **ENFORCED}, ["p1", "p2", ""], None),
        ({"on_exhausted": "ClusterDefault", **ENFORCED}, ["p1", ""], None),
        ({"on_exhausted": "Deny", **ENFORCED}, ["p1"], "p1"),
        # Only what enforces refuses.
        ({"on_exhausted": "Deny"}, ["p1", ""], None),
    ],
)
def test_chain_goes_on_as_on_exhausted_has_it(first: dict[str, Any], drawn: list[str], denies: str | None) -> None:
    of = world(
        EXCLUSIVE,
        HTTP,
        ip_pool("p1", "10.96.0.32/28", **first),
        ip_pool("p2", "10.96.0.64/28"),
        port_pool("p1", 30040, 30049, **first),
        port_pool("p2", 30050, 30059),
    )
    found = chosen(new(ports=(0,)), of)
    for ask in found.asks():
        assert names(ask) == drawn
        assert (ask.denies.name if ask.denies else None) == denies
    assert [ask.kind for ask in found.asks()] == [IPV4, PORT]


def test_last_pool_that_denies() -> None:
    of = world(ip_pool("p1", "10.96.0.32/28"), ip_pool("p2", "10.96.0.64/28", on_exhausted="Deny", enforced=True))
    ask = address_ask(new(), of)
    assert (names(ask), ask.denies) == (["p1", "p2"], of.ip_pools[1])


@pytest.mark.parametrize(
    "pools",
    [
        (),
        (ip_pool("p", KEPT),),
        (ip_pool("p", KEPT, exclusive=True, select=team("a")),),
        (ip_pool("p", KEPT, enforced=True, select=team("a")),),
        (ip_pool("p", "10.95.0.0/28", exclusive=True, enforced=True, select=team("a")),),
        (ip_pool("p", "fd00::/124", exclusive=True, enforced=True, select=team("a")),),
    ],
)
def test_api_server_chooses_where_nothing_is_banned(pools: tuple[IPPool, ...]) -> None:
    assert "" not in names(address_ask(new(), world(*pools)))


def test_steered_around_what_is_banned_the_band_last() -> None:
    """IP-14, IP-15, IP-38."""
    some = ip_pool("kept", "10.96.0.8-10.96.0.31", exclusive=True, enforced=True, select=team("a"))
    [draw] = address_ask(new(), world(some)).draws
    assert draw == Draw((addresses("10.96.0.32-10.96.0.254").ipv4, addresses("10.96.0.1-10.96.0.7").ipv4))
    assert (draw.strategy, draw.cooldown) == ("Random", 0.0)
    ports = port_pool("kept", 30010, 30029, exclusive=True, enforced=True, select=team("a"))
    [ask] = chosen(new(ports=(0,)), world(ports)).ports
    assert ask.draws == (Draw((Spans([Span(30030, 30099)]), Spans([Span(30000, 30009)])), settling=SETTLING),)


def test_draws_as_the_pool_has_it() -> None:
    [draw] = address_ask(new(), world(ip_pool("p", KEPT, strategy="Sequential", cooldown=60.0))).draws
    assert (draw.strategy, draw.cooldown) == ("Sequential", 60.0)
    [ask] = chosen(new(ports=(0,)), world(port_pool("p", 30040, 30049))).ports
    assert (ask.draws[0].strategy, ask.draws[0].cooldown) == ("Random", 0.0)


def test_ports_by_purpose() -> None:
    of = world(
        port_pool("nodes", 30040, 30049, purposes=frozenset({"NodePort"})),
        port_pool("health", 30050, 30059, purposes=frozenset({"HealthCheck"})),
    )
    found = chosen(new(ports=(0, 0), type="LoadBalancer", local=True), of)
    assert [names(ask) for ask in found.ports] == [["nodes"], ["nodes"]]
    assert found.health is not None
    assert names(found.health) == ["health"]


def test_numbers_that_the_request_names_are_drawn_for_no_other_port() -> None:
    """IP-42: nobody holds them yet."""
    of = world(port_pool("p", 30040, 30049), HTTP)
    found = chosen(new(ports=(30040, 0, 30090), type="LoadBalancer", local=True), of)
    left = Spans([Span(30041, 30049)])
    assert found.health is not None
    for ask in (*found.ports, found.health):
        assert ask.draws[0].parts == (left,)
        assert not any(30090 in spans for spans in ask.draws[1].parts)
    # A health-check port that it names is one, too.
    found = chosen(new(ports=(0,), type="LoadBalancer", local=True, health_check_node_port=30041), of)
    assert found.ports[0].draws[0].parts == (Spans([Span(30040, 30040), Span(30042, 30049)]),)


MINE = reservation(
    "b/web", "10.96.0.40", "fd00::40", node_ports=(("p0", 30060), ("dns", 30061)), health_check_node_port=30062
)


def test_reserved_numbers() -> None:
    found = chosen(new(ports=(0, 0), type="LoadBalancer", local=True, policy=PREFER), world(MINE, cidr=DUAL))
    assert [ask.reserved for ask in found.asks()] == [
        number("10.96.0.40"),
        number("fd00::40"),
        30060,
        None,
        30062,
    ]
    assert found.warnings == ()
    # Another's are not ours.
    assert not any(ask.reserved for ask in chosen(new("b/other", ports=(0,)), world(MINE)).asks())


def test_reservation_by_any_name_of_the_ports_that_share_a_number() -> None:
    """IP-40."""
    ports = (Port("udp", "UDP", 53), Port("dns", "TCP", 53))
    [ask] = chosen(msgspec.structs.replace(new(ports=(0,)), ports=ports), world(MINE)).ports
    assert ask.reserved == 30061


def test_without_a_name_there_is_no_reservation() -> None:
    """IP-73."""
    assert not any(ask.reserved for ask in chosen(new("b/", ports=(0,)), world(reservation("b/", "10.96.0.40"))).asks())


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (world(MINE, service("c/web", "10.96.0.40", ports=(30060,))), "but Service c/web holds it"),
        (
            world(
                reservation("b/web", "10.95.0.1", node_ports=(("p0", 31000),)),
            ),
            "but lies outside ",
        ),
        # An older reservation has it.
        (
            world(MINE, reservation("c/web", "10.96.0.40", node_ports=(("x", 30060),), created="2020")),
            "is reserved for Service c/web by a ServiceReservation",
        ),
        # The guards would refuse it.
        (
            world(
                MINE,
                ip_pool("kept", "10.96.0.32/28", exclusive=True, enforced=True, select=team("a")),
                port_pool("kept", 30060, 30069, exclusive=True, enforced=True, select=team("a")),
            ),
            "which is exclusive to namespace a",
        ),
    ],
)
def test_reserved_number_that_cannot_be_had(of: World, words: str) -> None:
    """A Service does not fail for what its reservation cannot keep."""
    found = chosen(new(ports=(0,)), of)
    assert [ask.reserved for ask in found.asks()] == [None, None]
    assert len(found.warnings) == 2
    assert all(words in each for each in found.warnings)


def test_reserved_number_that_another_port_names() -> None:
    [ask] = chosen(new(ports=(0, 30060)), world(MINE)).ports
    assert ask.reserved is None


def test_its_own_number_is_obtainable() -> None:
    """ExternalName and back: the cache may still show what it had."""
    of = world(MINE, service("b/web", "10.96.0.40"))
    assert address_ask(new(), of).reserved == number("10.96.0.40")
