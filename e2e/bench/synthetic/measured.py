"""What is measured against either API server, and against the synthetic one alone."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from api.controllers import CONTROLLERS
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench.load import NAMESPACE, Flips, Size
from e2e.bench.observer import Observer
from e2e.bench.probes import cpu_seconds, memory, peak_memory
from e2e.bench.synthetic.flips import Result
from e2e.bench.synthetic.plane import SyntheticPlane
from e2e.bench.synthetic.server import CONTROL, Stats
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process
from e2e.cluster.product import spawn_sliceplane

_WRITTEN: Final = (
    f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices",
    f"/api/v1/namespaces/{NAMESPACE}/endpoints",
)
_SETTLE_SECONDS: Final = 3.0
_QUIET_SECONDS: Final = 3.0
_POLL_SECONDS: Final = 0.25


class MeasureError(Exception):
    """The controllers did not do what was to be measured; the message has the end of their log."""


@dataclass(frozen=True)
class Compared:
    """One start and one run of changes: CPU in seconds and milliseconds, memory in bytes."""

    start_cpu_seconds: float
    peak_rss: int
    rss: int
    cpu_ms_per_change: float
    writes_per_change: float
    p50_ms: float
    p99_ms: float
    outstanding: int


@dataclass(frozen=True)
class Started:
    """A cold start, of all shards: seconds until the first write and until the last, and memory in bytes by process."""

    first_write_seconds: float
    seconds: float
    cpu_seconds: float
    server_cpu_seconds: float
    peak_rss: tuple[int, ...]
    rss: tuple[int, ...]
    slices: int
    endpoints: int


@dataclass(frozen=True)
class Step:
    """One rate of changes; the cores that each process used, and memory in bytes by process."""

    rate: float
    result: Result
    cores: tuple[float, ...]
    server_cores: float
    peak_rss: tuple[int, ...]

    @property
    def saturated(self) -> bool:
        """Whether it fell behind: what was asked for was not shown soon after the last change, or not even made."""
        result = self.result
        slow = result.changes / result.seconds < 0.95 * self.rate
        return result.outstanding > 0 or result.drain_seconds > 1.0 or slow

    @property
    def limit(self) -> str:
        """What had no more to give, if anything."""
        if self.server_cores > 0.9:
            return "the synthetic API server's core"
        return "the controllers' core" if max(self.cores) > 0.9 else ""


def opened(plane: ControlPlane) -> ApiClient:
    """A client that may do everything, as an async context manager."""
    return ApiClient(Credentials(str(plane.kubeconfig("admin"))), SystemClock(), user_agent="kubelet")


def start(plane: ControlPlane, controllers: str = "") -> Process:
    """Sliceplane, with all its controllers or some."""
    chosen = controllers or ",".join(CONTROLLERS)
    return spawn_sliceplane(plane, "--leader-elect=false", "--metrics-bind-address=0", f"--controllers={chosen}")


async def compared(plane: ControlPlane, client: ApiClient, size: Size, rate: float, seconds: float) -> Compared:
    """One turn on a server that holds `size` and nothing written: the same load and the same observer on both kinds.

    Raises MeasureError.
    """
    for path in _WRITTEN:
        await client.request("DELETE", path)
    await asyncio.sleep(_SETTLE_SECONDS)
    async with Observer(client) as observer:
        process = await asyncio.to_thread(start, plane)
        try:
            await _until(lambda: len(observer.names) >= size.slices, 120.0, process)
            await asyncio.sleep(_SETTLE_SECONDS)
            start_cpu, before = cpu_seconds(process.pid), observer.writes
            flips = Flips(client, size, 1)
            changes = await flips.run(rate, seconds, observer)
            with contextlib.suppress(MeasureError):
                # What is not shown by then is told as outstanding.
                await _until(lambda: observer.outstanding == 0, 20.0, process)
            cpu, writes = cpu_seconds(process.pid) - start_cpu, observer.writes - before
            peak, now, outstanding = peak_memory(process.pid), memory(process.pid), observer.outstanding
        finally:
            await asyncio.to_thread(process.stop)
        await flips.restore()
    ranks = statistics.quantiles(observer.latencies, n=100, method="inclusive")
    return Compared(
        start_cpu_seconds=start_cpu,
        peak_rss=peak,
        rss=now,
        cpu_ms_per_change=cpu / changes * 1000,
        writes_per_change=writes / changes,
        p50_ms=ranks[49] * 1000,
        p99_ms=ranks[98] * 1000,
        outstanding=outstanding,
    )


async def _until(condition: Callable[[], bool], seconds: float, process: Process) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise MeasureError(f"{process.name}: not done in {seconds:g} s\n{process.tail()}")
        await asyncio.sleep(0.05)


class Trial:
    """Sliceplane on a synthetic API server, one process for each shard."""

    def __init__(self, plane: SyntheticPlane, client: ApiClient, controllers: str = "") -> None:
        self._plane, self._client, self._controllers = plane, client, controllers
        self.processes: list[Process] = []

    async def start(self, patience: float = 1800.0) -> Started:
        """Starts it, and returns when every Service has its slices and nothing more is written. Raises MeasureError."""
        began, before, first = time.monotonic(), await self.stats(), 0.0
        for shard in range(self._plane.shards):
            self.processes.append(await asyncio.to_thread(self._spawn, shard))
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            stats = await self.stats()
            now = time.monotonic()
            if stats.slices and not first:
                first = now - began
            if stats.slices >= self._plane.scale.slices and stats.quiet_seconds > _QUIET_SECONDS:
                break
            self._check(now - began > patience)
        return Started(
            first_write_seconds=first,
            seconds=now - began - stats.quiet_seconds,
            cpu_seconds=sum(cpu_seconds(each.pid) for each in self.processes),
            server_cpu_seconds=stats.cpu_seconds - before.cpu_seconds,
            peak_rss=tuple(peak_memory(each.pid) for each in self.processes),
            rss=tuple(memory(each.pid) for each in self.processes),
            slices=stats.slices,
            endpoints=stats.endpoints,
        )

    async def step(self, rate: float, seconds: float, seed: int = 0) -> Step:
        """Changes at one rate. Raises MeasureError."""
        before = [cpu_seconds(each.pid) for each in self.processes]
        query = {"rate": str(rate), "seconds": str(seconds), "seed": str(seed)}
        began = time.monotonic()
        await self._client.request("POST", f"{CONTROL}/flips", query=query, attempts=1)
        while (stats := await self.stats()).running or stats.result is None:
            self._check(False)
            await asyncio.sleep(_POLL_SECONDS)
        result = stats.result
        used = [cpu_seconds(each.pid) - was for each, was in zip(self.processes, before, strict=True)]
        took = time.monotonic() - began
        return Step(
            rate=rate,
            result=result,
            cores=tuple(each / took for each in used),
            server_cores=result.cpu_seconds / took,
            peak_rss=tuple(peak_memory(each.pid) for each in self.processes),
        )

    async def stats(self) -> Stats:
        """What the server tells of itself."""
        return msgspec.json.decode(await self._client.request("GET", f"{CONTROL}/stats"), type=Stats)

    def stop(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.stop()

    def _spawn(self, shard: int) -> Process:
        with self._plane.at(shard):
            return start(self._plane, self._controllers)

    def _check(self, too_late: bool) -> None:
        for process in self.processes:
            if too_late or process.poll() is not None:
                raise MeasureError(f"{process.name} did not come to an end\n{process.tail()}")
