"""Nothing that need not be written is written: after a restart, after KCM, and by KCM after us; what was is ours."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from e2e.cluster.local import ControlPlane
from tests.shell.kcm import SYNCS, kcm
from tests.shell.sliceplane import running
from tests.shell.waiting import eventually
from tests.shell.world import World, namespaced

pytestmark = pytest.mark.server


def fill(world: World) -> None:
    """Services of many shapes, and Pods in every state."""
    labels = {"team": "shop", "service.kubernetes.io/headless": "mine"}
    two = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "https", "port": 443, "appProtocol": "h2c"}]
    world.service()
    world.service("single", ipFamilyPolicy="SingleStack")
    world.service("six", ipFamilyPolicy="SingleStack", ipFamilies=["IPv6"])
    world.service("headless", clusterIP="None")
    world.service("headless-portless", clusterIP="None", ports=[])
    world.service("unready", publishNotReadyAddresses=True)
    world.service("ports", ports=two)
    world.service("nothing", selector={"app": "nothing"})
    world.service("many", selector={"size": "many"}, ipFamilyPolicy="SingleStack")
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    world.api.create(namespaced("Service", world.namespace, "labelled", labels=labels, spec=spec))
    world.api.create(namespaced("Service", world.namespace, "bare", spec={"ports": [{"port": 80}]}))
    for number in range(6):
        ports = [{"name": "http", "containerPort": 8080 + number % 2}]
        world.pod(number, ports=ports, ready=number != 1, hostname=f"h{number}", subdomain="headless")
    for number in range(100, 230):
        world.pod(number, labels={"size": "many"})
    world.api.delete("Pod", "pod-002", world.namespace, grace=600)


# Service: its endpoints per family.
SIZES = {
    "web": (6, 6),
    "single": (6, 0),
    "six": (0, 6),
    "headless": (6, 6),
    "headless-portless": (6, 6),
    "unready": (6, 6),
    "ports": (6, 6),
    "nothing": (0, 0),
    "many": (130, 0),
    "labelled": (6, 0),
}


def complete(world: World) -> None:
    found = {name: (len(world.endpoints(name)), len(world.endpoints(name, "IPv6"))) for name in SIZES}
    assert found == SIZES
    assert all(world.slices(name) or world.slices(name, "IPv6") for name in SIZES)
    assert not world.endpoints()["pod-002"]["conditions"]["ready"]


def stays(world: World, before: dict[str, str], served: Callable[[], float], services: int) -> None:
    """Fails when a slice is written while every Service is synced, a new one served, and 3 s more pass."""
    world.service("probe", ipFamilyPolicy="SingleStack", selector={"app": "probe"})

    def check() -> None:
        assert world.slices("probe")
        assert served() > services

    eventually(check)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert {name: v for name, v in world.versions().items() if not name.startswith("probe-")} == before
        time.sleep(0.2)
    world.api.delete("Service", "probe", world.namespace)
    for each in world.slices("probe"):
        world.api.delete("EndpointSlice", each["metadata"]["name"], world.namespace)


def test_nothing_is_written_by_whoever_comes_next(granted: ControlPlane, world: World) -> None:
    """Sliceplane fills; restarted, it writes nothing; nor does KCM after it. The other way round is the next test."""
    fill(world)
    services = len(world.api.list("Service"))
    with running(granted):
        eventually(lambda: complete(world))
    before = world.versions()
    with running(granted) as sliceplane:
        stays(world, before, lambda: sliceplane.metric(SYNCS), services)
        assert sliceplane.failures(world.namespace) == []
    with kcm(granted) as metric:
        stays(world, before, lambda: metric(SYNCS), services)


@pytest.mark.parametrize("earlier", [running, kcm], ids=["sliceplane", "kcm"])
def test_slice_of_an_earlier_process_is_made_again(
    granted: ControlPlane, world: World, earlier: Callable[[ControlPlane], AbstractContextManager[object]]
) -> None:
    """D-9: by a process that never wrote it."""

    def filled() -> None:
        assert world.numbers() == {0, 1}

    world.service(ipFamilyPolicy="SingleStack")
    world.pods(range(2))
    services = len(world.api.list("Service"))
    with earlier(granted):
        eventually(filled)
    before = world.versions()
    with running(granted) as sliceplane:
        stays(world, before, lambda: sliceplane.metric(SYNCS), services)
        [old] = world.slices()
        world.api.delete("EndpointSlice", old["metadata"]["name"], world.namespace)

        def made_again() -> None:
            filled()
            assert old["metadata"]["uid"] not in [each["metadata"]["uid"] for each in world.slices()]

        eventually(made_again)


def test_nothing_is_written_after_kcm(granted: ControlPlane, world: World) -> None:
    fill(world)
    services = len(world.api.list("Service"))
    with kcm(granted):
        eventually(lambda: complete(world))
    before = world.versions()
    with running(granted) as sliceplane:
        stays(world, before, lambda: sliceplane.metric(SYNCS), services)
        assert sliceplane.failures(world.namespace) == []
