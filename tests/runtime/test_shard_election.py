"""Shards and those who have everything, in virtual time: whatever happens, no Namespace has two writers."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.runtime.election import together
from controllers.runtime.errors import error_for
from controllers.runtime.lease import Elector
from controllers.runtime.shard_election import JointElector, ShardElection
from controllers.runtime.shards import Shard
from tests.runtime.clocks import virtually
from tests.runtime.leases import JITTERED, LEASE, PATH, RENEW, RETRY, Line, Object, Server, Skewed, now
from tests.shell.waiting import until

ALL = Shard(0, 1)


class Leases(Server):
    """An API server with as many Leases as are asked for, each by a `Server` of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.by_name: defaultdict[str, Server] = defaultdict(Server)

    def answer(self, asker: str, method: str, path: str, body: bytes | None) -> bytes:
        sent: Object = json.loads(body) if body else {}
        name = sent["metadata"]["name"] if method == "POST" else path.removeprefix(f"{PATH}/")
        if method == "POST":
            body = json.dumps({**sent, "metadata": {**sent["metadata"], "name": "sliceplane"}}).encode()
        return self.by_name[name].answer(asker, method, PATH if method == "POST" else f"{PATH}/sliceplane", body)

    def holder(self, name: str = "sliceplane") -> str:
        return str(self.by_name[name].spec["holderIdentity"])


class Wire(Line):
    """A line to a server with many Leases; `watchable` is whether there is the right to watch them."""

    server: Leases

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, idle_seconds: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        if not self.watchable:
            raise error_for(403, b"", "watch")
        lease = self.server.by_name[query["fieldSelector"].removeprefix("metadata.name=")]
        yield cast("aiohttp.StreamReader", News(lease, self))


@dataclass
class News:
    """A watch of one Lease."""

    lease: Server
    line: Line

    async def iter_any(self) -> AsyncIterator[bytes]:
        while True:
            await self.lease.changed.wait()
            if not self.line.fault:
                yield b"{}"


class Replica:
    """One process, of a shard or (ALL) of everything."""

    def __init__(self, server: Leases, name: str, shard: Shard, rng: Random) -> None:
        self.name, self.shard = name, shard
        self.line = Wire(server, name)
        self.line.watchable = rng.random() < 0.5
        self.drain = rng.choice([0, 1, 8])
        self.stopping = asyncio.Event()
        self.terms: list[float] = []
        self.ends: list[float] = []
        self.open_ends = 0
        clock = Skewed(rng.uniform(-3600, 3600), rng.uniform(-1e5, 1e5))
        shared: Any = {"namespace": "kube-system", "rng": rng}
        own = "sliceplane" if shard == ALL else f"sliceplane-{shard}"
        self.election: Elector | ShardElection
        self.election = elector = Elector(self.line, clock, name=own, identity=name, **shared)
        if shard != ALL:
            joint = JointElector(self.line, clock, name="sliceplane", identity=together(shard), **shared)
            self.election = ShardElection(elector, joint)
        self.running = asyncio.create_task(self.election.run(self.work, self.stopping))

    async def work(self) -> None:
        self.terms.append(now())
        try:
            await self.stopping.wait()
            await asyncio.sleep(self.drain)
        except asyncio.CancelledError:
            self.open_ends += self.election.may_write()
            raise
        finally:
            self.ends.append(now())

    async def stop(self) -> None:
        self.stopping.set()
        await self.running


