"""Operations of one change: as many in a cluster of 20,000 Pods as in one of 1,000, and none when nothing changes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from controllers.runtime.routes import key_of
from e2e.bench.bare import Bare, Shape, pod
from e2e.bench.load import NAMESPACE
from tests.counts.counting import Allocated, Work, allocated, counted
from tests.runtime.clocks import FakeClock

PER_SERVICE = 20
SMALL, LARGE = 1_000, 20_000
# The one that changes belongs to a Service in the middle of the smaller cluster.
CHANGED = 505
# An index that is one step larger, a number with one digit more; a copy of 20,000 references takes 160 kB.
NOISE = 4096


@dataclass
class Cluster:
    """One that is at rest: every slice is written."""

    bare: Bare
    version: int = 1

    def pod(self, number: int = CHANGED, *, ready: bool = True, **labels: str) -> bytes:
        """The Pod under a new resourceVersion."""
        self.version += 1
        line = pod(number, self.bare.shape, ready=ready, version=self.version)
        for name, value in labels.items():
            line = line.replace(b'"%s":"v1"' % name.encode(), b'"%s":"%s"' % (name.encode(), value.encode()))
        return line

    def told(self, *lines: bytes) -> None:
        """Pods have changed, and all that follows from it is done."""
        asyncio.run(self._told(lines))

    async def _told(self, lines: tuple[bytes, ...]) -> None:
        for line in lines:
            self.bare.told(line)
        await self.bare.settle()

    def gone(self, number: int) -> None:
        """A Pod has gone, and all that follows from it is done."""

        async def go() -> None:
            group = number // self.bare.shape.per_service
            self.bare.stores.pods.drop_named(NAMESPACE, f"app-{group}-{group:08x}-{number:05x}")
            await self.bare.settle()

        asyncio.run(go())

    @property
    def writes(self) -> int:
        """Requests so far that are no reads."""
        requests = self.bare.server.requests
        return requests.total() - requests["GET"]


def made(pods: int) -> Cluster:
    async def filled() -> Bare:
        bare = Bare(Shape(pods, pods // PER_SERVICE, PER_SERVICE), FakeClock())
        await bare.list_small()
        await bare.list_pods()
        bare.start()
        await bare.settle()
        return bare

    return Cluster(asyncio.run(filled()))


@pytest.fixture(scope="module")
def small() -> Cluster:
    return made(SMALL)


@pytest.fixture(scope="module")
def large() -> Cluster:
    return made(LARGE)


def ready_and_not(cluster: Cluster) -> None:
    cluster.told(cluster.pod(ready=False))
    cluster.told(cluster.pod())


def relabelled(cluster: Cluster) -> None:
    cluster.told(cluster.pod(version="v2"))
    cluster.told(cluster.pod())


def gone_and_back(cluster: Cluster) -> None:
    cluster.gone(CHANGED)
    cluster.told(cluster.pod())


def touched(cluster: Cluster) -> None:
    cluster.told(cluster.pod())


CHANGES = [ready_and_not, relabelled, gone_and_back, touched]


def work_of(cluster: Cluster, change: Callable[[Cluster], None]) -> Work:
    """Of the second time: the first may have found something to remember."""
    change(cluster)
    with counted() as work:
        change(cluster)
    return work


def memory_of(cluster: Cluster, change: Callable[[Cluster], None]) -> Allocated:
    with allocated() as found:
        change(cluster)
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_cost_of_a_change_is_independent_of_the_clusters_size(
    change: Callable[[Cluster], None], small: Cluster, large: Cluster
) -> None:
    """The same calls, C functions among them, and the same instructions; and nothing grows that only C walks over."""
    few, many = work_of(small, change), work_of(large, change)
    assert few.calls - many.calls == many.calls - few.calls == {}
    assert few.instructions == many.instructions > 0
    assert memory_of(large, change).peak < memory_of(small, change).peak + NOISE


def test_look_ups_and_encodes_of_a_change(small: Cluster) -> None:
    """One changed Pod of 20, two families: one sync, two slices written; each index is asked as often."""
    before, syncs = small.writes, small.bare.syncs
    work = work_of(small, lambda cluster: cluster.told(cluster.pod(ready=cluster.version % 2 == 0)))
    assert (small.writes - before, small.bare.syncs - syncs) == (4, 2)
    assert (work.encodes, work.calls["Encoder.encode"], work.endpoints) == (2, 2, 2 * PER_SERVICE)
    # The Service before and after, and the slices that are written: each is found by its name, not by a search.
    lookups = work.lookups
    assert lookups.pop("Store.get") <= 6
    assert lookups == {
        "Store.names": 1,
        "NodeStore.by_name": 1,
        "PodStore.selected_by": 1,
        # Of the Pod as it was and as it is.
        "ServiceStore.selecting": 1,
        "SliceStore.of_service": 1,
    }


def test_changes_of_one_service_share_a_sync(small: Cluster) -> None:
    before, syncs = small.writes, small.bare.syncs
    first = CHANGED // PER_SERVICE * PER_SERVICE
    lines = [small.pod(number, ready=False) for number in range(first, first + PER_SERVICE)]
    with counted() as work:
        small.told(*lines)
    assert (small.bare.syncs - syncs, small.writes - before, work.encodes) == (1, 2, 2)
    small.told(*(small.pod(number) for number in range(first, first + PER_SERVICE)))


@pytest.mark.parametrize("pods", [CHANGED, SMALL - 1])
def test_touched_pod_costs_no_sync_and_no_encode(pods: int, small: Cluster) -> None:
    """Its resourceVersion is new, and nothing else that is read."""
    before, syncs = small.writes, small.bare.syncs
    work = work_of(small, lambda cluster: cluster.told(cluster.pod(pods)))
    assert (small.bare.syncs - syncs, small.writes - before) == (0, 0)
    assert (work.encodes, work.calls["Encoder.encode"], work.calls["reconcile"]) == (0, 0, 0)
    assert work.lookups == {}


def test_sync_that_changes_nothing_writes_nothing(small: Cluster) -> None:
    """Every Service is synced again, and no slice is even encoded."""
    before, syncs = small.writes, small.bare.syncs

    async def all_again() -> None:
        for service in small.bare.stores.services.all():
            small.bare.ask(key_of(service.namespace, service.name))
        await small.bare.settle()

    with counted() as work:
        asyncio.run(all_again())
    assert small.bare.syncs - syncs == SMALL // PER_SERVICE
    assert (small.writes - before, work.encodes, work.calls["Encoder.encode"]) == (0, 0, 0)
    assert work.endpoints == 2 * SMALL


def test_counting_sees_what_depends_on_the_size(small: Cluster, large: Cluster) -> None:
    """Or else the tests above could not fail: a look at every Pod is seen, in Python as in C."""

    def python(cluster: Cluster) -> None:
        assert not [each for each in cluster.bare.stores.pods.all() if each.phase == "Failed"]

    def c(cluster: Cluster) -> None:
        names: Any = cluster.bare.stores.pods.names(NAMESPACE)
        sorted(names)

    assert work_of(large, python).instructions > 10 * work_of(small, python).instructions
    assert memory_of(large, c).peak > memory_of(small, c).peak + NOISE
