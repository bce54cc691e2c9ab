"""Two replicas and one Lease: who writes when the leader ends, dies, or stands still."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from e2e.cluster.local import ControlPlane
from tests.shell.sliceplane import Sliceplane, running
from tests.shell.waiting import eventually
from tests.shell.world import World

pytestmark = pytest.mark.server

# So short that a test need not wait for long; so long that a busy machine loses none.
LEASE = (
    "--leader-elect=true",
    "--leader-elect-lease-duration=9s",
    "--leader-elect-renew-deadline=7s",
    "--leader-elect-retry-period=500ms",
)


@contextmanager
def two(plane: ControlPlane) -> Iterator[tuple[Sliceplane, Sliceplane]]:
    """The leader, and a replica that waits with its caches warm."""
    with ExitStack() as stack:
        leader = stack.enter_context(running(plane, *LEASE))
        eventually(lambda: _leads(leader))
        other = stack.enter_context(running(plane, *LEASE))
        assert not other.metric("leader_election_master_status")
        yield leader, other


def _leads(sliceplane: Sliceplane) -> None:
    assert sliceplane.metric("leader_election_master_status") == 1


def _writes(sliceplane: Sliceplane) -> float:
    return sum(
        sliceplane.metric("sliceplane_write_seconds_count", verb=verb) for verb in ("create", "update", "delete")
    )


def _served(world: World, *numbers: int) -> None:
    """By slices and by Endpoints: then nothing is left to write."""
    assert world.numbers() == set(numbers)
    assert world.numbers(family="IPv6") == set(numbers)
    assert len(world.addresses()[0]) == len(numbers)


def test_waiting_replica_reads_all_and_writes_nothing(granted: ControlPlane, world: World) -> None:
    """D-10."""
    with two(granted) as (_, other):
        world.service()
        world.pods(range(3))
        eventually(lambda: _served(world, 0, 1, 2))
        eventually(lambda: _knows(other, 3))
        assert _writes(other) == 0
        assert other.get("/readyz") == other.get("/livez") == (200, "ok")
        assert not other.metric("endpoint_slice_controller_syncs")


def _knows(sliceplane: Sliceplane, pods: int) -> None:
    assert sliceplane.metric("sliceplane_stored_objects", kind="Pod") >= pods


def test_leader_that_ends_hands_over(granted: ControlPlane, world: World) -> None:
    world.service()
    with two(granted) as (leader, other):
        world.pods(range(2))
        eventually(lambda: _served(world, 0, 1))
        assert leader.process.stop(20) == 0
        world.pods(range(2, 4))
        eventually(lambda: _served(world, 0, 1, 2, 3))
        _leads(other)
        # One slice for each family: nothing was written twice.
        assert len(world.slices()) == len(world.slices(family="IPv6")) == 1


def test_leader_that_is_killed_is_followed(granted: ControlPlane, world: World) -> None:
    world.service()
    with two(granted) as (leader, other):
        leader.process.kill()
        world.pods(range(2))
        eventually(lambda: _served(world, 0, 1))
        _leads(other)


def test_leader_that_stood_still_writes_nothing_when_it_goes_on(granted: ControlPlane, world: World) -> None:
    """What it had planned is old news by then: the client itself sends nothing but reads."""
    world.service()
    with two(granted) as (leader, other):
        leader.process.send(signal.SIGSTOP)
        try:
            eventually(lambda: _leads(other))
            world.pods(range(3))
            eventually(lambda: _served(world, 0, 1, 2))
            before = world.all_versions()
        finally:
            leader.process.send(signal.SIGCONT)
        eventually(lambda: _waits(leader))
        assert world.all_versions() == before
        # And it is as good as any other when its turn comes.
        assert other.process.stop(20) == 0
        world.pods(range(3, 4))
        eventually(lambda: _served(world, 0, 1, 2, 3))
        _leads(leader)


def _waits(sliceplane: Sliceplane) -> None:
    assert not sliceplane.metric("leader_election_master_status")
    assert "stopped leading" in sliceplane.log()
