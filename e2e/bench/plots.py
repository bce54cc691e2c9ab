"""Pictures of the benchmark, as PNG: latencies as a cumulative distribution, and resident memory over time."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe and Ito: told apart by everybody.
_COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#7f7f7f")
_KNOWN: Final = {"KCM defaults": "#7f7f7f", "KCM tuned": "#0072b2", "Sliceplane": "#d55e00"}
# A slice may be seen before its change is answered, and that is 0 on no logarithmic axis.
SHORTEST_MS: Final = 0.1
_TITLE_WIDTH: Final = 100


def steps(latencies: Sequence[float]) -> tuple[list[float], list[float]]:
    """Milliseconds, none below SHORTEST_MS, and the share of all that are not above them. From seconds."""
    ordered = [max(SHORTEST_MS, seconds * 1000) for seconds in sorted(latencies)]
    return ordered, [(number + 1) / len(ordered) for number in range(len(ordered))]


def distribution(latencies: Mapping[str, Sequence[Sequence[float]]], title: str, path: Path) -> None:
    """Writes the picture of each contender's latencies (in seconds), a line for each round."""
    figure, axes = _picture(title)
    for name, color in _colors(latencies).items():
        rounds = [each for each in latencies[name] if each]
        for number, each in enumerate(rounds):
            axes.step(*steps(each), where="post", color=color, **_style(name, number))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"from the answered change to the slice's event, ms ({SHORTEST_MS:g}: that, or sooner)")
    axes.set_ylabel("share of the changes")
    axes.set_ylim(0, 1.01)
    for share in (0.5, 0.9, 0.99):
        axes.axhline(share, color="black", linewidth=0.5, linestyle=":", zorder=1)
    _save(figure, axes, path)


def memory(traces: Mapping[str, Sequence[Sequence[tuple[float, int]]]], title: str, path: Path) -> None:
    """Writes the picture of each contender's resident memory (seconds and bytes), a line for each round."""
    figure, axes = _picture(title)
    for name, color in _colors(traces).items():
        for number, samples in enumerate(each for each in traces[name] if each):
            seconds, sizes = [at for at, _ in samples], [size / 1e6 for _, size in samples]
            axes.plot(seconds, sizes, color=color, **_style(name, number))
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel("resident memory, MB")
    axes.set_ylim(bottom=0)
    _save(figure, axes, path)


def _colors(names: Mapping[str, object]) -> dict[str, str]:
    return {name: _KNOWN.get(name, _COLORS[number % len(_COLORS)]) for number, name in enumerate(names)}


def _style(name: str, number: int) -> dict[str, Any]:
    """The first round stands out from the others, which only show how far rounds differ."""
    return {"linewidth": 1.0, "alpha": 0.45} if number else {"linewidth": 2.0, "label": name}


def _picture(title: str) -> tuple[Figure, Axes]:
    figure, axes = pyplot.subplots(figsize=(9, 5.2), layout="constrained")
    axes.set_title(textwrap.fill(title, _TITLE_WIDTH), fontsize=11)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, axes: Axes, path: Path) -> None:
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
