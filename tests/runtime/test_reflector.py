"""The lean informer's source on a scripted server: it resumes, lists anew, skips what is malformed, never spins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.runtime import watch
from controllers.runtime.api_client import ApiClient
from controllers.runtime.store import PodStore
from controllers.runtime.watch import PODS, Lines, Malformed, Reflector
from tests.runtime.api_server import ApiServer, Object, client_of, cut, refuse, say, status, stream
from tests.runtime.clocks import FakeClock, Over

GONE = {"type": "ERROR", "object": status(410, "Expired", "too old resource version")}


def pod(name: str, version: int = 1, **spec: Any) -> Object:
    return {"metadata": {"namespace": "ns", "name": name, "uid": name, "resourceVersion": str(version)}, "spec": spec}


def event(kind: str, item: Object) -> Object:
    return {"type": kind, "object": item}


def page(version: int, *items: Object | None, following: str = "", **fields: Any) -> Object:
    return {"metadata": {"resourceVersion": str(version), "continue": following}, "items": list(items), **fields}


class Watched:
    """A reflector of Pods, its store, and what it could not read."""

    def __init__(self, client: ApiClient, clock: FakeClock) -> None:
        self.store = PodStore()
        self.malformed: list[Malformed] = []
        self.reflector = Reflector(client, PODS, self.store, clock, self.malformed.append)

    @property
    def names(self) -> list[str]:
        return sorted(each.name for each in self.store.all())

    @asynccontextmanager
    async def running(self, server: ApiServer) -> AsyncIterator["Watched"]:
        """Runs until the script is at its end; whatever ends it before is raised."""
        task = asyncio.create_task(self.reflector.run())
        finished = asyncio.create_task(server.finished.wait())
        try:
            await asyncio.wait({task, finished}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            if task.done():
                task.result()
            assert finished.done(), f"stuck after {server.verbs[-5:]}"
            yield self
        finally:
            finished.cancel()
            task.cancel()
            await asyncio.gather(task, finished, return_exceptions=True)


@pytest.fixture
def watched(client: ApiClient, clock: FakeClock) -> Watched:
    return Watched(client, clock)


async def test_list_and_watch(server: ApiServer, watched: Watched) -> None:
    changes = [event("ADDED", pod("c", 6)), event("MODIFIED", pod("a", 7, nodeName="n")), event("DELETED", pod("b", 8))]
    bookmark = event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "20"}, "spec": {"containers": None}})
    server.will("LIST", say(page(5, pod("a"), pod("b")))).will("WATCH", stream(*changes, bookmark))
    assert not watched.reflector.synced.is_set()
    async with watched.running(server):
        assert watched.reflector.synced.is_set()
        assert watched.names == ["a", "c"]
        assert [each.node_name for each in watched.store.all() if each.name == "a"] == ["n"]
        assert [each.query["resourceVersion"] for each in server.of("WATCH")] == ["5", "20"]
        assert {each.query["allowWatchBookmarks"] for each in server.of("WATCH")} == {"true"}
        assert all(300 <= int(each.query["timeoutSeconds"]) <= 600 for each in server.of("WATCH"))


async def test_event_of_our_own_write_is_passed_over_and_not_forgotten(server: ApiServer, client: ApiClient) -> None:
    """It is not even decoded, but a watch goes on after it; a version that an object only refers to is another's."""
    found = Watched(client, FakeClock())
    found.store.own_versions |= {b"6", b"7"}
    ours = event("ADDED", pod("ours", 6, containers="not a list"))
    foreign = event("ADDED", pod("foreign", 8) | {"status": {"resourceVersion": "7"}})
    server.will("LIST", say(page(5))).will("WATCH", stream(ours, foreign), stream(event("ADDED", pod("again", 6))))
    async with found.running(server):
        assert (found.names, found.malformed) == (["again", "foreign"], [])
        assert found.store.own_versions == {b"7"}
        assert [each.query["resourceVersion"] for each in server.of("WATCH")][:2] == ["5", "8"]


async def test_watch_cut_after_our_own_write_resumes_behind_it(server: ApiServer, client: ApiClient) -> None:
    found = Watched(client, FakeClock())
    found.store.own_versions.add(b"6")
    server.will("LIST", say(page(5))).will("WATCH", stream(event("ADDED", pod("ours", 6))), stream())
    async with found.running(server):
        assert [each.query["resourceVersion"] for each in server.of("WATCH")][:2] == ["5", "6"]


@pytest.mark.parametrize("then", ["end", "cut"])
async def test_disconnect_resumes_where_it_was(server: ApiServer, watched: Watched, then: str) -> None:
    server.will("LIST", say(page(5, pod("a"))))
    server.will("WATCH", stream(event("ADDED", pod("b", 9)), then=then), stream(event("ADDED", pod("c", 10))))
    async with watched.running(server):
        assert watched.names == ["a", "b", "c"]
        assert [each.query["resourceVersion"] for each in server.of("WATCH")] == ["5", "9", "10"]
        assert len(server.of("LIST")) == 1


