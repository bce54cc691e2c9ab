"""`make bench-tracing`: what traces cost Sliceplane, with receivers that are well, hang, and are not there.

Goals: with 1 % of the syncs traced at most 3 % more CPU for each change, and latencies that no receiver can spoil.
"""

import asyncio
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.table import Table

from e2e.bench.contenders import Contender
from e2e.bench.figures import Outcome, Results
from e2e.bench.load import Size
from e2e.bench.options import COUNT, POSITIVE
from e2e.bench.scenarios.churn import Churn
from e2e.bench.suite import play
from e2e.cluster.local import ControlPlane
from e2e.cluster.otlp import HttpReceiver
from e2e.cluster.process import Process, end_on_sigterm, free_port
from e2e.cluster.product import grant, spawn_sliceplane

_OUT: Final = Path(__file__).parents[2] / "out"
_ROWS: Final = (
    ("CPU per change (ms)", "cpu_ms_per_change", 2),
    ("change to slice, p50 (ms)", "p50_ms", 1),
    ("change to slice, p99 (ms)", "p99_ms", 1),
)


def _traced(name: str, *flags: str) -> Contender:
    def start(plane: ControlPlane) -> Process:
        page = f"--metrics-bind-address=127.0.0.1:{free_port()}"
        return spawn_sliceplane(plane, "--leader-elect=false", page, *flags)

    return Contender(name, start)


def _to(endpoint: str, per_million: int) -> tuple[str, str]:
    return f"--tracing-endpoint={endpoint}", f"--tracing-sampling-rate-per-million={per_million}"


def _contenders(well: HttpReceiver, hangs: HttpReceiver) -> list[Contender]:
    """The first is what the others are compared with."""
    # Nothing listens there, and nothing else is given this port.
    down = f"http://127.0.0.1:{free_port()}/v1/traces"
    return [
        _traced("no traces"),
        _traced("1 %", *_to(well.endpoint, 10_000)),
        _traced("1 %, receiver hangs", *_to(hangs.endpoint, 10_000)),
        _traced("100 %, receiver down", *_to(down, 1_000_000)),
    ]


def _ratios(rounds: Sequence[Outcome], bases: Sequence[Outcome], field: str) -> list[float]:
    """Round by round: what a machine does to all of a round alike is not in them."""
    pairs = [(getattr(each, field), getattr(base, field)) for each, base in zip(rounds, bases, strict=True)]
    # A slice may be faster than the answer to the change, and then the median is 0.
    return [value / base if base else math.nan for value, base in pairs]


def _table(results: Results, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("median of the rounds (ratio to no traces; its range)")
    for name in results:
        table.add_column(name, justify="right")
    bases = next(iter(results.values()))
    for text, field, digits in _ROWS:
        cells = []
        for rounds in results.values():
            cell = f"{statistics.median(getattr(each, field) for each in rounds):.{digits}f}"
            if rounds is not bases:
                found = _ratios(rounds, bases, field)
                cell += f"\n{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})"
            cells.append(cell)
        table.add_row(text, *cells)
    return table


@click.command()
@click.option("--pods", type=COUNT, default=2_000, show_default=True)
@click.option("--services", type=COUNT, default=100, show_default=True)
@click.option("--rate", type=POSITIVE, default=50.0, show_default=True, help="Readiness changes a second.")
@click.option("--seconds", type=POSITIVE, default=30.0, show_default=True, help="How long they go on, in each turn.")
@click.option(
    "--rounds", type=COUNT, default=4, show_default=True, help="In each, every kind of receiver has its turn."
)
def main(pods: int, services: int, rate: float, seconds: float, rounds: int) -> None:
    """CPU for each change, and latency, without traces and with them."""
    end_on_sigterm()
    console = Console(width=140)
    with (
        HttpReceiver() as well,
        HttpReceiver(answers=False) as hangs,
        ControlPlane() as plane,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        grant(plane)
        churn = Churn(name="tracing", size=Size(pods, services), rate=rate, seconds=seconds)
        section = runner.run(play(churn, plane, _contenders(well, hangs), rounds, say=console.print))
        received = len(well.spans)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    title = f"{pods} Pods, {services} Services, {rate:g} changes/s for {seconds:g} s, {rounds} rounds; {machine}"
    console.print(_table(section.results, title))
    console.print(f"spans that arrived: {received}")
    _OUT.mkdir(exist_ok=True)
    (_OUT / "tracing.json").write_text(json.dumps({**section.record(), "title": title}) + "\n")
    if section.lost or not received:
        console.print(f"changes that never became visible: {section.lost}")
        sys.exit(1)


if __name__ == "__main__":
    main()
