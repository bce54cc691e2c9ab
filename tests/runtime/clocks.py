"""Time for tests: a clock that jumps, and an event loop whose waiting takes no time."""

import asyncio
import selectors
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Over(Exception):
    """A clock has been slept on as often as the test wants."""


class FakeClock:
    """Sleeping moves it; `slept` remembers how long each sleep was, and the one after `stop_after` raises Over."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self.stop_after = sys.maxsize

    def now(self) -> float:
        return self.time

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time)

    async def sleep(self, seconds: float) -> None:
        if len(self.slept) >= self.stop_after:
            raise Over
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


class LoopClock:
    """The running loop's time: with `virtually`, everything that waits shares it."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Jumping(selectors.DefaultSelector):
    """Does not wait for the next timer: it is then."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing is due: a lost wake-up")
        self.skipped += max(timeout, 0.0)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.skipped


def virtually(scenario: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that does no I/O in no time, however long it waits; waiting for nothing is an error."""
    with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        return runner.run(scenario)
