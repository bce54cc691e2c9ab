"""`make topology-report`: traffic between zones and overload under each kind of hints, as a table and a picture."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from e2e.topology.picture import draw
from e2e.topology.simulation import Outcome, run

_OUT: Final = Path(__file__).parents[2] / "out"
LIMIT: Final = 1.2


def table(results: dict[str, list[Outcome]]) -> Table:
    """One row for each kind of hints."""
    made = Table(title=f"{len(next(iter(results.values())))} random Services, 2 to 8 zones, 1 to 60 endpoints")
    made.add_column("hints")
    for column in ("given", "traffic leaves\nits zone, mean", "worst load / mean load\nmean", "95 %", "max"):
        made.add_column(column, justify="right")
    made.add_column(f"above {LIMIT}", justify="right")
    made.add_column("hints changed by\none endpoint more or less", justify="right")
    for name, outcomes in results.items():
        made.add_row(name, *_figures(outcomes))
    return made


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    overloads = sorted(each.overload for each in outcomes)
    above = sum(each > LIMIT + 1e-6 for each in overloads) / len(overloads)
    return [
        f"{statistics.mean(each.hinted for each in outcomes):.0%}",
        f"{statistics.mean(each.crossing for each in outcomes):.1%}",
        f"{statistics.mean(overloads):.2f}",
        f"{overloads[int(0.95 * len(overloads))]:.2f}",
        f"{overloads[-1]:.2f}",
        f"{above:.0%}",
        f"{statistics.mean(each.changed for each in outcomes):.2f}",
    ]


@click.command()
@click.option("--cases", type=click.IntRange(1), default=2000, show_default=True, help="How many random Services.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same figures.")
def main(cases: int, seed: int) -> None:
    """Prints the table, and writes out/topology.txt and out/topology.png."""
    results = run(cases, seed)
    _OUT.mkdir(exist_ok=True)
    console = Console(record=True, width=130)
    console.print(table(results))
    (_OUT / "topology.txt").write_text(console.export_text())
    draw(results, LIMIT, _OUT / "topology.png")
    console.print(f"written: {_OUT / 'topology.txt'}, {_OUT / 'topology.png'}")


if __name__ == "__main__":
    main()
