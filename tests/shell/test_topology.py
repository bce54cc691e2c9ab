"""Hints where KCM hurts: each difference is shown by the real KCM first, then by Sliceplane (docs/differences.md)."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from api.names import TOPOLOGY_MODE_ANNOTATION, ZONE_LABEL
from e2e.cluster.fixtures import plane_of
from e2e.cluster.local import ControlPlane
from e2e.cluster.product import grant
from tests.shell.kcm import CHANGES, SYNCS, kcm
from tests.shell.sliceplane import running
from tests.shell.waiting import eventually
from tests.shell.world import World, counted, namespaced

pytestmark = pytest.mark.server

_names = itertools.count()


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A control plane of its own: the zones of all Nodes count for every Service."""
    with plane_of() as made:
        grant(made)
        yield made


@pytest.fixture
def place(plane: ControlPlane) -> World:
    """A Namespace with a Service in Auto mode and three Pods in three zones."""
    world = World(plane, f"topology-{next(_names)}")
    world.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.namespace}})
    world.api.apply([counted("a"), counted("b"), counted("c"), counted("d", ready=False)])
    made = namespaced(
        "Service",
        world.namespace,
        "web",
        spec={"selector": {"app": "web"}, "ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"},
    )
    made["metadata"]["annotations"] = {TOPOLOGY_MODE_ANNOTATION: "Auto"}
    world.api.create(made)
    world.pods(range(3))
    return world


@contextmanager
def served(plane: ControlPlane, who: str) -> Iterator[Callable[[str], float]]:
    """KCM or Sliceplane; gives its metrics."""
    if who == "kcm":
        with kcm(plane) as metric:
            yield metric
    else:
        with running(plane) as sliceplane:
            yield sliceplane.metric


def hints(world: World, family: str = "IPv4") -> "Zones":
    """The zones that each ready endpoint's hints name."""
    found = world.endpoints(family=family).values()
    assert found
    ready = [each for each in found if each["conditions"]["ready"]]
    return {tuple(zone["name"] for zone in (each.get("hints") or {}).get("forZones") or []) for each in ready}


Zones = set[tuple[str, ...]]

OWN_ZONES: Zones = {("zone-a",), ("zone-b",), ("zone-c",)}
NONE: Zones = {()}


def hinted(world: World, expected: Zones) -> None:
    def check() -> None:
        assert hints(world) == expected

    eventually(check)


def touch(world: World, metric: Callable[[str], float]) -> None:
    """Makes the Service be synced once more, by a label."""
    before = metric(SYNCS)
    number = next(_names)
    world.api.patch("Service", "web", {"metadata": {"labels": {"touched": str(number)}}}, world.namespace)

    def check() -> None:
        assert metric(SYNCS) > before
        slices = [*world.slices(), *world.slices(family="IPv6")]
        assert all(each["metadata"]["labels"].get("touched") == str(number) for each in slices)

    eventually(check)


def bring_up(world: World, metric: Callable[[str], float], expected: Zones) -> None:
    """Has the Service synced until its hints are these.

    For KCM's sake: a Service that it synced before it had looked at the Nodes stays without hints until it changes.
    """

    def check() -> None:
        touch(world, metric)
        assert hints(world) == expected

    eventually(check)


def published(world: World, name: str) -> None:
    assert world.numbers(name) == {0, 1, 2}


def quiet(metric: Callable[[str], float]) -> None:
    """Waits until nothing has been synced for three seconds, longer than KCM's first back-offs."""
    syncs, since = metric(SYNCS), time.monotonic()
    while time.monotonic() < since + 3:
        time.sleep(0.2)
        if metric(SYNCS) != syncs:
            syncs, since = metric(SYNCS), time.monotonic()


def events(world: World, reason: str) -> int:
    """How often an Event has been recorded on the Service."""
    found = world.api.list("Event", world.namespace, fieldSelector="involvedObject.name=web")
    return sum(each.get("count", 1) for each in found if each["reason"] == reason)


