"""Workers: what fails comes back later, what is broken stops nobody else, and what was begun is finished."""

import asyncio
from collections.abc import Callable

import pytest

from controllers.runtime.causes import Causes, What
from controllers.runtime.errors import ApiError, Forbidden, ServerError
from controllers.runtime.loop import Controller, Loop, SyncError
from controllers.runtime.queue import WorkQueue
from controllers.runtime.syncs import writing
from controllers.runtime.writer import Outdated
from controllers.telemetry import metrics
from tests.runtime.clocks import LoopClock, virtually

Told = list[tuple[float, str, str]]


class Recorded:
    """A controller whose syncs are a script: what each of a key's attempts raises, and how long it takes."""

    def __init__(self, script: dict[str, list[Exception | None]], seconds: float = 0.0) -> None:
        self.queue = WorkQueue(LoopClock())
        self.told: Told = []
        self._script, self._seconds = script, seconds
        self.stopping = asyncio.Event()
        self.failures: list[tuple[int, str]] = []

    async def _sync(self, key: str) -> None:
        await asyncio.sleep(self._seconds)
        error = self._script[key].pop(0) if self._script[key] else None
        if error is not None:
            raise error

    def _tell(self, what: str) -> Callable[[str], None]:
        return lambda key: self.told.append((round(LoopClock().now(), 3), key, what))

    def _failed(self, key: str, failures: int, message: str) -> None:
        self._tell("failed")(key)
        self.failures.append((failures, message))

    def controller(self) -> Controller:
        told = self._tell("succeeded"), self._tell("outdated")
        return Controller("test", self.queue, Causes(LoopClock(), self.queue), self._sync, self._failed, *told)


def played(script: dict[str, list[Exception | None]], *, workers: int = 2) -> Recorded:
    """All keys added at once, and an hour of virtual time."""

    async def scenario() -> Recorded:
        recorded = Recorded(script)
        for key in script:
            recorded.queue.add(key)
        running = asyncio.create_task(Loop(recorded.controller(), LoopClock(), "test").run(workers, recorded.stopping))
        await asyncio.sleep(3600)
        assert recorded.queue.idle
        recorded.stopping.set()
        await running
        return recorded

    return virtually(scenario())


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (ApiError("no"), "failed"),
        (Forbidden("no"), "failed"),
        (SyncError("no"), "failed"),
        (Outdated("no"), "outdated"),
        (ZeroDivisionError("no"), "failed"),
        (TimeoutError("no"), "failed"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else each,
)
def test_what_fails_comes_back_after_a_growing_delay(error: Exception, what: str) -> None:
    recorded = played({"bad": [error, error, error, None]})
    assert recorded.told == [(0, "bad", what), (0.05, "bad", what), (0.15, "bad", what), (0.35, "bad", "succeeded")]
    assert recorded.queue.failures("bad") == 0
    assert [number for number, _ in recorded.failures] == ([1, 2, 3] if what == "failed" else [])


def ended() -> dict[str, float]:
    """How many syncs of the controller `test` have ended how."""
    (family,) = metrics.ALL_SYNCS.collect()
    samples = [each for each in family.samples if each.name == "sliceplane_syncs_total"]
    return {each.labels["result"]: each.value for each in samples if each.labels["controller"] == "test"}


def test_every_end_is_counted() -> None:
    """As KCM counts those of slices alone (ES-145), and from 0 on, so that the first failure is an increase."""
    played({})
    before = ended()
    assert before.keys() == {"success", "error", "stale"}
    played({"a": [Outdated("no"), ServerError("no"), SyncError("no"), ZeroDivisionError("no")], "b": []})
    assert {result: count - before[result] for result, count in ended().items()} == {
        "success": 2,
        "error": 3,
        "stale": 1,
    }


