"""Writes: their order and form, what each answer means, what the store knows then (ES-72 … ES-77, D-1, D-4)."""

import asyncio
import re

import pytest
from aiohttp import web

from controllers.model.objects import EndpointSlice, ObjectMeta
from controllers.model.plan import Writes
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import Forbidden, Invalid, ServerError, Unreachable
from controllers.runtime.writer import IN_FLIGHT, WRITABLE_SLICES, Outdated, Writer
from controllers.runtime.written_store import SliceStore
from tests.builders import existing, labelled, owner
from tests.runtime.api_server import Answer, ApiServer, Object, cut, refuse, say, status
from tests.runtime.clocks import FakeClock

PATH = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices"
DONE = say({"kind": "Status", "status": "Success"})


def metadata(name: str, version: int, uid: str | None = None) -> Object:
    return {
        "name": name,
        "namespace": "ns",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "labels": labelled(),
    }


def written(name: str, version: int) -> Answer:
    return say({"kind": "PartialObjectMetadata", "metadata": metadata(name, version)})


def held_by_server(name: str, version: int, uid: str | None = None, **fields: object) -> Answer:
    meta = {**metadata(name, version, uid), **fields}
    return say({"kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "endpoints": None, "ports": None})


def new(name: str) -> EndpointSlice:
    meta = ObjectMeta(name=name, generate_name="s-", namespace="ns", labels=labelled(), owner_references=(owner(),))
    return EndpointSlice(metadata=meta, address_type="IPv4")


def found(name: str, version: int = 7) -> EndpointSlice:
    return existing(name, resource_version=str(version))


SliceWriter = Writer[EndpointSlice]


@pytest.fixture
def store() -> SliceStore:
    return SliceStore()


@pytest.fixture
def writer(client: ApiClient, store: SliceStore, clock: FakeClock) -> SliceWriter:
    for name in ("u", "d"):
        store.put(found(name))
    return Writer(client, WRITABLE_SLICES, store, clock)


def held(store: SliceStore) -> dict[str, str]:
    return {each.name: each.metadata.resource_version for each in store.all()}


async def test_creates_then_updates_then_deletes(server: ApiServer, writer: SliceWriter, store: SliceStore) -> None:
    server.will("POST", written("c1", 10), written("c2", 11)).will("PUT", written("u", 12)).will("DELETE", DONE)
    await writer.apply(Writes(create=(new("c1"), new("c2")), update=(found("u"),), delete=(found("d"),)))
    assert server.verbs == ["POST", "POST", "PUT", "DELETE"]
    assert [each.path for each in server.asked] == [PATH, PATH, f"{PATH}/u", f"{PATH}/d"]
    assert set(held(store)) == {"c1", "c2", "u"}
    assert held(store)["u"] == "12"


async def test_each_request_names_what_it_means(server: ApiServer, writer: SliceWriter) -> None:
    server.will("POST", written("c", 10)).will("PUT", written("u", 12)).will("DELETE", DONE)
    await writer.apply(Writes(create=(new("c"),), update=(found("u"),), delete=(found("d"),)))
    create, update, delete = (each.body for each in server.asked)
    assert (create["apiVersion"], create["kind"]) == ("discovery.k8s.io/v1", "EndpointSlice")
    assert (create["endpoints"], create["ports"]) == ([], []), "ES-77"
    assert create["metadata"].keys() == {"name", "generateName", "namespace", "labels", "ownerReferences"}
    assert (update["metadata"]["uid"], update["metadata"]["resourceVersion"]) == ("uid-u", "7")
    assert delete["preconditions"] == {"uid": "uid-d", "resourceVersion": "7"}


async def test_answer_is_asked_for_as_metadata_alone(server: ApiServer, writer: SliceWriter) -> None:
    server.will("POST", written("c", 10)).will("PUT", written("u", 12))
    await writer.apply(Writes(create=(new("c"),), update=(found("u"),)))
    assert all("as=PartialObjectMetadata" in each.headers["Accept"] for each in server.asked)


@pytest.mark.parametrize("failing", ["POST", "PUT"])
async def test_later_stages_wait_for_the_earlier_ones(server: ApiServer, writer: SliceWriter, failing: str) -> None:
    server.will("POST", written("c", 10)).will("PUT", written("u", 12))
    server.script[failing].clear()
    server.will(failing, refuse(422, "Invalid", "no"))
    with pytest.raises(Invalid):
        await writer.apply(Writes(create=(new("c"),), update=(found("u"),), delete=(found("d"),)))
    assert server.verbs[-1] == failing


async def test_failure_of_one_write_does_not_stop_its_stage(
    server: ApiServer, writer: SliceWriter, store: SliceStore
) -> None:
    server.will("POST", refuse(422, "Invalid"), written("c2", 10))
    with pytest.raises(Invalid):
        await writer.apply(Writes(create=(new("c1"), new("c2"))))
    assert len(server.asked) == 2
    assert "c2" in held(store) or "c1" in held(store)


async def test_name_taken_is_read_and_planned_anew(server: ApiServer, writer: SliceWriter, store: SliceStore) -> None:
    server.will("POST", refuse(409, "AlreadyExists")).will("GET", held_by_server("c", 9))
    with pytest.raises(Outdated):
        await writer.apply(Writes(create=(new("c"),)))
    assert held(store)["c"] == "9"


async def test_lost_answer_of_a_create_finds_its_own_slice(
    server: ApiServer, writer: SliceWriter, store: SliceStore
) -> None:
    """D-3: the second attempt, which is the queue's, makes no second slice."""
    server.will("POST", cut, refuse(409, "AlreadyExists")).will("GET", held_by_server("c", 9))
    with pytest.raises(Unreachable):
        await writer.apply(Writes(create=(new("c"),)))
    with pytest.raises(Outdated):
        await writer.apply(Writes(create=(new("c"),)))
    assert {each.body["metadata"]["name"] for each in server.of("POST")} == {"c"}
    assert held(store)["c"] == "9"


async def test_conflict_is_read_and_planned_anew(server: ApiServer, writer: SliceWriter, store: SliceStore) -> None:
    server.will("PUT", refuse(409, "Conflict")).will("GET", held_by_server("u", 30))
    with pytest.raises(Outdated):
        await writer.apply(Writes(update=(found("u"),), delete=(found("d"),)))
    assert held(store) == {"u": "30", "d": "7"}
    assert "DELETE" not in server.verbs


async def test_update_of_what_has_gone_is_planned_anew(
    server: ApiServer, writer: SliceWriter, store: SliceStore
) -> None:
    server.will("PUT", refuse(404, "NotFound")).will("GET", refuse(404, "NotFound"))
    with pytest.raises(Outdated):
        await writer.apply(Writes(update=(found("u"),)))
    assert held(store) == {"d": "7"}


async def test_delete_of_what_has_gone_is_success(server: ApiServer, writer: SliceWriter, store: SliceStore) -> None:
    server.will("DELETE", refuse(404, "NotFound"))
    await writer.apply(Writes(delete=(found("d"),)))
    assert held(store) == {"u": "7"}


async def test_delete_of_what_somebody_changed_is_planned_anew(
    server: ApiServer, writer: SliceWriter, store: SliceStore
) -> None:
    server.will("DELETE", refuse(409, "Conflict")).will("GET", held_by_server("d", 31))
    with pytest.raises(Outdated):
        await writer.apply(Writes(delete=(found("d"),)))
    assert held(store)["d"] == "31"


async def test_finalizer_keeps_the_slice(server: ApiServer, writer: SliceWriter, store: SliceStore) -> None:
    server.will("DELETE", held_by_server("d", 8, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["x/y"]))
    await writer.apply(Writes(delete=(found("d"),)))
    kept = store.get("ns", "d")
    assert kept is not None
    assert kept.metadata.deletion_timestamp == "2026-01-01T00:00:00Z"
    assert "d" in store.names("ns"), "its name is still taken"


async def test_terminating_namespace_is_success_and_the_rest_is_moot(server: ApiServer, writer: SliceWriter) -> None:
    """ES-73."""
    causes = [{"reason": "NamespaceTerminating", "message": "…", "field": "metadata.namespace"}]
    server.will("POST", say(status(403, "Forbidden", "no", causes=causes), 403))
    await writer.apply(Writes(create=(new("c"),), update=(found("u"),), delete=(found("d"),)))
    assert server.verbs == ["POST"]


async def test_forbidden_otherwise_is_an_error(server: ApiServer, writer: SliceWriter) -> None:
    server.will("POST", refuse(403, "Forbidden"))
    with pytest.raises(Forbidden):
        await writer.apply(Writes(create=(new("c"),)))


async def test_outdated_explains_the_other_failures(server: ApiServer, writer: SliceWriter) -> None:
    server.will("PUT", refuse(422, "Invalid"), refuse(409, "Conflict")).will("GET", held_by_server("u", 30))
    with pytest.raises(Outdated):
        await writer.apply(Writes(update=(found("d"), found("u"))))


async def test_server_error_is_given_back_in_the_end(server: ApiServer, writer: SliceWriter, store: SliceStore) -> None:
    server.will("PUT", *[refuse(500)] * 4)
    with pytest.raises(ServerError):
        await writer.apply(Writes(update=(found("u"),)))
    assert held(store)["u"] == "7", "nobody knows what it holds: the watch will tell"


async def test_at_most_eight_writes_are_in_flight_over_all_plans(server: ApiServer, writer: SliceWriter) -> None:
    now, most = 0, 0

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        # Long enough for every request that may come, to come.
        for _ in range(200):
            await asyncio.sleep(0)
        now -= 1
        name = re.sub(".*/", "", request.path) if request.method == "PUT" else "c"
        return await written(name, 99)(request)

    server.will("POST", *[slow] * 40)
    plans = [Writes(create=tuple(new(f"c{plan}{number}") for number in range(20))) for plan in "ab"]
    await asyncio.gather(*(writer.apply(plan) for plan in plans))
    assert most == IN_FLIGHT == 8


async def test_cancelled_writer_gives_its_places_back(server: ApiServer, client: ApiClient, store: SliceStore) -> None:
    writer = Writer(client, WRITABLE_SLICES, store, FakeClock(), in_flight=1)
    task = asyncio.create_task(writer.apply(Writes(create=(new("c1"), new("c2")))))
    await server.finished.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server.will("POST", written("c3", 10))
    await asyncio.wait_for(writer.apply(Writes(create=(new("c3"),))), 5)