@pytest.mark.parametrize(("who", "heals"), [("kcm", False), ("sliceplane", True)])
def test_hints_come_back_when_a_node_gets_its_zone_again(
    plane: ControlPlane, place: World, who: str, heals: bool
) -> None:
    with served(plane, who) as metric:
        bring_up(place, metric, OWN_ZONES)
        place.api.patch("Node", "node-b", {"metadata": {"labels": {ZONE_LABEL: None}}})
        hinted(place, NONE)
        if not heals:
            # A sync that KCM has put off (a cache behind its own writes) would see the Node healed.
            quiet(metric)
        place.api.patch("Node", "node-b", {"metadata": {"labels": {ZONE_LABEL: "zone-b"}}})
        if heals:
            hinted(place, OWN_ZONES)
            return
        # Whatever else it is asked meanwhile, this Service is not looked at.
        place.service("other", ipFamilyPolicy="SingleStack")
        eventually(lambda: published(place, "other"))
        assert hints(place) == NONE
        bring_up(place, metric, OWN_ZONES)


@pytest.mark.parametrize(("who", "repeats"), [("kcm", True), ("sliceplane", False)])
def test_one_family_without_hints_says_so_once(plane: ControlPlane, place: World, who: str, repeats: bool) -> None:
    """IPv6 has two endpoints for three zones: KCM's one mark for both families falls and rises at every sync."""
    place.set_status(0, ips=("10.1.0.1",))
    with served(plane, who) as metric:
        bring_up(place, metric, OWN_ZONES)
        for _ in range(3):
            touch(place, metric)

        def check() -> None:
            disabled, enabled = events(place, "TopologyAwareHintsDisabled"), events(place, "TopologyAwareHintsEnabled")
            assert (disabled > 2 and enabled > 2) if repeats else (disabled, enabled) == (1, 1)

        eventually(check)


@pytest.mark.parametrize(("who", "writes"), [("kcm", True), ("sliceplane", False)])
def test_an_endpoint_whose_zone_does_not_count_is_not_written_at_every_sync(
    plane: ControlPlane, place: World, who: str, writes: bool
) -> None:
    place.pods(range(3, 5))
    place.pod(5, nodeName="node-d")
    with served(plane, who) as metric:
        bring_up(place, metric, OWN_ZONES | {("zone-d",)})
        # What is still under way would be counted below.
        quiet(metric)
        changes, syncs = metric(CHANGES), metric(SYNCS)
        # A Pod that is selected but has no address yet: the Service is synced, and its endpoints stay.
        bare = namespaced("Pod", place.namespace, "bare", labels={"app": "web"})
        place.api.create({**bare, "spec": {"nodeName": "node-a", "containers": [{"name": "main", "image": "none"}]}})

        def check() -> None:
            assert metric(SYNCS) > syncs
            # A write that changes nothing costs the API server as much as any other, but no watcher is told.
            assert (metric(CHANGES) > changes) is writes

        eventually(check)


@pytest.mark.parametrize(("who", "keeps"), [("kcm", True), ("sliceplane", False)])
def test_stale_hint_on_an_endpoint_that_is_not_ready(plane: ControlPlane, place: World, who: str, keeps: bool) -> None:
    place.pod(3, ready=False)
    with served(plane, who) as metric:
        bring_up(place, metric, OWN_ZONES)
        quiet(metric)
        (listed,) = place.slices()
        found = place.api.read("EndpointSlice", listed["metadata"]["name"], place.namespace)
        asleep = next(each for each in found["endpoints"] if each["targetRef"]["name"] == "pod-003")
        asleep["hints"] = {"forZones": [{"name": "zone-b"}]}
        syncs = metric(SYNCS)
        place.api.replace(found)

        def check() -> None:
            assert metric(SYNCS) > syncs
            assert ("hints" in place.endpoints()["pod-003"]) is keeps

        eventually(check)
