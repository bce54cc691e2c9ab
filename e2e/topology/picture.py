"""The picture of `make topology-report`: two panels over the number of endpoints, a line for each kind of hints."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from e2e.topology.simulation import MOST_ENDPOINTS, Outcome

# Okabe and Ito: told apart by everybody.
_COLORS: Final = {"no hints": "#7f7f7f", "Auto": "#0072b2", "PreferSameZone": "#d55e00", "Adaptive": "#009e73"}
_STYLES: Final = {"no hints": ":", "Auto": "--", "PreferSameZone": "-.", "Adaptive": "-"}
_BIN: Final = 4


def draw(results: dict[str, list[Outcome]], limit: float, path: Path) -> None:
    """Writes the picture as PNG."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.4), layout="constrained")
    _panel(left, results, lambda outcomes: statistics.mean(each.crossing for each in outcomes))
    left.set_title("Traffic that leaves its zone: mean (less is cheaper)")
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    left.set_ylim(0, 0.8)
    _panel(right, results, _high_overload)
    right.set_title("Busiest endpoint, load / mean load: 95th percentile (1 is even)")
    right.set_yscale("log")
    right.set_yticks([1, 1.2, 2, 5, 10, 20], minor=False)
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    right.minorticks_off()
    right.axhline(limit, color="black", linewidth=0.8, zorder=1)
    right.annotate(f"limit {limit}", (MOST_ENDPOINTS, limit), (0, 3), textcoords="offset points", ha="right")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=11)
    count = len(next(iter(results.values())))
    figure.suptitle(f"Topology hints over {count} random Services in 2 to 8 zones", fontsize=14)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _high_overload(outcomes: Sequence[Outcome]) -> float:
    found = sorted(each.overload for each in outcomes)
    return found[int(0.95 * len(found))]


def _panel(axes: Axes, results: dict[str, list[Outcome]], value: Callable[[Sequence[Outcome]], float]) -> None:
    for name, outcomes in results.items():
        points: list[tuple[float, float]] = []
        for first in range(1, MOST_ENDPOINTS + 1, _BIN):
            found = [each for each in outcomes if first <= each.endpoints < first + _BIN]
            if found:
                points.append((statistics.mean(each.endpoints for each in found), value(found)))
        wide = 2.8 if name == "Adaptive" else 1.8
        axes.plot(*zip(*points, strict=True), _STYLES[name], color=_COLORS[name], linewidth=wide, label=name)
    axes.set_xlabel("ready endpoints of the Service")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(0, MOST_ENDPOINTS + 1)
