"""How a term of leadership ends: drained, cancelled, released."""

import asyncio

import pytest

from controllers.model.plan import Notice
from controllers.runtime.events import Regarding
from controllers.runtime.lease import RELEASE_SECONDS, Elector
from tests.runtime.clocks import LoopClock
from tests.runtime.leases import RETRY, Cluster, Line, Object, Process, now, play


def test_work_is_drained_under_a_renewed_lease_before_it_is_released() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start("a", drain=40.0)
        await cluster.leader()
        b = cluster.start("b")
        b.line.watchable = True
        await asyncio.sleep(5)
        a.stopping.set()
        while not a.ends:
            assert cluster.writers == ["a"]
            await asyncio.sleep(0.5)
        await a.running
        assert a.ends == [pytest.approx(45, abs=0.1)]
        await cluster.leader()
        assert b.terms[0] > a.ends[0]

    play(scenario)


def test_lease_that_is_lost_during_the_drain_cancels_it() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start("a", drain=400.0)
        await cluster.leader()
        a.stopping.set()
        cluster.server.hold("thief")
        await a.running
        assert (len(a.terms), len(a.ends)) == (1, 1)
        assert now() < RETRY + 0.1
        assert cluster.server.spec["holderIdentity"] == "thief"

    play(scenario)


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault of ours"), None], ids=["raised", "returned"])
def test_work_that_ends_by_itself_ends_all_and_releases(error: Exception | None) -> None:
    async def scenario(cluster: Cluster) -> None:
        a = Process(cluster.server, "a")

        async def work() -> None:
            await asyncio.sleep(3)
            if error is not None:
                raise error

        running = a.elector.run(work, a.stopping)
        if error is None:
            await running
        else:
            with pytest.raises(ZeroDivisionError, match="a fault of ours"):
                await running
        assert (now() < 3.1, cluster.server.spec["holderIdentity"], a.elector.leading) == (True, "", False)

    play(scenario)


def test_cancelled_it_cancels_the_work_waits_for_it_and_releases() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = Process(cluster.server, "a")
        ended: list[tuple[str, float]] = []

        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
                ended.append((cluster.server.spec["holderIdentity"], now()))
                raise

        running = asyncio.create_task(a.elector.run(work, a.stopping))
        await asyncio.sleep(5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ended == [("a", 6)]
        assert cluster.server.spec["holderIdentity"] == ""

    play(scenario)


def test_cancelled_twice_it_does_not_release_what_may_still_be_written_under() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = Process(cluster.server, "a")

        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(3)

        running = asyncio.create_task(a.elector.run(work, a.stopping))
        await asyncio.sleep(5)
        running.cancel()
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (cluster.server.spec["holderIdentity"], a.elector.may_write()) == ("a", False)
        await asyncio.sleep(5)

    play(scenario)


@pytest.mark.parametrize("fault", ["hang", "refuse", "cut", "lose"])
@pytest.mark.parametrize("leads", [True, False])
def test_end_is_not_held_up_by_a_server_that_does_not_answer(fault: str, leads: bool) -> None:
    async def scenario(cluster: Cluster) -> None:
        if not leads:
            cluster.server.hold("other")
        a = cluster.start()
        await asyncio.sleep(5)
        a.line.fault = fault
        at = now()
        await a.stop()
        assert now() <= at + (RELEASE_SECONDS + 0.01 if leads else 0)

    play(scenario)


def test_claim_that_is_on_its_way_at_the_end_is_taken_back() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = Process(cluster.server, "a")
        a.line.delay = lambda: 0.3
        a.start()
        # Read by 0.6 s; the create arrives at 0.9 s.
        await asyncio.sleep(1.0)
        assert cluster.server.spec["holderIdentity"] == "a"
        await a.stop()
        assert (cluster.server.spec["holderIdentity"], a.terms) == ("", [])

    play(scenario)


def test_release_comes_after_renewals_that_are_on_their_way() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        await cluster.leader()
        # The renewal that is sent at 2 s arrives when the Lease has been read, to be released, but not written.
        a.line.delay = lambda: 0.15 if now() < 2.03 else 0.05
        await asyncio.sleep(2.06 - now())
        await a.stop()
        assert [method for _, _, method in cluster.server.asked][2:] == ["GET", "PUT", "PUT", "GET", "PUT"]
        assert cluster.server.spec["holderIdentity"] == ""

    play(scenario)


def test_stopped_before_it_has_begun() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = Process(cluster.server, "a")
        a.stopping.set()
        await a.elector.run(a.work, a.stopping)
        assert (a.terms, cluster.server.asked) == ([], [])

    play(scenario)


def test_terms_are_told_and_measured() -> None:
    async def scenario(cluster: Cluster) -> None:
        a = cluster.start()
        assert a.led == [0]
        await cluster.leader()
        assert a.led == [0, 1]
        cluster.server.hold("thief")
        await asyncio.sleep(3)
        assert a.led == [0, 1, 0]
        await cluster.leader()
        await a.stop()
        assert a.led == [0, 1, 0, 1, 0]
        about = [
            Regarding("Lease", "kube-system", "sliceplane", uid, "coordination.k8s.io/v1") for uid in ("uid-0", "u")
        ]
        began, ended = (
            Notice("Normal", "LeaderElection", f"a {what}") for what in ("became leader", "stopped leading")
        )
        assert a.events == [(about[0], began), (about[1], ended), (about[1], began), (about[1], ended)]

    play(scenario)


@pytest.mark.parametrize(
    ("given_", "text"),
    [
        ({"lease_seconds": 10.0}, r"the lease duration \(10 s\) must exceed the renew deadline \(10 s\)"),
        ({"lease_seconds": 9.5}, r"the lease duration \(9.5 s\) must exceed"),
        ({"retry_seconds": 9.0}, r"the renew deadline \(10 s\) must exceed 1.2 retry periods \(9 s\)"),
        ({"renew_seconds": 2.4}, r"the renew deadline \(2.4 s\) must exceed 1.2 retry periods \(2 s\)"),
        ({"retry_seconds": 0.0}, r"the retry period \(0 s\) must be positive"),
        ({"retry_seconds": -1.0}, r"the retry period \(-1 s\) must be positive"),
        ({"lease_seconds": float("nan")}, "must exceed"),
        ({"identity": ""}, "needs an identity"),
    ],
    ids=str,
)
def test_seconds_that_do_not_fit_are_refused(given_: Object, text: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        arguments = {"namespace": "n", "name": "l", "identity": "a", **given_}
        with pytest.raises(ValueError, match=text):
            Elector(Line(cluster.server, "a"), LoopClock(), **arguments)

    play(scenario)
