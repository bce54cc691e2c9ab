"""What a request needs, row by row of the specification. tests/shell has the same beside a real API server."""

import msgspec
import pytest

from controllers.ipam.needs import Needs, carried_over, needs
from controllers.ipam.objects import HEADLESS, PREFER, REQUIRE, SINGLE, Port, Service
from controllers.ipam.ranges import IPV4, IPV6

A, B, C, D = "10.96.0.20", "fd00:10:96::20", "10.96.0.21", "fd00:10:96::21"
BOTH = (IPV4, IPV6)


def service(*ips: str, ports: tuple[Port, ...] = (), policy: str = "", **fields: object) -> Service:
    """A Service with both fields of its addresses."""
    made = Service(
        namespace="default", name="web", cluster_ip=ips[0] if ips else "", cluster_ips=ips, policy=policy, ports=ports
    )
    return msgspec.structs.replace(made, **fields)


def tcp(port: int, number: int = 0, name: str = "") -> Port:
    return Port(name or f"tcp-{port}", "TCP", port, number)


def udp(port: int, number: int = 0, name: str = "") -> Port:
    return Port(name or f"udp-{port}", "UDP", port, number)


def held(*ports: Port, **fields: object) -> Service:
    """One that is there, with IPv4."""
    given: dict[str, object] = {"families": (IPV4,), "policy": SINGLE, "type": "NodePort", **fields}
    return msgspec.structs.replace(service(A, ports=ports), **given)


def put(*ports: Port, **fields: object) -> Service:
    """A PUT without numbers and addresses."""
    return msgspec.structs.replace(service(ports=ports), **{"type": "NodePort", **fields})


def found(new: Service, old: Service | None = None) -> Needs:
    made = needs(new, old, BOTH)
    assert made is not None
    return made


ALLOCATED = held(tcp(80, 30080, "a"), tcp(81, 30081, "b"))
LOCAL = held(tcp(80, 30080, "a"), type="LoadBalancer", local=True, health_check_node_port=30100)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        # IP-68
        (service(type="ExternalName"), None),
        (service(HEADLESS), None),
        (service(HEADLESS, has_selector=True), None),
        (service(terminating=True), None),
        (held(tcp(80, 30080), terminating=True), held(tcp(80, 30080))),
        (ALLOCATED, ALLOCATED),
        (put(*ALLOCATED.ports), ALLOCATED),
        (put(tcp(80, name="a"), tcp(81, name="b")), ALLOCATED),  # IP-9
        (put(tcp(81, name="b")), ALLOCATED),  # one less
        (put(tcp(80, name="a"), type="ClusterIP"), ALLOCATED),  # IP-11, IP-45
        (held(*ALLOCATED.ports, type="ClusterIP"), ALLOCATED),
        (held(*ALLOCATED.ports, type="ExternalName"), ALLOCATED),
        (put(*ALLOCATED.ports, type="LoadBalancer"), ALLOCATED),  # C-21: kept
        (msgspec.structs.replace(LOCAL, local=False), LOCAL),  # C-31
        (put(tcp(80, name="a"), type="LoadBalancer", local=True), LOCAL),  # IP-9
        (put(tcp(80, 30080, "a"), type="LoadBalancer", allocates_node_ports=False), ALLOCATED),  # C-29
        (service(policy=SINGLE), msgspec.structs.replace(service(A, B, policy=PREFER), families=BOTH)),  # C-38
        # IP-41: held already, though by another port
        (put(tcp(80, 30081, "a"), udp(81, 30081, "b")), ALLOCATED),
        # refused: the API server's error is the better one
        (service(A, B), None),  # IP-29
        (service(ports=(tcp(80, 30080),)), None),  # IP-39
        (service(ports=(tcp(80, 30080), udp(81, 30080)), type="NodePort"), None),  # IP-40, C-26
        (service(ports=(tcp(80, 30080), tcp(81, 30080)), type="NodePort"), None),  # C-27
        (service(ports=(tcp(53, 1), udp(53, 2), Port("s", "SCTP", 53, 2)), type="NodePort"), None),  # IP-40
        (service(ports=(tcp(80, 0, "a"), tcp(80, 0, "b")), type="NodePort"), None),
        (put(tcp(80, 30090), tcp(81, 30090)), ALLOCATED),  # IP-41, C-27
        (service(health_check_node_port=30100), None),  # IP-43
        (service(type="LoadBalancer", health_check_node_port=30100), None),
        (msgspec.structs.replace(LOCAL, health_check_node_port=30101), LOCAL),  # C-31
        (service(ports=(tcp(80, 1),), type="LoadBalancer", local=True, health_check_node_port=1), None),  # C-32
        (held(tcp(80, 30090, "a"), type="LoadBalancer", local=True, health_check_node_port=30080), ALLOCATED),
        (service(C), held(type="ClusterIP")),  # IP-36
    ],
)
def test_nothing_that_concerns_us(new: Service, old: Service | None) -> None:
    assert needs(new, old, BOTH) is None


