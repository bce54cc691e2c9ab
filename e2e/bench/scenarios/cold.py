"""Cold start: from the start of the process to the last slice of a cluster that has none."""

from collections.abc import Sequence
from dataclasses import dataclass

from e2e.bench.contenders import START, Contender
from e2e.bench.figures import Goal, Outcome, Row
from e2e.bench.scenarios.scenario import MB, Scenario, amount
from e2e.bench.stage import Stage

_GOALS_ARE_FOR = 10_000


@dataclass(frozen=True, kw_only=True)
class ColdOutcome(Outcome):
    """Seconds and CPU seconds to the last slice, the API server's beside it."""

    start_seconds: float
    start_cpu: float
    server_cpu: float
    writes: int
    bytes_written: int


@dataclass(frozen=True, kw_only=True)
class Cold(Scenario):
    """Start to last slice, CPU, peak memory."""

    floor = START

    @property
    def title(self) -> str:
        return f"Cold start: {amount(self.size)}"

    @property
    def rows(self) -> Sequence[Row]:
        def goal(ratio: float) -> Goal | None:
            return Goal(ratio=ratio) if self.size.pods == _GOALS_ARE_FOR else None

        return (
            Row("start to the last slice (s)", "start_seconds", 2, goal=goal(0.7)),
            Row("CPU for it (s)", "start_cpu", 2, goal=goal(0.5)),
            Row("peak RSS (MB)", "peak_memory", 0, MB, goal(0.35)),
            Row("API server's CPU for it (s)", "server_cpu", 2),
            Row("slice writes", "writes", 0),
            Row("slice bytes written (MB)", "bytes_written", 2, MB),
        )

    async def run(self, stage: Stage, contender: Contender, seed: int) -> ColdOutcome:
        async with stage.turn(contender) as turn:
            return ColdOutcome(
                peak_memory=turn.peak_memory,
                memory=turn.memory,
                start_seconds=turn.start.seconds,
                start_cpu=turn.start.cpu,
                server_cpu=turn.start.server_cpu,
                writes=turn.start.writes,
                bytes_written=turn.start.bytes_written,
            )
