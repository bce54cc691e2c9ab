"""`python -m e2e.bench.synthetic`: Sliceplane on a cluster larger than anybody has shown, and what that measures."""

import asyncio
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from e2e.bench.load import NODES, Size, fill
from e2e.bench.options import COUNT, POSITIVE
from e2e.bench.synthetic.measured import Compared, MeasureError, Started, Step, Trial, compared, opened
from e2e.bench.synthetic.plane import SyntheticPlane
from e2e.bench.synthetic.population import Scale
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import end_on_sigterm
from e2e.cluster.product import grant

_OUT: Final = Path(__file__).parents[3] / "out"
_SMALL: Final = Size(pods=10_000, services=500, nodes=NODES)
# Far from what fills the real one: then writes would be coalesced there, and not here.
_SMALL_RATE: Final = 40.0
# What must be alike, and by how much it may differ.
_ALIKE: Final = ("start_cpu_seconds", "peak_rss", "rss", "cpu_ms_per_change")
_TOLERANCE: Final = 0.1


class Report:
    """What was measured so far, on the screen and in out/synthetic.json."""

    def __init__(self, console: Console) -> None:
        self.console = console
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        self._record: dict[str, Any] = {"machine": machine}

    def add(self, name: str, found: object) -> None:
        """Writes at once: a run of an hour may be broken off."""
        self._record.setdefault(name, []).append(found)
        _OUT.mkdir(exist_ok=True)
        (_OUT / "synthetic.json").write_bytes(msgspec.json.format(msgspec.json.encode(self._record)) + b"\n")

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Shows that something is under way."""
        with self.console.status(what):
            yield
        self.console.print(f"done: {what}")


async def compare(report: Report, rounds: int, seconds: float) -> bool:
    """The same start and load on the real API server and on the synthetic one; whether both measure the same."""
    real: list[Compared] = []
    made: list[Compared] = []
    scale = Scale(_SMALL.pods, _SMALL.services, _SMALL.nodes)
    with ControlPlane() as one, SyntheticPlane(scale) as other:
        grant(one)
        async with opened(one) as client, opened(other) as synthetic:
            with report.doing(f"filling the real API server with {_SMALL.pods} Pods"):
                await fill(client, _SMALL)
            for number in range(rounds):
                for name, plane, asked, found in (("real", one, client, real), ("synthetic", other, synthetic, made)):
                    with report.doing(f"round {number + 1} of {rounds} on the {name} API server"):
                        found.append(await compared(plane, asked, _SMALL, _SMALL_RATE, seconds))
                    report.add(f"compared {name}", asdict(found[-1]))
    ratios = {}
    table = Table(title=f"{_SMALL.pods} Pods, {_SMALL.services} dual-stack Services, {_SMALL_RATE:g} changes/s")
    for heading in ("median of the rounds", "real", "synthetic", "ratio"):
        table.add_column(heading)
    for field in fields(Compared):
        left, right = (_median([getattr(each, field.name) for each in found]) for found in (real, made))
        ratios[field.name] = right / left if left else 0.0
        table.add_row(field.name, f"{left:,.2f}", f"{right:,.2f}", f"{ratios[field.name]:.2f}" if left else "")
    report.console.print(table)
    report.add("ratios", ratios)
    return all(abs(ratios[name] - 1) <= _TOLERANCE for name in _ALIKE)


def _median(values: list[float]) -> float:
    ranked = sorted(values)
    return ranked[len(ranked) // 2]


async def large(
    report: Report, scale: Scale, shards: int, rates: tuple[float, ...], seconds: float, controllers: str
) -> None:
    """A cold start and rising rates of changes, until one is too much."""
    stack = "dual" if scale.dual else "single"
    title = (
        f"{scale.pods} Pods, {scale.services} {stack}-stack Services, {scale.nodes} Nodes, {shards} process(es), "
        f"controllers: {controllers or 'all'}"
    )
    with SyntheticPlane(scale, shards) as plane:
        async with opened(plane) as client:
            with ended(Trial(plane, client, controllers)) as trial:
                with report.doing(f"starting on {title}"):
                    started = await trial.start()
                report.console.print(_start_table(title, started))
                report.add("started", {"title": title, **asdict(started)})
                await _steps(report, trial, title, sorted(rates), seconds)


async def _steps(report: Report, trial: Trial, title: str, rates: list[float], seconds: float) -> None:
    table = _step_table(f"Changes for {seconds:g} s each; {title}")
    for number, rate in enumerate(rates):
        with report.doing(f"{rate:g} changes a second"):
            step = await trial.step(rate, seconds, seed=number)
        _add_step(table, step)
        verdict = {"title": title, "saturated": step.saturated, "limit": step.limit}
        report.add("steps", {**verdict, **msgspec.to_builtins(step)})
        if step.saturated:
            break
    report.console.print(table)


@contextmanager
def ended(trial: Trial) -> Iterator[Trial]:
    """Ends its processes in any case."""
    try:
        yield trial
    finally:
        trial.stop()


def _start_table(title: str, started: Started) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in (
        ("caches synced and the first slice written (s)", f"{started.first_write_seconds:.1f}"),
        ("the last slice written (s)", f"{started.seconds:.1f}"),
        ("CPU of the controllers (s)", f"{started.cpu_seconds:.1f}"),
        ("CPU of the synthetic API server (s)", f"{started.server_cpu_seconds:.1f}"),
        ("peak RSS by process (MB)", _megabytes(started.peak_rss)),
        ("RSS by process (MB)", _megabytes(started.rss)),
        ("slices and Endpoints written", f"{started.slices} and {started.endpoints}"),
    ):
        table.add_row(name, value)
    return table


def _step_table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in (
        *("changes/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "not shown", "superseded", "writes/change"),
        *("cores", "server's", "peak MB", ""),
    ):
        table.add_column(heading, justify="right")
    return table


def _add_step(table: Table, step: Step) -> None:
    result = step.result
    writes = sum(count for name, count in result.writes.items() if name.startswith("written"))
    table.add_row(
        f"{result.changes / result.seconds:.0f} of {step.rate:g}",
        *(f"{value:.1f}" for value in (result.p50_ms, result.p90_ms, result.p99_ms, result.max_ms)),
        str(result.outstanding),
        str(result.superseded),
        f"{writes / result.changes:.2f}",
        " ".join(f"{each:.2f}" for each in step.cores),
        f"{step.server_cores:.2f}",
        _megabytes(step.peak_rss),
        ("falls behind; " if step.saturated else "") + step.limit,
    )


def _megabytes(values: tuple[int, ...]) -> str:
    return " ".join(f"{value / 1e6:.0f}" for value in values)


@click.command()
@click.option("--compare/--no-compare", "with_compare", default=True, help="First show that it measures the same.")
@click.option("--rounds", type=COUNT, default=3, show_default=True, help="Of the comparison.")
@click.option("--large/--no-large", "with_large", default=True, help="Then the large cluster.")
@click.option("--pods", type=COUNT, default=1_000_000, show_default=True)
@click.option("--services", type=COUNT, default=50_000, show_default=True)
@click.option("--nodes", type=COUNT, default=130_000, show_default=True)
@click.option("--namespaces", type=COUNT, default=1000, show_default=True)
@click.option("--families", type=click.Choice(["dual", "single"]), default="single", show_default=True)
@click.option("--controllers", default="", help="As for sliceplane; default those that it replaces.")
@click.option(
    "--shards", type=COUNT, default=1, show_default=True, help="Processes, each with the Namespaces that hash to it."
)
@click.option("--rate", "rates", type=POSITIVE, multiple=True, default=(250.0, 500.0, 1000.0), show_default=True)
@click.option("--seconds", type=POSITIVE, default=60.0, show_default=True, help="How long each rate goes on.")
def main(
    with_compare: bool,
    rounds: int,
    with_large: bool,
    pods: int,
    services: int,
    nodes: int,
    namespaces: int,
    families: str,
    controllers: str,
    shards: int,
    rates: tuple[float, ...],
    seconds: float,
) -> None:
    """Sliceplane on a synthetic API server."""
    end_on_sigterm()
    report = Report(Console(width=140))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if with_compare and not runner.run(compare(report, rounds, min(seconds, 30.0))):
                report.console.print("[red]the synthetic API server does not measure the same")
            if with_large:
                scale = Scale(pods, services, nodes, namespaces, families == "dual")
                runner.run(large(report, scale, shards, rates, seconds, controllers))
    except MeasureError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
