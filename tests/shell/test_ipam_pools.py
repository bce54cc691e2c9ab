"""`sliceplane ipam run` on a real API server: pools, quotas and reservations, seen by those who make Services."""

import contextlib
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

import pytest

from controllers.ipam.snapshot import HOLD_MANAGER
from e2e.cluster.fixtures import plane_of
from e2e.cluster.ipam import Ipam, ip_pool, port_pool
from e2e.cluster.rest import Api, ApiError, path_of
from tests.shell.ipaming import Team, address_object, condition, metric, namespaces, node_ports, refused
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

_OWN = {"exclusive": True, "enforcement": "Enforce"}


class World(NamedTuple):
    """One control plane with two replicas, a team with pools of its own, and one without."""

    api: Api
    ipam: Ipam
    red: Team
    blue: Team


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with plane_of() as plane:
        api = plane.client()
        namespaces(api, "red", "blue")
        _node(api, "10.96.44.0/28", "10.96.44.77")
        ipam = Ipam(plane, "--repair=on")
        ipam.start(2)
        select = {"namespaces": ["red"]}
        api.create(ip_pool("red", "10.96.40.0/28", "fd00:10:96::40-fd00:10:96::4f", select=select, **_OWN))
        api.create(port_pool("red", (30100, 30109), select=select, **_OWN))
        ipam.in_force()
        yield World(api, ipam, Team(api, "red"), Team(api, "blue"))
        assert ipam.stop() == [0, 0]


@pytest.fixture(autouse=True)
def cleared(world: World) -> Iterator[None]:
    """No test is in the way of the next; nor is the API server's repair, which may have been late (IP-51)."""
    for team in (world.red, world.blue):
        team.sweep()
    yield
    for team in (world.red, world.blue):
        for each in world.api.list("ServiceReservation", team.namespace):
            world.api.delete("ServiceReservation", each["metadata"]["name"], team.namespace)
        team.clear()


def test_numbers_come_from_the_pools_of_the_namespace(world: World) -> None:
    """Address, both families, and every port, in one request (IP-70, IP-72)."""
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "dns", "port": 80, "protocol": "UDP"}]
    made = world.red.create("web", type="NodePort", ipFamilyPolicy="RequireDualStack", ports=ports)
    four, six = made["clusterIPs"]
    assert four.startswith("10.96.40.")
    assert six.startswith("fd00:10:96::4")
    a, b, dns = node_ports(made)
    # One number for each distinct port, shared by protocols (IP-40).
    assert a == dns != b
    assert {a, b} <= set(range(30100, 30110))
    annotations = world.api.read("Service", "web", "red")["metadata"]["annotations"]
    assert annotations["ipam.sliceplane.dev/pool"] == "red"


def test_nobody_else_gets_them(world: World) -> None:
    """Neither by name (IP-69) nor by chance: the steered choice goes around what is banned."""
    with refused(403, "exclusive to namespace red"):
        world.blue.create("thief", clusterIP="10.96.40.5")
    with refused(403, "exclusive to namespace red"):
        world.blue.create("thief", type="NodePort", ports=[{"port": 80, "nodePort": 30105}])
    made = [world.blue.create(f"web-{number}", type="NodePort") for number in range(20)]
    pool = IPv4Network("10.96.40.0/28")
    assert not [each for each in made if IPv4Address(each["clusterIP"]) in pool]
    assert not [each for each in made if node_ports(each)[0] in range(30100, 30110)]


