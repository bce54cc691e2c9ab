"""What becomes of a request that names numbers, or asks for too many: refused, warned or let through."""

from typing import Any

import pytest

from controllers.ipam.admission import (
    NOT_ENTITLED,
    POOL_EXHAUSTED,
    QUOTA_EXCEEDED,
    RESERVED,
    Choice,
    Refusal,
    decide,
    entitled,
    exhausted,
    shown,
)
from controllers.ipam.objects import HEADLESS, PREFER, Namespace, Service
from controllers.ipam.pools import IPPool, LabelSelector, Select
from controllers.ipam.ranges import IPV4, IPV6
from controllers.ipam.world import PORT, UNKNOWN, World
from controllers.model.objects import Labels
from tests.ipam.snapshots import ip_pool, port_pool, service, team
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
    refused,
    reservation,
    world,
)


@pytest.mark.parametrize(
    ("request_", "of"),
    [
        (new("kube-system/dns", "10.96.0.3"), world(EXCLUSIVE)),  # IP-67
        (new("sliceplane/ours", "10.96.0.3"), world(EXCLUSIVE, exempt=frozenset({"sliceplane"}))),
        (new("default/kubernetes", "10.96.0.3"), world(EXCLUSIVE)),
        (new(type="ExternalName"), world(EXCLUSIVE)),  # IP-68
        (new("b/web", HEADLESS), world(EXCLUSIVE)),
        (new(policy="RequireDualStack"), world(EXCLUSIVE)),  # the API server will say why (IP-29)
    ],
)
def test_what_does_not_concern_us(request_: Service, of: World) -> None:
    assert decide(request_, None, of) is None


def test_while_the_cluster_is_unknown_nothing_is_decided() -> None:
    of = world(EXCLUSIVE)
    of.cluster = UNKNOWN
    assert decide(new("b/web", "10.96.0.3"), None, of) is None


def test_update_that_needs_nothing_is_left_alone() -> None:
    """IP-68: whatever it holds, from before the pool."""
    holds = new("b/web", "10.96.0.3", families=(IPV4,), policy="SingleStack")
    assert decide(holds, holds, world(EXCLUSIVE, holds)) is None


@pytest.mark.parametrize(
    ("request_", "reason", "pool", "words"),
    [
        (
            new("b/web", "10.96.0.3"),
            NOT_ENTITLED,
            "kept",
            '10.96.0.3 belongs to ServiceIPPool "kept", which is exclusive to namespace a',
        ),
        (
            new(ports=(30021,)),
            NOT_ENTITLED,
            "kept",
            'node port 30021 belongs to ServicePortPool "kept", which is exclusive to namespace a',
        ),
        (
            new("b/web", type="LoadBalancer", local=True, health_check_node_port=30022),
            NOT_ENTITLED,
            "kept",
            "node port 30022 belongs to",
        ),
        (new("b/web", "10.96.0.100"), RESERVED, "", "10.96.0.100 is reserved for Service c/web"),
        (new("b/", "10.96.0.100"), RESERVED, "", "10.96.0.100 is reserved for Service c/web"),  # IP-73
        (new("c/other", "10.96.0.100"), RESERVED, "", "10.96.0.100 is reserved for Service c/web"),
        (new(ports=(0, 30050)), RESERVED, "", "node port 30050 is reserved for Service c/web"),
    ],
)
def test_number_that_is_kept_for_others(request_: Service, reason: str, pool: str, words: str) -> None:
    """IP-69."""
    reserved = reservation("c/web", "10.96.0.100", node_ports=(("p0", 30050),))
    found = refused(request_, world(EXCLUSIVE, HTTP, reserved))
    assert (found.reason, found.pool) == (reason, pool)
    assert words in found.message


@pytest.mark.parametrize(
    ("request_", "pools"),
    [
        (new("a/web", "10.96.0.3"), [EXCLUSIVE]),
        (new("b/web", "10.96.0.99"), [EXCLUSIVE]),
        (new("b/web", "10.96.0.3"), [ip_pool("open", KEPT, enforced=True, select=team("a"))]),
        # Pools that overlap: whom one of them admits
        (new("b/web", "10.96.0.3"), [EXCLUSIVE, ip_pool("b", "10.96.0.2-10.96.0.5", select=team("b"))]),
    ],
)
def test_number_that_may_be_named(request_: Service, pools: list[IPPool]) -> None:
    found = chosen(request_, world(*pools))
    assert (found.addresses, found.warnings) == ((None,), ())


def test_by_labels_of_namespace_and_service() -> None:
    select = Select(frozenset(), LabelSelector(Labels({"team": "x"})), LabelSelector(Labels({"tier": "1"})))
    of = world(ip_pool("kept", KEPT, exclusive=True, enforced=True, select=select))
    of.namespaces = {"b": Namespace("b", Labels({"team": "x"}))}
    assert isinstance(decide(new("b/web", "10.96.0.3", labels=Labels({"tier": "1"})), None, of), Choice)
    assert (
        "namespaces that its namespaceSelector selects and Services that"
        in refused(new("b/web", "10.96.0.3"), of).message
    )
    assert isinstance(decide(new("c/web", "10.96.0.3", labels=Labels({"tier": "1"})), None, of), Refusal)


def test_audit_warns_of_what_enforcement_would_refuse() -> None:
    audited = ip_pool("kept", KEPT, exclusive=True, select=team("a"))
    [warning] = chosen(new("b/web", "10.96.0.3"), world(audited)).warnings
    assert warning == '10.96.0.3 belongs to ServiceIPPool "kept", which is exclusive to namespace a'