async def test_event_cut_in_the_middle_is_asked_for_again(server: ApiServer, watched: Watched) -> None:
    half = b'{"type": "ADDED", "object": {"metadata": {"name": "b", "name'
    server.will("LIST", say(page(5))).will("WATCH", stream(event("ADDED", pod("a", 6)), half))
    async with watched.running(server):
        assert (watched.names, watched.malformed) == (["a"], [])
        assert server.asked[-1].query["resourceVersion"] == "6"


@pytest.mark.parametrize("too_old", [refuse(410), stream(GONE)], ids=["410", "error-event"])
async def test_too_old_lists_anew(server: ApiServer, watched: Watched, too_old: Any) -> None:
    server.will("LIST", say(page(5, pod("a"), pod("b"))), say(page(50, pod("b"), pod("c"))))
    server.will("WATCH", too_old)
    async with watched.running(server):
        assert watched.names == ["b", "c"]
        assert server.verbs == ["LIST", "WATCH", "LIST", "WATCH"]
        assert server.asked[-1].query["resourceVersion"] == "50"


async def test_other_error_event_resumes(server: ApiServer, watched: Watched, clock: FakeClock) -> None:
    failed = {"type": "ERROR", "object": status(500, "InternalError", "etcd is away")}
    server.will("LIST", say(page(5))).will("WATCH", stream(event("ADDED", pod("a", 6)), failed))
    async with watched.running(server):
        assert server.verbs == ["LIST", "WATCH", "WATCH"]
        assert server.asked[-1].query["resourceVersion"] == "6"
        assert clock.time >= 1


async def test_pages(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5, pod("a"), following="x")), say(page(5, pod("b"), following="y")), say(page(5)))
    async with watched.running(server):
        assert watched.names == ["a", "b"]
        assert [each.query.get("continue") for each in server.of("LIST")] == [None, "x", "y"]
        assert {each.query["limit"] for each in server.of("LIST")} == {"500"}


async def test_too_old_in_the_middle_of_a_list_starts_it_again(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5, pod("a"), following="x")), refuse(410, "Expired"), say(page(9, pod("b"))))
    async with watched.running(server):
        assert watched.names == ["b"]
        assert [each.query.get("continue") for each in server.of("LIST")] == [None, "x", None]
        assert server.asked[-1].query["resourceVersion"] == "9"


async def test_failing_page_is_asked_again(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5, pod("a"), following="x")), refuse(500), cut, say(page(5, pod("b"))))
    async with watched.running(server):
        assert watched.names == ["a", "b"]
        assert [each.query.get("continue") for each in server.of("LIST")] == [None, "x", "x", "x"]


async def test_unfinished_list_is_not_taken_for_a_whole_one(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5, pod("a"), following="x")), *[refuse(500)] * 4, say(page(9, pod("b"))))
    async with watched.running(server):
        assert watched.names == ["b"]


async def test_unfinished_list_with_a_malformed_object_is_not_either(server: ApiServer, watched: Watched) -> None:
    """The skipped object's version must not pass for the list's."""
    bad = pod("bad", 4, nodeName=["no", "string"])
    server.will("LIST", say(page(5, bad, following="x")), *[refuse(500)] * 4, say(page(9, pod("b"))))
    async with watched.running(server):
        assert server.verbs == ["LIST"] * 6 + ["WATCH"]
        assert watched.reflector.synced.is_set()


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"resourceVersion": "5"}, "items": None},
        {"metadata": {"resourceVersion": "5"}},
        page(5, kind="PodList", remainingItemCount=3),
    ],
    ids=["null", "missing", "unknown-fields"],
)
async def test_list_of_nothing(server: ApiServer, watched: Watched, body: Object) -> None:
    server.will("LIST", say(body))
    async with watched.running(server):
        assert watched.names == []
        assert server.asked[-1].query["resourceVersion"] == "5"


MALFORMED = [
    pytest.param(pod("bad", 6, nodeName=7), id="field-of-another-type"),
    pytest.param(pod("bad", 6, containers="none"), id="list-is-a-string"),
    pytest.param(pod("bad", 6, containers=[{"ports": [{"containerPort": "http"}]}]), id="port-is-no-number"),
    pytest.param({"metadata": {**pod("bad", 6)["metadata"], "labels": {"a": 1}}}, id="label-is-a-number"),
    pytest.param({"metadata": {**pod("bad", 6)["metadata"], "labels": ["a"]}}, id="labels-are-a-list"),
    pytest.param({**pod("bad", 6), "status": []}, id="status-is-a-list"),
]


