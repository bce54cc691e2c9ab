"""Nothing that need not be written is written: after a restart, after KCM, and by KCM after us; what was is ours.

All three controllers take over together: slices of Pods, Endpoints, mirrored slices.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import pytest

from api import names
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import ApiError
from tests.shell.kcm import SYNCS, kcm
from tests.shell.sliceplane import running
from tests.shell.waiting import eventually
from tests.shell.world import World, namespaced, subset

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
    world.service("lost", ipFamilyPolicy="SingleStack")
    for number in range(6):
        ports = [{"name": "http", "containerPort": 8080 + number % 2}]
        world.pod(number, ports=ports, ready=number != 1, hostname=f"h{number}", subdomain="headless")
    for number in range(100, 230):
        world.pod(number, labels={"size": "many"})
    world.api.delete("Pod", "pod-002", world.namespace, grace=600)
    fill_by_hand(world)


def fill_by_hand(world: World) -> None:
    """Services without a selector and Endpoints of many shapes, mirrored and not; and a lock without a Service."""
    both = subset("10.9.0.2", "fd00:9::1", "10.9.0.10", not_ready=("fd00:9::2",))
    other = subset("10.9.0.2", port=443, name="https")
    for name in ("manual", "manual-skipped", "manual-lock", "manual-labelled", "manual-portless", "manual-crowd"):
        world.manual_service(name)
    world.manual_service("manual-headless", clusterIP="None")
    world.manual_service("manual-six", ipFamilyPolicy="SingleStack", ipFamilies=["IPv6"])
    spec = {"type": "ExternalName", "externalName": "example.org"}
    world.api.create(namespaced("Service", world.namespace, "manual-external", spec=spec))
    world.manual("manual", both, other)
    world.manual("manual-skipped", both, labels={names.SKIP_MIRROR_LABEL: "true"})
    world.manual("manual-lock", both, annotations={names.LEADER_ANNOTATION: "{}"})
    reserved = {names.SERVICE_NAME_LABEL: "other", names.MANAGED_BY_LABEL: "me", names.HEADLESS_LABEL: ""}
    world.manual(
        "manual-labelled", both, labels={"team": "shop", **reserved}, annotations={names.LAST_APPLIED_ANNOTATION: "{}"}
    )
    portless = {"ip": "10.9.0.1", "hostname": "db", "nodeName": "node-a"}
    world.manual("manual-portless", {"addresses": [portless]})
    world.manual("manual-crowd", subset(*(f"10.9.{number // 250}.{number % 250 + 1}" for number in range(1005))))
    for name in ("manual-headless", "manual-six", "manual-external"):
        world.manual(name, both, other)
    world.manual("lock-without-service", both, annotations={names.LEADER_ANNOTATION: "{}"})


def lose_selector(world: World) -> None:
    """A Service that was filled loses its selector: what Pods left is mirrored beside it (MI-55)."""
    eventually(lambda: complete(world))
    world.api.patch("Service", "lost", {"spec": {"selector": None}}, world.namespace)

    def check() -> None:
        assert len(world.mirrored_addresses("lost")) == sum(map(len, world.addresses("lost")))

    eventually(check)


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
    "lost": (6, 0),
}
# Its addresses in Endpoints: ready, not ready. Who terminates is not in them.
ENDPOINTS = {
    "web": (4, 1),
    "single": (4, 1),
    "six": (4, 1),
    "headless": (4, 1),
    "headless-portless": (4, 1),
    "unready": (6, 0),
    # The port "https" is the same for all, "http" has one of two numbers.
    "ports": (8, 2),
    "nothing": (0, 0),
    "many": (130, 0),
    "labelled": (4, 1),
    "lost": (4, 1),
    "lock-without-service": (3, 1),
}
# Of hand-written Endpoints: mirrored slices and endpoints.
MIRRORED = {
    "manual": (3, 5),
    "manual-skipped": (0, 0),
    "manual-lock": (0, 0),
    "manual-labelled": (2, 4),
    "manual-portless": (1, 1),
    "manual-crowd": (1, 1000),
    "manual-headless": (3, 5),
    "manual-six": (3, 5),
    "manual-external": (3, 5),
}


def complete(world: World) -> None:
    slices = {name: world.mirrored(name) for name in MIRRORED}
    mirrored = {name: (len(found), sum(len(each["endpoints"]) for each in found)) for name, found in slices.items()}
    assert mirrored == MIRRORED
    addresses = {name: world.addresses(name) for name in ENDPOINTS}
    assert {name: (len(ready), len(asleep)) for name, (ready, asleep) in addresses.items()} == ENDPOINTS
    found = {name: (len(world.endpoints(name)), len(world.endpoints(name, "IPv6"))) for name in SIZES}
    assert found == SIZES
    assert all(world.slices(name) or world.slices(name, "IPv6") for name in SIZES)
    assert not world.endpoints()["pod-002"]["conditions"]["ready"]


# What KCM writes at every sync, whoever wrote it before: the labels of the Service or the Endpoints are reserved ones
# (EP-42, MI-38).
WRITTEN_BY_KCM = ("Endpoints/labelled", "EndpointSlice/manual-labelled-")


def stays(
    world: World, before: dict[str, str], served: Callable[[], float], services: int, but: tuple[str, ...] = ()
) -> None:
    """Fails when slices or Endpoints are written while every Service is synced, new ones served, and 3 s more pass."""
    aside = (*but, "Endpoints/probe", "EndpointSlice/probe")
    wanted = {name: version for name, version in before.items() if not name.startswith(aside)}
    world.service("probe", ipFamilyPolicy="SingleStack", selector={"app": "probe"})
    world.manual_service("probe-manual", ipFamilyPolicy="SingleStack")
    world.manual("probe-manual", subset("10.9.0.1"))

    def check() -> None:
        assert world.slices("probe")
        assert world.addresses("probe") == ([], [])
        assert world.mirrored("probe-manual")
        assert served() > services

    eventually(check)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert {name: v for name, v in world.all_versions().items() if not name.startswith(aside)} == wanted
        time.sleep(0.2)
    for name in ("probe", "probe-manual"):
        world.api.delete("Service", name, world.namespace)
        for each in world.slices(name):
            with suppress(ApiError):
                world.api.delete("EndpointSlice", each["metadata"]["name"], world.namespace)
        eventually(lambda name=name: gone(world, name))  # type: ignore[misc]


def gone(world: World, name: str) -> None:
    """Its Endpoints go with a Service."""
    assert name not in [each["metadata"]["name"] for each in world.api.list("Endpoints", world.namespace)]


def test_nothing_is_written_by_whoever_comes_next(granted: ControlPlane, world: World) -> None:
    """Sliceplane fills; restarted, it writes nothing; nor does KCM after it. The other way round is the next test."""
    fill(world)
    services = len(world.api.list("Service"))
    with running(granted):
        lose_selector(world)
    before = world.all_versions()
    with running(granted) as sliceplane:
        stays(world, before, lambda: sliceplane.metric(SYNCS), services)
        assert sliceplane.failures(world.namespace) == []
    with kcm(granted) as metric:
        stays(world, before, lambda: metric(SYNCS), services, WRITTEN_BY_KCM)


@pytest.mark.parametrize("earlier", [running, kcm], ids=["sliceplane", "kcm"])
def test_slice_of_an_earlier_process_is_made_again(
    granted: ControlPlane, world: World, earlier: Callable[[ControlPlane], AbstractContextManager[object]]
) -> None:
    """D-9: by a process that never wrote it."""

    def filled() -> None:
        assert world.numbers() == {0, 1}
        assert len(world.addresses()[0]) == 2

    world.service(ipFamilyPolicy="SingleStack")
    world.pods(range(2))
    services = len(world.api.list("Service"))
    with earlier(granted):
        eventually(filled)
    before = world.all_versions()
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
        lose_selector(world)
    before = world.all_versions()
    with running(granted) as sliceplane:
        stays(world, before, lambda: sliceplane.metric(SYNCS), services)
        assert sliceplane.failures(world.namespace) == []
