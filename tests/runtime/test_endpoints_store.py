"""Endpoints in the store and on their way to the API server (EP-46, EP-53, EP-55, EP-58, D-1)."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from api.names import ENDPOINTS_MANAGED_BY, ENDPOINTS_MANAGED_BY_LABEL
from controllers.membership.subsets import fingerprints, remembered
from controllers.model.objects import Endpoints, EndpointSubset, ObjectMeta
from controllers.model.plan import Writes
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import Forbidden, Unreachable
from controllers.runtime.writer import WRITABLE_ENDPOINTS, Outdated, Writer
from controllers.runtime.written_store import EndpointsStore
from tests.builders import existing_endpoints, pod, subset
from tests.runtime.api_server import Answer, ApiServer, Object, cut, refuse, say, status
from tests.runtime.clocks import FakeClock

Told = list[tuple[str | None, str | None]]
EndpointsWriter = Writer[Endpoints]

PATH = "/api/v1/namespaces/ns/endpoints"
MANAGED = {ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGED_BY}
SUBSETS = (subset([pod(1)], [pod(2)]),)


def version(number: int, name: str = "s", uid: str = "uid-1", **metadata: Any) -> Endpoints:
    return existing_endpoints(*SUBSETS, name=name, uid=uid, resource_version=str(number), **metadata)


def by_hand(number: int, name: str = "s", **metadata: Any) -> Endpoints:
    return version(number, name, labels=None, **metadata)


@pytest.fixture
def store() -> EndpointsStore:
    return EndpointsStore()


@pytest.fixture
def told(store: EndpointsStore) -> Told:
    found: Told = []

    def changed(old: Endpoints | None, new: Endpoints | None) -> None:
        before, after = (each.metadata.resource_version if each is not None else None for each in (old, new))
        found.append((before, after))

    store.subscribe(changed)
    return found


def held(store: EndpointsStore) -> dict[str, str]:
    return {each.name: each.metadata.resource_version for each in store.all()}


def relist(store: EndpointsStore, at: int, *listed: Endpoints, during: Callable[[], None] = lambda: None) -> None:
    """A list of this version; `during` happens before its answer has come."""
    store.begin_list()
    during()
    for each in listed:
        store.put(each)
    store.end_list(at)


def test_our_writes_are_news(store: EndpointsStore, told: Told) -> None:
    """What one controller writes may be another's to mirror."""
    store.written_by_us(version(10))
    store.written_by_us(version(12))
    store.deleted_by_us(version(12))
    assert told == [(None, "10"), ("10", "12"), ("12", None)]
    assert held(store) == {}


@pytest.mark.parametrize(
    "late", [version(9), by_hand(9), version(10, annotations={"a": "b"})], ids=["older", "by-hand", "the-same"]
)
def test_watch_behind_our_write_changes_nothing(store: EndpointsStore, told: Told, late: Endpoints) -> None:
    store.written_by_us(version(10))
    before = store.get("ns", "s")
    store.put(late)
    assert store.get("ns", "s") == before
    assert told == [(None, "10")]


def test_foreign_writes_and_deletions_are_news(store: EndpointsStore, told: Told) -> None:
    store.written_by_us(version(9))
    store.put(version(10))
    store.drop_named("ns", "s", "uid-1")
    assert told == [(None, "9"), ("9", "10"), ("10", None)]


def test_our_deletion_stays_whatever_the_watch_still_tells(store: EndpointsStore, told: Told) -> None:
    store.put(version(8))
    store.deleted_by_us(version(8))
    store.put(version(9))
    assert held(store) == {}
    store.put(version(11, uid="made-again"))
    store.drop_named("ns", "s", "uid-1")
    assert held(store) == {"s": "11"}
    assert told == [(None, "8"), ("8", None), (None, "11")]


