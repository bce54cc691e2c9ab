"""The largest cluster that Kubernetes supports, thrice: what it takes to start, to stand still, and to change once."""

from collections.abc import Sequence
from dataclasses import dataclass

from e2e.bench.contenders import Contender
from e2e.bench.figures import Goal, Outcome, Row, ranks
from e2e.bench.load import Flips
from e2e.bench.scenarios.scenario import DRAIN_POLL, DRAIN_SECONDS, MB, Scenario, amount
from e2e.bench.stage import Stage

_GOALS_ARE_FOR = 150_000
_FLIPS_PER_SECOND = 2.0
_MOST_FLIPPING_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class BigOutcome(Outcome):
    """The start, shares of a core at rest, and the latency of changes that come alone, in milliseconds."""

    start_seconds: float
    start_cpu: float
    server_cpu: float
    settled_memory: int
    cores_at_rest: float
    server_cores_at_rest: float
    writes_at_rest: int
    one_p50_ms: float
    one_max_ms: float


@dataclass(frozen=True, kw_only=True)
class Big(Scenario):
    """Start, then `seconds` of rest, then single changes, two a second."""

    once = True
    seconds: float

    @property
    def title(self) -> str:
        return f"Big cluster: {amount(self.size)}"

    @property
    def rows(self) -> Sequence[Row]:
        def goal(ratio: float) -> Goal | None:
            return Goal(ratio=ratio) if self.size.pods == _GOALS_ARE_FOR else None

        return (
            Row("start to the last slice (s)", "start_seconds", 1, goal=goal(0.7)),
            Row("CPU for it (s)", "start_cpu", 1),
            Row("API server's CPU for it (s)", "server_cpu", 1),
            Row("peak RSS (MB)", "peak_memory", 0, MB, goal(0.4)),
            Row("RSS at rest (MB)", "settled_memory", 0, MB),
            Row("CPU at rest (% of a core)", "cores_at_rest", 2, 100, Goal(most=0.5)),
            Row("API server's CPU at rest (% of a core)", "server_cores_at_rest", 2, 100),
            Row("slice writes at rest", "writes_at_rest", 0, goal=Goal(most=0)),
            Row("one change to slice, p50 (ms)", "one_p50_ms", 1),
            Row("one change to slice, max (ms)", "one_max_ms", 1),
        )

    async def run(self, stage: Stage, contender: Contender, seed: int) -> BigOutcome:
        async with stage.turn(contender) as turn:
            observer, meter = turn.observer, turn.meter()
            await turn.until(lambda: False, self.seconds)
            rest, settled = meter(), turn.memory[-1][1]
            flips = Flips(stage.client, self.size, seed, stage.loader.pod_path)
            await flips.run(_FLIPS_PER_SECOND, min(self.seconds, _MOST_FLIPPING_SECONDS), observer)
            await turn.until(lambda: observer.outstanding == 0, DRAIN_SECONDS, DRAIN_POLL)
            lost, memory, peak = observer.outstanding, turn.memory, turn.peak_memory
        await flips.restore()
        found = ranks(observer.latencies)
        return BigOutcome(
            peak_memory=peak,
            memory=memory,
            latencies=observer.latencies,
            lost=lost,
            start_seconds=turn.start.seconds,
            start_cpu=turn.start.cpu,
            server_cpu=turn.start.server_cpu,
            settled_memory=settled,
            cores_at_rest=rest.cpu / rest.seconds,
            server_cores_at_rest=rest.server_cpu / rest.seconds,
            writes_at_rest=rest.writes,
            one_p50_ms=found.p50,
            one_max_ms=found.most,
        )
