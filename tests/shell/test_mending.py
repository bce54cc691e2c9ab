"""Slices and Nodes that others change: what is wrong is put right again, and what cannot be is told."""

import uuid

import pytest

from tests.shell.sliceplane import Sliceplane
from tests.shell.waiting import eventually
from tests.shell.world import MANAGER, World

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("sliceplane")]


@pytest.fixture
def filled(world: World) -> World:
    """A Service with two Pods, published."""
    world.service(ipFamilyPolicy="SingleStack")
    world.pods(range(2))
    eventually(lambda: _published(world, {0, 1}))
    return world


def _published(world: World, numbers: set[int]) -> None:
    assert world.numbers() == numbers


def test_deleted_slice_is_made_again(filled: World) -> None:
    """D-9."""
    [before] = filled.slices()
    filled.api.delete("EndpointSlice", before["metadata"]["name"], filled.namespace)

    def check() -> None:
        assert [each["metadata"]["uid"] for each in filled.slices()] not in ([], [before["metadata"]["uid"]])
        assert filled.numbers() == {0, 1}

    eventually(check)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"endpoints": []}, id="emptied"),
        pytest.param({"endpoints": [{"addresses": ["192.0.2.7"]}]}, id="foreign-endpoint"),
        pytest.param({"ports": [{"name": "", "port": 9999, "protocol": "TCP"}]}, id="port"),
        pytest.param({"metadata": {"labels": {"kubernetes.io/service-name": "stolen"}}}, id="service-label"),
        pytest.param({"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "me"}}}, id="manager"),
        pytest.param({"metadata": {"ownerReferences": None}}, id="owner"),
    ],
)
def test_edited_slice_is_mended(filled: World, edit: dict[str, object]) -> None:
    [before] = filled.slices()
    filled.api.patch("EndpointSlice", before["metadata"]["name"], edit, filled.namespace)
    if "ownerReferences" in str(edit):
        # Nothing but an owner is no reason to write (ES-46, ES-85); the next sync replaces what is not ours (ES-55).
        filled.pod(2)

    def check() -> None:
        wanted = {0, 1, 2} if "ownerReferences" in str(edit) else {0, 1}
        managed = [each for each in filled.slices() if MANAGER in each["metadata"]["labels"].values()]
        pods = [e.get("targetRef", {}).get("name") for each in managed for e in each.get("endpoints") or []]
        assert sorted(pods, key=str) == [f"pod-{number:03}" for number in sorted(wanted)]
        assert all(each["ports"] == before["ports"] for each in managed)
        assert all(each["metadata"].get("ownerReferences") for each in managed)

    eventually(check)


def test_slice_of_somebody_else_is_left_alone(filled: World) -> None:
    [ours] = filled.slices()
    labels = {**ours["metadata"]["labels"], "endpointslice.kubernetes.io/managed-by": "me"}
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "mine", "namespace": filled.namespace, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.7"]}],
    }
    version = filled.api.create(body)["metadata"]["resourceVersion"]
    filled.pod(2)
    eventually(lambda: _holds(filled, ours["metadata"]["name"], 3))
    assert filled.versions()["mine"] == version


def _holds(world: World, name: str, number: int) -> None:
    assert len(world.api.read("EndpointSlice", name, world.namespace)["endpoints"]) == number


def test_missing_node_holds_back_its_pod_alone_until_it_appears(world: World) -> None:
    """ES-38, D-7."""
    name = f"late-{uuid.uuid4().hex[:6]}"
    world.service(ipFamilyPolicy="SingleStack")
    world.pods(range(2))
    world.pod(2, nodeName=name)

    def held_back() -> None:
        _published(world, {0, 1})
        assert name in world.warnings().get("FailedToUpdateEndpointSlices", "")

    eventually(held_back)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    world.api.create(node)
    eventually(lambda: _published(world, {0, 1, 2}))
    assert "zone" not in world.endpoints()["pod-002"]

    world.api.patch("Node", name, {"metadata": {"labels": {"topology.kubernetes.io/zone": "zone-x"}}})

    def moved() -> None:
        assert world.endpoints()["pod-002"]["zone"] == "zone-x"

    eventually(moved)
    world.api.delete("Node", name)
    eventually(lambda: _published(world, {0, 1}))


def test_terminating_namespace_is_no_error(world: World, sliceplane: Sliceplane) -> None:
    """ES-73. Nothing empties a namespace here, so it stays terminating."""
    world.service(ipFamilyPolicy="SingleStack")
    world.pods(range(1))
    eventually(lambda: _published(world, {0}))
    world.api.delete("Namespace", world.namespace)
    forbidden = sliceplane.metric("rest_client_requests_total", code="403", method="POST")
    [found] = world.slices()
    world.api.delete("EndpointSlice", found["metadata"]["name"], world.namespace)

    def tried() -> None:
        assert sliceplane.metric("rest_client_requests_total", code="403", method="POST") > forbidden

    eventually(tried)
    assert sliceplane.failures(world.namespace) == []
    assert world.slices() == []
