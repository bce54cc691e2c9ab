"""`make profile SCENARIO=cold|churn|idle`: where Sliceplane's time goes on a real control plane, sampled by py-spy.

py-spy reads the stacks from outside, so nothing in the product is changed or slowed down by hooks. A table of the
functions and a flame graph (out/profile-SCENARIO.svg) come from the same samples.
"""

import asyncio
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials
from e2e.bench.flame import Share, Stack, awake, draw, ours, packages, parse, shares
from e2e.bench.load import Flips, Size, fill
from e2e.bench.observer import Observer
from e2e.bench.options import COUNT, POSITIVE
from e2e.bench.probes import cpu_seconds, memory, peak_memory
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, end_on_sigterm, free_port
from e2e.cluster.product import USER, grant, spawn_sliceplane

_ROOT: Final = Path(__file__).parents[2]
_OUT: Final = _ROOT / "out"
_SCENARIOS: Final = ("cold", "churn", "idle")
_SETTLE_SECONDS: Final = 5.0
_START_SECONDS: Final = 60.0
_PY_SPY_SECONDS: Final = 60.0
_SHOWN: Final = 40


def _flags() -> tuple[str, ...]:
    return "--leader-elect=false", f"--metrics-bind-address=127.0.0.1:{free_port()}"


@dataclass(frozen=True)
class Recorded:
    """What came of a run: folded stacks, and the process' own CPU seconds, wall seconds and memory (bytes) meanwhile.

    `changes` are the readiness changes that were sent, 0 where none were.
    """

    folded: str
    cpu_seconds: float
    seconds: float
    rss: int
    changes: int = 0


class Recorder:
    """One run of py-spy over one process: started by it, or already there."""

    def __init__(self, plane: ControlPlane, target: list[str], hertz: int, native: bool) -> None:
        """`target` is `--pid=…`, or `--` and a command. Raises FileNotFoundError when py-spy is not installed."""
        program = Path(sys.executable).with_name("py-spy")
        self._stacks = plane.folder / "stacks.folded"
        options = ["--format=raw", "--function", f"--rate={hertz}", f"--output={self._stacks}"]
        argv = [str(program), "record", *options, *(["--native"] if native else []), *target]
        self.process = plane.spawn(plane.fresh_name("py-spy"), argv, {"PYTHONPATH": str(_ROOT)})

    async def sampling(self) -> None:
        """Returns when the first sample has been taken. Raises click.ClickException when it cannot."""
        await _until(self._sampling, _PY_SPY_SECONDS, self.process)

    def _sampling(self) -> bool:
        return "Sampling process" in self.process.log.read_text(errors="replace")

    def finish(self) -> str:
        """Ends the recording and returns the folded stacks; a process that py-spy started ends with it."""
        self.process.send(signal.SIGINT)
        try:
            self.process.wait(_PY_SPY_SECONDS)
        except subprocess.TimeoutExpired:
            raise click.ClickException(f"py-spy does not end\n{self.process.tail()}") from None
        if not self._stacks.exists():
            raise click.ClickException(f"py-spy wrote nothing\n{self.process.tail()}")
        return self._stacks.read_text()


class Profile:
    """A control plane, filled once, on which one scenario runs."""

    def __init__(self, plane: ControlPlane, size: Size, hertz: int, native: bool, console: Console) -> None:
        self._plane, self._size, self._hertz, self._native, self._console = plane, size, hertz, native, console

    async def run(self, scenario: str, rate: float, seconds: float) -> Recorded:
        """Fills the API server and records the scenario. Raises click.ClickException when it cannot be played."""
        credentials = Credentials(str(self._plane.kubeconfig("admin")))
        async with ApiClient(credentials, SystemClock(), user_agent="sliceplane-bench") as client:
            self._console.print(f"filling: {self._size.pods} Pods, {self._size.services} dual-stack Services …")
            await fill(client, self._size)
            await asyncio.sleep(_SETTLE_SECONDS)
            async with Observer(client) as observer:
                if scenario == "cold":
                    return await self._cold(observer)
                process = spawn_sliceplane(self._plane, *_flags())
                await self._written(observer, process)
                await asyncio.sleep(_SETTLE_SECONDS)
                return await self._running(process, observer, client, rate if scenario == "churn" else 0.0, seconds)

    async def _cold(self, observer: Observer) -> Recorded:
        """From the first instruction of the process to its last slice."""
        kubeconfig, start = f"--kubeconfig={self._plane.kubeconfig(USER)}", time.monotonic()
        command = ["--", sys.executable, "-m", "controllers", "run", kubeconfig, *_flags()]
        recorder = Recorder(self._plane, command, self._hertz, self._native)
        await recorder.sampling()
        (child,) = psutil.Process(recorder.process.pid).children()
        await self._written(observer, recorder.process)
        cpu, rss = cpu_seconds(child.pid), peak_memory(child.pid)
        return Recorded(await asyncio.to_thread(recorder.finish), cpu, observer.last_event - start, rss)

    async def _running(
        self, process: Process, observer: Observer, client: ApiClient, rate: float, seconds: float
    ) -> Recorded:
        """Some seconds in the life of a process that has nothing left to do: with `rate` changes a second, or none."""
        recorder = Recorder(self._plane, [f"--pid={process.pid}"], self._hertz, self._native)
        await recorder.sampling()
        start, before, changes = time.monotonic(), cpu_seconds(process.pid), 0
        if rate:
            changes = await Flips(client, self._size, seed=0).run(rate, seconds, observer)
            await _until(lambda: observer.outstanding == 0, _START_SECONDS, process)
        else:
            await asyncio.sleep(seconds)
        cpu, rss = cpu_seconds(process.pid) - before, memory(process.pid)
        taken = time.monotonic() - start
        return Recorded(await asyncio.to_thread(recorder.finish), cpu, taken, rss, changes)

    async def _written(self, observer: Observer, process: Process) -> None:
        """Returns when every slice is there."""

        def all_written() -> bool:
            observer.check()
            return len(observer.names) >= self._size.slices

        try:
            await _until(all_written, _START_SECONDS, process)
        except click.ClickException as error:
            seen = f"{len(observer.names)} of {self._size.slices} slices"
            raise click.ClickException(f"{seen}: {error.message}") from None


