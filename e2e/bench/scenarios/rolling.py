"""Rolling update: every Pod is replaced by a new one, in waves, as a Deployment and its kubelets do it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from e2e.bench.contenders import Contender
from e2e.bench.figures import Goal, Outcome, Row, ranks
from e2e.bench.load import all_of, patch_status, post, running
from e2e.bench.loader import pod_addresses, pod_name
from e2e.bench.scenarios.scenario import DRAIN_SECONDS, MB, Scenario, amount
from e2e.bench.stage import Stage, StageError, Turn

_POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class RollingOutcome(Outcome):
    """Seconds for all waves; milliseconds from a new Pod's readiness to its slice."""

    seconds: float
    replaced: int
    p50_ms: float
    p99_ms: float
    cpu: float
    server_cpu: float
    writes: int
    bytes_written: int


@dataclass(frozen=True, kw_only=True)
class Rolling(Scenario):
    """`wave` Pods at once, spread evenly over the Services: new, then ready, then the old ones end."""

    wave: int

    @property
    def title(self) -> str:
        return f"Rolling update: waves of {self.wave:,}; {amount(self.size)}"

    @property
    def rows(self) -> Sequence[Row]:
        # DESIGN section 9 has a goal for one large Service.
        fewer = Goal(ratio=1) if self.size.services == 1 else None
        return (
            Row("time for all waves (s)", "seconds", 1),
            Row("new Pod ready to slice, p50 (ms)", "p50_ms", 1),
            Row("new Pod ready to slice, p99 (ms)", "p99_ms", 1),
            Row("CPU (s)", "cpu", 2),
            Row("API server's CPU, our requests included (s)", "server_cpu", 2),
            Row("slice writes", "writes", 0),
            Row("slice bytes written (MB)", "bytes_written", 1, MB, fewer),
            Row("peak RSS (MB)", "peak_memory", 0, MB),
        )

    async def run(self, stage: Stage, contender: Contender, seed: int) -> RollingOutcome:
        async with stage.turn(contender) as turn:
            began, meter = time.monotonic(), turn.meter()
            for first in range(0, self.size.pods, self.wave):
                await self._replace(stage, turn, range(first, min(first + self.wave, self.size.pods)))
            seconds, used = time.monotonic() - began, meter()
            memory, peak = turn.memory, turn.peak_memory
        await stage.loader.reset_pods()
        found = ranks(turn.observer.latencies)
        return RollingOutcome(
            peak_memory=peak,
            memory=memory,
            latencies=turn.observer.latencies,
            lost=turn.observer.outstanding,
            seconds=seconds,
            replaced=self.size.pods,
            p50_ms=found.p50,
            p99_ms=found.p99,
            cpu=used.cpu,
            server_cpu=used.server_cpu,
            writes=used.writes,
            bytes_written=used.bytes_written,
        )

    async def _replace(self, stage: Stage, turn: Turn, numbers: range) -> None:
        client, observer, path = stage.client, turn.observer, stage.loader.pod_path
        olds = {pod_name(number) for number in numbers}

        async def begin(number: int) -> None:
            new = number + self.size.pods
            await post(client, path(new).rpartition("/")[0], stage.loader.new_pod(new))
            await patch_status(client, path(new), running(*pod_addresses(new), ready=False))

        async def become_ready(number: int) -> None:
            new = number + self.size.pods
            observer.sent(pod_name(new), True)
            await patch_status(client, path(new), running(*pod_addresses(new)))
            observer.answered(pod_name(new), True)

        async def end(number: int) -> None:
            # First it is asked to end, as users do, and then it has ended, as kubelets say.
            await client.request("DELETE", path(number))
            await client.request("DELETE", path(number), query={"gracePeriodSeconds": "0"})

        await all_of(begin(number) for number in numbers)
        await all_of(become_ready(number) for number in numbers)
        await _shown(turn, lambda: observer.outstanding == 0, "the new Pods of a wave are not in the slices")
        await all_of(end(number) for number in numbers)
        await _shown(
            turn,
            lambda: olds.isdisjoint(name for name, _ in observer.endpoints()),
            "the old Pods of a wave are still in the slices",
        )


async def _shown(turn: Turn, condition: Callable[[], bool], otherwise: str) -> None:
    if not await turn.until(condition, DRAIN_SECONDS, _POLL_SECONDS):
        raise StageError(f"{otherwise} after {DRAIN_SECONDS:g} s\n{turn.process.tail()}")
