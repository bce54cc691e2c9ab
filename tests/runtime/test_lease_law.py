"""Whatever happens to three replicas, never two may write, and in the end somebody leads."""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from dataclasses import dataclass
from random import Random
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.leases import JITTERED, LEASE, RENEW, Cluster, Process, T, now, play
from tests.shell.waiting import until

PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


@types.coroutine
def _stepped(inner: Coroutine[Any, Any, T], process: Process) -> Generator[Any, Any, T]:
    """Runs a coroutine step by step, and none while its process is stopped: as SIGSTOP does, or a long collection."""
    go: Callable[[Any], Any] = inner.send
    value: Any = None
    while True:
        while not process.awake.is_set():
            try:
                yield from process.awake.wait().__await__()
            except asyncio.CancelledError as cancelled:
                go, value = inner.throw, cancelled
        try:
            future = go(value)
        except StopIteration as end:
            return cast("T", end.value)
        try:
            go, value = inner.send, (yield future)
        except BaseException as error:
            go, value = inner.throw, error


def _stoppable(loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None) -> "asyncio.Task[Any]":
    """A task factory: tasks belong to the process whose task has made them."""
    process = (context or Context()).get(PROCESS) if context is not None else PROCESS.get()
    if process is None:
        return asyncio.Task(coro, loop=loop, context=context)

    async def stepped() -> Any:
        return await _stepped(coro, process)

    return asyncio.Task(stepped(), loop=loop, context=context)


def begin(cluster: Cluster, name: str, **given_: Any) -> Process:
    """Starts a process that can be stopped by its `awake`."""
    asyncio.get_running_loop().set_task_factory(_stoppable)
    process = Process(cluster.server, name, **given_)
    cluster.processes.append(process)
    token = PROCESS.set(process)
    process.start()
    PROCESS.reset(token)
    return process


def test_stopped_process_may_not_write_when_it_goes_on() -> None:
    """SIGSTOP for longer than the lease: another leads meanwhile."""

    async def scenario(cluster: Cluster) -> None:
        a = begin(cluster, "a")
        await cluster.leader()
        b = begin(cluster, "b")
        await asyncio.sleep(30)
        a.awake.clear()
        stopped = now()
        while now() < stopped + 40:
            await asyncio.sleep(0.05)
            assert len(cluster.writers) <= 1
        assert cluster.writers == ["b"]
        assert a.elector.leading
        assert a.ends == []
        a.awake.set()
        assert not a.elector.may_write()
        at = now()
        await asyncio.sleep(0.1)
        assert (a.ends, a.elector.leading) == ([at], False)
        assert (len(b.terms), b.ends) == (1, [])

    play(scenario)


FAULTS = ("hang", "refuse", "cut", "lose", "slow", "stop", "term", "kill")


@dataclass(frozen=True)
class Fault:
    """What happens to one process, when, and for how long."""

    process: int
    kind: str
    at: float
    seconds: float


faults = st.lists(
    st.builds(
        Fault,
        st.integers(0, 2),
        st.sampled_from(FAULTS),
        st.floats(0, 100, allow_nan=False),
        st.floats(0.1, 40, allow_nan=False),
    ),
    max_size=14,
)


class Trial:
    """Three replicas, each with its own clock; whenever anything happens, at most one of them may write."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster, self.rng = cluster, Random(seed)
        self.current: dict[int, Process] = {}
        self.killed: list[Process] = []
        self.breaches: list[str] = []
        for number in range(3):
            self.begin(number)

    def begin(self, number: int) -> None:
        rng, name = self.rng, f"p{number}.{len(self.cluster.processes)}"
        skew, origin = rng.uniform(-3600, 3600), rng.uniform(-1e5, 1e5)
        process = begin(self.cluster, name, skew=skew, origin=origin, seed=rng.random(), drain=rng.choice([0, 1, 8]))
        process.line.watchable = rng.random() < 0.5
        process.line.delay = self.delay
        process.line.arrived = self.soon
        self.current[number] = process

    def delay(self) -> float:
        return self.rng.uniform(0, 0.05)

    def soon(self) -> None:
        """An answer has come: only that can open a fence, and it is read in no time."""
        asyncio.get_running_loop().call_later(1e-6, self.check)

    def check(self) -> None:
        writers = self.cluster.writers
        if len(writers) > 1:
            self.breaches.append(f"{writers} may write at {now()}")

    async def suffer(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        process = self.current[fault.process]
        if fault.kind == "kill":
            if len(self.killed) < 2 and process not in self.killed:
                self.killed.append(process)
                process.awake.clear()
        elif fault.kind == "term":
            process.stopping.set()
            await asyncio.wait({process.running}, timeout=60)
            if process.running.done():
                process.running.result()
                self.begin(fault.process)
        elif fault.kind == "stop":
            process.awake.clear()
            await asyncio.sleep(fault.seconds)
            if process not in self.killed:
                process.awake.set()
                self.soon()
        elif fault.kind == "slow":
            process.line.delay = lambda: self.delay() + self.rng.uniform(0, fault.seconds / 2)
            await asyncio.sleep(fault.seconds)
            process.line.delay = self.delay
        else:
            process.line.fault = fault.kind
            await asyncio.sleep(fault.seconds)
            process.line.fault = ""

    @property
    def quiet(self) -> bool:
        """Whether nothing is on its way that was sent while things went wrong."""
        return not any(each.line.travelling for each in self.cluster.processes)


def attempt(plan: list[Fault], seed: int) -> int:
    """Plays it; returns how many terms there were."""

    async def scenario(cluster: Cluster) -> int:
        trial = Trial(cluster, seed)
        await asyncio.gather(*(trial.suffer(fault) for fault in plan))
        await until(lambda: trial.quiet)
        # A request that hangs is given up after half a renew deadline.
        await cluster.leader(within=LEASE + 2 * JITTERED + RENEW / 2)
        await asyncio.sleep(40)
        assert len(cluster.writers) == 1
        for each in cluster.processes:
            each.awake.set()
        assert trial.breaches == []
        return sum(len(each.terms) for each in cluster.processes)

    return play(scenario)


@settings(deadline=None, max_examples=100)
@given(plan=faults, seed=st.integers(0, 2**32))
def test_law_never_two_may_write_and_somebody_leads(plan: list[Fault], seed: int) -> None:
    attempt(plan, seed)