async def _until(condition: Callable[[], bool], seconds: float, needed: Process) -> None:
    """Returns when the condition has come true; `needed` must live on. Raises click.ClickException."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or needed.poll() is not None:
            raise click.ClickException(f"{needed.name}: it did not come to that\n{needed.tail()}")
        await asyncio.sleep(0.02)


def tables(recorded: Recorded, stacks: list[Stack], shown: int) -> list[Table]:
    """Functions by own time, by time with what they call, ours with the libraries they call; and whose code ran."""
    return [
        _table(recorded, shares(stacks), "functions by their own time", shown),
        _table(recorded, shares(stacks), "functions by time with what they call", shown, by_total=True),
        _table(recorded, shares(ours(stacks)), "our functions by their own time and that of libraries below", shown),
        _table(recorded, shares(packages(stacks)), "whose code it was", shown),
    ]


def _table(recorded: Recorded, found: list[Share], title: str, shown: int, *, by_total: bool = False) -> Table:
    """In percent of the samples; where changes were counted, as CPU microseconds for each, too."""
    samples = max(sum(share.own for share in found), 1)
    micros = recorded.cpu_seconds / samples / max(recorded.changes, 1) * 1e6
    table = Table(title=title, title_justify="left")
    table.add_column("function (file:line)", overflow="fold")
    for column in ("own", "total", *(("own µs/change", "total µs/change") if recorded.changes else ())):
        table.add_column(column, justify="right", no_wrap=True)
    for share in sorted(found, key=lambda share: (-(share.total if by_total else share.own), share.function))[:shown]:
        cells = [f"{share.own / samples:.1%}", f"{share.total / samples:.1%}"]
        if recorded.changes:
            cells += [f"{share.own * micros:.0f}", f"{share.total * micros:.0f}"]
        table.add_row(share.function, *cells)
    return table


def _about(scenario: str, size: Size, recorded: Recorded, samples: int) -> str:
    per_change = f", {recorded.cpu_seconds / recorded.changes * 1e3:.2f} ms each" if recorded.changes else ""
    changes = f", {recorded.changes} changes{per_change}" if recorded.changes else ""
    return (
        f"{scenario}: {size.pods} Pods, {size.services} Services; {recorded.seconds:.1f} s, "
        f"{recorded.cpu_seconds:.2f} s CPU{changes}, {recorded.rss / 1e6:.0f} MB; {samples} samples; "
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    )


@click.command()
@click.argument("scenario", type=click.Choice(_SCENARIOS))
@click.option("--pods", type=COUNT, default=10_000, show_default=True)
@click.option("--services", type=COUNT, default=500, show_default=True)
@click.option("--rate", type=POSITIVE, default=100.0, show_default=True, help="churn: readiness changes a second.")
@click.option("--seconds", type=POSITIVE, default=20.0, show_default=True, help="churn, idle: for how long.")
@click.option("--hertz", type=COUNT, default=250, show_default=True, help="Samples a second.")
@click.option("--native", is_flag=True, help="Frames of C extensions too, where they have symbols.")
@click.option("--top", type=COUNT, default=_SHOWN, show_default=True, help="Functions in each table.")
def main(
    scenario: str, pods: int, services: int, rate: float, seconds: float, hertz: int, native: bool, top: int
) -> None:
    """Sample `sliceplane run` while it starts (cold), under readiness changes (churn), or at rest (idle)."""
    end_on_sigterm()
    console, size = Console(width=150), Size(pods, services)
    with ControlPlane() as plane, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        grant(plane)
        recorded = runner.run(Profile(plane, size, hertz, native, console).run(scenario, rate, seconds))
    stacks = awake(parse(recorded.folded))
    title = _about(scenario, size, recorded, sum(stack.samples for stack in stacks))
    console.print(title)
    for table in tables(recorded, stacks, top):
        console.print(table)
    _OUT.mkdir(exist_ok=True)
    stem = _OUT / f"profile-{scenario}"
    stem.with_suffix(".folded").write_text(recorded.folded)
    stem.with_suffix(".svg").write_text(draw(stacks, title))
    console.print(f"flame graph: {stem.relative_to(_ROOT)}.svg, stacks: {stem.relative_to(_ROOT)}.folded")


if __name__ == "__main__":
    main()
