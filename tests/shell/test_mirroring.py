"""Endpoints that somebody writes in, mirrored slices out, on a real API server."""

from typing import Any

import pytest

from api import names
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Object
from tests.shell.sliceplane import Sliceplane, running
from tests.shell.waiting import eventually
from tests.shell.world import MIRRORING_MANAGER, World, subset

pytestmark = pytest.mark.server

FOUR, SIX = ("10.9.0.1", "10.9.0.2"), ("fd00:9::1",)


def show(world: World, *ready: str, asleep: tuple[str, ...] = ()) -> None:
    """Mirrored slices hold exactly these addresses."""
    assert world.mirrored_addresses() == {ip: ip in ready for ip in (*ready, *asleep)}


def _told(world: World, reason: str) -> Object:
    found = world.events("web", "Endpoints", reason)
    assert len(found) == 1
    return found[0]


# These start processes of their own: they come before that of the module, which then runs beside whatever follows.


def test_what_is_left_out_is_told_once(granted: ControlPlane, world: World) -> None:
    """MI-27, MI-50: KCM says so at every sync."""
    world.manual_service()
    with running(granted, "--mirroring-max-endpoints-per-subset=2") as sliceplane:
        for number in range(5):
            world.manual("web", subset("10.9.0.1", "10.9.0.2", not_ready=("10.9.0.0",)), labels={"n": str(number)})
            eventually(lambda number=number: _labelled(world, str(number)))  # type: ignore[misc]
        show(world, "10.9.0.1", "10.9.0.2")
        told = eventually(lambda: _told(world, names.REASON_TOO_MANY_ADDRESSES))
        assert (told.get("count", 1), told["type"]) == (1, "Warning")
        assert "1 addresses were skipped" in told["message"]
        assert sliceplane.metric("endpoint_slice_mirroring_controller_changes", operation="create") == 1


def _labelled(world: World, number: str) -> None:
    [found] = world.mirrored()
    assert found["metadata"]["labels"]["n"] == number


def test_switched_off_nothing_is_mirrored(granted: ControlPlane, world: World) -> None:
    """Slices that were mirrored stay as they are."""
    world.manual_service()
    world.manual("web", subset(*FOUR))
    with running(granted):
        eventually(lambda: show(world, *FOUR))
    world.manual("web", subset("10.9.0.7"))
    world.service("witness")
    world.pods(range(1))
    with running(granted, "--controllers=*,-endpointslice-mirroring-controller"):
        eventually(lambda: _witness(world))
        show(world, *FOUR)
    with running(granted):
        eventually(lambda: show(world, "10.9.0.7"))


def _witness(world: World) -> None:
    assert world.numbers("witness") == {0}


@pytest.fixture
def mirrored(sliceplane: Sliceplane, world: World) -> World:
    """A Service without a selector, and Endpoints of two addresses that are mirrored."""
    world.manual_service()
    world.manual("web", subset(*FOUR))
    eventually(lambda: show(world, *FOUR))
    return world


def test_endpoints_are_mirrored(sliceplane: Sliceplane, world: World) -> None:
    """A slice for each family, with the labels and annotations of the Endpoints that own it (MI-30, MI-41)."""
    world.manual_service()
    given = subset(*FOUR, *SIX, not_ready=("fd00:9::2",))
    target = {"kind": "VM", "namespace": world.namespace, "name": "vm-1", "uid": "uid-1"}
    given["addresses"][0] |= {"hostname": "db-0", "nodeName": "node-a", "targetRef": target}
    annotations = {"note": "kept", names.LAST_APPLIED_ANNOTATION: "{}", names.TRIGGER_TIME_ANNOTATION: "2026-01-01"}
    made = world.manual("web", given, labels={"team": "shop"}, annotations=annotations)
    eventually(lambda: show(world, *FOUR, *SIX, asleep=("fd00:9::2",)))
    slices = {each["addressType"]: each for each in world.mirrored()}
    assert sorted(slices) == ["IPv4", "IPv6"]
    first = next(each for each in slices["IPv4"]["endpoints"] if each["addresses"] == ["10.9.0.1"])
    ready: Object = {"addresses": ["10.9.0.1"], "conditions": {"ready": True}}
    assert first == {**ready, "hostname": "db-0", "nodeName": "node-a", "targetRef": target}
    for each in slices.values():
        meta = each["metadata"]
        assert meta["name"].startswith("web-")
        assert meta["labels"] == {
            "team": "shop",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": MIRRORING_MANAGER,
        }
        assert meta["annotations"] == {"note": "kept"}
        owner = {"apiVersion": "v1", "kind": "Endpoints", "name": "web", "uid": made["metadata"]["uid"]}
        assert meta["ownerReferences"] == [{**owner, "controller": True, "blockOwnerDeletion": True}]
        assert each["ports"] == [{"name": "http", "port": 80, "protocol": "TCP"}]


def test_changes_are_mirrored(mirrored: World) -> None:
    """In the same slice, whatever changes: ports, too (MI-46)."""
    [before] = mirrored.mirrored()
    mirrored.manual("web", subset("10.9.0.1", "10.9.0.3", port=81, not_ready=("10.9.0.2",)), labels={"team": "shop"})

    def check() -> None:
        show(mirrored, "10.9.0.1", "10.9.0.3", asleep=("10.9.0.2",))
        [after] = mirrored.mirrored()
        assert after["ports"][0]["port"] == 81
        assert after["metadata"]["labels"]["team"] == "shop"
        assert after["metadata"]["uid"] == before["metadata"]["uid"]

    eventually(check)
    mirrored.manual("web", subset("10.9.0.1"), subset("10.9.0.1", port=443, name="https"))

    def merged() -> None:
        show(mirrored, "10.9.0.1")
        [after] = mirrored.mirrored()
        assert {each["port"] for each in after["ports"]} == {80, 443}

    eventually(merged)
    mirrored.manual("web")
    eventually(lambda: show(mirrored))


