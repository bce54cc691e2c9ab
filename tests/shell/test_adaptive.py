"""Adaptive hints on a real API server, by the real process (docs/topology.md)."""

from collections.abc import Iterator

import pytest

from api.names import ADAPTIVE_MODE_ANNOTATION, REASON_INVALID_ANNOTATION, TOPOLOGY_FLOOR_ANNOTATION
from e2e.cluster.local import ControlPlane
from tests.shell.sliceplane import Sliceplane, running
from tests.shell.waiting import eventually
from tests.shell.world import ZONES, World, counted

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("sliceplane")]

ALL = {f"zone-{zone}" for zone in ZONES}
# So long that a Node may come back in time although the machine stands still for some seconds.
GRACE_SECONDS = 10


@pytest.fixture(scope="module")
def sliceplane(granted: ControlPlane) -> Iterator[Sliceplane]:
    with running(granted, f"--topology-grace-period={GRACE_SECONDS}s") as made:
        yield made


@pytest.fixture
def place(world: World) -> World:
    """Four Pods over three equal zones: what Auto refuses."""
    world.api.apply([counted(zone) for zone in ZONES])
    world.service()
    world.pods(range(4))
    return world


def annotate(world: World, **annotations: str) -> None:
    keys = {"mode": ADAPTIVE_MODE_ANNOTATION, "floor": TOPOLOGY_FLOOR_ANNOTATION}
    given = {keys[name]: value for name, value in annotations.items()}
    world.api.patch("Service", "web", {"metadata": {"annotations": given}}, world.namespace)


def named(world: World, family: str) -> list[set[str]]:
    """The zones that each endpoint's hints name."""
    found = world.endpoints(family=family).values()
    assert len(found) == 4
    return [{zone["name"] for zone in (each.get("hints") or {}).get("forZones") or []} for each in found]


def covers(world: World, zones: set[str]) -> None:
    for family in ("IPv4", "IPv6"):
        found = named(world, family)
        assert all(found)
        assert set().union(*found) == zones


def test_what_auto_refuses_is_hinted(place: World) -> None:
    annotate(place, mode="Adaptive")
    eventually(lambda: covers(place, ALL))
    annotate(place, floor="4")

    def everybody() -> None:
        assert named(place, "IPv4") == [ALL] * 4

    def told() -> None:
        # Told beside the writes, so perhaps after them.
        assert {each["reason"] for each in place.told("web")} == {"TopologyAwareHintsEnabled"}

    eventually(everybody)
    eventually(told)
    place.api.patch("Service", "web", {"metadata": {"annotations": {ADAPTIVE_MODE_ANNOTATION: None}}}, place.namespace)

    def nobody() -> None:
        assert named(place, "IPv4") == named(place, "IPv6") == [set()] * 4

    eventually(nobody)


def test_a_node_counts_until_its_grace_period_is_over(place: World) -> None:
    annotate(place, mode="Adaptive")
    eventually(lambda: covers(place, ALL))
    before = place.versions()
    place.api.apply([counted("c", ready=False)])
    # The Node comes back in time: nothing is written, and what comes after it on the watch shows that it was seen.
    place.api.apply([counted("c")])
    place.service("witness", ipFamilyPolicy="SingleStack")
    eventually(lambda: place.endpoints("witness")["pod-000"])
    assert {name: version for name, version in place.versions().items() if name in before} == before
    place.api.apply([counted("c", ready=False)])
    eventually(lambda: covers(place, ALL - {"zone-c"}))
    place.api.apply([counted("c")])
    eventually(lambda: covers(place, ALL))


def test_a_value_that_is_not_valid_is_told(place: World) -> None:
    annotate(place, mode="adaptive", floor="0")

    def check() -> None:
        assert "sliceplane.dev/topology-" in place.warnings().get(REASON_INVALID_ANNOTATION, "")
        # All four: some may be heard of after the Service has been looked at.
        assert named(place, "IPv4") == [set()] * 4

    eventually(check)
