"""Events: the same one is counted, an object has a budget, and nothing waits for them (ES-143)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from controllers.model.plan import Notice
from controllers.runtime.api_client import ApiClient
from controllers.runtime.events import EventRecorder, Regarding
from controllers.telemetry import metrics
from tests.runtime.api_server import ApiServer, refuse, say
from tests.runtime.clocks import FakeClock

ABOUT = Regarding("Service", "ns", "s", "uid-s")
NOTICE = Notice("Warning", "Broken", "something is broken")
OK = say({"kind": "Event"})


@pytest.fixture
def recorder(client: ApiClient, clock: FakeClock) -> EventRecorder:
    return EventRecorder(client, clock, "test-controller")


@pytest.fixture
async def running(recorder: EventRecorder) -> AsyncIterator[EventRecorder]:
    task = asyncio.create_task(recorder.run())
    yield recorder
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def dropped() -> float:
    return metrics.REGISTRY.get_sample_value("sliceplane_events_dropped_total") or 0.0


async def test_event_as_it_is_written(server: ApiServer, running: EventRecorder) -> None:
    server.will("POST", OK)
    running.record(ABOUT, NOTICE)
    [create] = await server.requests(1)
    about = {"apiVersion": "v1", "kind": "Service", "namespace": "ns", "name": "s", "uid": "uid-s"}
    expected = {
        "involvedObject": about,
        "type": "Warning",
        "reason": "Broken",
        "message": "something is broken",
        "source": {"component": "test-controller"},
        "reportingComponent": "test-controller",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    assert create.path == "/api/v1/namespaces/ns/events"
    assert expected.items() <= create.body.items()
    assert create.body["metadata"]["name"].startswith("s.")


async def test_same_event_again_raises_its_count(server: ApiServer, running: EventRecorder, clock: FakeClock) -> None:
    server.will("POST", OK).will("PATCH", OK, OK)
    for _ in range(3):
        running.record(ABOUT, NOTICE)
    create, second, third = await server.requests(3)
    clock.time = 60
    assert (create.verb, second.verb, third.verb) == ("POST", "PATCH", "PATCH")
    assert second.path == third.path == f"{create.path}/{create.body['metadata']['name']}"
    assert [second.body["count"], third.body["count"]] == [2, 3]
    assert second.headers["Content-Type"] == "application/merge-patch+json"


@pytest.mark.parametrize(
    ("about", "notice"),
    [
        pytest.param(ABOUT, Notice("Warning", "Broken", "something else"), id="message"),
        pytest.param(ABOUT, Notice("Warning", "Else", NOTICE.message), id="reason"),
        pytest.param(ABOUT, Notice("Normal", "Broken", NOTICE.message), id="type"),
        pytest.param(Regarding("Service", "ns", "s", "another"), NOTICE, id="object"),
    ],
)
async def test_other_event_is_another(
    server: ApiServer, running: EventRecorder, about: Regarding, notice: Notice
) -> None:
    server.will("POST", OK, OK)
    running.record(ABOUT, NOTICE)
    running.record(about, notice)
    assert [each.verb for each in await server.requests(2)] == ["POST", "POST"]


async def test_expired_event_is_made_anew(server: ApiServer, running: EventRecorder) -> None:
    server.will("POST", OK, OK).will("PATCH", refuse(404, "NotFound"), OK)
    for _ in range(3):
        running.record(ABOUT, NOTICE)
    asked = await server.requests(4)
    assert [each.verb for each in asked] == ["POST", "PATCH", "POST", "PATCH"]
    assert (asked[2].body["count"], asked[3].body["count"]) == (1, 2)


@pytest.mark.parametrize("code", [403, 422, 500])
async def test_refused_event_is_dropped_and_the_next_is_written(
    server: ApiServer, running: EventRecorder, code: int
) -> None:
    before = dropped()
    server.will("POST", *[refuse(code)] * (2 if code == 500 else 1), OK)
    running.record(ABOUT, NOTICE)
    running.record(ABOUT, NOTICE)
    asked = await server.requests(3 if code == 500 else 2)
    assert {each.verb for each in asked} == {"POST"}
    assert dropped() == before + 1


async def test_object_without_a_namespace_is_told_of_in_default(server: ApiServer, running: EventRecorder) -> None:
    server.will("POST", OK)
    running.record(Regarding("Node", "", "n", "uid-n"), NOTICE)
    [create] = await server.requests(1)
    assert create.path == "/api/v1/namespaces/default/events"
    assert create.body["metadata"]["namespace"] == "default"


@pytest.mark.parametrize(("length", "expected"), [(1024, 1024), (1025, 1024), (100_000, 1024)])
async def test_message_is_cut_where_the_api_server_would_refuse_it(
    server: ApiServer, running: EventRecorder, length: int, expected: int
) -> None:
    server.will("POST", OK)
    running.record(ABOUT, Notice("Warning", "Broken", "x" * length))
    [create] = await server.requests(1)
    assert len(create.body["message"]) == expected


async def test_name_fits_the_longest_object(server: ApiServer, running: EventRecorder) -> None:
    """A Pod's name may have 253 characters, and so may an Event's."""
    server.will("POST", OK)
    running.record(Regarding("Pod", "ns", "p" * 253, "uid-p"), NOTICE)
    [create] = await server.requests(1)
    assert len(create.body["metadata"]["name"]) <= 253


async def test_budget_is_25_at_once_and_one_in_five_minutes(recorder: EventRecorder, clock: FakeClock) -> None:
    before = dropped()
    for _ in range(30):
        recorder.record(ABOUT, NOTICE)
    assert dropped() == before + 5
    recorder.record(Regarding("Service", "ns", "other", "uid-o"), NOTICE)
    assert dropped() == before + 5, "another object has its own"
    clock.time += 299
    recorder.record(ABOUT, NOTICE)
    assert dropped() == before + 6
    clock.time += 301
    recorder.record(ABOUT, NOTICE)
    assert dropped() == before + 6


async def test_events_that_nobody_takes_are_dropped_and_counted(recorder: EventRecorder) -> None:
    """The API server is slow: what is recorded must neither wait nor pile up."""
    before = dropped()
    for number in range(1500):
        recorder.record(Regarding("Service", "ns", f"s{number}", ""), NOTICE)
    assert dropped() == before + 500


async def test_who_does_not_lead_keeps_what_it_has_to_tell(
    server: ApiServer, client: ApiClient, clock: FakeClock, running: EventRecorder
) -> None:
    """A replica that waits may be the next to lead, and the Event is still true then."""
    server.will("POST", OK)
    client.may_write = lambda: clock.now() >= 30
    running.record(ABOUT, NOTICE)
    await server.requests(1)
    assert 30 <= clock.now() < 32
