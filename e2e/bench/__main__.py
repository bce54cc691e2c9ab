"""`make bench`: the real KCM and Sliceplane against one API server, in turn, in one run; only ratios count."""

import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench.contenders import KCM, SLICEPLANE, Contender, cpu_seconds, memory
from e2e.bench.load import NAMESPACE, Flips, Size, fill
from e2e.bench.observer import Observer
from e2e.cluster.build import kubernetes_version
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process
from e2e.cluster.product import grant

_OUT: Final = Path(__file__).parents[2] / "out"
_SLICES: Final = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
# Before a start is timed, the API server must have finished what the last one asked of it.
_SETTLE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Measured:
    """One round of one contender: seconds, bytes, and milliseconds for the latencies."""

    start_seconds: float
    start_cpu_seconds: float
    peak_rss: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    cpu_ms_per_change: float
    writes_per_change: float
    outstanding: int


class Bench:
    """One API server, filled once; contenders start on it with no slices there."""

    def __init__(self, plane: ControlPlane, size: Size, rate: float, seconds: float, console: Console) -> None:
        self._plane, self._size, self._rate, self._seconds, self._console = plane, size, rate, seconds, console

    async def run(self, contenders: list[Contender], rounds: int) -> dict[str, list[Measured]]:
        """Fills the server, then lets each contender have its turn, `rounds` times."""
        credentials = Credentials(str(self._plane.kubeconfig("admin")))
        results: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
        async with ApiClient(credentials, SystemClock(), user_agent="sliceplane-bench") as client:
            started = time.monotonic()
            self._console.print(f"filling: {self._size.pods} Pods, {self._size.services} dual-stack Services …")
            await fill(client, self._size)
            self._console.print(f"filled in {time.monotonic() - started:.0f} s")
            for number in range(rounds):
                # The order changes with each round: whoever comes second finds a warmer server.
                for contender in contenders if number % 2 == 0 else contenders[::-1]:
                    measured = await self._turn(client, contender, seed=number)
                    self._console.print(f"round {number + 1}, {contender.name}: {_brief(measured)}")
                    results[contender.name].append(measured)
        return results

    async def _turn(self, client: ApiClient, contender: Contender, seed: int) -> Measured:
        await client.request("DELETE", _SLICES)
        await asyncio.sleep(_SETTLE_SECONDS)
        async with Observer(client) as observer:
            start = time.monotonic()
            process = await asyncio.to_thread(contender.start, self._plane)
            try:
                await self._all_slices(observer, process)
                start_seconds, start_cpu = observer.last_event - start, cpu_seconds(process.pid)
                await asyncio.sleep(_SETTLE_SECONDS)
                before_cpu, before_writes = cpu_seconds(process.pid), observer.writes
                flips = Flips(client, self._size, seed)
                changes = await flips.run(self._rate, self._seconds, observer)
                await _until(lambda: observer.outstanding == 0, 20.0)
                cpu, writes = cpu_seconds(process.pid) - before_cpu, observer.writes - before_writes
                outstanding, peak = observer.outstanding, memory(process.pid, "VmHWM")
            finally:
                await asyncio.to_thread(process.stop)
            await flips.restore()
        ranks = statistics.quantiles(observer.latencies, n=100, method="inclusive")
        return Measured(
            start_seconds=start_seconds,
            start_cpu_seconds=start_cpu,
            peak_rss=peak,
            p50_ms=ranks[49] * 1000,
            p90_ms=ranks[89] * 1000,
            p99_ms=ranks[98] * 1000,
            max_ms=max(observer.latencies) * 1000,
            cpu_ms_per_change=cpu / changes * 1000,
            writes_per_change=writes / changes,
            outstanding=outstanding,
        )

    async def _all_slices(self, observer: Observer, process: Process) -> None:
        observer.check()
        ready = await _until(lambda: len(observer.names) >= self._size.slices or process.poll() is not None, 60.0)
        observer.check()
        if not ready or process.poll() is not None:
            raise click.ClickException(f"{process.name} did not write all slices\n{process.tail()}")


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def _brief(measured: Measured) -> str:
    return (
        f"start {measured.start_seconds:.2f} s, {measured.start_cpu_seconds:.2f} s CPU, "
        f"{measured.peak_rss / 1e6:.0f} MB; p50 {measured.p50_ms:.1f} ms, p99 {measured.p99_ms:.1f} ms, "
        f"{measured.cpu_ms_per_change:.2f} ms CPU a change"
    )


_ROWS: Final = (
    ("cold start to the last slice (s)", "start_seconds", 1.0, 2),
    ("CPU for it (s)", "start_cpu_seconds", 1.0, 2),
    ("peak RSS (MB)", "peak_rss", 1e-6, 0),
    ("change to slice, p50 (ms)", "p50_ms", 1.0, 1),
    ("change to slice, p90 (ms)", "p90_ms", 1.0, 1),
    ("change to slice, p99 (ms)", "p99_ms", 1.0, 1),
    ("change to slice, max (ms)", "max_ms", 1.0, 0),
    ("CPU per change (ms)", "cpu_ms_per_change", 1.0, 2),
    ("slice writes per change", "writes_per_change", 1.0, 2),
)


def _table(results: dict[str, list[Measured]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("median of the rounds")
    for name in results:
        table.add_column(name, justify="right")
    table.add_column("ratio", justify="right")
    for text, field, factor, digits in _ROWS:
        medians = [statistics.median(getattr(each, field) for each in rounds) * factor for rounds in results.values()]
        ratio = f"{medians[-1] / medians[0]:.2f}" if len(medians) == 2 and medians[0] else ""
        table.add_row(text, *(f"{median:.{digits}f}" for median in medians), ratio)
    return table


@click.command()
@click.option("--pods", default=10_000, show_default=True)
@click.option("--services", default=500, show_default=True)
@click.option("--rate", default=100.0, show_default=True, help="Readiness changes a second.")
@click.option("--seconds", default=30.0, show_default=True, help="How long they go on.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", type=click.Choice([KCM.name, SLICEPLANE.name]), help="Measure one of the two.")
def main(pods: int, services: int, rate: float, seconds: float, rounds: int, only: str | None) -> None:
    """KCM and Sliceplane on one API server: cold start, and a steady rate of changes."""
    contenders = [each for each in (KCM, SLICEPLANE) if only in (None, each.name)]
    console = Console(width=120)
    with ControlPlane() as plane, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        grant(plane)
        bench = Bench(plane, Size(pods, services), rate, seconds, console)
        results = runner.run(bench.run(contenders, rounds))
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    title = (
        f"{pods} Pods, {services} Services, {rate:g} changes/s for {seconds:g} s; KCM {kubernetes_version()}; {machine}"
    )
    console.print(_table(results, title))
    _OUT.mkdir(exist_ok=True)
    record = {name: [asdict(each) for each in measured] for name, measured in results.items()}
    (_OUT / "bench.json").write_text(json.dumps({"title": title, "results": record}, indent=2) + "\n")
    lost = {name: sum(each.outstanding for each in measured) for name, measured in results.items()}
    if any(lost.values()):
        console.print(f"changes that never became visible: {lost}")
        sys.exit(1)


if __name__ == "__main__":
    main()
