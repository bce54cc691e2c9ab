"""Table C, what requests do to node ports and health check ports, and the types that take them."""

import itertools

from e2e.cluster.rest import Object
from tests.shell.edge_cases import Case, World
from tests.shell.ipaming import HTTP, node_ports, refused
from tests.shell.waiting import eventually

_TYPES = ("ExternalName", "ClusterIP", "NodePort", "LoadBalancer")
_WITH_PORTS = _TYPES[2:]
_LOCAL: Object = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
_UNALLOCATED: Object = {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}


def _port(port: int, number: int = 0, protocol: str = "TCP", name: str = "") -> Object:
    named = {"name": name or f"{protocol.lower()}-{port}", "port": port, "protocol": protocol}
    return named | ({"nodePort": number} if number else {})


def each_type_to_each(world: World) -> None:
    """C-21, IP-11: what the new type needs appears, what it does not is released, the rest is kept."""
    for before, after in itertools.permutations(_TYPES, 2):
        old = world.team.create("web", type=before)
        held = {address: world.address(address) for address in old.get("clusterIPs", [])}
        alias = after == "ExternalName"
        more: Object = {"externalName": "example.com"} if alias else {"externalName": None, "ports": [HTTP]}
        if before != "ExternalName" and not alias:
            # A merge patch replaces lists: numbers are carried over by name (IP-9).
            del more["ports"]
        _moved(world, (before, after), (old, world.team.patch("web", type=after, **more)), held)
        world.clear()


def _moved(world: World, types: tuple[str, str], specs: tuple[Object, Object], held: dict[str, str]) -> None:
    (before, after), (old, new) = types, specs
    if after == "ExternalName":
        assert "clusterIP" not in new, types
        assert [address for address, uid in held.items() if world.address(address) == uid] == [], types
    else:
        assert world.address(new["clusterIP"]), types
        assert not held or held == {new["clusterIP"]: world.address(new["clusterIP"])}, types
    if before in _WITH_PORTS and after in _WITH_PORTS:
        assert node_ports(old) == node_ports(new) != [0], types
    elif after in _WITH_PORTS:
        world.ports_taken(*node_ports(new))
    elif before in _WITH_PORTS:
        assert node_ports(new) == [0] * len(new["ports"]), types
        world.ports_free(*node_ports(old))


def names_swapped(world: World) -> None:
    """C-22, IP-9: numbers follow the names."""
    a, b = node_ports(world.team.create("web", type="NodePort", ports=[_port(80, name="a"), _port(81, name="b")]))
    swapped = world.team.put("web", type="NodePort", ports=[_port(80, name="b"), _port(81, name="a")])
    assert node_ports(swapped) == [b, a]


def number_moved(world: World) -> None:
    """C-23, IP-9: a number that is given to the other port moves, and its port gets a new one."""
    a, b = node_ports(world.team.create("web", type="NodePort", ports=[_port(80, name="a"), _port(81, name="b")]))
    moved = node_ports(world.team.put("web", type="NodePort", ports=[_port(80, b, name="a"), _port(81, name="b")]))
    assert moved[0] == b
    assert moved[1] not in (0, a, b)
    world.ports_free(a)


def one_port_two_protocols(world: World) -> None:
    """C-24, IP-40: one number for both."""
    tcp, udp = node_ports(world.team.create("dns", type="NodePort", ports=[_port(53), _port(53, 0, "UDP")]))
    assert tcp == udp != 0
    world.ports_taken(tcp)


def two_numbers_two_protocols(world: World) -> None:
    """C-25, IP-40: both are reserved."""
    ports = [_port(53, 30053), _port(53, 30054, "UDP")]
    assert node_ports(world.team.create("dns", type="NodePort", ports=ports)) == [30053, 30054]
    world.ports_taken(30053, 30054)


def one_number_two_protocols(world: World) -> None:
    """C-26, IP-40, IP-41: refused at first, accepted by an update."""
    ports = [_port(80, 30010), _port(81, 30010, "UDP")]
    with refused(422, "spec.ports[1].nodePort"):
        world.team.create("web", type="NodePort", ports=ports)
    world.team.create("web")
    assert node_ports(eventually(lambda: world.team.patch("web", type="NodePort", ports=ports))) == [30010, 30010]
    world.ports_taken(30010)


def one_number_twice(world: World) -> None:
    """C-27, IP-41: refused as a mistake at first, as an error of the server's by an update; nothing leaks."""
    ports = [_port(80, 30011), _port(81, 30011)]
    with refused(422, "spec.ports[1].nodePort"):
        world.team.create("web", type="NodePort", ports=ports)
    before = world.team.create("web", type="NodePort")
    with refused(500, "30011"):
        world.team.patch("web", ports=ports)
    assert world.team.spec("web") == before
    world.ports_free(30011)


def one_explicit_number(world: World) -> None:
    """C-28, IP-39: a load balancer without allocation."""
    made = world.team.create("web", ports=[_port(80, 30012), _port(81)], **_UNALLOCATED)
    assert node_ports(made) == [30012, 0]
    world.ports_taken(30012)


def allocation_off(world: World) -> None:
    """C-29: numbers stay until the user says 0."""
    before = world.team.create("web", type="LoadBalancer", ports=[_port(80), _port(81)])
    first, second = node_ports(before)
    assert 0 not in (first, second)
    assert node_ports(world.team.patch("web", allocateLoadBalancerNodePorts=False)) == [first, second]
    world.ports_taken(first, second)
    zeroed = world.team.patch("web", ports=[_port(80, first), {**_port(81), "nodePort": 0}])
    assert node_ports(zeroed) == [first, 0]
    world.ports_free(second)
    world.ports_taken(first)


def allocation_on(world: World) -> None:
    """C-30: those that are missing."""
    world.team.create("web", ports=[_port(80, 30013), _port(81)], **_UNALLOCATED)
    first, second = node_ports(world.team.patch("web", allocateLoadBalancerNodePorts=True))
    assert first == 30013
    assert second not in (0, first)
    world.ports_taken(first, second)


def health_port(world: World) -> None:
    """C-31, IP-43: allocated, immutable, and released by a change of the policy."""
    health = world.team.create("web", **_LOCAL)["healthCheckNodePort"]
    assert health
    world.ports_taken(health)
    for value in (30014, 0):
        if value:
            with refused(422, "healthCheckNodePort"):
                world.team.patch("web", healthCheckNodePort=value)
        else:
            # None given is the one that it has.
            assert world.team.patch("web", healthCheckNodePort=value)["healthCheckNodePort"] == health
    assert "healthCheckNodePort" not in world.team.patch("web", externalTrafficPolicy="Cluster")
    world.ports_free(health, 30014)


def health_port_is_node_port(world: World) -> None:
    """C-32: an error, after which nothing is taken."""
    with refused(500, "30015"):
        world.team.create("c32", clusterIP="10.96.0.40", ports=[_port(80, 30015)], healthCheckNodePort=30015, **_LOCAL)
    assert world.held_by("c32") == []
    world.ports_free(30015)
    assert world.team.insist(lambda: world.team.create("c32", clusterIP="10.96.0.40"))["clusterIP"] == "10.96.0.40"


CASES: dict[str, Case] = {
    "C-21": each_type_to_each,
    "C-22": names_swapped,
    "C-23": number_moved,
    "C-24": one_port_two_protocols,
    "C-25": two_numbers_two_protocols,
    "C-26": one_number_two_protocols,
    "C-27": one_number_twice,
    "C-28": one_explicit_number,
    "C-29": allocation_off,
    "C-30": allocation_on,
    "C-31": health_port,
    "C-32": health_port_is_node_port,
}
