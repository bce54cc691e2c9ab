"""`make bench-scaling`: how time and memory grow with Pods and Services, without an API server.

Each size has a process of its own (`e2e.bench.bare`), so that its memory is its own. Two series: Services in proportion
to Pods, and as many Services in every size, the other Pods belonging to none. Linear is what is wanted of loading and
of memory, and that one change costs the same whatever the size.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
import matplotlib as mpl
import msgspec
from rich.console import Console
from rich.table import Table

from e2e.bench.bare import Measured
from e2e.bench.options import COUNT

mpl.use("Agg")

from matplotlib import pyplot

_ROOT: Final = Path(__file__).parents[2]
_OUT: Final = _ROOT / "out"
_SIZES: Final = "1000,3000,10000,30000,100000,150000"
_PER_SERVICE: Final = 20
_MARKERS: Final = ("o-", "s--")
Series = list[Measured]


@dataclass(frozen=True)
class Law:
    """The line that fits how a quantity grows with Pods: `slope` for each Pod.

    `deviation` is the largest distance of a size from the line, as a share of the largest value.
    """

    slope: float
    intercept: float
    deviation: float


@dataclass(frozen=True)
class Quantity:
    """Something that was measured: what of a size, as text and in which unit for one Pod or one change."""

    name: str
    unit: str
    total: Callable[[Measured], float]
    each: Callable[[Measured], float]


QUANTITIES: Final = (
    Quantity("load", "µs CPU/Pod", lambda m: m.load_seconds * 1e6, lambda m: m.load_seconds * 1e6 / m.pods),
    Quantity("store", "B/Pod", lambda m: m.store_bytes, lambda m: m.store_bytes / m.pods),
    Quantity(
        "store and slices",
        "B/Pod",
        lambda m: m.store_bytes + m.slices_bytes,
        lambda m: (m.store_bytes + m.slices_bytes) / m.pods,
    ),
    Quantity("one change", "µs CPU", lambda m: m.change_micros, lambda m: m.change_micros),
)


def law(series: Sequence[Measured], of: Callable[[Measured], float]) -> Law:
    """Least squares; needs two sizes."""
    points = [(float(each.pods), of(each)) for each in series]
    slope, intercept = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    largest = max(abs(y) for _, y in points)
    distance = max(abs(y - (slope * x + intercept)) for x, y in points)
    return Law(slope, intercept, distance / largest if largest else 0.0)


def _measured(pods: int, services: int, changes: int) -> Measured:
    argv = [sys.executable, "-m", "e2e.bench.bare", f"--pods={pods}", f"--services={services}", f"--changes={changes}"]
    done = subprocess.run(argv, cwd=_ROOT, capture_output=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{pods} Pods: {done.stderr.decode(errors='replace')}")
    return msgspec.json.decode(done.stdout, type=Measured)


def _middle(rounds: Sequence[Measured]) -> Measured:
    """Field by field the median."""
    fields = [msgspec.to_builtins(each) for each in rounds]
    return msgspec.convert({key: statistics.median_low(each[key] for each in fields) for key in fields[0]}, Measured)


def _table(name: str, series: Series) -> Table:
    table = Table(title=name, title_justify="left")
    columns = ("Pods", "Services", *(f"{each.name}\n{each.unit}" for each in QUANTITIES), "change, p90\nµs CPU")
    for column in columns:
        table.add_column(column, justify="right")
    for size in series:
        cells = [f"{quantity.each(size):.0f}" for quantity in QUANTITIES]
        table.add_row(f"{size.pods}", f"{size.services}", *cells, f"{size.change_p90_micros:.0f}")
    return table


def _laws(series: Series) -> dict[str, Law]:
    return {quantity.name: law(series, quantity.total) for quantity in QUANTITIES}


def _told(laws: dict[str, Law], series: Series) -> list[str]:
    """The laws in words."""
    lines = []
    for quantity in QUANTITIES[:-1]:
        found = laws[quantity.name]
        lines.append(
            f"{quantity.name}: {found.slope:.0f} {quantity.unit}; largest distance from the line {found.deviation:.1%}"
        )
    first, costs = series[0].change_micros, [each.change_micros for each in series]
    lines.append(
        f"one change: from {series[0].pods} Pods to {series[-1].pods} {costs[-1] / first - 1:+.1%}, "
        f"lowest {min(costs) / first - 1:+.1%}, highest {max(costs) / first - 1:+.1%}"
    )
    return lines


def _draw(results: dict[str, Series], title: str, path: Path) -> None:
    """Load time, memory and the cost of a change over the number of Pods, with the lines that fit."""
    figure, panels = pyplot.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    load, _, memory, change = QUANTITIES
    parts = ((load, 1e-6, "CPU seconds to load"), (memory, 1e-6, "MB of memory: store and slices"))
    for axes, (quantity, factor, text) in zip(panels, parts, strict=False):
        for marker, (name, series) in zip(_MARKERS, results.items(), strict=True):
            pods = [each.pods for each in series]
            (line,) = axes.plot(pods, [quantity.total(each) * factor for each in series], marker[0], label=name)
            found = law(series, quantity.total)
            fitted = [(found.slope * each + found.intercept) * factor for each in pods]
            axes.plot(pods, fitted, ":", color=line.get_color(), linewidth=1)
        axes.set_title(text)
    for marker, (name, series) in zip(_MARKERS, results.items(), strict=True):
        panels[2].plot([each.pods for each in series], [change.total(each) for each in series], marker, label=name)
    panels[2].set_title("CPU microseconds for one change (median)")
    panels[2].set_xscale("log")
    panels[2].set_ylim(bottom=0)
    for axes in panels:
        axes.set_xlabel("Pods")
        axes.grid(visible=True, alpha=0.3)
    panels[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _sizes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    sizes = sorted({int(each) for each in text.split(",") if each.strip().isdecimal()})
    if len(sizes) < 2 or sizes[0] < _PER_SERVICE:
        raise click.BadParameter(f"at least two sizes of at least {_PER_SERVICE} Pods are needed")
    return sizes


@click.command()
@click.option("--sizes", default=_SIZES, show_default=True, callback=_sizes, help="Numbers of Pods.")
@click.option(
    "--services",
    type=COUNT,
    default=50,
    show_default=True,
    help="Services where their number is the same in all sizes.",
)
@click.option("--changes", type=COUNT, default=2000, show_default=True, help="Changes of one Pod in each size.")
@click.option("--rounds", type=COUNT, default=3, show_default=True, help="Processes for each size; the median counts.")
@click.option("--out", default=_OUT, type=click.Path(path_type=Path), help="Folder of the picture and the JSON.")
def main(sizes: list[int], services: int, changes: int, rounds: int, out: Path) -> None:
    """Load, memory, and one change, by the number of Pods."""
    console = Console(width=120)
    fixed = min(services, sizes[0] // _PER_SERVICE)
    kinds: dict[str, Callable[[int], int]] = {
        f"a Service for every {_PER_SERVICE} Pods": lambda pods: pods // _PER_SERVICE,
        f"{fixed} Services": lambda _: fixed,
    }
    found: dict[tuple[str, int], list[Measured]] = {(name, pods): [] for name in kinds for pods in sizes}
    for _ in range(rounds):
        # All sizes in each round, so that what a machine does meanwhile does not meet one of them alone.
        for (name, pods), measured in found.items():
            measured.append(_measured(pods, kinds[name](pods), changes))
    results = {name: [_middle(found[name, pods]) for pods in sizes] for name in kinds}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    for name, series in results.items():
        console.print(_table(name, series))
        for line in _told(_laws(series), series):
            console.print(f"  {line}", highlight=False)
    out.mkdir(exist_ok=True)
    _draw(results, machine, out / "scaling.png")
    record = {
        name: {
            "sizes": msgspec.to_builtins(series),
            "laws": {quantity: asdict(line) for quantity, line in _laws(series).items()},
        }
        for name, series in results.items()
    }
    (out / "scaling.json").write_text(json.dumps({"machine": machine, "series": record}, indent=2) + "\n")


if __name__ == "__main__":
    main()