def limited(**fields: Any) -> IPPool:
    return ip_pool("p", "10.96.0.32/28", "fd00::10/124", quota=2, **{"enforced": True, **fields})


@pytest.mark.parametrize(
    ("request_", "held", "refused_"),
    [
        (new(), 1, False),
        (new(), 2, True),
        (new("b/web", "10.96.0.47"), 1, False),
        (new("b/web", "10.96.0.47"), 2, True),
        (new("b/web", "10.96.0.99"), 2, False),
        (new("a/web"), 2, False),
        # Both families count, named or not.
        (new(policy=PREFER), 0, False),
        (new(policy=PREFER), 1, True),
        (new("b/web", "10.96.0.47", policy=PREFER), 0, False),
        (new("b/web", "10.96.0.47", policy=PREFER), 1, True),
        (new("b/web", "10.96.0.47", "fd00::11", policy=PREFER), 1, True),
    ],
)
def test_quota(request_: Service, held: int, refused_: bool) -> None:
    have = [service(f"b/s{at}", f"10.96.0.{32 + at}") for at in range(held)]
    found = decide(request_, None, world(limited(), *have, cidr=DUAL))
    if refused_:
        assert isinstance(found, Refusal)
        assert (found.reason, found.pool) == (QUOTA_EXCEEDED, "p")
        assert f'namespace b holds {held} of the 2 numbers that ServiceIPPool "p" allows' in found.message
    else:
        assert isinstance(found, Choice)
    audited = chosen(request_, world(limited(enforced=False), *have, cidr=DUAL))
    assert len(audited.warnings) == refused_


def test_quota_of_ports_counts_what_is_named_and_what_is_drawn() -> None:
    pool = port_pool("p", 30040, 30049, quota=3, enforced=True)
    held = service("b/s", ports=(30040,))
    assert isinstance(decide(new(ports=(30041, 0)), None, world(pool, held)), Choice)
    assert refused(new(ports=(30041, 0, 0)), world(pool, held)).reason == QUOTA_EXCEEDED
    assert refused(new(ports=(30041, 30042, 30043)), world(pool, held)).reason == QUOTA_EXCEEDED


def test_quota_counts_what_is_on_its_way_to_others() -> None:
    flying = [(number("10.96.0.40"), "b/other"), (number("10.96.0.41"), "b/web")]
    of = world(limited(), service("b/s", "10.96.0.32"), in_flight=lambda kind, ns: flying if kind == IPV4 else [])
    assert refused(new("b/web"), of).reason == QUOTA_EXCEEDED
    assert refused(new("b/third"), of).reason == QUOTA_EXCEEDED


def test_quota_when_our_own_choice_comes_back() -> None:
    """Re-invocation (IP-74): the number is named now, and in flight, and counts once."""
    ours = number("10.96.0.40")
    of = world(limited(), service("b/s", "10.96.0.32"), in_flight=lambda kind, ns: [(ours, "b/web")] * (kind == IPV4))
    assert isinstance(decide(new("b/web", "10.96.0.40"), None, of), Choice)


def test_quota_of_a_later_pool_holds_as_well() -> None:
    first, held = ip_pool("first", "10.96.0.16/28"), [service("b/s1", "10.96.0.32"), service("b/s2", "10.96.0.33")]
    last = ip_pool("z", "10.96.0.64/28")
    assert names(address_ask(new(), world(first, limited(), last, held[0]))) == ["first", "p", "z"]
    assert names(address_ask(new(), world(first, limited(), last, *held))) == ["first", "z"]
    assert names(address_ask(new(), world(first, limited(enforced=False), last, *held))) == ["first", "p", "z"]
    ask = address_ask(new(), world(first, limited(on_exhausted="Deny"), *held))
    assert (names(ask), ask.denies) == (["first"], first)


def test_exhausted_names_pool_size_and_holders() -> None:
    """IP-75."""
    pool = ip_pool("team-a", "10.96.0.32-10.96.0.38")
    have = [service(f"{ns}/s{at}", f"10.96.0.{at}") for ns, at in zip("bcbddea", range(32, 39), strict=True)]
    found = exhausted(pool, IPV4, world(pool, *have, service("z/s", "10.96.0.99")))
    assert (found.reason, found.pool) == (POOL_EXHAUSTED, "team-a")
    assert found.message == (
        'ServiceIPPool "team-a" has no free IPv4 address: of its 7, most are held by namespace b 2, d 2, a 1'
    )
    assert exhausted(port_pool("p", 30040, 30049), PORT, world()).message == (
        'ServicePortPool "p" has no free node port: of its 10, most are held by namespace nobody; '
        "10 are reserved, cooling down or just being given away"
    )


def test_exhausted_counts_as_kept_only_what_a_service_could_have() -> None:
    """IP-13, IP-75: neither the network's own address nor what no ServiceCIDR has is kept for anybody."""
    pool = ip_pool("p", "10.96.0.0-10.96.0.2", "10.97.0.0/28")
    found = exhausted(pool, IPV4, world(pool, service("a/s", "10.96.0.1")))
    assert found.message.endswith(
        "of its 19, most are held by namespace a 1; 1 is reserved, cooling down or just being given away"
    )


def test_who_may_draw_in_words() -> None:
    assert entitled(ip_pool("p", KEPT)) == "every Service"
    assert entitled(ip_pool("p", KEPT, select=team("b", "a"))) == "namespace a or b"
    assert (shown(IPV6, 1), shown(PORT, 30080)) == ("::1", "30080")