def test_what_is_exhausted_is_answered_as_the_pool_says(world: World) -> None:
    """IP-75: Deny names the pool, its size and who has it; NextPool goes on; ClusterDefault leaves it to the server."""
    for third, way in enumerate(("Deny", "NextPool", "ClusterDefault"), start=50):
        name = f"tiny-{way.lower()}"
        mine = {"exclusive": way != "ClusterDefault", "enforcement": "Enforce", "priority": 1, "onExhausted": way}
        select = {"namespaces": ["blue"], "serviceSelector": {"matchLabels": {"pool": name}}}
        world.api.create(ip_pool(name, f"10.96.{third}.8/30", select=select, **mine))
        world.ipam.in_force()
        try:
            for number in range(4):
                world.blue.create(f"{name}-{number}", labels={"pool": name})
            if way == "Deny":
                with refused(403, f'ServiceIPPool "{name}" has no free IPv4 address: of its 4, most are held by'):
                    world.blue.create(f"{name}-more", labels={"pool": name})
            else:
                more = world.blue.create(f"{name}-more", labels={"pool": name})
                assert IPv4Address(more["clusterIP"]) not in IPv4Network(f"10.96.{third}.8/30")
        finally:
            world.blue.clear()
            _delete_pool(world.api, name)


def test_quota(world: World) -> None:
    select = {"namespaces": ["blue"], "serviceSelector": {"matchLabels": {"pool": "few"}}}
    world.api.create(ip_pool("few", "10.96.42.0/28", select=select, quota={"perNamespace": 2}, enforcement="Enforce"))
    world.ipam.in_force()
    try:
        for number in range(2):
            world.blue.create(f"few-{number}", labels={"pool": "few"})

        def over() -> None:
            # Each replica counts what it has seen: one that is asked at once may not know of the last.
            with contextlib.suppress(ApiError):
                world.blue.delete("few-3")
            answers = []
            try:
                world.blue.create("few-3", labels={"pool": "few"})
            except ApiError as error:
                answers.append(str(error))
            assert [("403" in each, "holds 2 of the 2 numbers" in each) for each in answers] == [(True, True)]

        eventually(over)
    finally:
        world.blue.clear()
        _delete_pool(world.api, "few")


def test_a_dry_run_takes_nothing(world: World) -> None:
    """IP-60: it shows a number of the pool, and the pool is as full as before."""
    for _ in range(40):
        assert world.red.create("web", dry=True)["clusterIP"].startswith("10.96.40.")
    assert world.red.held() == {}
    assert [world.red.create(f"web-{number}")["clusterIP"] for number in range(16)]


def test_a_reservation_outlives_its_service(world: World) -> None:
    """Address, node port by port name, and health check port; nobody else has them meanwhile."""
    kept = {"nodePorts": [{"portName": "http", "nodePort": 30107}], "healthCheckNodePort": 30108}
    world.red.reserve("shop", addresses=["10.96.40.7"], **kept)
    world.red.until_phase("shop", "Held")
    for _ in range(2):
        made = world.red.create("shop", type="LoadBalancer", externalTrafficPolicy="Local")
        assert (made["clusterIP"], node_ports(made), made["healthCheckNodePort"]) == ("10.96.40.7", [30107], 30108)
        world.red.until_phase("shop", "Bound")
        world.red.delete("shop")
        world.red.until_phase("shop", "Held")
        with refused(403, "reserved for Service red/shop"):
            world.red.create("other", clusterIP="10.96.40.7")
        world.red.sweep()
        others = [world.red.create(f"other-{number}")["clusterIP"] for number in range(15)]
        assert "10.96.40.7" not in others
        world.red.clear()


def test_adoption(world: World) -> None:
    """What the live Service has is taken over, and kept when it goes."""
    address = world.red.create("shop")["clusterIP"]
    world.red.reserve("shop", adopt=True)
    assert world.red.until_phase("shop", "Bound")["addresses"] == [address]
    world.red.delete("shop")
    world.red.until_phase("shop", "Held")
    assert world.red.create("shop")["clusterIP"] == address


