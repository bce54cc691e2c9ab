"""Leader election when requests fail, hang or get lost answers: the fence closes in time."""

import asyncio

import pytest

from tests.runtime.leases import JITTERED, LEASE, RENEW, RETRY, Cluster, Process, date, now, play
from tests.shell.waiting import until


@pytest.mark.parametrize("fault", ["hang", "refuse", "cut", "lose"])
def test_short_fault_does_not_cost_the_lease(fault: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        for _ in range(10):
            a.line.fault = fault
            await asyncio.sleep(4.5 if fault == "hang" else 5.9)
            a.line.fault = ""
            await asyncio.sleep(6)
            assert cluster.writers == ["a"]
        assert (len(a.terms), a.ends) == (1, [])

    play(scenario)


@pytest.mark.parametrize("fault", ["hang", "refuse", "cut", "lose"])
def test_long_fault_closes_the_fence_before_the_lease_ends(fault: str) -> None:
    """Counted from when the last renewal that was answered was sent; then it waits, warm, and leads again."""

    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        a.line.delay = lambda: 0.4
        await asyncio.sleep(30)
        await until(lambda: cluster.server.asked[-1][0] > now() - 0.1)
        await asyncio.sleep(0.6)
        a.line.fault = fault
        closes = a.sent("PUT")[-1] - 0.4 + RENEW
        assert a.elector.writable_until == pytest.approx(closes, abs=0.02)
        await asyncio.sleep(closes - 0.02 - now())
        assert a.elector.may_write()
        await asyncio.sleep(0.04)
        assert not a.elector.may_write()
        await asyncio.sleep(0.02)
        assert a.ends == [pytest.approx(closes, abs=0.02)]
        assert (a.elector.leading, len(a.terms)) == (False, 1)
        await asyncio.sleep(30)
        assert len(a.terms) == 1
        a.line.fault = ""
        healed = now()
        await cluster.leader()
        assert a.terms[1] <= healed + RENEW / 2 + JITTERED + 2
        assert cluster.server.spec["acquireTime"] == date(0.002)

    play(scenario)


def test_one_request_that_hangs_does_not_cost_the_lease() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        a.line.fault, a.line.only = "hang", ("PUT",)
        await asyncio.sleep(RETRY + 0.1)
        a.line.fault = ""
        await asyncio.sleep(RENEW / 2 + 0.1)
        assert cluster.writers == ["a"]
        assert a.elector.writable_until > now() + RENEW - 1
        assert a.ends == []

    play(scenario)


def test_answer_that_comes_too_late_opens_nothing() -> None:
    """A lease that was acquired by a request sent long ago is no ground to begin work on."""

    async def scenario(cluster: Cluster) -> None:
        a = Process(cluster.server, "a", times={"lease_seconds": 3, "renew_seconds": 0.9, "retry_seconds": 0.2})
        # A request may hang for a second at least.
        delays = iter([0.0, 0.0, 0.0, 0.95])
        a.line.delay = lambda: next(delays, 0.0)
        cluster.processes.append(a)
        a.start()
        await cluster.leader()
        assert a.terms[0] > 0.95
        assert cluster.server.asked[-1][2] == "PUT"
        assert a.elector.writable_until > 0.95 + 0.9

    play(scenario)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_claim_whose_answer_is_lost_is_found_again(method: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        if method == "PUT":
            cluster.server.hold("", leaseTransitions=3)
        a = Process(cluster.server, "a")
        a.line.fault, a.line.only = "lose", (method,)
        cluster.processes.append(a)
        a.start()
        await asyncio.sleep(1)
        assert (cluster.server.spec["holderIdentity"], cluster.writers) == ("a", [])
        a.line.fault = ""
        await cluster.leader(within=JITTERED)
        assert cluster.server.spec["leaseTransitions"] == (4 if method == "PUT" else 0)
        assert cluster.server.spec["acquireTime"] == date(0.002)
        assert a.terms[0] < JITTERED + 1

    play(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"metadata": {}, "spec": {}}',
        b'{"metadata": {"resourceVersion": ""}, "spec": {}}',
        b'{"metadata": {"resourceVersion": 7}, "spec": {}}',
        b'{"metadata": {"resourceVersion": "7"}, "spec": []}',
        b'{"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": 5}}',
        b'{"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": {}, "leaseDurationSeconds": 1}}',
        b'{"metadata": {"resourceVersion": "7"}, "spec": {"leaseDurationSeconds": "15"}}',
        b'{"metadata": {"resourceVersion": "7"}, "spec": {"leaseTransitions": null, "acquireTime": 1}}',
    ],
    ids=str,
)
def test_lease_that_cannot_be_read_is_not_taken_and_stops_nobody(raw: bytes) -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.server.raw = raw
        a = cluster.start()
        await asyncio.sleep(60)
        assert {method for _, _, method in cluster.server.asked} == {"GET"}
        assert 60 / JITTERED - 1 < len(cluster.server.asked) < 60 / RETRY + 1
        cluster.server.raw = None
        await cluster.leader()
        # While it leads, an answer that cannot be read is a renewal that failed.
        cluster.server.raw = raw
        await asyncio.sleep(LEASE)
        assert (len(a.ends), cluster.writers) == (1, [])

    play(scenario)


# How it ends.