class Cluster:
    def __init__(self, seed: int = 0) -> None:
        self.server, self.rng = Leases(), Random(seed)
        self.replicas: list[Replica] = []
        self.breaches: list[str] = []

    def start(self, shard: Shard, name: str = "") -> Replica:
        name = name or f"p{len(self.replicas)}"
        replica = Replica(self.server, name, shard, Random(self.rng.random()))
        replica.line.arrived = lambda: self._soon(self.check)
        self.replicas.append(replica)
        return replica

    def _soon(self, check: Callable[[], None]) -> None:
        """An answer has come, and is read in no time: only that can make a writer."""
        asyncio.get_running_loop().call_later(1e-6, check)

    @property
    def writers(self) -> list[Replica]:
        return [each for each in self.replicas if each.election.may_write()]

    @property
    def shards(self) -> list[str]:
        """Whose shards have a writer."""
        return sorted(str(each.shard) for each in self.writers)

    def check(self) -> None:
        shards = Counter(each.shard for each in self.writers)
        if len({shard.of for shard in shards}) > 1 or any(count > 1 for count in shards.values()):
            self.breaches.append(f"{[each.name for each in self.writers]} of {shards} may write at {now()}")

    @property
    def whole(self) -> bool:
        """Whether every Namespace has its writer."""
        found = [each.shard for each in self.writers]
        return bool(found) and len(found) == found[0].of

    async def end(self) -> None:
        for each in self.replicas:
            each.running.cancel()
            with suppress(asyncio.CancelledError):
                await each.running


def play(scenario: Callable[[Cluster], Coroutine[Any, Any, None]], seed: int = 0) -> None:
    async def run() -> None:
        cluster = Cluster(seed)
        await scenario(cluster)
        assert cluster.breaches == []
        # What is cancelled because a Lease is lost may not write either.
        assert not any(each.open_ends for each in cluster.replicas)
        await cluster.end()

    virtually(run())


def test_all_shards_lead_at_the_same_time_and_go_on() -> None:
    async def scenario(cluster: Cluster) -> None:
        for shard in (Shard(0, 2), Shard(1, 2)):
            cluster.start(shard)
            cluster.start(shard)
        await until(lambda: cluster.whole)
        first = cluster.writers
        end = now() + 300
        while now() < end:
            await asyncio.sleep(0.5)
            assert cluster.writers == first
        assert cluster.server.holder() == "2-shards"
        assert {cluster.server.holder(f"sliceplane-{each.shard}") for each in first} == {each.name for each in first}
        # The common Lease has not changed hands each time that another renewed it.
        assert cluster.server.by_name["sliceplane"].spec["leaseTransitions"] == 0

    play(scenario)


@pytest.mark.parametrize("other", [ALL, Shard(1, 3)], ids=str)
def test_shards_wait_for_another_way_to_share(other: Shard) -> None:
    """From 1 to 2, or 3 to 2: those who come wait until those who are there have gone."""

    async def scenario(cluster: Cluster) -> None:
        before = cluster.start(other)
        await until(lambda: cluster.shards == [str(other)])
        for shard in (Shard(0, 2), Shard(1, 2)):
            cluster.start(shard)
        await asyncio.sleep(120)
        assert cluster.writers == [before]
        await before.stop()
        # Who has everything gives the Lease up; of shards, it has to end.
        await until(lambda: cluster.whole, JITTERED + 1 if other == ALL else LEASE + JITTERED + 1)
        assert cluster.shards == ["0-of-2", "1-of-2"]

    play(scenario)


def test_one_for_everything_waits_for_the_last_shard() -> None:
    """Not even a shard that ends well gives up what the other one counts on."""

    async def scenario(cluster: Cluster) -> None:
        shards = [cluster.start(Shard(number, 2)) for number in range(2)]
        await until(lambda: cluster.whole)
        cluster.start(ALL)
        await shards[0].stop()
        await asyncio.sleep(120)
        assert cluster.writers == [shards[1]]
        await shards[1].stop()
        stopped = now()
        await until(lambda: cluster.whole, LEASE + JITTERED + 1)
        assert cluster.shards == [str(ALL)]
        assert now() > stopped + LEASE - RETRY - 1

    play(scenario)