@pytest.mark.parametrize("ours", [True, False], ids=["written-by-us", "from-the-watch"])
def test_managed_endpoints_are_remembered_without_their_subsets(store: EndpointsStore, ours: bool) -> None:
    (store.written_by_us if ours else store.put)(version(10))
    assert store.get("ns", "s") == remembered(version(10))
    (store.written_by_us if ours else store.put)(by_hand(11))
    assert store.get("ns", "s") == by_hand(11), "nobody knows who reads these"
    (store.written_by_us if ours else store.put)(version(12))
    kept = store.get("ns", "s")
    assert kept is not None
    assert (kept.subsets, kept.fingerprints) == (None, fingerprints(version(12)))


def test_list_merges(store: EndpointsStore, told: Told) -> None:
    for name in ("kept", "changed", "gone"):
        store.put(version(5, name, uid=name))
    told.clear()
    listed = [version(5, "kept", uid="kept"), version(7, "changed", uid="changed"), version(6, "new", uid="new")]
    relist(store, 8, *listed, during=lambda: store.written_by_us(version(9, "ours", uid="ours")))
    assert held(store) == {"kept": "5", "changed": "7", "new": "6", "ours": "9"}
    assert sorted(told, key=str) == sorted([("5", "7"), (None, "6"), (None, "9"), ("5", None)], key=str)
    assert all(each.subsets is None for each in store.all())


def test_list_older_than_our_writes_does_not_undo_them(store: EndpointsStore, told: Told) -> None:
    store.put(version(8, "updated", uid="updated"))
    store.put(version(8, "deleted", uid="deleted"))
    told.clear()

    def during() -> None:
        store.written_by_us(version(10, "updated", uid="updated"))
        store.deleted_by_us(version(8, "deleted", uid="deleted"))
        store.written_by_us(version(11, "created", uid="created"))

    relist(store, 9, version(8, "updated", uid="updated"), version(8, "deleted", uid="deleted"), during=during)
    assert held(store) == {"updated": "10", "created": "11"}
    assert told == [("8", "10"), ("8", None), (None, "11")]


def test_history_that_went_back_is_believed(store: EndpointsStore) -> None:
    """etcd restored from a backup: what the server lists is what there is, older or not."""
    store.put(version(100))
    store.put(version(101, "gone", uid="gone"))
    relist(store, 50, version(40))
    assert held(store) == {"s": "40"}


def answered(verb_version: int, **metadata: Any) -> Answer:
    meta = {"name": "s", "namespace": "ns", "uid": "uid-1", "resourceVersion": str(verb_version), "labels": MANAGED}
    return say({"kind": "PartialObjectMetadata", "metadata": {**meta, **metadata}})


def held_by_server(number: int, **metadata: Any) -> Answer:
    meta: Object = {"name": "s", "namespace": "ns", "uid": "uid-1", "resourceVersion": str(number), "labels": MANAGED}
    return say({"kind": "Endpoints", "apiVersion": "v1", "metadata": {**meta, **metadata}, "subsets": None})


def new(*subsets: EndpointSubset) -> Endpoints:
    return Endpoints(metadata=ObjectMeta(name="s", namespace="ns", labels=MANAGED), subsets=subsets)


@pytest.fixture
def writer(client: ApiClient, store: EndpointsStore, clock: FakeClock) -> EndpointsWriter:
    return Writer(client, WRITABLE_ENDPOINTS, store, clock)


