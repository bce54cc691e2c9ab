"""The foreseen families and numbers, beside what the real API server decides, for every combination that we know of.

Each request is sent twice: as it is, and (if it needs numbers) once more with our patch, which the server must take to
the letter. Where the two differ the binary is right.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Api, Object
from tests.shell.foreseen import Bench, Change
from tests.shell.waiting import eventually
from tests.shell.world import namespaced

pytestmark = pytest.mark.server

DUAL = ("IPv4", "IPv6")
V4, V6, OTHER4, OTHER6 = "10.96.0.20", "fd00:10:96::20", "10.96.0.21", "fd00:10:96::21"
POLICIES = (None, "SingleStack", "PreferDualStack", "RequireDualStack")
FAMILIES: tuple[list[str] | None, ...] = (None, ["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"])
SINGLE_RANGE = "--service-cluster-ip-range=10.96.0.0/16"
KEEP = "keep"
WEB = [{"name": "web", "port": 80}]


def _spec(**fields: Any) -> Object:
    """A spec with what is given: None is left out."""
    return {"ports": WEB} | {key: value for key, value in fields.items() if value is not None}


def _merge(**fields: Any) -> Change:
    """A merge patch (RFC 7386) of the spec, one level: None removes."""
    return lambda old: {key: value for key, value in (old | fields).items() if value is not None}


def _put(**fields: Any) -> Change:
    """A PUT that says only this."""
    return lambda _: _spec(**fields)


def _ips(*texts: str) -> Object:
    return {"clusterIP": texts[0], "clusterIPs": list(texts)} if texts else {}


@pytest.fixture
def bench(control_plane: ControlPlane, namespace: str) -> Iterator[Bench]:
    made = Bench(control_plane.client(), namespace, DUAL)
    yield made
    made.clear()


def _plane(*args: str) -> ControlPlane:
    return ControlPlane(extra_apiserver_args=args)


def _until_it_allocates(api: Api, **spec: Any) -> None:
    """An API server knows its namespaces and ranges a moment after it is ready."""
    eventually(lambda: api.create(namespaced("Service", "default", "probe", spec=_spec(**spec))))
    api.delete("Service", "probe", "default")


def _concluded(bench: Bench) -> None:
    """Nothing was wrong, and neither nothing at all was tried."""
    assert not bench.wrong, f"{len(bench.wrong)} wrong of {bench.seen}:\n" + "\n".join(bench.wrong[:20])
    assert bench.seen["taken"], bench.seen


def _creates() -> Iterator[Object]:
    """IP-30 … IP-33, IP-36: every combination."""
    given = [_ips(), _ips(V4), _ips(V6), _ips(V4, V6), _ips(V6, V4), _ips("None")]
    selectors = ({"app": "web"}, None)
    for policy, families, ips, selector in itertools.product(POLICIES, FAMILIES, given, selectors):
        yield _spec(ipFamilyPolicy=policy, ipFamilies=families, selector=selector, **ips)


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])
def test_creates(bench: Bench, kind: str) -> None:
    for spec in _creates():
        if kind == "ClusterIP" or "selector" in spec:
            more = {"externalName": "example.com"} if kind == "ExternalName" else {}
            bench.create(spec | more | {"type": kind})
    _concluded(bench)


def test_creates_with_odd_addresses(bench: Bench) -> None:
    """IP-10, IP-55, C-37."""
    odd: list[Object] = [
        {"clusterIP": V4},
        {"clusterIP": "None"},
        {"clusterIPs": [V4]},
        {"clusterIP": V4, "clusterIPs": [OTHER4]},
        {"clusterIP": "", "clusterIPs": []},
        {"clusterIP": "", "clusterIPs": [""]},
        _ips(V4, ""),
        _ips("None", V6),
        _ips(V4, "None"),
        _ips(V4, OTHER4),
        _ips(V4, V6, OTHER6),
        _ips("banana"),
        _ips("10.96.0.020"),
        _ips("10.96.20"),
        _ips("fd00:10:96::20%eth0"),
        _ips("::ffff:10.96.0.20"),
        _ips("FD00:10:96:0:0:0:0:20"),
        _ips("fd00:10:96::0.0.0.32"),
        _ips(V4, "fd00:0010:0096::20"),
        {"clusterIP": V6, "clusterIPs": ["fd00:0010:0096::20"]},
        {"ipFamilies": ["IPv4", "IPv4"]},
        {"ipFamilies": ["IPv5"]},
        {"ipFamilyPolicy": "Both"},
    ]
    for fields, policy in itertools.product(odd, POLICIES):
        bench.create(_spec(ipFamilyPolicy=policy, selector={"app": "web"}) | fields)
    _concluded(bench)


STARTS: dict[str, Object] = {
    "external": {"type": "ExternalName", "externalName": "example.com"},
    "single IPv4": _spec(**_ips(V4)),
    "single IPv6": _spec(**_ips(V6)),
    "not canonical": _spec(**_ips("fd00:0010:0096::20")),
    "dual": _spec(ipFamilyPolicy="PreferDualStack", **_ips(V4, V6)),
    "dual required, IPv6 first": _spec(ipFamilyPolicy="RequireDualStack", type="NodePort", **_ips(V6, V4)),
    "headless": _spec(selector={"app": "web"}, **_ips("None")),
    "headless, IPv6": _spec(selector={"app": "web"}, ipFamilies=["IPv6"], **_ips("None")),
    "headless without selector": _spec(**_ips("None")),
}


@pytest.mark.parametrize("start", STARTS)
def test_updates_of_families(bench: Bench, start: str) -> None:
    """IP-9, IP-10, IP-34, IP-36, C-38, C-39: every combination of a merge patch, and of a PUT."""
    given: list[Object] = [{}, {"clusterIP": None, "clusterIPs": None}, {"clusterIP": None}, {"clusterIPs": None}]
    given += [{"clusterIP": OTHER4}, _ips("None"), _ips(V4), _ips(V6), _ips(OTHER4)]
    given += [_ips(V4, V6), _ips(V6, V4), _ips(V4, OTHER6), _ips(OTHER6, V4)]
    for policy, families, ips in itertools.product((KEEP, *POLICIES), (KEEP, *FAMILIES), given):
        told = {"ipFamilyPolicy": policy, "ipFamilies": families}
        fields = {key: value for key, value in told.items() if value != KEEP} | ips
        bench.update(STARTS[start], _merge(**{"type": "ClusterIP", "externalName": None, "ports": WEB} | fields))
        if KEEP not in (policy, families):
            bench.update(STARTS[start], _put(**fields))
    _concluded(bench)


TYPES: dict[str, Object] = {
    "ExternalName": {"type": "ExternalName", "externalName": "example.com"},
    "ClusterIP": {"type": "ClusterIP"},
    "headless": {"type": "ClusterIP", "clusterIP": "None"},
    "dual": {"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack"},
    "NodePort": {"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
    "NodePort Local": {"type": "NodePort", "externalTrafficPolicy": "Local"},
    "LoadBalancer": {"type": "LoadBalancer"},
    "unallocated": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False},
    "Local": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
    "Local unallocated": {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "allocateLoadBalancerNodePorts": False,
    },
}


@pytest.mark.parametrize("start", TYPES)
def test_updates_of_types(bench: Bench, start: str) -> None:
    """IP-11, C-21, C-29, C-30, C-31: each to each, patched, patched with all that is no longer meant, and PUT."""
    begin = _spec() | TYPES[start]
    for target, named in itertools.product(TYPES.values(), (_ips(), _ips(V4), _ips(V6, V4))):
        fields = target | named
        bench.update(begin, _merge(**fields))
        bench.update(begin, _put(**fields))
        bench.update(begin, _merge(**dict.fromkeys(TYPES[start]) | fields))
        bench.update(begin, _merge(**{"externalTrafficPolicy": None, "healthCheckNodePort": None} | fields))
    _concluded(bench)


def _port(port: int, number: int = 0, protocol: str = "TCP", name: str = "") -> Object:
    return {"port": port, "protocol": protocol, "nodePort": number, "name": name or f"{protocol.lower()}-{port}"}


PORTS: list[list[Object]] = [
    [_port(53), _port(53, protocol="UDP")],
    [_port(53, 30040), _port(53, protocol="UDP")],
    [_port(53), _port(53, 30040, "UDP"), _port(53, 0, "SCTP")],
    [_port(53, 30040), _port(53, 30041, "UDP")],
    [_port(53, 30040), _port(53, 30041, "UDP"), _port(53, 30041, "SCTP")],
    [_port(53, 30040), _port(53, 30040, "UDP")],
    [_port(53, 30040), _port(53, 30041, "UDP"), _port(53, 0, "SCTP"), _port(80)],
    [_port(80, 30040), _port(81, 30040, "UDP")],
    [_port(80, 30040), _port(81, 30040)],
    [_port(80), _port(81, 30040), _port(82)],
    [_port(80), _port(80, name="again")],
    [_port(80, 80)],
    [_port(80, 30040, name="a"), _port(81, 30041, name="b")],
    [_port(81, name="b"), _port(80, name="a")],
    [_port(80, name="b"), _port(81, name="a")],
    [_port(80, name="a"), _port(81, 30040, name="b")],
    [_port(80, name="a"), _port(81, name="b"), _port(82, name="c")],
    [_port(80, name="a"), _port(80, 0, "UDP", name="c")],
    [_port(80, 30040, name="a"), _port(80, 0, "UDP", name="c"), _port(53, 0, "UDP"), _port(53)],
]
HEALTH: list[Object] = [
    {},
    {"externalTrafficPolicy": "Local"},
    {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30045},
    {"externalTrafficPolicy": "Local", "healthCheckNodePort": 30040},
    {"healthCheckNodePort": 30045},
    {"allocateLoadBalancerNodePorts": False},
    {"allocateLoadBalancerNodePorts": False, "externalTrafficPolicy": "Local"},
]


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_creates_with_ports(bench: Bench, kind: str) -> None:
    """IP-39, IP-40, IP-43, C-24 … C-28, C-32."""
    for ports, health in itertools.product(PORTS, HEALTH):
        bench.create({"type": kind, "ports": ports} | health)
    _concluded(bench)


@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
def test_updates_of_ports(bench: Bench, kind: str) -> None:
    """IP-9, IP-41, C-22, C-23, C-26, C-27, C-29 … C-31."""
    for before, after in itertools.product((PORTS[0], PORTS[5], PORTS[12]), PORTS):
        start: Object = {"type": "NodePort", "ports": before}
        bench.update(start, _merge(type=kind, ports=after))
        bench.update(start, _put(type=kind, ports=after))
    for held, health in itertools.product(HEALTH[:3] + HEALTH[5:], HEALTH):
        begin: Object = {"type": "LoadBalancer", "ports": PORTS[12]} | held
        for ports in (PORTS[0], PORTS[12]):
            fields: Object = {"type": kind, "ports": ports} | health
            bench.update(begin, _merge(**fields))
            bench.update(begin, _put(**fields))
    _concluded(bench)


def test_single_stack_cluster() -> None:
    """IP-31, IP-32, C-36."""
    with _plane(SINGLE_RANGE) as plane:
        _until_it_allocates(plane.client())
        _elsewhere(Bench(plane.client(), "default", DUAL[:1]), ("external", "single IPv4"))


def test_cluster_whose_primary_family_is_ipv6() -> None:
    """IP-28, IP-30 mirrored."""
    ranges = "--service-cluster-ip-range=fd00:10:96::/112,10.96.0.0/16"
    with _plane(ranges, "--advertise-address=2001:db8::1") as plane:
        _until_it_allocates(plane.client(), ipFamilyPolicy="RequireDualStack")
        _elsewhere(Bench(plane.client(), "default", DUAL[::-1]), ("external", "single IPv4", "single IPv6"))


def _elsewhere(bench: Bench, starts: tuple[str, ...]) -> None:
    """All creates, and the updates of policy and families."""
    for spec in _creates():
        bench.create(spec)
    for start, policy, families in itertools.product(starts, POLICIES, FAMILIES):
        fields = {"type": "ClusterIP", "externalName": None, "ipFamilyPolicy": policy, "ipFamilies": families}
        bench.update(STARTS[start], _merge(**fields))
        bench.update(STARTS[start], _put(ipFamilyPolicy=policy, ipFamilies=families))
    bench.clear()
    _concluded(bench)


def test_cluster_that_became_dual_stack() -> None:
    """IP-35, C-40: what an update must say so that a Service is upgraded, and what does so unasked."""
    changes: list[tuple[Change, int]] = [
        (_merge(sessionAffinity="ClientIP"), 1),
        (_merge(clusterIP=None, clusterIPs=None), 1),
        (_merge(ipFamilyPolicy="SingleStack"), 1),
        (_put(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"]), 1),
        (_merge(ipFamilyPolicy="RequireDualStack"), 2),
        (_merge(ipFamilies=["IPv4", "IPv6"]), 2),
        # Whatever else touches the policy, the families or the type upgrades, too.
        (_merge(ipFamilyPolicy=None), 2),
        (_merge(ipFamilies=None), 2),
        (_merge(type="NodePort"), 2),
        (_put(), 2),
        (_put(ipFamilyPolicy="PreferDualStack"), 2),
        (_put(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"], type="NodePort"), 2),
    ]
    plane, start = _plane(SINGLE_RANGE), _spec(ipFamilyPolicy="PreferDualStack")
    with plane:
        api = plane.client()
        _until_it_allocates(api)
        benches = [Bench(api, f"test-{number}", DUAL, fills=False) for number in range(len(changes))]
        for number, bench in enumerate(benches):
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"test-{number}"}})
            bench.start(start)
        plane.stop_apiserver()
        plane._extra = ()  # the same etcd, but now both ranges
        plane.start_apiserver()
        _until_it_allocates(api, ipFamilyPolicy="RequireDualStack")
        for bench, (change, _) in zip(benches, changes, strict=True):
            bench.update(start, change)
        found = [len(api.read("Service", "web", f"test-{n}")["spec"]["clusterIPs"]) for n in range(len(changes))]
    assert [bench.wrong for bench in benches] == [[]] * len(benches)
    assert found == [count for _, count in changes]
