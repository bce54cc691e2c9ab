"""Idle: a cluster in which nothing happens. Nothing may be written, and memory may not grow."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from e2e.bench.contenders import Contender
from e2e.bench.figures import Goal, Outcome, Row
from e2e.bench.probes import served_writes
from e2e.bench.scenarios.scenario import MB, Scenario, amount
from e2e.bench.stage import Stage

# What the contenders write to, were they to write; nobody is elected here, and the API server has a Lease of its own.
_RESOURCES: Final = ("endpointslices", "endpoints", "events")
# Memory is counted in pages that come and go: less is nothing.
_NO_GROWTH: Final = Goal(most=1)
_EDGE: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class IdleOutcome(Outcome):
    """CPU as a share of a core, writes by anybody, and bytes of resident memory."""

    cores: float
    server_cores: float
    slice_writes: int
    writes: int
    growth: int


def growth(samples: Sequence[tuple[float, int]]) -> int:
    """By how much the last tenth of the samples is above the first, in bytes; medians, as single samples jump."""
    edge = max(1, int(len(samples) * _EDGE))
    first, last = samples[:edge], samples[-edge:]
    return round(statistics.median(size for _, size in last) - statistics.median(size for _, size in first))


@dataclass(frozen=True, kw_only=True)
class Idle(Scenario):
    """So many seconds without a change."""

    once = True
    seconds: float

    @property
    def title(self) -> str:
        return f"Idle for {self.seconds:g} s: {amount(self.size)}"

    @property
    def rows(self) -> Sequence[Row]:
        return (
            Row("CPU (% of a core)", "cores", 3, 100, Goal(most=0.5)),
            Row("API server's CPU (% of a core)", "server_cores", 2, 100),
            Row("slice writes", "slice_writes", 0, goal=Goal(most=0)),
            Row("writes of slices, Endpoints and Events (API server's count)", "writes", 0, goal=Goal(most=0)),
            Row("RSS growth (MB)", "growth", 2, MB, _NO_GROWTH),
            Row("peak RSS (MB)", "peak_memory", 0, MB),
        )

    async def run(self, stage: Stage, contender: Contender, seed: int) -> IdleOutcome:
        async with stage.turn(contender) as turn:
            served = await served_writes(stage.client)
            before, meter = len(turn.memory), turn.meter()
            await turn.until(lambda: False, self.seconds, poll=1.0)
            used = meter()
            after = await served_writes(stage.client)
            return IdleOutcome(
                peak_memory=turn.peak_memory,
                memory=turn.memory,
                cores=used.cpu / used.seconds,
                server_cores=used.server_cpu / used.seconds,
                slice_writes=used.writes,
                writes=sum(after[each] - served[each] for each in _RESOURCES),
                growth=growth(turn.memory[before:]),
            )
