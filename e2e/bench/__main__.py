"""`make bench`: the real KCM and Sliceplane against one API server, in turn, in one run; only ratios count."""

import asyncio
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from e2e.bench import report
from e2e.bench.contenders import SETS, Contender, contenders
from e2e.bench.figures import Section
from e2e.bench.scenarios import CHOICES, QUICK, Options, chosen
from e2e.bench.scenarios.scenario import Scenario
from e2e.bench.suite import play, playing, turns
from e2e.cluster.build import kubernetes_version
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import end_on_sigterm
from e2e.cluster.product import grant

_OUT: Final = Path(__file__).parents[2] / "out"
_WIDTH: Final = 150
_NAMES: Final = tuple(dict.fromkeys(each.name for each in contenders()))


def _title(controllers: str) -> str:
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return f"Sliceplane and KCM {kubernetes_version()}, controllers: {', '.join(SETS[controllers])}; {machine}"


class _Steps:
    """The progress bar: told of each step as it begins."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._begun = progress, 0
        self._task = progress.add_task("", total=total)

    def begin(self, text: str) -> None:
        self._progress.update(self._task, description=text, completed=self._begun)
        self._begun += 1
        if not self._progress.console.is_terminal:
            self._progress.console.print(text)


def _play_all(
    scenarios: Sequence[Scenario], who: Sequence[Contender], rounds: int, settle: float, console: Console
) -> list[Section]:
    sections: list[Section] = []
    # Loading is a step, too.
    total = sum(1 + len(turns(playing(each, who), rounds, once=each.once)) for each in scenarios)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        steps = _Steps(progress, total)
        for scenario in scenarios:
            with ControlPlane() as plane, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                grant(plane)
                played = play(scenario, plane, who, rounds, settle_seconds=settle, say=steps.begin)
                sections.append(runner.run(played))
            console.print(report.table(sections[-1]))
    return sections


@click.command()
@click.option("--scenario", "wanted", type=click.Choice(CHOICES), multiple=True, default=QUICK, show_default=True)
@click.option("--contender", "names", type=click.Choice(_NAMES), multiple=True, help="All, unless some are named.")
@click.option("--controllers", type=click.Choice(tuple(SETS)), default="all", show_default=True, help="Of both sides.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="KCM's defaults have one.")
@click.option("--pods", type=click.IntRange(1), help="In place of the scenarios' own size, as the next three.")
@click.option("--services", type=click.IntRange(1))
@click.option("--nodes", type=click.IntRange(1))
@click.option("--namespaces", type=click.IntRange(1), help="Default: one for each thousand Pods.")
@click.option("--seconds", type=click.FloatRange(0.5), help="Of load (churn, storm) or of rest (big, idle).")
@click.option("--wave", type=click.IntRange(1), help="Pods at once in rolling updates.")
@click.option("--settle", default=5.0, show_default=True, help="Seconds of rest before something is measured.")
@click.option("--out", type=click.Path(path_type=Path), default=_OUT, help="Where bench.json, bench.md and PNGs go.")
def main(
    wanted: tuple[str, ...],
    names: tuple[str, ...],
    controllers: str,
    rounds: int,
    pods: int | None,
    services: int | None,
    nodes: int | None,
    namespaces: int | None,
    seconds: float | None,
    wave: int | None,
    settle: float,
    out: Path,
) -> None:
    """KCM, as users have it and at full speed, and Sliceplane, on one API server, in turn."""
    end_on_sigterm()
    console = Console(width=_WIDTH)
    try:
        report.prepare(out)
    except OSError as error:
        raise click.BadParameter(f"{out}: {error.strerror}", param_hint="--out") from error
    scenarios = chosen(wanted, Options(pods, services, nodes, namespaces, seconds, wave))
    who = [each for each in contenders(controllers) if not names or each.name in names]
    title = _title(controllers)
    console.print(title)
    sections = _play_all(scenarios, who, rounds, settle, console)
    console.print(f"{report.BYTES_NOTE}\n\nin {out}:")
    for path in report.write(sections, title, out):
        console.print(path.name)
    lost = {section.name: section.lost for section in sections if section.lost}
    if lost:
        console.print(f"changes that never became visible: {lost}")
        sys.exit(1)


if __name__ == "__main__":
    main()