@pytest.mark.parametrize("bad", MALFORMED)
async def test_malformed_object_in_a_list_is_skipped_and_reported(
    server: ApiServer, watched: Watched, bad: Object
) -> None:
    server.will("LIST", say(page(5, pod("a"), bad, pod("b"))))
    async with watched.running(server):
        assert watched.names == ["a", "b"]
        assert [(each.kind, each.namespace, each.name) for each in watched.malformed] == [("Pod", "ns", "bad")]
        assert server.asked[-1].query["resourceVersion"] == "5"


@pytest.mark.parametrize("bad", MALFORMED)
async def test_malformed_object_in_a_watch_is_skipped_and_reported(
    server: ApiServer, watched: Watched, bad: Object
) -> None:
    server.will("LIST", say(page(5)))
    server.will("WATCH", stream(event("ADDED", bad), event("ADDED", pod("b", 7))))
    async with watched.running(server):
        assert watched.names == ["b"]
        assert [(each.uid, each.name) for each in watched.malformed] == [("bad", "bad")]
        assert server.asked[-1].query["resourceVersion"] == "7"


@pytest.mark.parametrize("item", [None, 5, [], {"metadata": None}], ids=str)
async def test_item_without_a_name_is_skipped(server: ApiServer, watched: Watched, item: Any) -> None:
    server.will("LIST", say(page(5, item, pod("b"))))
    async with watched.running(server):
        assert (watched.names, len(watched.malformed)) == (["b"], 1)


async def test_answer_that_is_no_list_is_tried_again(server: ApiServer, watched: Watched, clock: FakeClock) -> None:
    server.will("LIST", say(b"<html>"), say({"kind": "Status"}), say(page(5, pod("a"))))
    async with watched.running(server):
        assert watched.names == ["a"]
        assert clock.time >= 2


async def test_many_events_at_once_all_arrive(server: ApiServer, watched: Watched) -> None:
    server.will("LIST", say(page(5))).will("WATCH", stream(*(event("ADDED", pod(f"p{n}", n)) for n in range(6, 306))))
    async with watched.running(server):
        assert len(watched.names) == 300


@pytest.mark.parametrize(
    "answer",
    [
        stream(),
        stream(then="cut"),
        cut,
        refuse(500),
        refuse(403),
        stream(b"no json\n"),
        stream(event("BOOKMARK", pod("", 6))),
    ],
    ids=["closes", "cuts", "no-answer", "fails", "forbids", "talks-nonsense", "says-one-thing-and-closes"],
)
async def test_watch_that_ends_at_once_is_not_opened_more_than_once_a_second(
    server: ApiServer, watched: Watched, clock: FakeClock, answer: Any
) -> None:
    server.will("LIST", say(page(5))).will("WATCH", *[answer] * 30)
    async with watched.running(server):
        # The first comes back at once: a watch that ends is normal.
        assert clock.time >= 30 - 2


async def test_server_that_is_away_is_asked_less_than_once_a_second(clock: FakeClock, tmp_path: Any) -> None:
    async with client_of("http://127.0.0.1:1", tmp_path, clock) as client:
        clock.stop_after = 20
        with pytest.raises(Over):
            await Watched(client, clock).reflector.run()
    assert min(clock.slept) > 1.0
    assert max(clock.slept) <= 10.0, "nor is its return noticed late"


async def test_back_off_is_short_again_after_success(server: ApiServer, watched: Watched, clock: FakeClock) -> None:
    server.will("LIST", say(page(5)))
    server.will("WATCH", *[refuse(500)] * 8, stream(event("ADDED", pod("a", 6)), then="cut"))
    async with watched.running(server):
        assert clock.slept[-2] > 4.0
        assert 1.0 <= clock.slept[-1] <= 2.0


async def test_years_of_quiet_watches_overflow_nothing(
    server: ApiServer, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind that never changes behind a proxy that ends watches: no event ever comes to reset the count."""
    server.will("LIST", say(page(5))).will(
        "WATCH", *[stream()] * 1800, refuse(500), stream(event("ADDED", pod("a", 6)))
    )
    async with watched.running(server):
        assert watched.names == ["a"]


async def test_watch_that_fell_silent_is_opened_again(
    server: ApiServer, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "IDLE_SECONDS", 0.05)
    server.will("LIST", say(page(5))).will("WATCH", stream(event("ADDED", pod("a", 8)), then="stay"))
    async with watched.running(server):
        assert [each.query["resourceVersion"] for each in server.of("WATCH")] == ["5", "8"]


@given(st.lists(st.binary(max_size=6).map(lambda text: text.replace(b"\n", b""))), st.randoms(use_true_random=False))
def test_law_lines_are_the_same_however_they_are_cut(texts: list[bytes], random: Any) -> None:
    data = b"".join(text + b"\n" for text in texts) + b"unfinished"
    lines, found = Lines(), []
    while data:
        size = random.randint(1, 8)
        found += lines.feed(data[:size])
        data = data[size:]
    assert found == [text for text in texts if text]
