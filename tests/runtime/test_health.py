"""What /livez and /readyz say, and when."""

import asyncio
import contextlib

from controllers.model.objects import Pod
from controllers.runtime import watch
from controllers.runtime.api_client import ApiClient
from controllers.runtime.causes import Causes
from controllers.runtime.health import WATCH_SECONDS, WORK_SECONDS, not_alive, not_ready
from controllers.runtime.loop import Controller, Loop
from controllers.runtime.queue import WorkQueue
from controllers.runtime.store import PodStore
from controllers.runtime.watch import Reflector
from tests.runtime.api_server import ApiServer, refuse, say, stream
from tests.runtime.clocks import FakeClock, LoopClock, Over, virtually


def reflector(client: ApiClient, clock: FakeClock, store: PodStore | None = None) -> Reflector[Pod]:
    return Reflector(client, watch.PODS, PodStore() if store is None else store, clock, lambda _: None)


async def test_watch_that_has_lost_its_way_is_told(client: ApiClient, clock: FakeClock) -> None:
    silent = reflector(client, clock)
    clock.time = WATCH_SECONDS
    assert not_alive(clock.now(), [silent], []) == []
    clock.time += 1
    assert not_alive(clock.now(), [silent], []) == ["the watch of Pods has made no progress for 181 s"]


async def test_api_server_that_is_away_is_no_reason_to_restart(
    server: ApiServer, client: ApiClient, clock: FakeClock
) -> None:
    """Each failed attempt is progress: we still try."""
    server.will("LIST", *[refuse(500)] * 200)
    trying = reflector(client, clock)
    clock.stop_after = 100
    with contextlib.suppress(Over):
        await trying.run()
    assert clock.now() > WATCH_SECONDS
    assert not_alive(clock.now(), [trying], []) == []
    assert not_ready([trying]) == ["caches have not synced yet: Pod"]


async def test_events_are_progress_and_a_list_makes_ready(
    server: ApiServer, client: ApiClient, clock: FakeClock
) -> None:
    server.will("LIST", say({"metadata": {"resourceVersion": "5"}, "items": []}))
    server.will("WATCH", stream({"type": "ADDED", "object": {"metadata": {"name": "p"}}}, then="stay"))
    store, told = PodStore(), asyncio.Event()
    store.subscribe(lambda *_: told.set())
    watching = reflector(client, clock, store)
    clock.time = 1000.0
    task = asyncio.create_task(watching.run())
    await server.requests(2)
    await asyncio.wait_for(told.wait(), 10)
    assert watching.last_progress == 1000.0
    assert not_ready([watching]) == []
    task.cancel()


def test_workers_that_stand_still_are_told() -> None:
    async def scenario() -> list[list[str]]:
        clock = LoopClock()
        queue = WorkQueue(clock)

        async def hangs(_: str) -> None:
            await asyncio.sleep(10_000)

        controller = Controller("endpointslice-controller", queue, Causes(clock, queue), hangs, lambda *_: None)
        loop, stopping = Loop(controller, clock, "test"), asyncio.Event()
        running = asyncio.create_task(loop.run(1, stopping))
        told = [not_alive(clock.now(), [], [loop])]
        queue.add("ns/a")
        queue.add_after("ns/later", 5000)
        await asyncio.sleep(WORK_SECONDS)
        told.append(not_alive(clock.now(), [], [loop]))
        await asyncio.sleep(1)
        told.append(not_alive(clock.now(), [], [loop]))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return told

    assert virtually(scenario()) == [[], [], ["endpointslice-controller has not finished any key for 241 s"]]


def test_key_that_no_worker_takes_is_told() -> None:
    clock = FakeClock()
    queue = WorkQueue(clock)
    clock.time = 100.0
    assert queue.stalled() == 0
    queue.add("ns/a")
    clock.time = 400.0
    queue.add("ns/b")
    assert queue.stalled() == 300.0


async def test_backlog_that_shrinks_is_no_reason_to_restart() -> None:
    """However long its last key waits."""
    clock = FakeClock()
    queue = WorkQueue(clock)
    for number in range(10):
        queue.add(f"ns/{number}")
    for _ in range(9):
        taken = await queue.get()
        assert taken is not None
        clock.time += 100.0
        assert queue.stalled() == 100.0
        queue.done(taken[0])
        assert queue.stalled() == 0.0