def test_a_hold_is_seen_and_handed_over(world: World) -> None:
    """Hold keeps an IPAddress of ours in place, gives it up to its Service, and takes it back."""
    world.red.reserve("shop", addresses=["10.96.40.9"], enforcement="Hold")

    def held() -> None:
        labels = world.api.read("IPAddress", "10.96.40.9")["metadata"]["labels"]
        assert labels["ipaddress.kubernetes.io/managed-by"] == HOLD_MANAGER

    eventually(held)
    world.red.until_phase("shop", "Held")
    assert world.red.create("shop")["clusterIP"] == "10.96.40.9"

    def handed_over() -> None:
        # The repair makes it once more if it sees our hold still (IP-51).
        assert world.red.held() == {"10.96.40.9": "shop"}

    eventually(handed_over)
    world.red.until_phase("shop", "Bound")
    world.red.delete("shop")
    world.red.until_phase("shop", "Held")
    world.api.delete("ServiceReservation", "shop", "red")

    def released() -> None:
        # The API server's repair may have made one of its own, for a minute: it missed the Service's end (IP-54).
        held = [each for each in world.api.list("IPAddress") if each["metadata"]["name"] == "10.96.40.9"]
        assert [each for each in held if HOLD_MANAGER in each["metadata"]["labels"].values()] == []

    eventually(released)


def _node(api: Api, pods: str, address: str) -> None:
    """A Node whose Pods, and which itself, are where Services are."""
    api.create(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"podCIDR": pods, "podCIDRs": [pods]}}
    )
    api.patch(
        "Node", "n", {"status": {"addresses": [{"type": "InternalIP", "address": address}]}}, subresource="status"
    )


def _delete_pool(api: Api, name: str) -> None:
    """As soon as it is seen to be unused."""
    eventually(lambda: api.delete("ServiceIPPool", name))


def test_what_cannot_be_reserved(world: World) -> None:
    address = world.red.create("web")["clusterIP"]

    def held() -> None:
        with refused(422, f"{address} is held by Service red/web"):
            world.red.try_to_reserve("other", addresses=[address])

    eventually(held)
    with refused(422, "exclusive to namespace red"):
        world.blue.reserve("other", addresses=["10.96.40.3"])
    with refused(422, "outside every ready ServiceCIDR"):
        world.blue.reserve("other", addresses=["192.0.2.1"])
    with refused(422, "outside the node port range"):
        world.blue.reserve("other", nodePorts=[{"nodePort": 80}])
    world.blue.reserve("first", addresses=["10.96.61.1"])

    def reserved() -> None:
        with refused(422, "reserved for Service blue/first already"):
            world.blue.try_to_reserve("second", addresses=["10.96.61.1"])

    eventually(reserved)


def test_sticky_by_name(world: World) -> None:
    """A pool that is sticky keeps a reservation for each Service that draws from it."""
    select = {"namespaces": ["blue"], "serviceSelector": {"matchLabels": {"pool": "sticky"}}}
    world.api.create(ip_pool("sticky", "10.96.43.0/28", select=select, sticky={"mode": "ByName", "ttl": "1h"}))
    try:
        address = eventually(partial(_drawn, world.blue, "sticky", "10.96.43."))
        assert world.blue.until_phase("shop", "Bound")["addresses"] == [address]
        world.blue.delete("shop")
        world.blue.until_phase("shop", "Held")
        assert world.blue.create("shop", labels={"pool": "sticky"})["clusterIP"] == address
    finally:
        world.blue.clear()
        _delete_pool(world.api, "sticky")


def _drawn(team: Team, pool: str, prefix: str) -> str:
    """The address of Service "shop" out of a pool, as soon as every replica that is asked knows of the pool."""
    address: str = team.create("shop", labels={"pool": pool})["clusterIP"]
    if not address.startswith(prefix):
        team.delete("shop")
        raise AssertionError(address)
    return address


def test_a_lost_ipaddress_comes_back(world: World) -> None:
    """IP-56: by us, and not by the API server minutes later."""
    address = world.red.create("web")["clusterIP"]

    def repairs() -> float:
        return metric(world.ipam.replicas, "sliceplane_ipam_repairs_total")

    def by_us() -> None:
        before = repairs()
        world.api.delete("IPAddress", address)
        eventually(lambda: world.api.read("IPAddress", address))

        def counted() -> None:
            assert repairs() == before + 1

        eventually(counted, timeout=5.0)

    # The API server is as quick where it is only now told of the Service itself (IP-50): another time then.
    eventually(by_us)