@pytest.mark.parametrize(
    ("new", "old", "addresses", "given"),
    [
        (service(), None, ("",), ()),
        (service(policy=PREFER), None, ("", ""), ()),
        (service(A), None, (A,), (A,)),
        (service(cluster_ip=A), None, (A,), (A,)),  # IP-10
        (service(A, policy=PREFER), None, (A, ""), (A,)),  # IP-33
        (service(B, policy=REQUIRE), None, (B, ""), (B,)),
        (service(A, B, policy=PREFER), None, (A, B), (A, B)),
        # IP-34, IP-71: the second family is added
        (service(policy=PREFER), held(), (A, ""), ()),
        (service(A, families=(IPV4,), policy=REQUIRE), held(), (A, ""), ()),
        (service(A, B, policy=PREFER), held(), (A, B), (B,)),
        # IP-71: ExternalName → other
        (service(), service(type="ExternalName"), ("",), ()),
        (service(cluster_ip=B), service(type="ExternalName"), (B,), (B,)),
        (service(B, policy=PREFER), service(type="ExternalName"), (B, ""), (B,)),
    ],
)
def test_addresses(new: Service, old: Service | None, addresses: tuple[str, ...], given: tuple[str, ...]) -> None:
    made = found(new, old)
    assert (made.addresses, made.given_addresses, made.canonicalised) == (addresses, given, False)
    assert len(made.families) == len(addresses)


def test_policy_of_a_put_that_adds_a_family() -> None:
    """IP-27, IP-29: two addresses need a policy; where the request has none it is the old one."""
    old = held(type="ClusterIP", policy=PREFER)
    assert (found(service(), old).addresses, found(service(), old).policy) == ((A, ""), PREFER)
    assert found(service(policy=REQUIRE), old).policy == ""
    assert found(service()).policy == ""


def test_canonical_text() -> None:
    """IP-55, IP-70: of what the request names, not of what is held, whose text must not change (IP-36)."""
    odd = "FD00:10:96:0::20"
    made = found(service(odd))
    assert (made.addresses, made.given_addresses, made.canonicalised) == ((B,), (B,), True)
    made = found(service(A, odd, policy=PREFER), held())
    assert (made.addresses, made.given_addresses, made.canonicalised) == ((A, B), (B,), True)
    old = msgspec.structs.replace(service(odd, policy=SINGLE), families=(IPV6,))
    made = found(service(policy=PREFER), old)
    assert (made.addresses, made.given_addresses, made.canonicalised) == ((odd, ""), (), False)
    assert needs(old, old, BOTH) is None


@pytest.mark.parametrize(
    ("ports", "numbers", "groups", "given"),
    [
        ((), (), (), ()),
        ((tcp(80), tcp(81)), (0, 0), ((0,), (1,)), ()),
        ((tcp(53), udp(53)), (0, 0), ((0, 1),), ()),  # C-24
        ((tcp(53), tcp(80), udp(53)), (0, 0, 0), ((0, 2), (1,)), ()),
        ((tcp(53, 30053), udp(53)), (30053, 30053), (), (30053,)),  # IP-40: the explicit one is shared
        ((tcp(53), udp(53, 30053)), (30053, 30053), (), (30053,)),
        ((tcp(53, 30053), udp(53, 30054)), (30053, 30054), (), (30053, 30054)),  # C-25
        ((tcp(53, 30053), udp(53, 30053)), (30053, 30053), (), (30053,)),
        ((tcp(80), tcp(81, 30081)), (0, 30081), ((0,),), (30081,)),
    ],
)
def test_node_ports_of_a_create(
    ports: tuple[Port, ...], numbers: tuple[int, ...], groups: tuple[tuple[int, ...], ...], given: tuple[int, ...]
) -> None:
    for kind in ("NodePort", "LoadBalancer"):
        made = found(service(ports=ports, type=kind))
        assert (made.node_ports, made.port_groups, made.given_ports) == (numbers, groups, given)


def test_node_ports_that_are_not_allocated() -> None:
    """IP-39, C-28: explicit ones are reserved, the others stay zero."""
    made = found(service(ports=(tcp(53), udp(53, 30053)), type="LoadBalancer", allocates_node_ports=False))
    assert (made.node_ports, made.port_groups, made.given_ports) == ((0, 30053), (), (30053,))
    assert found(service(ports=(tcp(53), udp(53)))).node_ports == (0, 0)


