"""The load, made inside the server: Pods' readiness turns over, and what is written of it is waited for."""

import asyncio
import contextlib
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

# What has not been shown by then is counted as outstanding.
_PATIENCE: Final = 20.0


class _Target(Struct):
    name: str = ""


class _Conditions(Struct):
    ready: bool = False


class _Endpoint(Struct, rename="camel"):
    conditions: _Conditions
    target_ref: _Target = msgspec.field(default_factory=_Target)


class Result(Struct):
    """One run of changes; times in milliseconds, `cpu_seconds` of this process, `late_ms` of the load itself.

    A change is shown when the write of the slice that has it was answered: once for each family. `superseded` were
    turned over again before that; `outstanding` were not shown in 20 s after the last.
    """

    changes: int
    seconds: float
    shown: int
    superseded: int
    outstanding: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    late_ms: float
    cpu_seconds: float
    drain_seconds: float
    writes: dict[str, int]


class Tracker:
    """Knows which changes no slice shows yet.

    A Pod that is turned over again before its change was shown is as the slice shows it: nothing need be written.
    """

    def __init__(self, families: tuple[str, ...]) -> None:
        self._families = families
        self._decoder = msgspec.json.Decoder(list[_Endpoint])
        # By Pod and family, of those that have ever changed: how they are, and how the slice that was last written
        # has them.
        self._wanted: dict[tuple[str, str], bool] = {}
        self._visible: dict[tuple[str, str], bool] = {}
        # Where the two differ: since when, or None when that cannot be told.
        self._pending: dict[tuple[str, str], float | None] = {}
        self.latencies: list[float] = []
        self.superseded = 0
        self.all_shown = asyncio.Event()
        self.all_shown.set()

    @property
    def outstanding(self) -> int:
        """How many endpoints do not show their last change."""
        return len(self._pending)

    def begin(self) -> None:
        """Forgets what was measured so far."""
        self.latencies.clear()
        self.superseded = 0

    def changed(self, pod: str, ready: bool) -> None:
        """A change was put on the watch."""
        now = time.perf_counter()
        for family in self._families:
            key = (pod, family)
            self._wanted[key] = ready
            if self._visible.setdefault(key, not ready) != ready:
                self._pending[key] = now
            else:
                self.superseded += key in self._pending
                self._pending.pop(key, None)
        self._note()

    def written(self, address_type: str, endpoints: bytes) -> Callable[[], None]:
        """What to call when the write of a slice has been answered."""
        return lambda: self._shown(address_type, endpoints)

    def _shown(self, address_type: str, endpoints: bytes) -> None:
        if not self._wanted:
            return
        now = time.perf_counter()
        for endpoint in self._decoder.decode(endpoints):
            key = (endpoint.target_ref.name, address_type)
            wanted = self._wanted.get(key)
            if wanted is None:
                continue
            ready = self._visible[key] = endpoint.conditions.ready
            if ready != wanted:
                self._pending.setdefault(key, None)
            elif (since := self._pending.pop(key, None)) is not None:
                self.latencies.append(now - since)
        self._note()

    def _note(self) -> None:
        if self._pending:
            self.all_shown.clear()
        else:
            self.all_shown.set()


class Flips:
    """Turns Pods over at a steady rate."""

    def __init__(self, pods: int, flip: Callable[[int], None], tracker: Tracker, writes: Counter[str]) -> None:
        self._pods, self._flip, self._tracker, self._writes = pods, flip, tracker, writes
        self._task: asyncio.Task[None] | None = None
        self.result: Result | None = None

    @property
    def running(self) -> bool:
        """Whether a run has not ended yet."""
        return self._task is not None and not self._task.done()

    def start(self, rate: float, seconds: float, seed: int) -> None:
        """Begins a run; `result` is there when it has ended."""
        self.result = None
        self._task = asyncio.create_task(self._run(rate, seconds, random.Random(seed)))

    async def _run(self, rate: float, seconds: float, chosen: random.Random) -> None:
        self._tracker.begin()
        before, start, cpu, late, made = Counter(self._writes), time.perf_counter(), time.process_time(), 0.0, 0
        while made < rate * seconds:
            due = start + made / rate
            wait = due - time.perf_counter()
            # Also when there is nothing to wait for: others need their turn between two changes.
            await asyncio.sleep(max(wait, 0.0))
            late = max(late, time.perf_counter() - due)
            self._flip(chosen.randrange(self._pods))
            made += 1
        took = time.perf_counter() - start
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._tracker.all_shown.wait()
        latencies = sorted(self._tracker.latencies) or [0.0, 0.0]
        ranks = statistics.quantiles(latencies, n=100, method="inclusive")
        self.result = Result(
            changes=made,
            seconds=took,
            shown=len(self._tracker.latencies),
            superseded=self._tracker.superseded,
            outstanding=self._tracker.outstanding,
            p50_ms=ranks[49] * 1000,
            p90_ms=ranks[89] * 1000,
            p99_ms=ranks[98] * 1000,
            max_ms=latencies[-1] * 1000,
            late_ms=late * 1000,
            cpu_seconds=time.process_time() - cpu,
            drain_seconds=time.perf_counter() - start - took,
            writes=dict(self._writes - before),
        )