@pytest.mark.parametrize("kind", ["Endpoints", "Service"])
def test_mirrored_slices_go_with_what_they_mirror(mirrored: World, kind: str) -> None:
    """No garbage collector runs here (MI-22); with their Service the Endpoints go, too (EP-24)."""
    mirrored.api.delete(kind, "web", mirrored.namespace)
    eventually(lambda: show(mirrored))
    if kind == "Service":
        eventually(lambda: _no_endpoints(mirrored))
        mirrored.manual_service()
    mirrored.manual("web", subset("10.9.0.7"))
    eventually(lambda: show(mirrored, "10.9.0.7"))


def _no_endpoints(world: World) -> None:
    assert world.api.list("Endpoints", world.namespace) == []


@pytest.mark.parametrize(
    ("labels", "annotations"),
    [
        pytest.param({names.SKIP_MIRROR_LABEL: "true"}, {}, id="skip-mirror"),
        pytest.param({}, {names.LEADER_ANNOTATION: ""}, id="leader-election"),
    ],
)
def test_endpoints_that_are_not_to_be_mirrored(mirrored: World, labels: Object, annotations: dict[str, str]) -> None:
    """MI-12: what was mirrored goes; any other value of the label mirrors."""
    mirrored.manual("web", subset(*FOUR), labels=labels, annotations=annotations)
    eventually(lambda: show(mirrored))
    mirrored.manual("web", subset(*FOUR), labels={names.SKIP_MIRROR_LABEL: "no"})
    eventually(lambda: show(mirrored, *FOUR))


def test_service_gains_a_selector_and_loses_it(mirrored: World) -> None:
    """MI-55, MI-56: then its slices and Endpoints come from Pods; what these leave behind is mirrored, too."""
    mirrored.pods(range(4))
    mirrored.api.patch("Service", "web", {"spec": {"selector": {"app": "web"}}}, mirrored.namespace)
    published = {f"10.1.0.{number}" for number in (1, 2, 3, 4)}

    def selected() -> None:
        show(mirrored)
        assert mirrored.numbers() == {0, 1, 2, 3}
        assert set(mirrored.addresses()[0]) == published

    eventually(selected)
    mirrored.api.patch("Service", "web", {"spec": {"selector": None}}, mirrored.namespace)

    def left_over() -> None:
        show(mirrored, *published)
        [found] = mirrored.mirrored()
        assert found["metadata"]["labels"][names.ENDPOINTS_MANAGED_BY_LABEL] == "endpoint-controller"

    eventually(left_over)
    mirrored.manual("web", subset(*FOUR))
    eventually(lambda: show(mirrored, *FOUR))


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(None, id="deleted"),
        pytest.param({"endpoints": []}, id="emptied"),
        pytest.param({"ports": [{"name": "http", "port": 9999, "protocol": "TCP"}]}, id="port"),
        pytest.param({"metadata": {"annotations": {"mine": "x"}}}, id="annotation"),
        # KCM does not recover from these two until it is started again.
        pytest.param({"metadata": {"labels": {names.SERVICE_NAME_LABEL: "stolen"}}}, id="service-label"),
        pytest.param({"metadata": {"labels": {names.MANAGED_BY_LABEL: "me"}}}, id="manager"),
    ],
)
def test_mirrored_slice_that_somebody_touches_is_mended(mirrored: World, edit: dict[str, Any] | None) -> None:
    [before] = mirrored.mirrored()
    name = before["metadata"]["name"]
    if edit is None:
        mirrored.api.delete("EndpointSlice", name, mirrored.namespace)
    else:
        mirrored.api.patch("EndpointSlice", name, edit, mirrored.namespace)

    def check() -> None:
        show(mirrored, *FOUR)
        [found] = mirrored.mirrored()
        assert found["ports"] == before["ports"]
        assert "annotations" not in found["metadata"]
        assert found["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]

    eventually(check)


def test_endpoints_that_no_slice_can_hold_are_told_and_stop_nobody(sliceplane: Sliceplane, world: World) -> None:
    """Two ports of one name, which Endpoints may have and a slice may not."""
    for name in ("web", "other"):
        world.manual_service(name)
    given = subset(*FOUR)
    given["ports"].append({"name": "http", "port": 81, "protocol": "TCP"})
    world.manual("web", given)
    told = eventually(lambda: _told(world, names.REASON_UPDATE_FAILED))
    assert 'Duplicate value: "http"' in told["message"]
    world.manual("other", subset(*FOUR))
    eventually(lambda: _other(world))
    world.manual("web", subset(*FOUR))
    eventually(lambda: show(world, *FOUR))


def _other(world: World) -> None:
    assert set(world.mirrored_addresses("other")) == set(FOUR)


def test_terminating_namespace_is_no_error(mirrored: World, sliceplane: Sliceplane) -> None:
    """Nothing empties a namespace here, so it stays terminating."""
    mirrored.api.delete("Namespace", mirrored.namespace)
    forbidden = sliceplane.metric("rest_client_requests_total", code="403", method="POST")
    [found] = mirrored.mirrored()
    mirrored.api.delete("EndpointSlice", found["metadata"]["name"], mirrored.namespace)

    def tried() -> None:
        assert sliceplane.metric("rest_client_requests_total", code="403", method="POST") > forbidden

    eventually(tried)
    show(mirrored)
    assert sliceplane.failures(mirrored.namespace) == []
    assert mirrored.events("web", "Endpoints", names.REASON_UPDATE_FAILED) == []
