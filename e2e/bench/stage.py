"""One API server with one size of cluster on it, and a contender's turn there: started on a cluster without slices."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench.contenders import Contender
from e2e.bench.etcd import Etcd
from e2e.bench.load import NAMESPACE, Size
from e2e.bench.loader import Loader
from e2e.bench.observer import Observer
from e2e.bench.probes import MemoryTrace, cpu_seconds, peak_memory
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process

_WRITTEN: Final = (
    f"/registry/endpointslices/{NAMESPACE}-",
    f"/registry/services/endpoints/{NAMESPACE}-",
    f"/registry/events/{NAMESPACE}-",
)
_START_SECONDS: Final = 60.0
# KCM with its defaults makes 20 requests a second.
_SLOWEST_WRITES: Final = 10.0


class StageError(Exception):
    """A contender did not do its work; the message has the end of its log."""


@dataclass(frozen=True)
class Usage:
    """What was used and written between two moments; CPU in seconds, of the contender and of the API server."""

    seconds: float
    cpu: float
    server_cpu: float
    writes: int
    bytes_written: int


class Turn:
    """A contender that has written all its slices; `start` is what this took."""

    def __init__(self, plane: ControlPlane, process: Process, observer: Observer, trace: MemoryTrace) -> None:
        self.process, self.observer, self._plane, self._trace = process, observer, plane, trace
        self.start = Usage(0.0, 0.0, 0.0, 0, 0)

    def meter(self) -> Callable[[], Usage]:
        """From now on: calling what it returns tells what was used since."""
        since = self._now()

        def used() -> Usage:
            now = self._now()
            return Usage(
                now.seconds - since.seconds,
                now.cpu - since.cpu,
                now.server_cpu - since.server_cpu,
                now.writes - since.writes,
                now.bytes_written - since.bytes_written,
            )

        return used

    def _now(self) -> Usage:
        self.check()
        server = cpu_seconds(self._plane.pids["kube-apiserver"])
        seen = self.observer
        return Usage(time.monotonic(), cpu_seconds(self.process.pid), server, seen.writes, seen.bytes_written)

    def check(self) -> None:
        """Raises StageError when the contender has ended, and what has ended the watch of its slices."""
        self.observer.check()
        if self.process.poll() is not None:
            raise StageError(f"{self.process.name} has ended\n{self.process.tail()}")

    async def until(self, condition: Callable[[], bool], seconds: float, poll: float = 0.02) -> bool:
        """Whether the condition came true in that time. Raises as `check` does."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(poll)
        return True

    @property
    def memory(self) -> tuple[tuple[float, int], ...]:
        """Resident memory over time: seconds since the start, and bytes."""
        return tuple(self._trace.samples)

    @property
    def peak_memory(self) -> int:
        """The most that it has had, in bytes."""
        return peak_memory(self.process.pid)


@dataclass(frozen=True)
class Stage:
    """A loaded API server. `settle_seconds` is how long it is left alone before something is measured."""

    plane: ControlPlane
    client: ApiClient
    etcd: Etcd
    loader: Loader
    settle_seconds: float = 5.0

    @property
    def size(self) -> Size:
        """How much is on it."""
        return self.loader.size

    @asynccontextmanager
    async def turn(self, contender: Contender) -> AsyncGenerator[Turn]:
        """Starts a contender where no slices are, waits until all are written, and stops it at the end.

        Raises StageError when it does not write them.
        """
        for prefix in _WRITTEN:
            await self.etcd.delete_prefix(prefix)
        await self.loader.check()
        await self.settle()
        async with Observer(self.client) as observer:
            server, began = cpu_seconds(self.plane.pids["kube-apiserver"]), time.monotonic()
            # Killed at the end at the latest by the control plane; from a thread, since KCM's start waits for it.
            process = await asyncio.to_thread(contender.start, self.plane)
            try:
                async with MemoryTrace(process.pid, began) as trace:
                    turn = Turn(self.plane, process, observer, trace)
                    await self._all_slices(turn)
                    used, served = cpu_seconds(process.pid), cpu_seconds(self.plane.pids["kube-apiserver"]) - server
                    turn.start = Usage(
                        observer.last_event - began, used, served, observer.writes, observer.bytes_written
                    )
                    await self.settle()
                    yield turn
            finally:
                await asyncio.to_thread(process.stop)

    async def _all_slices(self, turn: Turn) -> None:
        wanted = (self.size.slices, 2 * self.size.pods)
        limit = _START_SECONDS + self.size.slices / _SLOWEST_WRITES
        found = turn.observer.count()

        def written() -> bool:
            nonlocal found
            # Endpoints are counted only when it may be the end: there are hundreds of thousands.
            if len(turn.observer.names) < wanted[0]:
                return False
            found = turn.observer.count()
            return found[0] >= wanted[0] and found[1] >= wanted[1]

        if not await turn.until(written, limit):
            name = turn.process.name
            raise StageError(f"{name} wrote {found} slices and endpoints of {wanted}\n{turn.process.tail()}")

    async def settle(self) -> None:
        """Lets the API server finish what it was asked for."""
        await asyncio.sleep(self.settle_seconds)


@asynccontextmanager
async def opened(
    plane: ControlPlane, size: Size, *, hinted_every: int = 0, settle_seconds: float = 5.0
) -> AsyncGenerator[Stage]:
    """Loads a fresh API server. Raises loader.LoadError, EtcdError, ApiError."""
    credentials = Credentials(str(plane.kubeconfig("admin")))
    async with (
        ApiClient(credentials, SystemClock(), user_agent="sliceplane-bench") as client,
        Etcd(plane.folder / "etcd.sock") as etcd,
    ):
        loader = Loader(client, etcd, size, hinted_every)
        await loader.load()
        yield Stage(plane, client, etcd, loader, settle_seconds)
