"""One process of Sliceplane: its caches, and the terms in which its controllers work (D-10)."""

import asyncio
from typing import cast

from api.config import Configuration
from controllers.runtime import shards
from controllers.runtime.api_client import ApiClient
from controllers.runtime.loop import Controller
from controllers.runtime.stores import Stores
from controllers.telemetry import metrics
from controllers.workshop import Workshop
from tests.runtime.clocks import LoopClock
from tests.simulation.api import Client, Server

MAX_ENDPOINTS = 3


class Process:
    """What `sliceplane run` starts, but for the lease, whose place the simulation takes."""

    def __init__(self, server: Server, number: int, of: int, batch: float, grace: float) -> None:
        self.stores = Stores()
        self.controllers: dict[str, Controller] = {}
        self._client = Client(server, f"process-{number}")
        self._shard = shards.chosen(number, of)
        configuration = Configuration(
            max_endpoints_per_slice=MAX_ENDPOINTS,
            endpointslice_updates_batch_period=batch,
            endpoint_updates_batch_period=batch,
            topology_grace_period=grace,
            leader_elect=False,
            shard=number,
            shards=of,
        )
        self._workshop = Workshop(configuration, self.stores, cast("ApiClient", self._client), LoopClock())
        runs = [each.run for each in self._workshop.reflectors] + [each.run for each in self._workshop.recorders]
        self._background = [asyncio.create_task(run()) for run in runs]
        self._term: asyncio.Task[None] | None = None
        self.terms = 0
        self._stopping = asyncio.Event()

    def has(self, namespace: str) -> bool:
        """Whether a Namespace is ours; Nodes, which have none, are everybody's."""
        return self._shard is None or not namespace or self._shard.has(namespace)

    async def begin_term(self) -> None:
        """Starts the controllers once the caches have synced."""
        for reflector in self._workshop.reflectors:
            await reflector.synced.wait()
        self._stopping = asyncio.Event()
        self.terms += 1
        self._term = asyncio.create_task(self._work(self._stopping))

    async def _work(self, stopping: asyncio.Event) -> None:
        """As `App._work` does it."""
        try:
            async with asyncio.TaskGroup() as group:
                loops = self._workshop.loops()
                self.controllers = {loop.name: loop._controller for loop, _ in loops}
                for loop, workers in loops:
                    group.create_task(loop.run(workers, stopping))
        finally:
            self.stores.unsubscribe_all()
            metrics.forget_totals()

    async def end_term(self, *, lost: bool) -> None:
        """The lease is `lost` (what is in flight is abandoned), or given up when what has begun is finished."""
        if self._term is None:
            return
        if lost:
            self._term.cancel()
        else:
            self._stopping.set()
        await asyncio.gather(self._term, return_exceptions=True)
        if not self._term.cancelled():
            self._term.result()

    async def close(self) -> None:
        """Ends everything."""
        await self.end_term(lost=False)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._client.settled()

    def ended(self) -> list[str]:
        """The tasks that have ended though they must not: reflectors, recorders and the term never give up (D-2)."""
        tasks = [*self._background, *([self._term] if self._term is not None else [])]
        return [repr(task) for task in tasks if task.done()]
