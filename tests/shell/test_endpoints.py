"""Services and Pods in, Endpoints out, on a real API server."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api import names
from e2e.cluster.local import ControlPlane
from e2e.cluster.product import USER
from e2e.cluster.rest import ApiError, Object
from tests.shell.proxy import Faults, faulty
from tests.shell.sliceplane import GROUPS, Sliceplane, running
from tests.shell.waiting import eventually
from tests.shell.world import World, subset

pytestmark = pytest.mark.server

FAILED = ("FailedToCreateEndpoint", "FailedToUpdateEndpoint")


def read(world: World, name: str = "web") -> Object:
    return world.api.read("Endpoints", name, world.namespace)


def hold(world: World, ready: set[int], asleep: set[int] = frozenset(), name: str = "web") -> None:  # type: ignore[assignment]
    """Endpoints hold the first address of these Pods."""
    addresses = tuple(sorted(f"10.1.0.{number + 1}" for number in numbers) for numbers in (ready, asleep))
    assert world.addresses(name) == addresses


def absent(world: World, name: str = "web") -> None:
    assert name not in [each["metadata"]["name"] for each in world.api.list("Endpoints", world.namespace)]


# These start processes of their own: they come before that of the module, which then runs beside whatever follows.


def test_orphans_go_at_the_start_but_locks_stay(granted: ControlPlane, world: World) -> None:
    """EP-21: made by hand, or left by a Service that went while nobody was looking."""
    world.manual("orphan", subset("10.9.0.1"))
    world.manual("lock", subset("10.9.0.1"), annotations={names.LEADER_ANNOTATION: "{}"})
    world.service()
    world.pods(range(2))
    with running(granted):
        eventually(lambda: hold(world, {0, 1}))
        eventually(lambda: absent(world, "orphan"))
    world.api.delete("Service", "web", world.namespace)
    with running(granted):
        eventually(lambda: absent(world))
    assert read(world, "lock")["subsets"]


@pytest.mark.parametrize(
    ("off", "watched"),
    [
        pytest.param("-endpoints-controller", True, id="endpoints"),
        pytest.param("-endpoints-controller,-endpointslice-mirroring-controller", False, id="endpoints-and-mirroring"),
    ],
)
def test_switched_off_nothing_is_written(granted: ControlPlane, world: World, off: str, watched: bool) -> None:
    """What no controller reads is not watched: mirroring reads Endpoints, too."""
    world.service()
    world.pods(range(2))
    world.manual("orphan", subset("10.9.0.1"))
    with running(granted, f"--controllers=*,{off}") as sliceplane:
        eventually(lambda: _sliced(world))
        assert ('sliceplane_stored_objects{kind="Endpoints"}' in sliceplane.get("/metrics")[1]) is watched
        assert sliceplane.metric("sliceplane_endpoints_writes_total") == 0
    absent(world)
    assert read(world, "orphan")


def _sliced(world: World) -> None:
    assert world.numbers() == world.numbers(family="IPv6") == {0, 1}


@contextmanager
def meddling(world: World) -> Iterator[None]:
    """Somebody annotates the Endpoints all the time."""
    over = threading.Event()

    def meddle() -> None:
        for number in itertools.count():
            body = {"metadata": {"annotations": {"meddled": str(number)}}}
            if over.wait(0.01):
                return
            world.api.patch("Endpoints", "web", body, world.namespace)

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_conflict_with_another_writer_is_healed_in_silence(world: World, tmp_path: Path) -> None:
    """Its writes are seen late: ours conflict, and are planned again from what there is."""
    made = Faults(seed=0)
    world.service()
    world.pods(range(2))
    with (
        faulty(made, world.plane.kubeconfig(USER, GROUPS), tmp_path) as kubeconfig,
        running(world.plane, kubeconfig=kubeconfig) as sliceplane,
    ):
        eventually(lambda: hold(world, {0, 1}))
        made.delay = 0.3
        flips = itertools.cycle((False, True))
        with meddling(world):

            def conflicted() -> None:
                world.set_status(1, ready=next(flips))
                assert sliceplane.metric("rest_client_requests_total", code="409", method="PUT") > 0

            eventually(conflicted)
        world.set_status(1, ready=False)
        eventually(lambda: hold(world, {0}, {1}))
        assert "meddled" in read(world)["metadata"]["annotations"]
        assert sliceplane.failures(world.namespace) == []
    assert [world.events("web", "Endpoints", reason) for reason in FAILED] == [[], []]


@pytest.fixture
def filled(sliceplane: Sliceplane, world: World) -> World:
    """A Service with two Pods, published."""
    world.service()
    world.pods(range(2))
    eventually(lambda: hold(world, {0, 1}))
    return world


def test_endpoints_of_a_service(sliceplane: Sliceplane, world: World) -> None:
    """Of a dual-stack Service its first family; labels as the Service's; nobody owns them (EP-4, EP-12, EP-30)."""
    created = world.service(ports=[{"name": "http", "port": 80, "targetPort": "web", "appProtocol": "h2c"}])
    world.api.patch("Service", "web", {"metadata": {"labels": {"team": "shop"}}}, world.namespace)
    for number in range(2):
        world.pod(number, ready=number == 0, ports=[{"name": "web", "containerPort": 8080}])

    def check() -> None:
        hold(world, {0}, {1})
        assert "team" in read(world)["metadata"]["labels"]

    eventually(check)
    found = read(world)
    [only] = found["subsets"]
    assert only["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "h2c"}]
    pod = world.api.read("Pod", "pod-000", world.namespace)["metadata"]
    target = {"kind": "Pod", "namespace": world.namespace, "name": "pod-000", "uid": pod["uid"]}
    assert only["addresses"] == [{"ip": "10.1.0.1", "nodeName": "node-a", "targetRef": target}]
    assert found["metadata"]["labels"] == {"team": "shop", names.ENDPOINTS_MANAGED_BY_LABEL: "endpoint-controller"}
    assert "ownerReferences" not in found["metadata"]
    assert created["metadata"]["creationTimestamp"] <= found["metadata"]["creationTimestamp"]
    assert [each["manager"] for each in found["metadata"]["managedFields"]] == ["sliceplane"]
    assert world.mirrored() == []


def test_endpoints_follow_pods_and_service(filled: World) -> None:
    """Who terminates leaves at once: Endpoints cannot say that it still serves (EP-29)."""
    filled.set_status(1, ready=False)
    eventually(lambda: hold(filled, {0}, {1}))
    filled.pod(2)
    eventually(lambda: hold(filled, {0, 2}, {1}))
    filled.api.delete("Pod", "pod-002", filled.namespace, grace=600)
    eventually(lambda: hold(filled, {0}, {1}))
    filled.api.patch("Service", "web", {"spec": {"publishNotReadyAddresses": True}}, filled.namespace)
    eventually(lambda: hold(filled, {0, 1, 2}))
    filled.api.patch("Service", "web", {"spec": {"ports": [{"port": 81}]}}, filled.namespace)

    def moved() -> None:
        assert [each["port"] for found in read(filled)["subsets"] for each in found["ports"]] == [81]

    eventually(moved)


def test_named_ports_that_differ_are_subsets(sliceplane: Sliceplane, world: World) -> None:
    """EP-34, EP-38."""
    world.service(ports=[{"name": "web", "port": 80, "targetPort": "http"}])
    for number, port in enumerate((8080, 8081, 8080)):
        world.pod(number, ports=[{"name": "http", "containerPort": port}])

    def check() -> None:
        sizes = {found["ports"][0]["port"]: len(found["addresses"]) for found in read(world)["subsets"]}
        assert sizes == {8080: 2, 8081: 1}

    eventually(check)


def test_deleted_endpoints_are_made_again(filled: World) -> None:
    """EP-17."""
    before = read(filled)["metadata"]["uid"]
    filled.api.delete("Endpoints", "web", filled.namespace)

    def check() -> None:
        assert read(filled)["metadata"]["uid"] != before
        hold(filled, {0, 1})

    eventually(check)


def test_endpoints_go_with_their_service(filled: World) -> None:
    """Hand-made ones, too (EP-24); a Service made again has its own."""
    filled.manual_service("manual")
    filled.manual("manual", subset("10.9.0.1"))
    for name in ("web", "manual"):
        filled.api.delete("Service", name, filled.namespace)
        eventually(lambda name=name: absent(filled, name))  # type: ignore[misc]
    filled.service()
    eventually(lambda: hold(filled, {0, 1}))


def test_edited_endpoints_are_mended_when_the_service_is_touched(filled: World) -> None:
    """EP-20; what anybody annotates stays, what they label does not (EP-46, EP-48)."""
    labels = {"labels": {"mine": "x", names.ENDPOINTS_MANAGED_BY_LABEL: None}, "annotations": {"mine": "x"}}
    body = {"metadata": labels, "subsets": [subset("192.0.2.7")]}
    filled.api.patch("Endpoints", "web", body, filled.namespace)
    # Who looks at them before the edit is known has nothing to mend, and the Service is heard of by another watch.
    filled.manual_service("witness")
    filled.manual("witness", subset("10.9.0.1"))
    eventually(lambda: _mirrored(filled, "witness"))
    filled.api.patch("Service", "web", {"metadata": {"annotations": {"touched": "yes"}}}, filled.namespace)

    def check() -> None:
        hold(filled, {0, 1})
        found = read(filled)["metadata"]
        assert found["labels"] == {names.ENDPOINTS_MANAGED_BY_LABEL: "endpoint-controller"}
        assert found["annotations"]["mine"] == "x"

    eventually(check)


def _mirrored(world: World, name: str) -> None:
    assert world.mirrored(name)


def test_services_that_have_no_pods_of_theirs_are_left_alone(sliceplane: Sliceplane, world: World) -> None:
    """EP-25: no selector, or ExternalName; a witness is served after them."""
    world.manual_service("manual")
    before = world.manual("manual", subset("10.9.0.1"))
    spec = {"type": "ExternalName", "externalName": "example.org", "selector": {"app": "web"}}
    world.api.create({"apiVersion": "v1", "kind": "Service", "metadata": _named(world, "external"), "spec": spec})
    world.pods(range(1))
    world.service()
    eventually(lambda: hold(world, {0}))
    absent(world, "external")
    assert read(world, "manual")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def _named(world: World, name: str) -> Object:
    return {"name": name, "namespace": world.namespace}


def test_terminating_namespace_is_no_error(filled: World, sliceplane: Sliceplane) -> None:
    """EP-55. Nothing empties a namespace here, so it stays terminating."""
    filled.api.delete("Namespace", filled.namespace)
    forbidden = sliceplane.metric("rest_client_requests_total", code="403", method="POST")
    filled.api.delete("Endpoints", "web", filled.namespace)

    def tried() -> None:
        assert sliceplane.metric("rest_client_requests_total", code="403", method="POST") > forbidden

    eventually(tried)
    absent(filled)
    assert sliceplane.failures(filled.namespace) == []
    with pytest.raises(ApiError, match="404"):
        read(filled)
    # Not in "default", either, where KCM puts those about what does not exist yet (EP-57).
    events = [*filled.api.list("Event", "default"), *filled.api.list("Event", filled.namespace)]
    assert not [each for each in events if each["reason"] in FAILED and filled.namespace in each["message"]]
