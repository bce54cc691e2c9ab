"""The work queue: client-go's promises (ES-21), back-off (ES-22), and that no key is ever dropped (D-2)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.runtime.queue import WorkQueue
from tests.runtime.clocks import FakeClock, LoopClock, virtually
from tests.runtime.queues import take


def queue() -> WorkQueue:
    return WorkQueue(FakeClock())


@asynccontextmanager
async def timed() -> AsyncIterator[WorkQueue]:
    """A queue whose delays run, in virtual time."""
    made = WorkQueue(LoopClock())
    timers = asyncio.create_task(made.run_timers())
    await asyncio.sleep(0)
    yield made
    assert not timers.done()
    timers.cancel()


async def test_keys_come_in_the_order_added_and_once() -> None:
    made = queue()
    for key in ("a", "b", "a", "c", "b"):
        made.add(key)
    assert len(made) == 3
    assert [await take(made) for _ in range(3)] == ["a", "b", "c"]
    assert made.idle


async def test_key_in_work_is_not_handed_out_again_before_it_is_done() -> None:
    made = queue()
    made.add("a")
    await made.get()
    made.add("a")
    made.add("a")
    assert len(made) == 0
    assert not made.idle
    made.done("a")
    assert len(made) == 1
    assert await take(made) == "a"
    assert made.idle


async def test_replayed_key_waits_behind_the_others() -> None:
    made = queue()
    made.add("a")
    await made.get()
    made.add("a")
    made.add("b")
    made.done("a")
    assert [await take(made), await take(made)] == ["b", "a"]


async def test_waited_counts_from_the_first_add() -> None:
    clock = FakeClock()
    made = WorkQueue(clock)
    made.add("a")
    clock.time = 3.0
    made.add("a")
    clock.time = 5.0
    assert await made.get() == ("a", 5.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])), max_size=30))
def test_two_workers_never_have_one_key_and_each_add_is_followed_by_a_sync(adds: list[tuple[str, float]]) -> None:
    """Adds at random moments, three slow workers: each add is answered by a sync that starts later."""
    begun: dict[str, float] = {}
    added: dict[str, float] = {}

    async def scenario() -> None:
        async with timed() as made:
            clock = LoopClock()
            busy: set[str] = set()

            async def worker() -> None:
                while (taken := await made.get()) is not None:
                    key = taken[0]
                    assert key not in busy
                    busy.add(key)
                    begun[key] = clock.now()
                    await asyncio.sleep(0.7)
                    busy.remove(key)
                    made.done(key)

            workers = [asyncio.create_task(worker()) for _ in range(3)]
            for key, pause in adds:
                made.add(key)
                added[key] = clock.now()
                await asyncio.sleep(pause)
            await asyncio.sleep(100)
            assert made.idle
            made.close()
            await asyncio.gather(*workers)

    virtually(scenario())
    assert begun.keys() == added.keys()
    assert all(begun[key] >= added[key] for key in added)


async def _at(made: WorkQueue, expected: list[tuple[str, float]]) -> None:
    for key, at in expected:
        assert await take(made) == key
        assert LoopClock().now() == pytest.approx(at)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param([(0, "a", 5.0)], [("a", 5.0)], id="delayed"),
        pytest.param([(0, "a", 5.0), (1, "a", 1.0)], [("a", 2.0)], id="earlier-deadline-wins"),
        pytest.param([(0, "a", 5.0), (1, "a", 9.0)], [("a", 5.0)], id="later-deadline-postpones-nothing"),
        pytest.param([(0, "a", 1.0), (0.6, "a", 1.0), (1.2, "a", 1.0)], [("a", 1.0), ("a", 2.2)], id="trickle"),
        pytest.param([(0, "a", 0.0)], [("a", 0.0)], id="no-delay-is-at-once"),
        pytest.param([(0, "a", -1.0)], [("a", 0.0)], id="negative-delay-is-at-once"),
        pytest.param([(0, "b", 2.0), (0, "a", 1.0)], [("a", 1.0), ("b", 2.0)], id="by-deadline"),
        pytest.param([(0, "a", 0.0), (0, "a", 1.0)], [("a", 0.0), ("a", 1.0)], id="direct-add-cancels-no-delay"),
    ],
)
def test_delays(script: list[tuple[float, str, float]], expected: list[tuple[str, float]]) -> None:
    async def scenario() -> None:
        async with timed() as made:
            for at, key, delay in script:
                asyncio.get_running_loop().call_at(at, made.add_after, key, delay)
            await _at(made, expected)
            await asyncio.sleep(60)
            assert made.idle

    virtually(scenario())


@pytest.mark.parametrize(
    ("worked", "asked", "expected"),
    [
        pytest.param(0.2, 0.1, 0.4, id="asked-while-in-work"),
        pytest.param(0.2, 0.3, 0.4, id="asked-while-it-rests"),
        pytest.param(0.2, 0.5, 0.5, id="has-rested"),
        pytest.param(7.0, 1.0, 8.0, id="a-second-at-most"),
    ],
)
def test_key_rests_as_long_as_it_was_in_work(worked: float, asked: float, expected: float) -> None:
    """Coalesces where the load asks for it; another key does not wait for it."""

    async def scenario() -> None:
        async with timed() as made:
            loop = asyncio.get_running_loop()
            made.add("dear")
            await made.get()
            loop.call_at(worked, made.done, "dear")
            for again in (asked, asked + 0.01):
                loop.call_at(again, made.add, "dear")
            loop.call_at(asked, made.add, "other")
            await _at(made, [("other", asked), ("dear", expected)] if asked < expected else [("dear", asked)])

    virtually(scenario())


def test_key_that_failed_does_not_rest() -> None:
    """It has a delay of its own."""

    async def scenario() -> None:
        async with timed() as made:
            made.add("a")
            await made.get()
            await asyncio.sleep(1)
            made.retry("a")
            made.done("a")
            await _at(made, [("a", 1.05)])

    virtually(scenario())


def test_key_that_is_asked_for_is_not_forgotten_with_those_that_have_rested() -> None:
    """The timer may be late: a key whose rest is over waits for it all the same."""

    async def scenario() -> None:
        clock = FakeClock()
        made = WorkQueue(clock)

        async def synced(key: str) -> None:
            made.add(key)
            await made.get()
            clock.time += 0.01
            made.done(key)

        await synced("asked")
        made.add("asked")
        for number in range(5_000):
            await synced(str(number))
        timers = asyncio.create_task(made.run_timers())
        await asyncio.sleep(0)
        assert await take(made) == "asked"
        timers.cancel()

    asyncio.run(scenario())


def test_keys_that_have_rested_are_not_remembered_for_ever() -> None:
    async def scenario() -> None:
        async with timed() as made:
            for number in range(10_000):
                made.add(str(number))
                await made.get()
                await asyncio.sleep(0.01)
                made.done(str(number))
            assert len(made._resting) < 5_000

    virtually(scenario())


def test_back_off_doubles_from_50_ms_to_a_minute_and_never_ends() -> None:
    async def scenario() -> list[float]:
        async with timed() as made:
            delays = []
            for _ in range(40):
                delays.append(made.retry("a"))
                before = LoopClock().now()
                assert await take(made) == "a"
                assert LoopClock().now() - before == pytest.approx(delays[-1])
            assert made.failures("a") == 40
            return delays

    delays = virtually(scenario())
    assert delays[:11] == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2])
    assert set(delays[11:]) == {60.0}


async def test_back_off_survives_any_number_of_failures() -> None:
    made = queue()
    for _ in range(5_000):
        made.retry("a")
    assert made.retry("a") == 60.0


async def test_forgotten_key_starts_over_and_alone() -> None:
    made = queue()
    for key in ("a", "a", "b", "b"):
        made.retry(key)
    made.forget("a")
    assert (made.failures("a"), made.retry("a")) == (0, 0.05)
    assert (made.failures("b"), made.retry("b")) == (2, 0.2)


async def test_event_during_back_off_is_not_held_back() -> None:
    made = queue()
    for _ in range(12):
        made.retry("a")
    made.add("a")
    assert await take(made) == "a"


@pytest.mark.parametrize("waiting", [0, 3], ids=["empty", "keys-waiting"])
async def test_close_wakes_every_worker_and_hands_out_nothing(waiting: int) -> None:
    made = queue()
    workers = [asyncio.create_task(made.get()) for _ in range(3)] if not waiting else []
    await asyncio.sleep(0)
    for number in range(waiting):
        made.add(str(number))
    made.close()
    workers += [asyncio.create_task(made.get()) for _ in range(2)]
    assert set(await asyncio.gather(*workers)) == {None}


async def test_cancelled_worker_loses_no_key() -> None:
    made = queue()
    first, second = (asyncio.create_task(made.get()) for _ in range(2))
    await asyncio.sleep(0)
    made.add("a")
    first.cancel()
    assert await second == ("a", 0.0)


def _many_waiters(number: int) -> Callable[[], Coroutine[None, None, list[str]]]:
    async def scenario() -> list[str]:
        async with timed() as made:
            workers = [asyncio.create_task(take(made)) for _ in range(number)]
            await asyncio.sleep(1)
            for each in range(number):
                made.add_after(f"k{each:02}", 0.5 + each % 3)
            return sorted(await asyncio.gather(*workers))

    return scenario


def test_no_waiter_is_forgotten() -> None:
    assert virtually(_many_waiters(20)()) == [f"k{each:02}" for each in range(20)]


def test_a_delay_shorter_than_the_loops_tick_is_waited_for_once() -> None:
    """A loop ends a wait up to a tick too early: a clock that stands still meanwhile must not be asked for ever."""

    class Asked(LoopClock):
        times = 0

        def now(self) -> float:
            self.times += 1
            assert self.times < 100, "a busy loop"
            return super().now()

    async def scenario() -> str:
        made = WorkQueue(Asked())
        timers = asyncio.create_task(made.run_timers())
        made.add_after("a", 5e-10)
        taken = asyncio.create_task(take(made))
        done, _ = await asyncio.wait({timers, taken}, return_when=asyncio.FIRST_COMPLETED)
        timers.cancel()
        return "".join([each.result() or "" for each in done])

    assert virtually(scenario()) == "a"
