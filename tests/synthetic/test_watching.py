"""What a watch of the synthetic API server is told, and from when on it is told too late."""

import asyncio
from typing import Any, cast

import msgspec

from e2e.bench.synthetic.flips import Tracker
from e2e.bench.synthetic.population import Pods, Scale, Services
from e2e.bench.synthetic.watching import Channel, Wanted
from e2e.bench.synthetic.wire import Connection, parse_head
from tests.shell.waiting import until


class Wire:
    """A connection that remembers what was sent."""

    def __init__(self) -> None:
        self.sent = b""
        self.ended = False
        self.closed: Any = None
        self.open, self.behind = True, 0

    def write(self, data: bytes) -> None:
        self.sent += data

    def end_stream(self) -> None:
        self.ended = True

    async def drain(self) -> None:
        await asyncio.sleep(0)

    @property
    def lines(self) -> list[bytes]:
        return [line for line in self.sent.split(b"\r\n")[1::2] if line]


def follow(channel: Channel, since: int | None, **options: Any) -> Wire:
    wire = Wire()
    settings = {"bookmarks": False, "marked": False, "seconds": 60.0, **options}
    channel.follow(cast("Connection", wire), Wanted(options.pop("namespace", "")), since=since, **settings)
    return wire


def channel() -> Channel:
    return Channel(lambda end: b"end" if end else b"bookmark", 100)


async def test_a_watch_begins_after_its_version_and_goes_on() -> None:
    made = channel()
    made.publish(101, "a", "x", b"first")
    made.publish(102, "a", "y", b"second")
    wire = follow(made, 101)
    made.publish(103, "b", "x", b"third")
    assert wire.lines == [b"second", b"third"]
    assert made.followed == 1
    wire.closed()
    await until(lambda: wire.ended)
    assert made.followed == 0


async def test_what_is_forgotten_is_expired() -> None:
    made = channel()
    assert b'"code":410' in follow(made, 99).sent
    for version in range(101, 10_200):
        made.publish(version, "a", "x", b"event")
    assert b'"reason":"Expired"' in follow(made, 150).sent
    assert len(follow(made, 10_190).lines) == 9


async def test_what_happens_meanwhile_comes_after_the_initial_events() -> None:
    made = channel()
    wire = follow(made, None, initial=[b"one", b"two"], marked=True)
    made.publish(101, "a", "x", b"late")
    await until(lambda: len(wire.lines) >= 4)
    assert wire.lines == [b"one", b"two", b"end", b"late"]


async def test_bookmarks_come_only_before_the_end() -> None:
    made = channel()
    wire = follow(made, 100, bookmarks=True, seconds=0.02)
    await until(lambda: wire.ended)
    assert wire.lines == []


def test_shards_share_everything_out_once() -> None:
    whole = Scale(pods=300, services=30, nodes=3, namespaces=12)
    shards = [Scale(300, 30, 3, 12, shards=3, shard=number) for number in range(3)]
    every = [set(Pods(each).page(None, 0)[0]) for each in shards]
    assert all(every)
    assert sorted(number for part in every for number in part) == list(range(300))
    for each, part in zip(shards, every, strict=True):
        services = set(Services(each).page(None, 0)[0])
        assert {number % 30 for number in part} == services
    assert len(Pods(whole)) == 300


def written(tracker: Tracker, **ready: bool) -> None:
    endpoints = [{"conditions": {"ready": each}, "targetRef": {"name": name}} for name, each in ready.items()]
    tracker.written("IPv4", msgspec.json.encode(endpoints))()


def test_a_change_is_shown_by_the_write_that_has_it() -> None:
    tracker = Tracker(("IPv4",))
    tracker.changed("a", False)
    written(tracker, a=True, b=True)
    assert (tracker.outstanding, tracker.latencies) == (1, [])
    written(tracker, a=False, b=True)
    assert (tracker.outstanding, len(tracker.latencies), tracker.superseded) == (0, 1, 0)


def test_a_change_that_is_undone_unseen_needs_no_write_unless_one_shows_it() -> None:
    tracker = Tracker(("IPv4",))
    tracker.changed("a", False)
    tracker.changed("a", True)
    assert (tracker.outstanding, tracker.superseded) == (0, 1)
    written(tracker, a=False)
    assert tracker.outstanding == 1
    written(tracker, a=True)
    assert (tracker.outstanding, tracker.latencies) == (0, [])


def test_requests_are_parsed() -> None:
    request = parse_head(b"GET /api/v1/pods?limit=2&continue=a%2Fb HTTP/1.1\r\nAccept: x\r\nContent-Length: 3")
    assert (request.method, request.path) == ("GET", "/api/v1/pods")
    assert request.query == {"limit": "2", "continue": "a/b"}
    assert request.headers == {b"accept": b"x", b"content-length": b"3"}