def test_what_could_be_written_is_timed_although_something_is_missing() -> None:
    """A Node that does not exist makes its Pods late, not those beside them."""

    async def scenario() -> list[tuple[str, float]]:
        queue, stopping = WorkQueue(LoopClock()), asyncio.Event()
        waiting = Causes(LoopClock(), queue)
        missing: list[Exception] = [SyncError("no Node"), SyncError("no Node")]

        async def sync(key: str) -> None:
            await asyncio.sleep(0.01)
            with writing("update", "EndpointSlice", "s"):
                pass
            if missing:
                raise missing.pop()
            stopping.set()

        waiting.ask("key", What.POD_ADDED, "Pod", None)
        controller = Controller("late", queue, waiting, sync, lambda *_: None)
        running = asyncio.create_task(Loop(controller, LoopClock(), "test").run(1, stopping))
        await asyncio.sleep(0.02)
        waiting.note("key", What.POD_READY, "Pod", None)
        await running
        (family,) = metrics.WATCH_TO_WRITE_SECONDS.collect()
        sums = [each for each in family.samples if each.name.endswith("_sum") and each.labels["controller"] == "late"]
        return [(each.labels["cause"], round(each.value, 3)) for each in sums]

    assert virtually(scenario()) == [("pod_added", 0.01), ("pod_ready", 0.05)]


def test_key_is_never_given_up() -> None:
    """D-2: upstream gives up after 15 tries."""
    recorded = played({"bad": [ApiError("no")] * 40})
    assert [number for number, _ in recorded.failures] == list(range(1, 41))
    assert recorded.told[-1][1:] == ("bad", "succeeded")


def test_broken_key_stops_no_other() -> None:
    recorded = played({"bad": [ZeroDivisionError("no")] * 5, "good": [], "fine": []}, workers=1)
    assert [(key, what) for at, key, what in recorded.told if at == 0] == [
        ("bad", "failed"),
        ("good", "succeeded"),
        ("fine", "succeeded"),
    ]
    assert recorded.failures[0] == (1, "internal error: ZeroDivisionError('no')")


def test_stop_finishes_what_was_begun_and_begins_nothing() -> None:
    async def scenario() -> Recorded:
        recorded = Recorded({"first": [], "second": []}, seconds=5)
        recorded.queue.add("first")
        recorded.queue.add("second")
        running = asyncio.create_task(Loop(recorded.controller(), LoopClock(), "test").run(1, recorded.stopping))
        await asyncio.sleep(1)
        recorded.stopping.set()
        await running
        return recorded

    assert virtually(scenario()).told == [(5, "first", "succeeded")]


def test_idle_workers_stop_at_once() -> None:
    async def scenario() -> float:
        recorded = Recorded({})
        running = asyncio.create_task(Loop(recorded.controller(), LoopClock(), "test").run(5, recorded.stopping))
        await asyncio.sleep(1)
        recorded.stopping.set()
        await running
        return LoopClock().now()

    assert virtually(scenario()) == pytest.approx(1)


def test_cancelled_while_a_sync_hangs() -> None:
    async def scenario() -> Recorded:
        recorded = Recorded({"slow": []}, seconds=1e6)
        recorded.queue.add("slow")
        running = asyncio.create_task(Loop(recorded.controller(), LoopClock(), "test").run(2, recorded.stopping))
        await asyncio.sleep(1)
        recorded.stopping.set()
        await asyncio.sleep(8)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return recorded

    assert virtually(scenario()).told == []


def test_event_during_a_sync_is_followed_by_another() -> None:
    async def scenario() -> Recorded:
        recorded = Recorded({"key": []}, seconds=5)
        recorded.queue.add("key")
        running = asyncio.create_task(Loop(recorded.controller(), LoopClock(), "test").run(3, recorded.stopping))
        await asyncio.sleep(2)
        recorded.queue.add("key")
        await asyncio.sleep(20)
        recorded.stopping.set()
        await running
        return recorded

    # Between them the key rests, a second at most.
    assert virtually(scenario()).told == [(5, "key", "succeeded"), (11, "key", "succeeded")]
