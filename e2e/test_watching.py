"""What the stories see of slices: each state, what happened to each Pod, and writes that changed nothing."""

from collections.abc import Iterator

import pytest

from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Object
from e2e.stories.watching import ENDING, READY, Conditions, Event, SliceLog, fates, left_gracefully
from tests.shell.waiting import eventually

NOT_YET: Conditions = {"ready": False, "serving": False, "terminating": False}
DYING: Conditions = {"ready": False, "serving": False, "terminating": True}


def event(family: str = "IPv4", **endpoints: Conditions) -> Event:
    return Event("MODIFIED", "web", family, {}, tuple(endpoints.items()))


def test_fate_is_each_change_and_the_end() -> None:
    events = [
        event(a=NOT_YET),
        event(a=READY, b=READY),
        event("IPv6", a=READY),
        event(a=READY, b=ENDING),
        event(a=READY),
        event(a=READY),
    ]
    assert fates(events, "IPv4") == {"a": [NOT_YET, READY], "b": [READY, ENDING, {}]}


@pytest.mark.parametrize(
    ("fate", "gracefully"),
    [
        ([READY, ENDING, {}], True),
        ([NOT_YET, READY, ENDING, DYING, {}], True),
        ([READY, {}], False),
        ([READY, DYING, {}], False),
        ([READY, ENDING], False),
    ],
)
def test_who_leaves_gracefully_serves_to_the_end(fate: list[Conditions], gracefully: bool) -> None:
    assert left_gracefully(fate) is gracefully


def slice_of(namespace: str, name: str, note: str, *pods: str) -> Object:
    endpoints = [
        {
            "addresses": [f"10.1.0.{number + 1}"],
            "conditions": READY,
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
        }
        for number, pod in enumerate(pods)
    ]
    labels = {"kubernetes.io/service-name": "web"}
    metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": {"note": note}}
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    return {**kind, "metadata": metadata, "endpoints": endpoints}


@pytest.fixture
def log(control_plane: ControlPlane, namespace: str) -> Iterator[SliceLog]:
    with SliceLog(control_plane.client(), namespace) as made:
        yield made


@pytest.mark.server
def test_every_write_is_seen(control_plane: ControlPlane, namespace: str, log: SliceLog) -> None:
    api = control_plane.client()
    api.create(slice_of(namespace, "one", "1", "a"))
    api.apply([slice_of(namespace, "one", "1", "a", "b")])
    api.apply([slice_of(namespace, "one", "2", "a", "b")])
    api.create(slice_of(namespace, "two", "1", "b"))
    api.delete("EndpointSlice", "one", namespace)

    def seen() -> None:
        assert [each.ready for each in log.since(0)] == [1, 2, 2, 3, 1]

    eventually(seen)
    assert log.since(0, "other") == []
    assert log.rewritten == ["one"]
    assert [each.repeated for each in log.since(0)] == [[], [], [], ["b"], []]
