"""Whatever happens to three replicas, never have two living requests one number, and every number comes back."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.ipam.claims import RESPECT_SECONDS
from controllers.ipam.objects import Service
from controllers.ipam_operator.claimer import ClaimError
from tests.ipam_operator.replicas import Replica, Server, now, owner, pool_of
from tests.runtime.clocks import virtually

# The longest life of a request (IP-8), and how long the API server waits for a webhook's answer.
LIFE = 34.0
PATIENCE = 2.0
# How late a cache may be: less than claims.SEEN_SECONDS, on which that argument is built.
LAG = 3.0
LASTS = 150.0

FAULTS = ("hang", "refuse", "cut", "lose", "slow", "stop", "kill")


@dataclass(frozen=True)
class Fault:
    """What happens to one replica, when, and for how long."""

    replica: int
    kind: str
    at: float
    seconds: float


faults = st.lists(
    st.builds(
        Fault,
        st.integers(0, 2),
        st.sampled_from(FAULTS),
        st.floats(0, LASTS - 20, allow_nan=False),
        st.floats(0.1, 20, allow_nan=False),
    ),
    max_size=12,
)


class Trial:
    """Requests for few numbers, at all replicas; `living` are the keys of those that have been given one."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng, self.server = Random(seed), Server()
        self.ask = pool_of(size, self.rng.choice(["Random", "Sequential", "LeastRecentlyUsed"]))
        self.size = size
        self.stored: dict[int, Service] = {}
        self.living: dict[int, list[str]] = {}
        self.breaches: list[str] = []
        self.given = 0
        self.working: dict[Replica, set[asyncio.Task[int | None]]] = {}
        self.replicas = [self.begin(number) for number in range(3)]

    def begin(self, number: int) -> Replica:
        name = f"r{number}.{len(self.working)}"
        replica = Replica(self.server, name, origin=self.rng.uniform(0, 1e5), seed=self.rng.getrandbits(32))
        replica.line.delay = lambda: self.rng.uniform(0, 0.05)
        for each in self.stored.values():
            replica.sees(None, each)
        self.working[replica] = set()
        return replica

    def changed(self, old: Service | None, new: Service | None, at_once: bool = False) -> None:
        """Every cache shows it, each when it does."""
        for replica in self.replicas:
            lag = 0.0 if at_once else self.rng.uniform(0, LAG)
            asyncio.get_running_loop().call_later(lag, replica.sees, old, new)

    async def asked(self, key: str) -> int | None:
        """The answer of one replica, if it comes in time."""
        replica = self.rng.choice(self.replicas)
        task = asyncio.create_task(replica.take(key, self.ask))
        self.working[replica].add(task)
        await asyncio.wait({task}, timeout=PATIENCE)
        self.working[replica].discard(task)
        if not task.done() or task.cancelled() or not replica.awake.is_set():
            task.cancel()
            return None
        with suppress(ClaimError):
            return task.result()
        return None

    def lives(self, number: int, key: str) -> None:
        """A request has a number: nobody else may."""
        self.given += 1
        self.living.setdefault(number, []).append(key)
        others = {each for each in self.living[number] if each != key}
        if others or (number in self.stored and self.stored[number].key != key):
            self.breaches.append(f"at {now()}: {number} for {key}, beside {others} and {self.stored.get(number)}")

    async def request(self, key: str) -> None:
        """Asks once or twice, and is stored or fails in the end."""
        begun, rng = now(), self.rng
        # An update of a Service that has its number needs none (IP-68).
        number = None if any(each.key == key for each in self.stored.values()) else await self.asked(key)
        if number is None:
            return
        self.lives(number, key)
        end = begun + rng.choice([rng.uniform(0, 1), rng.uniform(0, LIFE), LIFE])
        await asyncio.sleep(max(end - now(), 0.0))
        if key not in self.living[number]:
            # An update of a Service that was deleted meanwhile fails.
            return
        self.living[number].remove(key)
        if rng.random() < 0.5 and number not in self.stored:
            made = self.stored[number] = owner(key, number)
            self.changed(None, made)
            await asyncio.sleep(LAG + rng.uniform(0, 20))
            del self.stored[number]
            self.living[number] = [each for each in self.living[number] if each != key]
            self.changed(made, None)

    async def load(self) -> None:
        """New Services, and now and then an update of one of a few."""
        running: set[asyncio.Task[None]] = set()
        while now() < LASTS:
            at = len(running)
            key = f"b/u{at % 3}" if self.rng.random() < 0.3 else f"b/s{at}#{at}"
            running.add(asyncio.create_task(self.request(key)))
            await asyncio.sleep(self.rng.choice([0.0, self.rng.uniform(0, 4)]))
        await asyncio.gather(*running)

    async def suffer(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        replica = self.replicas[fault.replica]
        if fault.kind == "kill":
            for task in self.working[replica]:
                task.cancel()
            replica.awake.clear()
            self.replicas[fault.replica] = self.begin(fault.replica)
        elif fault.kind == "stop":
            replica.awake.clear()
            await asyncio.sleep(fault.seconds)
            if replica in self.replicas:
                replica.awake.set()
        elif fault.kind == "slow":
            replica.line.delay = lambda: self.rng.uniform(0, 2)
            await asyncio.sleep(fault.seconds)
            replica.line.delay = lambda: self.rng.uniform(0, 0.05)
        else:
            replica.line.fault = fault.kind
            await asyncio.sleep(fault.seconds)
            replica.line.fault = ""

    async def drain(self) -> None:
        """All that is left is taken, one by one, by one replica."""
        last = self.replicas[0]
        found: list[int] = []
        until = now() + LIFE + 2 * RESPECT_SECONDS
        while len(found) < self.size and now() < until:
            with suppress(ClaimError):
                number = await last.take(f"b/last{len(found)}#", self.ask)
                if number is not None:
                    found.append(number)
                    self.changed(None, owner(f"b/last{len(found)}", number), at_once=True)
            await asyncio.sleep(1.0)
        assert len(set(found)) == self.size


def attempt(plan: list[Fault], seed: int, size: int) -> int:
    """Plays it; returns how many numbers were given."""

    async def scenario() -> int:
        trial = Trial(seed, size)
        await asyncio.gather(trial.load(), *(trial.suffer(fault) for fault in plan))
        assert trial.breaches == []
        await asyncio.sleep(LAG)
        await trial.drain()
        for each in asyncio.all_tasks() - {asyncio.current_task()}:
            each.cancel()
        return trial.given

    return virtually(scenario())


@settings(deadline=None, max_examples=60)
@given(plan=faults, seed=st.integers(0, 2**32), size=st.integers(1, 24))
def test_law_never_two_living_requests_have_one_number(plan: list[Fault], seed: int, size: int) -> None:
    attempt(plan, seed, size)


def test_trials_are_no_idle_ones() -> None:
    """Without faults much is given: otherwise the law would say nothing."""
    assert attempt([], 1, 12) >= 12
