"""What a reflector of a shard keeps and what it only sees, on a scripted server; and that shards together keep all."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.model.objects import Pod
from controllers.runtime.api_client import ApiClient
from controllers.runtime.sharded_watch import ShardReflector
from controllers.runtime.shards import Shard
from controllers.runtime.store import PodStore
from controllers.runtime.watch import PODS, Malformed, Reflector
from tests.runtime.api_server import ApiServer, Object, refuse, say, status, stream
from tests.runtime.clocks import FakeClock, LoopClock, virtually

# By Shard(1, 2): "shop" is ours, "kube-system" is another's.
OURS, OTHERS = "shop", "kube-system"
MINE = Shard(1, 2)


def pod(namespace: str, name: str, version: int = 1, **spec: Any) -> Object:
    metadata = {"namespace": namespace, "name": name, "uid": f"{namespace}-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec}


def event(kind: str, item: Object) -> Object:
    return {"type": kind, "object": item}


def page(version: int, *items: Object | None, following: str = "") -> Object:
    return {"metadata": {"resourceVersion": str(version), "continue": following}, "items": list(items)}


class Watched:
    """A reflector of the Pods of MINE, its store, and what it could not read."""

    def __init__(self, client: ApiClient, clock: FakeClock) -> None:
        self.store = PodStore()
        self.malformed: list[Malformed] = []
        self.asked: list[str] = []
        self.reflector = ShardReflector(client, PODS, self.store, clock, self.malformed.append, self.ours)

    def ours(self, namespace: str) -> bool:
        self.asked.append(namespace)
        return MINE.has(namespace)

    @property
    def names(self) -> list[str]:
        return sorted(each.name for each in self.store.all())

    @asynccontextmanager
    async def running(self, server: ApiServer) -> AsyncIterator[None]:
        """Runs until the script is at its end."""
        task = asyncio.create_task(self.reflector.run())
        try:
            async with asyncio.timeout(20):
                await server.finished.wait()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def watched(client: ApiClient, clock: FakeClock) -> Watched:
    return Watched(client, clock)


def test_namespaces_are_as_the_tests_have_them() -> None:
    assert (MINE.has(OURS), MINE.has(OTHERS)) == (True, False)


async def test_list_and_watch_keep_what_is_ours(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5, pod(OURS, "a"), pod(OTHERS, "b"), following="x")), say(page(5, pod(OTHERS, "c"))))
    changes = [
        event("ADDED", pod(OURS, "d", 6)),
        event("ADDED", pod(OTHERS, "e", 7)),
        event("DELETED", pod(OURS, "a", 8)),
    ]
    server.will("WATCH", stream(*changes))
    async with watched.running(server):
        assert watched.names == ["d"]
        assert watched.reflector.synced.is_set()
        assert watched.malformed == []


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
async def test_watch_resumes_after_what_is_not_ours(server: ApiServer, watched: Watched, kind: str) -> None:
    """Otherwise a shard in which nothing happens would soon ask for a version that is too old."""
    server.will("LIST", say(page(5))).will(
        "WATCH", stream(event("ADDED", pod(OURS, "a", 6)), event(kind, pod(OTHERS, "b", 9)))
    )
    async with watched.running(server):
        assert watched.names == ["a"]
        assert [each.query["resourceVersion"] for each in server.of("WATCH")] == ["5", "9"]
        assert len(server.of("LIST")) == 1


async def test_bookmarks_advance(server: ApiServer, watched: Watched) -> None:
    bookmark = event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "20"}, "spec": {"containers": None}})
    server.will("LIST", say(page(5))).will("WATCH", stream(bookmark))
    async with watched.running(server):
        assert [each.query["resourceVersion"] for each in server.of("WATCH")] == ["5", "20"]


async def test_error_events_are_heeded(server: ApiServer, watched: Watched) -> None:
    gone = event("ERROR", status(410, "Expired", "too old resource version"))
    server.will("LIST", say(page(5, pod(OURS, "a"))), say(page(50, pod(OURS, "b"), pod(OTHERS, "c"))))
    server.will("WATCH", stream(event("ADDED", pod(OTHERS, "x", 6)), gone))
    async with watched.running(server):
        assert watched.names == ["b"]
        assert server.verbs == ["LIST", "WATCH", "LIST", "WATCH"]


BAD: Object = {"nodeName": 7}


async def test_malformed_object_is_reported_by_its_own_shard_only(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5, pod(OTHERS, "a", **BAD), pod(OURS, "b", **BAD), pod(OURS, "c"))))
    changes = [event("MODIFIED", pod(OURS, "d", 6, **BAD)), event("MODIFIED", pod(OTHERS, "e", 7, **BAD))]
    server.will("WATCH", stream(*changes))
    async with watched.running(server):
        assert watched.names == ["c"]
        assert [(each.namespace, each.name) for each in watched.malformed] == [(OURS, "b"), (OURS, "d")]
        assert server.asked[-1].query["resourceVersion"] == "7"


async def test_malformed_object_that_goes_is_gone(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5, pod(OURS, "a"), pod(OURS, "b"))))
    server.will("WATCH", stream(event("DELETED", pod(OURS, "a", 6, **BAD))))
    async with watched.running(server):
        assert watched.names == ["b"]


@pytest.mark.parametrize("item", [None, 5, [], {"metadata": None}, {"metadata": {"namespace": 7}}], ids=str)
async def test_object_that_does_not_say_whose_it_is_is_reported(server: ApiServer, watched: Watched, item: Any) -> None:
    server.will("LIST", say(page(5, item, pod(OURS, "b"))))
    server.will("WATCH", stream(event("ADDED", item), event("ADDED", pod(OURS, "c", 7))))
    async with watched.running(server):
        assert watched.names == ["b", "c"]
        assert len(watched.malformed) == 2


async def test_answer_that_is_no_list_is_tried_again(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(b"<html>"), say({"kind": "Status"}), refuse(500), say(page(5, pod(OURS, "a"))))
    async with watched.running(server):
        assert watched.names == ["a"]


async def test_others_objects_are_not_decoded(server: ApiServer, watched: Watched) -> None:
    """They are not even looked at beyond their Namespace: what is wrong with them is not seen."""
    broken = json.dumps(event("ADDED", pod(OTHERS, "b", 8, **BAD))).encode() + b"\n"
    server.will("LIST", say(page(5))).will("WATCH", stream(broken))
    async with watched.running(server):
        assert (watched.asked, watched.malformed) == ([OTHERS], [])
        assert server.asked[-1].query["resourceVersion"] == "8"


NAMESPACES = ["default", "kube-system", "shop", "team-1", "team-2"]
pods = st.builds(
    lambda namespace, name, node: pod(namespace, name, 1, nodeName=node),
    st.sampled_from(NAMESPACES),
    st.sampled_from("abc"),
    st.sampled_from(["n1", "n2"]),
)
lists = st.lists(pods, max_size=12, unique_by=lambda each: each["metadata"]["uid"])
events = st.lists(st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), pods), max_size=20)


class Replay(ApiClient):
    """One list, and one watch that says everything there is to say and stays open."""

    def __init__(self, listed: list[Object], changes: list[tuple[str, Object]]) -> None:
        self.page = json.dumps(page(5, *listed)).encode()
        self.lines = b"".join(json.dumps(event(*each)).encode() + b"\n" for each in changes)
        self.said = asyncio.Event()

    async def request(self, *_: Any, **__: Any) -> bytes:
        return self.page

    @asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        yield self

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self.lines
        self.said.set()
        await asyncio.sleep(3600)


def kept(listed: list[Object], changes: list[tuple[str, Object]], shard: Shard | None) -> dict[tuple[str, str], Pod]:
    """What is in the store in the end."""

    async def play() -> list[Pod]:
        store, client = PodStore(), Replay(listed, changes)
        reflector: Reflector[Pod] = Reflector(client, PODS, store, LoopClock(), lambda _: None)
        if shard is not None:
            reflector = ShardReflector(client, PODS, store, LoopClock(), lambda _: None, shard.has)
        task = asyncio.create_task(reflector.run())
        await client.said.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return list(store.all())

    return {(each.namespace, each.name): each for each in virtually(play())}


@given(lists, events, st.integers(2, 4))
def test_law_shards_together_keep_what_one_keeps(
    listed: list[Object], changes: list[tuple[str, Object]], of: int
) -> None:
    for number, (_, item) in enumerate(changes):
        item["metadata"]["resourceVersion"] = str(6 + number)
    shares = [kept(listed, changes, Shard(number, of)) for number in range(of)]
    together = {key: each for share in shares for key, each in share.items()}
    assert together == kept(listed, changes, None)
    for number, share in enumerate(shares):
        assert all(Shard(number, of).has(namespace) for namespace, _ in share)
