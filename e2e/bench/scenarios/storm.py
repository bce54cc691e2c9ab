"""Node storm: a third of a zone's Nodes goes NotReady within seconds, and returns; hints by zone depend on them.

Nothing evicts the Pods, since no controller of Nodes runs: what changes is how much of the cluster each zone has.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from e2e.bench.contenders import Contender
from e2e.bench.figures import Outcome, Row
from e2e.bench.load import READY_SINCE, ZONES, patch_status
from e2e.bench.loader import node_name
from e2e.bench.scenarios.scenario import MB, Scenario, amount
from e2e.bench.stage import Stage, Turn

# After so many seconds without a write there will be none.
_QUIET_SECONDS = 10.0
_LONGEST_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class StormOutcome(Outcome):
    """Writes for each half of the storm, and seconds from its last Node to the last write (0: none came later)."""

    nodes: int
    writes_down: int
    writes_up: int
    last_write_down: float
    last_write_up: float
    bytes_written: int
    cpu: float
    server_cpu: float


@dataclass(frozen=True, kw_only=True)
class Storm(Scenario):
    """A tenth of the Nodes, all of one zone, within `seconds`, and back within as many."""

    hinted_every = 2
    seconds: float

    @property
    def storming(self) -> int:
        """How many Nodes go."""
        return max(1, self.size.nodes // 10)

    @property
    def title(self) -> str:
        went = f"{self.storming:,} Nodes of one zone NotReady within {self.seconds:g} s, and back"
        return f"Node storm: {went}; {amount(self.size)}, half of the Services with topology-mode Auto"

    @property
    def rows(self) -> Sequence[Row]:
        return (
            Row("slice writes as they go", "writes_down", 0),
            Row("slice writes as they return", "writes_up", 0),
            Row("slice bytes written (MB)", "bytes_written", 2, MB),
            Row("last Node gone to the last write (s)", "last_write_down"),
            Row("last Node back to the last write (s)", "last_write_up"),
            Row("CPU (s)", "cpu"),
            Row("API server's CPU, our patches included (s)", "server_cpu"),
            Row("peak RSS (MB)", "peak_memory", 0, MB),
        )

    async def run(self, stage: Stage, contender: Contender, seed: int) -> StormOutcome:
        async with stage.turn(contender) as turn:
            meter = turn.meter()
            last_down = await self._turn_over(stage, turn, ready=False)
            down = meter()
            last_up = await self._turn_over(stage, turn, ready=True)
            used = meter()
            return StormOutcome(
                peak_memory=turn.peak_memory,
                memory=turn.memory,
                nodes=self.storming,
                writes_down=down.writes,
                writes_up=used.writes - down.writes,
                last_write_down=last_down,
                last_write_up=last_up,
                bytes_written=used.bytes_written,
                cpu=used.cpu,
                server_cpu=used.server_cpu,
            )

    async def _turn_over(self, stage: Stage, turn: Turn, *, ready: bool) -> float:
        """Seconds from the last Node's change to the last write."""
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": READY_SINCE}
        began, tasks = time.monotonic(), []
        for number in range(self.storming):
            await asyncio.sleep(max(0.0, began + number * self.seconds / self.storming - time.monotonic()))
            # Every third Node is in the first zone.
            path = f"/api/v1/nodes/{node_name(number * len(ZONES) % self.size.nodes)}"
            tasks.append(asyncio.create_task(patch_status(stage.client, path, {"conditions": [condition]})))
        await asyncio.gather(*tasks)
        ended, observer = time.monotonic(), turn.observer
        await turn.until(
            lambda: time.monotonic() - max(ended, observer.last_event) > min(_QUIET_SECONDS, 2 * self.seconds),
            _LONGEST_SECONDS,
        )
        return max(0.0, observer.last_event - ended)