SENT = [
    {
        "addresses": [
            {
                "ip": "10.0.0.2",
                "nodeName": "node-1",
                "targetRef": {"kind": "Pod", "namespace": "ns", "name": "pod-001", "uid": "uid-pod-1"},
            }
        ],
        "notReadyAddresses": [
            {
                "ip": "10.0.0.3",
                "nodeName": "node-1",
                "targetRef": {"kind": "Pod", "namespace": "ns", "name": "pod-002", "uid": "uid-pod-2"},
            }
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }
]


@pytest.mark.parametrize(("subsets", "expected"), [((), []), (SUBSETS, SENT)], ids=["empty", "full"])
async def test_create_is_a_post_of_all_there_is_ep_53(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore, subsets: Any, expected: Any
) -> None:
    server.will("POST", answered(10))
    await writer.apply(Writes(create=(new(*subsets),)))
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("POST", PATH)
    assert asked.body == {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {"name": "s", "namespace": "ns", "labels": MANAGED},
        "subsets": expected,
    }
    assert store.get("ns", "s") == remembered(
        existing_endpoints(*subsets, uid="uid-1", resource_version="10", creation_timestamp=None)
    )


@pytest.mark.parametrize(("subsets", "expected"), [((), []), (SUBSETS, SENT)], ids=["empty", "full"])
async def test_update_is_a_put_of_the_version_that_was_seen_ep_46(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore, subsets: Any, expected: Any
) -> None:
    found = existing_endpoints(subset([pod(9)]), annotations={"theirs": "1"}, finalizers=("f",))
    store.put(found)
    server.will("PUT", answered(12, annotations={"theirs": "1"}))
    await writer.apply(Writes(update=(replace(found, subsets=subsets),)))
    (asked,) = server.asked
    assert (asked.verb, asked.path) == ("PUT", f"{PATH}/s")
    assert asked.body == {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": msgspec.json.decode(msgspec.json.encode(found.metadata)),
        "subsets": expected,
    }
    assert (asked.body["metadata"]["uid"], asked.body["metadata"]["resourceVersion"]) == ("uid-endpoints", "7")
    assert held(store) == {"s": "12"}


async def test_delete_names_the_version_that_was_seen(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore, told: Told
) -> None:
    """KCM deletes whatever is there (EP-24)."""
    store.put(version(8))
    server.will("DELETE", say({"kind": "Status", "status": "Success"}))
    await writer.apply(Writes(delete=(version(8),)))
    (asked,) = server.asked
    assert asked.path == f"{PATH}/s"
    assert asked.body["preconditions"] == {"uid": "uid-1", "resourceVersion": "8"}
    assert told == [(None, "8"), ("8", None)]


async def test_finalizer_keeps_the_endpoints(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore, told: Told
) -> None:
    store.put(version(8))
    server.will("DELETE", held_by_server(9, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["f"]))
    await writer.apply(Writes(delete=(version(8),)))
    assert told == [(None, "8"), ("8", "9")]


@pytest.mark.parametrize(
    ("verb", "reason", "writes"),
    [
        ("POST", "AlreadyExists", Writes(create=(new(),))),
        ("PUT", "Conflict", Writes(update=(version(7),))),
        ("DELETE", "Conflict", Writes(delete=(version(7),))),
    ],
    ids=["create", "update", "delete"],
)
async def test_conflict_is_read_and_planned_anew_ep_58(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore, verb: str, reason: str, writes: Writes[Endpoints]
) -> None:
    server.will(verb, refuse(409, reason)).will("GET", held_by_server(30))
    with pytest.raises(Outdated):
        await writer.apply(writes)
    assert server.of("GET")[0].path == f"{PATH}/s"
    assert store.get("ns", "s") == remembered(
        existing_endpoints(uid="uid-1", resource_version="30", creation_timestamp=None)
    )


async def test_reread_of_what_has_gone_forgets_it(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore
) -> None:
    store.put(version(8))
    server.will("GET", refuse(404, "NotFound"))
    await writer.reread("ns", "s")
    assert held(store) == {}


async def test_reread_finds_what_a_lost_answer_has_left(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore
) -> None:
    server.will("POST", cut).will("GET", held_by_server(10))
    with pytest.raises(Unreachable):
        await writer.apply(Writes(create=(new(),)))
    assert held(store) == {}
    await writer.reread("ns", "s")
    assert held(store) == {"s": "10"}


async def test_terminating_namespace_is_success_ep_t50(
    server: ApiServer, writer: EndpointsWriter, store: EndpointsStore
) -> None:
    causes = [{"reason": "NamespaceTerminating", "message": "…", "field": "metadata.namespace"}]
    server.will("POST", say(status(403, "Forbidden", "no", causes=causes), 403))
    await writer.apply(Writes(create=(new(),)))
    assert (server.verbs, held(store)) == (["POST"], {})


async def test_forbidden_otherwise_is_an_error_ep_t50(server: ApiServer, writer: EndpointsWriter) -> None:
    server.will("POST", refuse(403, "Forbidden"))
    with pytest.raises(Forbidden):
        await writer.apply(Writes(create=(new(),)))
