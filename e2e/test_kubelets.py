"""The simulated nodes: what becomes of a Pod on them."""

from collections.abc import Iterator

import pytest

from e2e.cluster.kubelets import READY_ANNOTATION, Change, Kubelets
from e2e.cluster.local import ControlPlane
from e2e.cluster.nodes import PODS_PER_NODE, Scheduler, SimulatedNode, in_zones
from e2e.cluster.rest import Api, Object
from tests.shell.waiting import eventually_true

server = pytest.mark.server


def pod(name: str, namespace: str = "default", **spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": {}},
        "spec": {"containers": [{"name": "main", "image": "none"}], **spec},
    }


def conditions(api: Api, namespace: str, name: str) -> dict[str, str]:
    status = api.read("Pod", name, namespace)["status"]
    return {each["type"]: each["status"] for each in status.get("conditions") or []}


@pytest.fixture(scope="module")
def told() -> list[Change]:
    return []


@pytest.fixture(scope="module")
def kubelets(control_plane: ControlPlane, told: list[Change]) -> Iterator[Kubelets]:
    api = control_plane.client("kubelets", ("system:masters",))
    with Kubelets(api, in_zones(2), start_delay=0.1, termination=0.5, told=told.append) as running:
        yield running
    for name in running.nodes:
        api.delete("Node", name)


@server
def test_pod_lives_and_dies(
    control_plane: ControlPlane, kubelets: Kubelets, namespace: str, told: list[Change]
) -> None:
    api = control_plane.client()
    api.create(pod("p", namespace))
    eventually_true(lambda: conditions(api, namespace, "p").get("Ready") == "True")
    alive = api.read("Pod", "p", namespace)
    node = kubelets.nodes[alive["spec"]["nodeName"]]
    assert alive["status"]["hostIP"] == node.addresses[0]
    assert [each["ip"] for each in alive["status"]["podIPs"]] == [
        node.pod_ranges[0].replace("0/24", "2"),
        node.pod_ranges[1].replace(":/64", ":2"),
    ]

    kubelets.set_ready(namespace, "p", False)
    assert conditions(api, namespace, "p")["Ready"] == "False"

    api.delete("Pod", "p", namespace)
    eventually_true(lambda: api.list("Pod", namespace) == [])
    mine = [change for change in told if change.uid == alive["metadata"]["uid"]]
    assert [change.ready for change in mine] == [True, False, None]


@server
def test_pods_may_start_unready_and_choose_their_nodes(
    control_plane: ControlPlane, kubelets: Kubelets, namespace: str
) -> None:
    api = control_plane.client()
    unready = pod("unready", namespace, nodeSelector={"topology.kubernetes.io/zone": "zone-c"})
    unready["metadata"]["annotations"][READY_ANNOTATION] = "false"
    for each in (unready, pod("preset", namespace, nodeName="node-a2"), pod("elsewhere", namespace, nodeName="other")):
        api.create(each)
    eventually_true(lambda: conditions(api, namespace, "preset").get("Ready") == "True")
    eventually_true(lambda: conditions(api, namespace, "unready").get("Ready") == "False")

    nodes = {each["metadata"]["name"]: each["spec"]["nodeName"] for each in api.list("Pod", namespace)}
    assert kubelets.nodes[nodes["unready"]].zone == "zone-c"
    assert nodes["preset"] == "node-a2"
    assert "podIP" not in api.read("Pod", "elsewhere", namespace)["status"]


def heard(scheduler: Scheduler, node: SimulatedNode, **spec: object) -> None:
    scheduler.heard_node({**node.manifest(), "spec": spec}, gone=False)


def test_scheduler_spreads_over_zones_then_nodes() -> None:
    nodes = in_zones(2)
    scheduler = Scheduler(nodes)
    for node in nodes:
        heard(scheduler, node, unschedulable=node.name == "node-b1")

    chosen = []
    for number in range(6):
        one = pod(f"p-{number}")
        one["metadata"]["uid"] = str(number)
        choice = scheduler.choose(one)
        assert choice is not None
        scheduler.note(one, choice)
        chosen.append(choice.name)
    assert sorted(chosen) == ["node-a1", "node-a2", "node-b2", "node-b2", "node-c1", "node-c2"]


def test_addresses_are_used_once_and_again() -> None:
    node = SimulatedNode(1, "node-1", "zone-a")
    assert node.claim_addresses(["10.244.1.2", "fd00:10:244:1::2"])
    assert not node.claim_addresses(["169.254.1.1"])
    taken = [node.take_addresses() for _ in range(PODS_PER_NODE - 1)]
    assert taken[0] == ("10.244.1.3", "fd00:10:244:1::3")
    with pytest.raises(IndexError):
        node.take_addresses()
    node.return_addresses(taken[7])
    assert node.take_addresses() == taken[7]
