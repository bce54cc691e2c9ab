"""Objects at the limits, and some beyond what a slice may hold: they stop neither the process nor the others."""

import pytest

from tests.shell.sliceplane import Sliceplane
from tests.shell.waiting import eventually
from tests.shell.world import World, namespaced

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("sliceplane")]


def _published(world: World, numbers: set[int], name: str = "web") -> None:
    assert world.numbers(name) == numbers


def test_pod_with_5000_labels(world: World) -> None:
    labels = {"app": "web", **{f"label-{number}": f"value-{number}" for number in range(5000)}}
    world.service(ipFamilyPolicy="SingleStack")
    world.service("narrow", ipFamilyPolicy="SingleStack", selector={"label-4999": "value-4999", "label-0": "value-0"})
    world.pod(0, labels=labels)
    world.pod(1)
    eventually(lambda: _published(world, {0, 1}))
    eventually(lambda: _published(world, {0}, "narrow"))


def test_selector_of_a_whole_namespace_beside_many_services(world: World) -> None:
    for number in range(30):
        world.service(f"web-{number}", ipFamilyPolicy="SingleStack")
    world.pods(range(30))
    for number in range(30):
        eventually(lambda number=number: _published(world, set(range(30)), f"web-{number}"))  # type: ignore[misc]


def test_longest_service_name(world: World) -> None:
    name = "w" * 63
    world.service(name, ipFamilyPolicy="SingleStack", selector={"app": "web"})
    world.pods(range(2))
    eventually(lambda: _published(world, {0, 1}, name))
    [found] = world.slices(name)
    assert len(found["metadata"]["name"]) <= 253


@pytest.mark.parametrize("ip", ["127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1"])
def test_address_that_no_slice_may_hold_leaves_out_its_pod_alone(world: World, ip: str) -> None:
    world.service(ipFamilyPolicy="SingleStack")
    world.pods(range(2))
    world.pod(2, ips=(ip,))

    def check() -> None:
        _published(world, {0, 1})
        assert "pod-002" in world.warnings()["PodsLeftOut"]

    eventually(check)
    world.set_status(2, ips=("10.1.0.99",))
    eventually(lambda: _published(world, {0, 1, 2}))


def test_pods_that_share_an_address_are_both_published(world: World) -> None:
    """ES-T24: host network."""
    world.service(ipFamilyPolicy="SingleStack")
    for number in range(2):
        world.pod(number, ips=("10.2.0.1",))
    eventually(lambda: _published(world, {0, 1}))


def test_pods_without_status_or_finished_are_no_endpoints(world: World) -> None:
    spec = {"nodeName": "node-a", "containers": [{"name": "main", "image": "none"}]}
    world.service(ipFamilyPolicy="SingleStack")
    world.api.create(namespaced("Pod", world.namespace, "pod-bare", spec=spec))
    for number, phase in enumerate(("Succeeded", "Failed", "Pending", "Running")):
        world.pod(number)
        body = {"status": {"phase": phase}}
        world.api.patch("Pod", f"pod-{number:03}", body, world.namespace, subresource="status")
    eventually(lambda: _published(world, {2, 3}))


def test_services_that_are_not_ours_are_left_alone(world: World) -> None:
    """ES-32: no selector, or ExternalName."""
    spec = {"type": "ExternalName", "externalName": "example.org", "selector": {"app": "web"}}
    world.api.create(namespaced("Service", world.namespace, "external", spec=spec))
    world.api.create(namespaced("Service", world.namespace, "bare", spec={"ports": [{"port": 80}]}))
    world.pods(range(1))
    world.service(ipFamilyPolicy="SingleStack")
    eventually(lambda: _published(world, {0}))
    assert world.slices("external") == world.slices("bare") == []


def test_node_name_that_is_none_yet(world: World, sliceplane: Sliceplane) -> None:
    """An unscheduled Pod has no IP, so it is not even missed."""
    spec = {"containers": [{"name": "main", "image": "none"}]}
    world.service(ipFamilyPolicy="SingleStack")
    world.api.create(namespaced("Pod", world.namespace, "pod-pending", spec=spec))
    world.pods(range(1))
    eventually(lambda: _published(world, {0}))
    assert sliceplane.failures(world.namespace) == []