def test_standby_of_a_shard_takes_over_while_the_other_goes_on() -> None:
    async def scenario(cluster: Cluster) -> None:
        leader, other = cluster.start(Shard(0, 2)), cluster.start(Shard(1, 2))
        await until(lambda: cluster.whole)
        standby = cluster.start(Shard(0, 2))
        await asyncio.sleep(30)
        assert standby.terms == []
        await leader.stop()
        await until(lambda: cluster.whole, JITTERED + 1)
        assert cluster.writers == [other, standby]
        assert (len(other.terms), other.ends) == (1, [])

    play(scenario)


def test_pausing_the_common_lease_pauses_all_shards() -> None:
    """As docs/operations.md has it."""

    async def scenario(cluster: Cluster) -> None:
        shards = [cluster.start(Shard(number, 2)) for number in range(2)]
        await until(lambda: cluster.whole)
        cluster.server.by_name["sliceplane"].hold("paused", 3600)
        await until(lambda: not cluster.writers, RETRY + 1)
        await until(lambda: [len(each.ends) for each in shards] == [1, 1], RETRY + 1)
        await asyncio.sleep(1000)
        assert cluster.writers == []
        cluster.server.by_name["sliceplane"].hold("", 1)
        await until(lambda: cluster.whole, JITTERED + 1)

    play(scenario)


def test_shard_that_loses_its_own_lease_stops_and_leaves_the_other_alone() -> None:
    async def scenario(cluster: Cluster) -> None:
        loser, other = cluster.start(Shard(0, 2)), cluster.start(Shard(1, 2))
        await until(lambda: cluster.whole)
        cluster.server.by_name["sliceplane-0-of-2"].hold("thief", 3600)
        await until(lambda: len(loser.ends) == 1, RETRY + 1)
        await asyncio.sleep(60)
        assert cluster.writers == [other]
        assert cluster.server.holder("sliceplane-0-of-2") == "thief"

    play(scenario)


@dataclass(frozen=True)
class Fault:
    """What happens to one process, when, and for how long."""

    process: int
    kind: str
    at: float
    seconds: float


SHARDS = (ALL, ALL, Shard(0, 2), Shard(0, 2), Shard(1, 2), Shard(0, 3), Shard(1, 3), Shard(2, 3))
faults = st.lists(
    st.builds(
        Fault,
        st.integers(0, len(SHARDS) - 1),
        st.sampled_from(["hang", "refuse", "cut", "lose", "slow", "term"]),
        st.floats(0, 100, allow_nan=False),
        st.floats(0.1, 40, allow_nan=False),
    ),
    max_size=16,
)


async def suffer(cluster: Cluster, current: list[Replica], fault: Fault) -> None:
    await asyncio.sleep(fault.at)
    replica = current[fault.process]
    if fault.kind == "term":
        await replica.stop()
        current[fault.process] = cluster.start(replica.shard)
    elif fault.kind == "slow":
        replica.line.delay = lambda: cluster.rng.uniform(0, fault.seconds / 2)
        await asyncio.sleep(fault.seconds)
        replica.line.delay = lambda: 0.001
    else:
        replica.line.fault = fault.kind
        await asyncio.sleep(fault.seconds)
        replica.line.fault = ""


@settings(deadline=None, max_examples=40)
@given(faults, st.permutations(range(len(SHARDS))), st.integers(0, 2**32))
def test_law_no_namespace_has_two_writers_and_in_the_end_each_has_one(
    plan: list[Fault], order: list[int], seed: int
) -> None:
    async def scenario(cluster: Cluster) -> None:
        started: dict[int, Replica] = {}
        for number in order:
            started[number] = cluster.start(SHARDS[number])
            # Whoever is first leads, and it is not always one for everything, who needs one Lease only.
            await asyncio.sleep(1)
        current = [started[number] for number in range(len(SHARDS))]
        await asyncio.gather(*(suffer(cluster, current, fault) for fault in plan))
        await until(lambda: not any(each.line.travelling for each in cluster.replicas), 120)
        # One Lease after the other, at worst.
        await until(lambda: cluster.whole, 2 * (LEASE + 2 * JITTERED + RENEW / 2))
        await asyncio.sleep(40)
        assert cluster.whole

    play(scenario, seed)
