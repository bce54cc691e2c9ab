"""Services and Pods in, slices out, on a real API server."""

import pytest

from tests.shell.sliceplane import Sliceplane
from tests.shell.waiting import eventually
from tests.shell.world import MANAGER, World

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("sliceplane")]


def test_dual_stack_service(world: World) -> None:
    uid = world.service()["metadata"]["uid"]
    world.pods(range(2))

    def check() -> None:
        assert world.numbers() == world.numbers(family="IPv6") == {0, 1}

    eventually(check)
    [four], [six] = world.slices(), world.slices(family="IPv6")
    assert {e["addresses"][0] for e in six["endpoints"]} == {"fd00:10:1::1", "fd00:10:1::2"}
    assert four["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert four["metadata"]["labels"] == {
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": MANAGER,
    }
    [owner] = four["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "v1",
        "kind": "Service",
        "name": "web",
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    first = world.endpoints()["pod-000"]
    assert (first["nodeName"], first["zone"]) == ("node-a", "zone-a")
    assert first["conditions"] == {"ready": True, "serving": True, "terminating": False}


def test_managed_fields_are_of_sliceplane(world: World) -> None:
    """After a create and after an update."""
    world.service(ipFamilyPolicy="SingleStack")
    for numbers in ({0}, {0, 1}):
        world.pod(max(numbers))
        eventually(lambda numbers=numbers: _all(world, numbers))  # type: ignore[misc]
        [found] = world.slices()
        assert [each["manager"] for each in found["metadata"]["managedFields"]] == ["sliceplane"]


def test_service_without_pods_has_a_placeholder(world: World) -> None:
    world.service()
    eventually(lambda: _one(world))
    [found] = world.slices()
    assert (found.get("endpoints") or [], found.get("ports") or []) == ([], [])


def _one(world: World) -> None:
    assert len(world.slices()) == len(world.slices(family="IPv6")) == 1


def _conditions(world: World, number: int, **expected: bool) -> None:
    found = world.endpoints()[f"pod-{number:03}"]["conditions"]
    assert found == {"ready": False, "serving": False, "terminating": False, **expected}


def test_readiness_comes_and_goes(world: World) -> None:
    world.service()
    world.pods(range(2))
    eventually(lambda: _all(world, {0, 1}))
    world.set_status(1, ready=False)
    eventually(lambda: _conditions(world, 1))
    world.set_status(1, ready=True)
    eventually(lambda: _conditions(world, 1, ready=True, serving=True))
    _conditions(world, 0, ready=True, serving=True)


def _all(world: World, numbers: set[int], name: str = "web") -> None:
    assert world.numbers(name) == numbers


def test_terminating_pod_serves_until_it_is_gone(world: World) -> None:
    world.service()
    world.pods(range(2))
    eventually(lambda: _all(world, {0, 1}))
    world.api.delete("Pod", "pod-001", world.namespace, grace=600)
    eventually(lambda: _conditions(world, 1, serving=True, terminating=True))
    world.api.delete("Pod", "pod-001", world.namespace, grace=0)
    eventually(lambda: _all(world, {0}))


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_finished_pod_leaves_at_once(world: World, phase: str) -> None:
    """Nothing but its phase changes: KCM would wait for another change."""
    world.service(ipFamilyPolicy="SingleStack")
    world.pods(range(2))
    eventually(lambda: _all(world, {0, 1}))
    world.api.patch("Pod", "pod-001", {"status": {"phase": phase}}, world.namespace, subresource="status")
    eventually(lambda: _all(world, {0}))


def test_headless_service_with_hostnames(world: World) -> None:
    world.service(clusterIP="None", ipFamilyPolicy="SingleStack")
    world.pod(0, hostname="db-0", subdomain="web")
    world.pod(1, hostname="db-1", subdomain="elsewhere")
    eventually(lambda: _all(world, {0, 1}))
    found = world.endpoints()
    assert found["pod-000"]["hostname"] == "db-0"
    assert "hostname" not in found["pod-001"]
    assert world.slices()[0]["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_named_port_differs_per_pod(world: World) -> None:
    world.service(ports=[{"name": "web", "port": 80, "targetPort": "http"}])
    for number, port in enumerate((8080, 8081, 8080)):
        world.pod(number, ports=[{"name": "http", "containerPort": port}])

    def check() -> None:
        assert world.numbers() == {0, 1, 2}
        ports = {each["ports"][0]["port"]: len(each["endpoints"]) for each in world.slices()}
        assert ports == {8080: 2, 8081: 1}

    eventually(check)


def test_pod_leaves_by_its_labels(world: World) -> None:
    world.service()
    world.service("other", selector={"app": "other"})
    world.pods(range(2))
    eventually(lambda: _all(world, {0, 1}))
    world.api.patch("Pod", "pod-001", {"metadata": {"labels": {"app": "other"}}}, world.namespace)
    eventually(lambda: _all(world, {0}))
    eventually(lambda: _all(world, {1}, "other"))


def test_250_pods_fill_three_slices(world: World) -> None:
    """All there before the Service: one sync, packed as ES-T30 says. Another Service shows that all have been heard."""
    world.service("witness", ipFamilyPolicy="SingleStack")
    world.pods(range(250))
    eventually(lambda: _all(world, set(range(250)), "witness"))
    world.service(ipFamilyPolicy="SingleStack")
    eventually(lambda: _all(world, set(range(250))))
    assert sorted(len(each["endpoints"]) for each in world.slices()) == [50, 100, 100]


def test_deleted_service_is_left_to_the_garbage_collector(world: World, sliceplane: Sliceplane) -> None:
    world.service()
    world.service("witness", selector={"app": "witness"})
    world.pods(range(2))
    eventually(lambda: _all(world, {0, 1}))
    eventually(lambda: _all(world, set(), "witness"))
    before = {name: version for name, version in world.versions().items() if name.startswith("web-")}
    world.api.delete("Service", "web", world.namespace)
    # Its Endpoints go as soon as its end has been heard: Pods are heard of by another watch, which may be quicker.
    eventually(lambda: _no_endpoints(world))
    world.set_status(1, ready=False)
    # The next change of another Service comes after what concerns the deleted one.
    world.pod(2, labels={"app": "witness"})
    eventually(lambda: _all(world, {2}, "witness"))
    after = {name: version for name, version in world.versions().items() if name.startswith("web-")}
    assert after == before
    assert sliceplane.failures(world.namespace) == []


def _no_endpoints(world: World) -> None:
    assert "web" not in [each["metadata"]["name"] for each in world.api.list("Endpoints", world.namespace)]


def test_service_made_again_owns_its_slices(world: World) -> None:
    world.service()
    world.pods(range(1))
    eventually(lambda: _all(world, {0}))
    world.api.delete("Service", "web", world.namespace)
    uid = world.service()["metadata"]["uid"]

    def check() -> None:
        _all(world, {0})
        assert {each["metadata"]["ownerReferences"][0]["uid"] for each in world.slices()} == {uid}

    eventually(check)