@pytest.mark.parametrize(
    ("new", "old", "numbers", "groups", "given"),
    [
        # IP-71: type → NodePort or LoadBalancer; each zero entry its own (IP-41)
        (put(tcp(53), udp(53)), held(tcp(53), udp(53), type="ClusterIP"), (0, 0), ((0,), (1,)), ()),
        (put(tcp(53), udp(53, 30053)), held(tcp(53), type="ClusterIP"), (0, 30053), ((0,),), (30053,)),
        # IP-71: a new port
        (put(tcp(80, name="a"), tcp(82, name="c")), ALLOCATED, (30080, 0), ((1,),), ()),
        # C-22: the numbers follow the names
        (put(tcp(80, name="b"), tcp(81, name="a"), tcp(82)), ALLOCATED, (30081, 30080, 0), ((2,),), ()),
        # C-23: a number moves, the other port gets a new one
        (put(tcp(80, name="a"), tcp(81, 30080, "b")), ALLOCATED, (0, 30080), ((0,),), ()),
        # IP-41: a number that was not held; the same one for two protocols
        (put(tcp(80, 30090, "a"), tcp(81, name="b")), ALLOCATED, (30090, 30081), (), (30090,)),
        (put(tcp(80, 30090, "a"), udp(81, 30090, "b")), ALLOCATED, (30090, 30090), (), (30090,)),
        # IP-9: TCP and UDP keep the number that they share
        (
            put(tcp(53), udp(53), tcp(80)),
            held(tcp(53, 30053), udp(53, 30053)),
            (30053, 30053, 0),
            ((2,),),
            (),
        ),
        # C-30, IP-71: node-port allocation switched on
        (
            put(tcp(80, name="a"), tcp(81, 30081, "b"), type="LoadBalancer"),
            held(tcp(80, 0, "a"), tcp(81, 30081, "b"), type="LoadBalancer", allocates_node_ports=False),
            (0, 30081),
            ((0,),),
            (),
        ),
    ],
)
def test_node_ports_of_an_update(
    new: Service, old: Service, numbers: tuple[int, ...], groups: tuple[tuple[int, ...], ...], given: tuple[int, ...]
) -> None:
    made = found(new, old)
    assert (made.node_ports, made.port_groups, made.given_ports) == (numbers, groups, given)


def test_health() -> None:
    """IP-43, IP-71, C-31."""
    local = put(tcp(80, name="a"), type="LoadBalancer", local=True)
    assert found(local).health
    assert found(local, ALLOCATED).health
    assert not found(put(tcp(80), type="LoadBalancer")).health
    assert not found(put(tcp(80), local=True)).health
    made = found(msgspec.structs.replace(local, health_check_node_port=30100), ALLOCATED)
    assert (made.health, made.given_ports, made.given_health) == (False, (30100,), 30100)
    made = found(msgspec.structs.replace(local, ports=(tcp(80, 30090, "a"),)), LOCAL)
    assert (made.health, made.given_ports, made.given_health) == (False, (30090,), 0)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        # IP-9
        (put(tcp(80, name="a"), tcp(81, name="b")), ALLOCATED, ((A,), (30080, 30081), 0)),
        (put(tcp(80, name="a"), type="LoadBalancer", local=True), LOCAL, ((A,), (30080,), 30100)),
        (put(tcp(80), type="LoadBalancer", allocates_node_ports=False), held(tcp(80, 30080)), ((A,), (0,), 0)),
        # IP-10
        (put(cluster_ip=A), held(), ((A,), (), 0)),
        (put(cluster_ip=C, cluster_ips=(A,)), held(), ((C,), (), 0)),
        (put(cluster_ips=(A,), type="ExternalName"), held(), ((), (), 0)),
        # IP-11
        (held(*LOCAL.ports, type="ClusterIP", health_check_node_port=30100), LOCAL, ((A,), (0,), 0)),
        (held(tcp(80, 30090, "a"), type="ClusterIP"), LOCAL, ((A,), (30090,), 0)),
        (held(tcp(80, 30080, "a"), type="ExternalName"), LOCAL, ((), (0,), 0)),
    ],
)
def test_carried_over(new: Service, old: Service, expected: tuple[tuple[str, ...], tuple[int, ...], int]) -> None:
    made = carried_over(new, old)
    assert (
        made.cluster_ips,
        tuple(port.node_port for port in made.ports),
        made.health_check_node_port,
    ) == expected
    assert made.cluster_ip == (made.cluster_ips[0] if made.cluster_ips else "")
    assert carried_over(made, old) == made
