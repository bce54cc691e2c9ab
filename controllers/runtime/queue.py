"""A work queue of keys: what client-go's promises, in asyncio (ES-21), and one promise more (D-2).

A key is handed out once, however often it was added; never to two workers at a time (an addition meanwhile is
replayed when it is done); first come, first served; a delay never postpones an earlier one, so a steady trickle
cannot starve a key. A key that fails comes back after a growing delay, for ever: it is never dropped.

And it coalesces where the load asks for it: a key rests for as long as it was in work. So what is dear, or slow because
the API server is full, is done at most half of the time, and all that changes meanwhile is done at once; who has rested
waits for nothing.

A queue may stand behind another, whose keys go first: when there is more to do than can be done, what matters more is
in time, and the other coalesces.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from typing import Final

from controllers.runtime.clock import Clock

BASE_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 60.0
LONGEST_REST_SECONDS: Final = 1.0
_SHORTEST_WAIT: Final = 0.001
# So many keys may have rested without having been asked for again, before those are forgotten.
_REMEMBERED: Final = 4096
# Who stands behind another queue takes a key this often all the same: it is late then, but not forgotten.
LONGEST_BEHIND_SECONDS: Final = 0.02


class WorkQueue:
    """Keys that wait for a worker. Not thread-safe: one event loop."""

    def __init__(
        self,
        clock: Clock,
        *,
        base: float = BASE_SECONDS,
        longest: float = LONGEST_SECONDS,
        added: Callable[[], None] = lambda: None,
        behind: "WorkQueue | None" = None,
    ) -> None:
        """`behind` is a queue whose waiting keys go before ours."""
        self._behind = behind
        self._clock, self._base, self._longest, self._added = clock, base, longest, added
        self._waiting: deque[str] = deque()
        self._dirty: dict[str, float] = {}
        self._processing: dict[str, float] = {}
        self._delayed: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._resting: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._progress = clock.now()
        self._closed = False
        # Counts the keys that wait, so that each wakes one worker, not all of them.
        self._ready = asyncio.Semaphore(0)
        self._timer_changed = asyncio.Event()
        self._emptied = asyncio.Event()
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        """How many keys wait for a worker now; not those whose delay runs."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, is delayed or in work."""
        return not (self._dirty or self._processing or self._due)

    def add(self, key: str) -> None:
        """Asks for the key to be processed as soon as possible."""
        if key in self._dirty:
            return
        now = self._dirty[key] = self._clock.now()
        if not self._waiting and not self._processing:
            self._progress = now
        self._added()
        if key not in self._processing:
            self._queue(key, now)

    def _queue(self, key: str, now: float) -> None:
        until = self._resting.get(key, 0.0)
        if until > now:
            heapq.heappush(self._delayed, (until, key))
            self._timer_changed.set()
            return
        self._resting.pop(key, None)
        self._waiting.append(key)
        self._emptied.clear()
        self._ready.release()

    def add_after(self, key: str, seconds: float) -> None:
        """Asks for it after a delay; if it is delayed already, the earlier time counts."""
        if seconds <= 0:
            self.add(key)
            return
        at = self._clock.now() + seconds
        if at < self._due.get(key, float("inf")):
            self._due[key] = at
            heapq.heappush(self._delayed, (at, key))
            self._timer_changed.set()

    def retry(self, key: str, at_least: float = 0.0) -> float:
        """Asks for a key that failed, after its back-off: 50 ms, doubled each time, 60 s at most. Returns the delay.

        `at_least` is for a server that has said how many seconds it wants to be left alone.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay: float = min(max(self._base * 2.0 ** min(failures - 1, 32), at_least), self._longest)
        self.add_after(key, delay)
        return delay

    def forget(self, key: str) -> None:
        """The key has succeeded: its next failure starts with the shortest delay."""
        self._failures.pop(key, None)

    def in_work(self) -> list[float]:
        """For how many seconds each key that a worker has taken has been in work."""
        now = self._clock.now()
        return [now - since for since in self._processing.values()]

    def stalled(self) -> float:
        """For how many seconds no key has been finished though there was one to take; 0 when there is none."""
        return self._clock.now() - self._progress if self._waiting or self._processing else 0.0

    def failures(self, key: str) -> int:
        """How often in a row the key has failed."""
        return self._failures.get(key, 0)

    def close(self) -> None:
        """Hands out nothing any more: whoever waits in `get` is told."""
        self._closed = True
        # Who stands behind need not wait for keys that nobody will take.
        self._emptied.set()
        self._ready.release()

    async def get(self) -> tuple[str, float] | None:
        """Waits for a key; returns it, and the seconds that it has waited, or None when the queue is closed.

        `done` must follow.
        """
        await self._ready.acquire()
        if self._behind is not None and self._behind._waiting and not self._closed:
            try:
                await self._let_pass(self._behind)
            except asyncio.CancelledError:
                self._ready.release()
                raise
        if self._closed:
            self._ready.release()
            return None
        key = self._waiting.popleft()
        if not self._waiting:
            self._emptied.set()
        added = self._dirty.pop(key)
        now = self._processing[key] = self._clock.now()
        return key, now - added

    async def _let_pass(self, first: "WorkQueue") -> None:
        """Waits until no key waits there; one worker at a time, so that together they are not more often in between."""
        async with self._turn:
            try:
                async with asyncio.timeout(LONGEST_BEHIND_SECONDS):
                    while first._waiting and not (first._closed or self._closed):
                        await first._emptied.wait()
            except TimeoutError:
                return

    def done(self, key: str) -> None:
        """The key is processed; if it was added meanwhile, it waits again."""
        now = self._progress = self._clock.now()
        taken = self._processing.pop(key)
        if key not in self._failures:
            if len(self._resting) >= _REMEMBERED:
                # Who is asked for is still to be queued, though its time be over: the timer may be late.
                self._resting = {
                    each: until for each, until in self._resting.items() if until > now or each in self._dirty
                }
            self._resting[key] = now + min(now - taken, LONGEST_REST_SECONDS)
        if key in self._dirty:
            self._queue(key, now)

    async def run_timers(self) -> None:
        """Moves keys to the queue when their delay ends, until cancelled."""
        while True:
            now = self._clock.now()
            while self._delayed and self._delayed[0][0] <= now:
                at, key = heapq.heappop(self._delayed)
                if self._due.get(key) == at:
                    del self._due[key]
                    self.add(key)
                elif self._resting.get(key) == at and key in self._dirty and key not in self._processing:
                    self._queue(key, now)
            self._timer_changed.clear()
            # Loops end a wait up to a tick too early: what is left of it must not be waited for again and again.
            wait = max(self._delayed[0][0] - now, _SHORTEST_WAIT) if self._delayed else None
            try:
                async with asyncio.timeout(wait):
                    await self._timer_changed.wait()
            except TimeoutError:
                continue
