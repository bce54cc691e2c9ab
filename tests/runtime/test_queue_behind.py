"""A work queue that stands behind another: late when there is much to do, never forgotten."""

import asyncio
from collections.abc import Callable

import pytest

from controllers.runtime.queue import LONGEST_BEHIND_SECONDS, WorkQueue
from tests.runtime.clocks import LoopClock, virtually
from tests.runtime.queues import take


def two() -> tuple[WorkQueue, WorkQueue]:
    """A queue, and one that stands behind it."""
    front = WorkQueue(LoopClock())
    return front, WorkQueue(LoopClock(), behind=front)


async def _work(made: WorkQueue, seconds: float, told: Callable[[str], None]) -> None:
    while (taken := await made.get()) is not None:
        told(taken[0])
        await asyncio.sleep(seconds)
        made.done(taken[0])


def test_keys_of_the_queue_in_front_go_first() -> None:
    """Both have ten keys and two workers: those behind begin when none waits in front."""

    async def scenario() -> list[str]:
        front, behind = two()
        begun: list[str] = []
        for number in range(10):
            behind.add(f"behind-{number}")
            front.add(f"front-{number}")
        workers = [asyncio.create_task(_work(each, 0.001, begun.append)) for each in (behind, front, behind, front)]
        await asyncio.sleep(1)
        assert (front.idle, behind.idle) == (True, True)
        front.close()
        behind.close()
        await asyncio.gather(*workers)
        return begun

    begun = virtually(scenario())
    assert begun == [*(f"front-{number}" for number in range(10)), *(f"behind-{number}" for number in range(10))]


def test_queue_behind_is_late_but_not_forgotten() -> None:
    """However much waits in front: together, the workers behind take a key at each end of the longest wait."""

    async def scenario() -> list[float]:
        front, behind = two()
        taken: list[float] = []
        for number in range(1_000):
            behind.add(str(number))
        front.add("waits for ever")
        workers = [asyncio.create_task(_work(behind, 0.0, lambda _: taken.append(LoopClock().now()))) for _ in range(5)]
        await asyncio.sleep(1)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return taken

    taken = virtually(scenario())
    assert taken == pytest.approx([LONGEST_BEHIND_SECONDS * (1 + number) for number in range(len(taken))])
    assert len(taken) == pytest.approx(1 / LONGEST_BEHIND_SECONDS, abs=1)


def test_worker_cancelled_behind_another_queue_loses_no_key() -> None:
    async def scenario() -> str:
        front, behind = two()
        front.add("a")
        behind.add("b")
        cancelled = asyncio.create_task(behind.get())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        return await take(behind)

    assert virtually(scenario()) == "b"


@pytest.mark.parametrize("front_first", [True, False])
def test_closing_waits_for_no_key_in_front(front_first: bool) -> None:
    """A stop with a backlog: each of many workers behind would otherwise wait its turn."""

    async def scenario() -> float:
        front, behind = two()
        front.add("nobody takes it")
        for number in range(50):
            behind.add(str(number))
        workers = [asyncio.create_task(behind.get()) for _ in range(50)]
        await asyncio.sleep(0)
        for each in (front, behind) if front_first else (behind, front):
            each.close()
        assert set(await asyncio.gather(*workers)) == {None}
        return LoopClock().now()

    assert virtually(scenario()) <= LONGEST_BEHIND_SECONDS
