"""What the demo shows: a live table on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from e2e.cluster.nodes import ZONES
from e2e.demo.watching import Row

_PLAIN_WIDTH = 126
_FULL_WIDTH = 124
_REFRESHES = 4
_TITLE_WIDTH = 44


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be so, and what was found."""

    what: str
    found: str
    good: bool


class Step:
    """Something that is being done; `result` is what to say when it is done."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.result = ""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class Screen:
    """Where everything is printed. `live` tells whether it is a terminal."""

    def __init__(self) -> None:
        console = Console(highlight=False)
        self.live = console.is_terminal and not console.is_dumb_terminal
        self._console = console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)
        self._started = time.monotonic()
        self._step: Step | None = None

    def say(self, what: RenderableType) -> None:
        self._console.print(what)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """One line when it has been done, and on a plain terminal one before."""
        self._step = step = Step(title)
        if not self.live:
            self.say(Text(f"  {title} …"))
        try:
            yield step
        except BaseException:
            self.say(Text(f"✘ {title}: given up after {step.seconds:.1f} s", style="bold red"))
            raise
        finally:
            self._step = None
        line = Text.assemble(
            ("✔ ", "bold green"), f"{title:<{_TITLE_WIDTH}}", (f"{step.seconds:5.1f} s  ", "cyan"), (step.result, "dim")
        )
        line.rstrip()
        self.say(line)

    @contextmanager
    def watching(self, rows: Callable[[], list[Row]], process: Callable[[], str]) -> Iterator[None]:
        """Show the table for as long as this lasts, drawn again several times a second; plain: once, at the end."""

        def draw() -> RenderableType:
            return Group(
                self._heading(), table(rows(), narrow=self._console.width < _FULL_WIDTH), Text(process(), style="dim")
            )

        if not self.live:
            yield
            self.say(table(rows(), narrow=self._console.width < _FULL_WIDTH))
            return
        with Live(
            get_renderable=draw, console=self._console, refresh_per_second=_REFRESHES, vertical_overflow="visible"
        ):
            yield

    def _heading(self) -> RenderableType:
        elapsed = time.monotonic() - self._started
        step = self._step
        doing = (
            Text.assemble(("▶ ", "bold yellow"), (step.title, "bold"), (f"  {step.seconds:.1f} s", "cyan"))
            if step
            else ""
        )
        heading = Table.grid(expand=True)
        heading.add_column()
        heading.add_column(justify="right")
        heading.add_row(doing, Text(f"{elapsed:.0f} s", style="dim"))
        return Padding(heading, (1, 0, 0, 0))


def table(rows: Sequence[Row], *, narrow: bool = False) -> Table:
    """Services with their Pods, slices, endpoints and hints by zone, and how long the last change took to show.

    `narrow` fits it into 80 columns.
    """
    padding = (0, 0) if narrow else (0, 1)
    made = Table(box=box.ROUNDED, padding=padding, header_style="bold", border_style="dim")
    made.add_column("Service", no_wrap=True)
    made.add_column("Pods\nready", justify="right")
    made.add_column("Family")
    made.add_column("Slices", justify="right")
    for zone in ZONES:
        made.add_column(f"{zone}\n{'rdy':>3} {'srv':>3} {'trm':>3}", no_wrap=True)
    made.add_column("Hints\nfor each", justify="right", no_wrap=True)
    made.add_column("Change\nshown in" if narrow else "Last change\nshown after", justify="right", no_wrap=True)
    for row in rows:
        first = row.family == row.shape.families[0]
        about = "" if narrow else row.shape.about
        made.add_row(
            Text.assemble((f"{row.shape.name:<5}", "bold"), (about, "dim")) if first else "",
            _pods(row) if first else "",
            row.family,
            str(row.slices),
            *[_counts(row, zone) for zone in ZONES],
            "/".join(str(row.hinted[zone]) for zone in ZONES) if row.hinted else "",
            "" if row.last is None else milliseconds(row.last),
        )
    return made


def summary(checks: Sequence[Check], figures: Sequence[tuple[str, str]]) -> Group:
    """The end: what was checked, with the outcome, and what was measured."""
    checked = Table(title="Checked", title_justify="left", title_style="bold", box=None, show_header=False)
    for check in checks:
        mark = Text("✔", style="bold green") if check.good else Text("✘", style="bold red")
        checked.add_row(mark, check.what, Text(check.found, style="" if check.good else "red"))
    measured = Table(title="Measured", title_justify="left", title_style="bold", box=None, show_header=False)
    for what, figure in figures:
        measured.add_row(" ", what, figure)
    return Group("", checked, "", measured)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "< 1 ms"


def _pods(row: Row) -> Text:
    complete = row.ready_pods == row.pods == row.shape.pods
    return Text(f"{row.ready_pods}/{row.pods}", style="green" if complete else "yellow")


def _counts(row: Row, zone: str) -> Text:
    text = Text()
    counters: list[tuple[Counter[str], str]] = [(row.ready, "green"), (row.serving, ""), (row.terminating, "yellow")]
    for counter, style in counters:
        text.append(f"{counter[zone]:>3}", style=style if counter[zone] else "dim")
        text.append(" ")
    text.rstrip()
    return text
