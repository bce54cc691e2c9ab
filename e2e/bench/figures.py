"""What a scenario has found: the figures of a turn, and how each of them is shown and judged."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

Results = Mapping[str, Sequence["Outcome"]]

OURS: Final = "Sliceplane"
# With whom we are compared, the fair one first.
PEERS: Final = ("KCM tuned", "KCM defaults")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One turn of one contender; scenarios add their figures.

    `memory` is seconds since the start and resident bytes; `latencies` are seconds from the API server's answer to a
    change until the slice is seen; `lost` counts endpoints that never showed their last change.
    """

    peak_memory: int
    memory: Sequence[tuple[float, int]] = field(repr=False)
    latencies: Sequence[float] = field(default=(), repr=False)
    lost: int = 0


@dataclass(frozen=True)
class Goal:
    """At most so many times the fair peer's figure, and at most so much in the row's own unit."""

    ratio: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        parts = [] if self.most is None else [f"≤ {self.most:g}"]
        if self.ratio is not None:
            parts.append("≤ KCM" if self.ratio == 1 else f"≤ {self.ratio:g} x KCM")
        return ", ".join(parts)

    def met(self, values: Mapping[str, float]) -> bool | None:
        """Whether it is, by the contenders' figures; None when who would tell was not measured."""
        ours, peer = values.get(OURS), values.get(PEERS[0])
        if ours is None or (self.ratio is not None and peer is None):
            return None
        within = self.most is None or ours <= self.most
        return within and (self.ratio is None or peer is None or ours <= self.ratio * peer)


@dataclass(frozen=True)
class Row:
    """A figure: the outcome's field, times `factor`, with so many digits."""

    text: str
    field: str
    digits: int = 2
    factor: float = 1.0
    goal: Goal | None = None


@dataclass(frozen=True)
class Section:
    """A scenario's part of the report: what each contender did, round by round."""

    name: str
    title: str
    rows: Sequence[Row]
    results: Results

    def medians(self, row: Row) -> dict[str, float]:
        """The row's figure of each contender that has had a turn: the median of its rounds."""
        return {
            name: statistics.median(getattr(each, row.field) for each in rounds) * row.factor
            for name, rounds in self.results.items()
            if rounds
        }

    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "scenario": self.name,
            "title": self.title,
            "goals": {row.field: str(row.goal) for row in self.rows if row.goal is not None},
            "results": {name: [asdict(each) for each in rounds] for name, rounds in self.results.items()},
        }

    @property
    def lost(self) -> dict[str, int]:
        """By contender, what never became visible; without those that lost nothing."""
        found = {name: sum(each.lost for each in rounds) for name, rounds in self.results.items()}
        return {name: number for name, number in found.items() if number}


def ratio(values: Mapping[str, float]) -> float | None:
    """Ours to the fairest peer that was measured; None without one, or when it needed nothing."""
    peer = next((values[name] for name in PEERS if name in values), 0.0)
    return values[OURS] / peer if OURS in values and peer else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them are not above, between neighbours in proportion. Raises ValueError for none."""
    if not values:
        raise ValueError("no values, so no quantile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


@dataclass(frozen=True)
class Ranks:
    """Latencies in milliseconds."""

    p50: float
    p90: float
    p99: float
    most: float


def ranks(latencies: Sequence[float]) -> Ranks:
    """Of latencies in seconds. Raises ValueError for none."""
    return Ranks(*(quantile(latencies, share) * 1000 for share in (0.5, 0.9, 0.99, 1.0)))
