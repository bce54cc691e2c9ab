"""Workers that take keys from a queue and sync them, one key at a time each; what fails comes back later (D-2)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from controllers.runtime.causes import Causes
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError
from controllers.runtime.queue import WorkQueue
from controllers.runtime.syncs import CURRENT, Sync
from controllers.runtime.writer import Outdated
from controllers.telemetry import metrics
from controllers.telemetry.logs import bind
from controllers.telemetry.tracing import Tracing


class SyncError(Exception):
    """A sync did what it could, and something is missing: shown to the user, tried again after a back-off."""


@dataclass(frozen=True)
class Controller:
    """A name, the keys to sync and what for, how to sync one, and whom to tell when that fails.

    `failed` gets the key, how often it has failed in a row, and a message.
    """

    name: str
    queue: WorkQueue
    causes: Causes
    sync: Callable[[str], Awaitable[None]]
    failed: Callable[[str, int, str], None]
    succeeded: Callable[[str], None] = lambda _: None
    outdated: Callable[[str], None] = lambda _: None


class Loop:
    """Runs the workers of one controller."""

    def __init__(self, controller: Controller, clock: Clock, queue_name: str, tracing: Tracing | None = None) -> None:
        self._controller, self._clock, self._tracing = controller, clock, tracing
        self._log = bind(f"controllers.{controller.name}")
        self._depth = metrics.QUEUE_DEPTH.labels(name=queue_name)
        self._unfinished = metrics.QUEUE_UNFINISHED.labels(name=queue_name)
        self._longest = metrics.QUEUE_LONGEST.labels(name=queue_name)
        self._wait = metrics.QUEUE_WAIT.labels(name=queue_name)
        self._work = metrics.QUEUE_WORK.labels(name=queue_name)
        self._retries = metrics.QUEUE_RETRIES.labels(name=queue_name)
        # All from 0 on: an increase can only be seen of what is there.
        self._ended = {each: metrics.ALL_SYNCS.labels(controller.name, each) for each in ("success", "error", "stale")}

    @property
    def name(self) -> str:
        """The controller's name."""
        return self._controller.name

    @property
    def stalled(self) -> float:
        """For how many seconds no key has been finished though there was one to take."""
        return self._controller.queue.stalled()

    async def run(self, workers: int, stopping: asyncio.Event) -> None:
        """Works until `stopping` is set and every worker has finished the key that it had begun."""
        queue = self._controller.queue
        self._depth.set_function(queue.__len__)
        self._unfinished.set_function(lambda: sum(queue.in_work()))
        self._longest.set_function(lambda: max(queue.in_work(), default=0.0))
        try:
            await self._work_until(workers, stopping)
        finally:
            for gauge in (self._depth, self._unfinished, self._longest):
                gauge.set_function(lambda: 0.0)

    async def _work_until(self, workers: int, stopping: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            timers = group.create_task(self._controller.queue.run_timers())
            tasks = [group.create_task(self._worker(stopping)) for _ in range(workers)]
            await stopping.wait()
            timers.cancel()
            self._controller.queue.close()
            await asyncio.wait(tasks)

    async def _worker(self, stopping: asyncio.Event) -> None:
        queue = self._controller.queue
        while not stopping.is_set():
            taken = await queue.get()
            if taken is None:
                return
            key, waited = taken
            self._wait.observe(waited)
            start = self._clock.now()
            try:
                await self._sync(key, waited)
            finally:
                queue.done(key)
                self._work.observe(self._clock.now() - start)

    async def _sync(self, key: str, waited: float) -> None:
        controller = self._controller
        sync = Sync(controller.name, key, controller.causes.take(key), waited, self._tracing)
        CURRENT.set(sync)
        failure: Exception | None = None
        try:
            failure = await self._attempt(key)
            self._ended[_result(failure)].inc()
            if failure is None or isinstance(failure, SyncError):
                # What is missing waits for somebody else: what could be written has been.
                sync.succeeded(self._clock.now())
            else:
                controller.causes.give_back(key, sync.cause)
        finally:
            sync.ended(failure)

    async def _attempt(self, key: str) -> Exception | None:
        """Syncs a key; what has gone wrong is told, tried again later, and returned."""
        controller, queue = self._controller, self._controller.queue
        found: Exception
        try:
            await controller.sync(key)
        except Outdated as error:
            # The store has been told what the server holds: the next plan starts from there.
            delay = queue.retry(key)
            controller.outdated(key)
            self._log.debug("plan was outdated, planning again", key=key, after=delay, error=str(error))
            found = error
        except (ApiError, SyncError) as error:
            delay = queue.retry(key, error.retry_after if isinstance(error, ApiError) else 0.0)
            controller.failed(key, queue.failures(key), str(error))
            self._log.warning("sync failed", key=key, retry_after=delay, error=str(error))
            found = error
        except Exception as error:
            # A fault of ours in one object must not stop the others.
            delay = queue.retry(key)
            controller.failed(key, queue.failures(key), f"internal error: {error!r}")
            self._log.error("sync failed unexpectedly", key=key, retry_after=delay, exc_info=error)
            found = error
        else:
            queue.forget(key)
            controller.succeeded(key)
            return None
        self._retries.inc()
        return found


def _result(failure: Exception | None) -> str:
    """How a sync has ended, as KCM's metric names it (ES-145)."""
    if failure is None:
        return "success"
    return "stale" if isinstance(failure, Outdated) else "error"
