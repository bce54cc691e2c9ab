"""Leader election in virtual time: who acquires the lease, when, and what the Lease says then."""

import asyncio
from itertools import pairwise
from random import Random

import pytest

from tests.runtime.leases import (
    JITTERED,
    LEASE,
    MICRO_TIME,
    RENEW,
    RETRY,
    Cluster,
    Object,
    Process,
    date,
    now,
    play,
)
from tests.shell.waiting import until


def test_absent_lease_is_made() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        assert cluster.server.lease == {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "sliceplane", "namespace": "kube-system", "uid": "uid-0", "resourceVersion": "1"},
            "spec": {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "acquireTime": date(0.002),
                "renewTime": date(0.002),
                "leaseTransitions": 0,
            },
        }
        assert MICRO_TIME.fullmatch(cluster.server.spec["renewTime"])
        assert (a.elector.leading, a.elector.may_write(), a.elector.holder) == (True, True, "a")

    play(scenario)


@pytest.mark.parametrize(
    "spec",
    [None, {}, {"holderIdentity": None}, {"holderIdentity": ""}, {"holderIdentity": "", "leaseDurationSeconds": 3600}],
    ids=str,
)
@pytest.mark.parametrize(("transitions", "then"), [({}, 1), ({"leaseTransitions": 7}, 8)], ids=["first", "eighth"])
def test_free_lease_is_taken_at_once(spec: Object | None, transitions: Object, then: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        spec_now = spec if spec is None else {**spec, **transitions}
        cluster.server.put({"metadata": {"name": "sliceplane", "uid": "u"}, "spec": spec_now})
        cluster.start()
        await cluster.leader()
        assert now() < 0.1
        assert cluster.server.spec["leaseTransitions"] == (then if spec is not None else 1)

    play(scenario)


def test_renewals_keep_when_it_was_acquired_and_everything_that_is_not_ours() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.server.hold("", leaseTransitions=4, strategy="OldestEmulationVersion")
        assert cluster.server.lease is not None
        cluster.server.lease["metadata"] |= {"labels": {"team": "net"}, "annotations": {"a": "b"}, "future": [1]}
        cluster.server.lease["future"] = {"x": 1}
        a = cluster.start()
        await asyncio.sleep(60)
        lease = cluster.server.lease
        assert lease["spec"] == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": date(0.002),
            "renewTime": lease["spec"]["renewTime"],
            "leaseTransitions": 5,
            "strategy": "OldestEmulationVersion",
        }
        assert lease["metadata"]["labels"] == {"team": "net"}
        assert (lease["metadata"]["annotations"], lease["metadata"]["future"]) == ({"a": "b"}, [1])
        assert lease["future"] == {"x": 1}
        # Every two seconds, and without reading first.
        puts = a.sent("PUT")
        assert [round(after - before, 3) for before, after in pairwise(puts)] == [2.002] * 29
        assert (len(a.sent("GET")), a.slow) == (1, [])
        assert lease["spec"]["renewTime"] == date(puts[-1] - 0.001)

    play(scenario)


def test_lease_of_parts_of_seconds_is_rounded_up() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.start(times={"lease_seconds": 2.1, "renew_seconds": 2.05, "retry_seconds": 0.5})
        await cluster.leader()
        assert cluster.server.spec["leaseDurationSeconds"] == 3

    play(scenario)


# Whose it is, and until when.


def test_of_many_exactly_one_leads() -> None:
    async def scenario(cluster: Cluster) -> None:
        processes = [cluster.start(f"p{number}", seed=number) for number in range(5)]
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert len(cluster.writers) == 1
        assert sum(len(each.terms) for each in processes) == 1
        leader = await cluster.leader()
        assert {each.elector.holder for each in processes} == {leader.name}
        assert cluster.server.spec["leaseTransitions"] == 0

    play(scenario)