def test_a_foreign_ipaddress_is_refused_in_an_exclusive_range(world: World) -> None:
    """Any IPAddress blocks its address (IP-19), so nobody may put one there."""
    parent = {"group": "", "resource": "services", "namespace": "blue", "name": "web"}
    with pytest.raises(ApiError) as caught:
        world.api.create(address_object("10.96.40.14", parent))
    assert caught.value.status in (403, 409), caught.value


def test_pools_that_make_no_sense(world: World) -> None:
    with refused(422, 'also belongs to ServiceIPPool "red"'):
        world.api.create(ip_pool("twice", "10.96.40.8/29"))
    with refused(422, "is in no ready ServiceCIDR"):
        world.api.create(ip_pool("outside", "192.0.2.0/24"))
    with refused(422, "must not be below"):
        world.api.create(ip_pool("backwards", "10.96.60.9-10.96.60.1"))
    with refused(422, "outside the node port range"):
        world.api.create(port_pool("outside", (20000, 20010)))
    world.red.create("web")

    def in_use(**dry: str) -> None:
        with refused(422, "in use by Service red/web"):
            world.api.request("DELETE", path_of("ServiceIPPool", "red"), params=dry)

    # A replica that has not seen the Service yet would let the pool go.
    eventually(partial(in_use, dryRun="All"))
    in_use()


def test_status_tells_the_truth(world: World) -> None:
    for number in range(15):
        world.red.create(f"web-{number}")

    def told() -> None:
        pool = world.api.read("ServiceIPPool", "red")
        [four] = [each for each in pool["status"]["capacity"] if each["family"] == "IPv4"]
        assert (four["total"], four["used"]) == (16, 15), four
        assert condition(pool, "NearExhaustion")["status"] == "True"
        assert pool["status"]["topConsumers"] == [{"namespace": "red", "count": 15}]

    eventually(told)


def test_networks_of_pods_and_nodes_are_in_conflict_with_pools(world: World) -> None:
    """With what it is allowed to read: the Nodes, which it only lists."""
    world.api.create(ip_pool("apart", "10.96.45.0/28", select={"namespaces": ["blue"]}))
    world.api.create(ip_pool("amid", "10.96.44.0/25", select={"namespaces": ["blue"]}))
    try:

        def told() -> None:
            said = condition(world.api.read("ServiceIPPool", "amid"), "RangeConflict")
            assert (said["status"], said["reason"]) == ("True", "NetworkOverlap"), said
            assert "10.96.44.0-10.96.44.15 is also in a network of Pods" in said["message"]
            assert "10.96.44.77 is also in a network of Nodes" in said["message"]
            assert condition(world.api.read("ServiceIPPool", "apart"), "RangeConflict")["reason"] == "NoConflict"

        eventually(told)
        assert metric(world.ipam.replicas, "sliceplane_ipam_drift", kind="network_overlap") == 2
    finally:
        _delete_pool(world.api, "amid")
        _delete_pool(world.api, "apart")


def test_only_the_leader_tells_of_the_cluster(world: World) -> None:
    """A replica that does not lead has no gauges; nor has one that has lost the lease and goes on."""

    def telling() -> list[bool]:
        return sorted(metric([each], "sliceplane_ipam_servicecidr_addresses") > 0 for each in world.ipam.replicas)

    def one_tells() -> None:
        assert telling() == [False, True]

    def nobody_tells() -> None:
        assert telling() == [False, False]

    eventually(one_tells)
    world.api.patch("Lease", "sliceplane-ipam", {"spec": {"holderIdentity": "thief"}}, "kube-system")
    eventually(nobody_tells)
    assert all(each.poll() is None for each in world.ipam.replicas)
    eventually(one_tells)
