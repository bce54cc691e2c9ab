"""Churn: Pods' readiness turns over at a steady rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from e2e.bench.contenders import CHANGE, Contender
from e2e.bench.figures import Goal, Outcome, Row, ranks
from e2e.bench.load import Flips
from e2e.bench.probes import served_writes
from e2e.bench.scenarios.scenario import DRAIN_POLL, DRAIN_SECONDS, MB, Scenario, amount
from e2e.bench.stage import Stage

# DESIGN section 9, by the rate of changes and the row's field.
_GOALS: Final = {
    100: {
        "p50_ms": Goal(ratio=1),
        "p99_ms": Goal(ratio=0.4, most=50),
        "cpu_ms_per_change": Goal(ratio=0.45, most=1.2),
        "writes_per_change": Goal(ratio=1),
    },
    150: {"p50_ms": Goal(ratio=0.2), "p99_ms": Goal(ratio=0.7), "writes_per_change": Goal(ratio=1)},
    200: {"p50_ms": Goal(ratio=0.6), "p99_ms": Goal(ratio=0.6), "lost": Goal(most=0)},
}


@dataclass(frozen=True, kw_only=True)
class ChurnOutcome(Outcome):
    """Latencies in milliseconds; CPU, writes and bytes for each change; endpoints that changed again unseen."""

    changes: int
    overturned: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    cpu_ms_per_change: float
    server_cpu_ms_per_change: float
    writes_per_change: float
    bytes_per_change: float
    bytes_written: int
    endpoints_writes_per_change: float


@dataclass(frozen=True, kw_only=True)
class Churn(Scenario):
    """`rate` readiness flips a second, for so many seconds."""

    floor = CHANGE
    rate: float
    seconds: float

    @property
    def title(self) -> str:
        return f"Churn: {self.rate:g} readiness changes/s for {self.seconds:g} s; {amount(self.size)}"

    @property
    def rows(self) -> Sequence[Row]:
        goals = _GOALS.get(round(self.rate), {})
        shown = (
            ("change to slice, p50 (ms)", "p50_ms", 1, 1.0),
            ("change to slice, p90 (ms)", "p90_ms", 1, 1.0),
            ("change to slice, p99 (ms)", "p99_ms", 1, 1.0),
            ("change to slice, max (ms)", "max_ms", 0, 1.0),
            ("CPU per change (ms)", "cpu_ms_per_change", 2, 1.0),
            ("API server's CPU per change, our patch included (ms)", "server_cpu_ms_per_change", 2, 1.0),
            ("slice writes per change", "writes_per_change", 2, 1.0),
            ("slice bytes written per change (kB)", "bytes_per_change", 2, 1e-3),
            ("slice bytes written (MB)", "bytes_written", 1, MB),
            ("Endpoints writes per change (API server's count)", "endpoints_writes_per_change", 2, 1.0),
            ("peak RSS (MB)", "peak_memory", 0, MB),
            ("endpoints that changed again unseen (not in the latencies)", "overturned", 0, 1.0),
            ("endpoints that never showed their last change", "lost", 0, 1.0),
        )
        return tuple(Row(text, field, digits, factor, goals.get(field)) for text, field, digits, factor in shown)

    async def run(self, stage: Stage, contender: Contender, seed: int) -> ChurnOutcome:
        async with stage.turn(contender) as turn:
            observer, flips = turn.observer, Flips(stage.client, self.size, seed, stage.loader.pod_path)
            served, meter = await served_writes(stage.client), turn.meter()
            changes = await flips.run(self.rate, self.seconds, observer)
            await turn.until(lambda: observer.outstanding == 0, DRAIN_SECONDS, DRAIN_POLL)
            used, lost = meter(), observer.outstanding
            endpoints = (await served_writes(stage.client))["endpoints"] - served["endpoints"]
            memory, peak = turn.memory, turn.peak_memory
        await flips.restore()
        found = ranks(observer.latencies)
        return ChurnOutcome(
            peak_memory=peak,
            memory=memory,
            latencies=observer.latencies,
            lost=lost,
            changes=changes,
            overturned=observer.overturned,
            p50_ms=found.p50,
            p90_ms=found.p90,
            p99_ms=found.p99,
            max_ms=found.most,
            cpu_ms_per_change=used.cpu / changes * 1000,
            server_cpu_ms_per_change=used.server_cpu / changes * 1000,
            writes_per_change=used.writes / changes,
            bytes_per_change=used.bytes_written / changes,
            bytes_written=used.bytes_written,
            endpoints_writes_per_change=endpoints / changes,
        )