@pytest.mark.parametrize("skew", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("origin", [0.0, -1e6])
def test_lease_ends_after_its_duration_from_when_we_saw_it(skew: float, origin: float) -> None:
    """Whatever the dates in it are, and on whatever machine."""

    async def scenario(cluster: Cluster) -> None:
        cluster.server.hold("dead", acquireTime=date(-5000))
        await asyncio.sleep(500)
        seen = now() + 0.002
        a = cluster.start(skew=skew, origin=origin)
        await cluster.leader()
        assert a.terms[0] == pytest.approx(seen + LEASE, abs=0.05)
        assert a.terms[0] >= seen + LEASE
        assert cluster.server.spec["renewTime"] == date(seen + LEASE + 0.012 + skew)
        assert cluster.server.spec["acquireTime"] == cluster.server.spec["renewTime"]
        assert cluster.server.spec["leaseTransitions"] == 1

    play(scenario)


def test_duration_is_the_holders() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.server.hold("slow", 100)
        a = cluster.start()
        await cluster.leader(within=200)
        assert a.terms[0] == pytest.approx(100, abs=0.1)

    play(scenario)


def test_lease_without_a_duration_may_be_taken_as_in_client_go() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.server.hold("odd", None)
        a = cluster.start()
        await cluster.leader()
        assert a.terms[0] < 0.1

    play(scenario)


def test_each_renewal_begins_the_wait_anew_and_a_label_does_not() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.server.hold("other")
        a = cluster.start()
        for _ in range(20):
            await asyncio.sleep(14)
            cluster.server.hold("other")
        last = now()
        while now() < last + 12:
            await asyncio.sleep(1)
            assert cluster.server.lease is not None
            lease = cluster.server.lease
            cluster.server.put({**lease, "metadata": {**lease["metadata"], "labels": {"at": str(now())}}})
        await cluster.leader()
        assert last + LEASE <= a.terms[0] <= last + LEASE + JITTERED + 0.1

    play(scenario)


@pytest.mark.parametrize("watchable", [False, True], ids=["retries", "watch"])
@pytest.mark.parametrize("seed", range(20))
def test_silence_of_the_leader_is_followed_by_another(seed: int, watchable: bool) -> None:
    """SIGKILL at some time: from its last renewal on, a lease and the time between two looks."""

    async def scenario(cluster: Cluster) -> None:
        a = cluster.start("a")
        await cluster.leader()
        b = cluster.start("b", seed=seed)
        b.line.watchable = watchable
        await asyncio.sleep(Random(seed).uniform(0, 60))
        a.line.fault = "hang"
        last = a.sent("PUT", "POST")[-1]
        await asyncio.sleep(1)
        assert cluster.writers == ["a"]
        await until(lambda: bool(b.terms))
        assert last + LEASE < b.terms[0] <= last + LEASE + (0 if watchable else JITTERED) + 0.1
        assert a.elector.leading is False
        assert a.ends[0] == pytest.approx(last - 0.001 + RENEW)

    play(scenario)


def test_released_lease_is_taken_within_a_retry() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start("a", skew=99)
        await cluster.leader()
        b = cluster.start("b")
        await asyncio.sleep(30)
        await a.stop()
        stopped = now()
        assert a.ends == [pytest.approx(30, abs=0.1)]
        assert cluster.server.spec == {
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "acquireTime": cluster.server.spec["renewTime"],
            "renewTime": date(a.ends[0] + 99),
            "leaseTransitions": 0,
        }
        assert (a.elector.leading, a.elector.holder, a.elector.may_write()) == (False, "", False)
        await cluster.leader()
        assert stopped < b.terms[0] <= stopped + JITTERED + 0.1
        assert cluster.server.spec["leaseTransitions"] == 1

    play(scenario)


def test_released_lease_is_taken_at_once_by_who_watches() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start("a")
        await cluster.leader()
        b = cluster.start("b")
        b.line.watchable = True
        await asyncio.sleep(10)
        # Once for each renewal, and when it would have looked without that.
        assert len(b.sent("GET")) <= 10 / RETRY + 10 / RETRY + 2
        await a.stop()
        stopped = now()
        await cluster.leader()
        assert b.terms[0] < stopped + 0.1

    play(scenario)


@pytest.mark.parametrize(("lot", "seconds"), [(0.0, RETRY), (1.0, JITTERED)])
def test_jitter_is_between_one_and_two_and_a_fifth_retries(lot: float, seconds: float) -> None:
    class Loaded(Random):
        def random(self) -> float:
            return lot

    async def scenario(cluster: Cluster) -> None:
        cluster.server.hold("other", 3600)
        a = Process(cluster.server, "a")
        a.elector._rng = Loaded()
        cluster.processes.append(a)
        a.start()
        await asyncio.sleep(100)
        looks = a.sent("GET")
        assert len(looks) == 100 // (seconds + 0.002) + 1
        assert {round(after - before, 3) for before, after in pairwise(looks)} == {seconds + 0.002}
        assert a.sent("PUT", "POST") == []

    play(scenario)


# What goes wrong while it leads.


def test_conflict_is_read_and_renewed_at_once() -> None:
    """Somebody puts a label on it."""

    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        await asyncio.sleep(3)
        assert cluster.server.lease is not None
        lease = cluster.server.lease
        cluster.server.put({**lease, "metadata": {**lease["metadata"], "labels": {"x": "y"}}, "extra": 1})
        await asyncio.sleep(3)
        assert [method for _, _, method in cluster.server.asked] == ["GET", "POST", "PUT", "PUT", "GET", "PUT"]
        assert len(a.slow) == 1
        await asyncio.sleep(30)
        assert (len(a.terms), a.ends, len(a.slow)) == (1, [], 1)
        assert cluster.server.lease["metadata"]["labels"] == {"x": "y"}
        assert cluster.server.spec["acquireTime"] == date(0.002)

    play(scenario)


def test_deleted_lease_is_made_anew() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        await asyncio.sleep(3)
        cluster.server.lease = None
        await asyncio.sleep(RETRY)
        assert cluster.server.spec["holderIdentity"] == "a"
        assert cluster.server.spec["leaseTransitions"] == 0
        await asyncio.sleep(60)
        assert (len(a.terms), a.ends) == (1, [])

    play(scenario)


def test_lease_that_another_has_taken_is_lost_with_the_next_renewal() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        cluster.server.hold("thief")
        at = now()
        await asyncio.sleep(RETRY + 0.1)
        assert cluster.writers == []
        assert at <= a.ends[0] <= at + RETRY + 0.1
        assert (a.elector.holder, a.open_ends) == ("thief", 0)
        # And it runs again.
        await cluster.leader()
        assert a.terms[1] >= at + LEASE

    play(scenario)


def test_lease_that_is_emptied_is_kept() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        cluster.server.hold("", leaseTransitions=3)
        await asyncio.sleep(30)
        assert (cluster.server.spec["holderIdentity"], cluster.server.spec["leaseTransitions"]) == ("a", 4)
        assert (len(a.terms), a.ends) == (1, [])

    play(scenario)
