"""The API server goes and comes back: the final state is right, in the same process."""

import time

import pytest

from e2e.cluster.local import ControlPlane
from tests.shell.sliceplane import Sliceplane, running
from tests.shell.storm import check_all, raging
from tests.shell.waiting import eventually
from tests.shell.world import World

pytestmark = pytest.mark.server

KINDS = 4


def alive(sliceplane: Sliceplane) -> None:
    """The caches are old and not empty: whoever asks must not restart it for that."""
    assert sliceplane.process.poll() is None, sliceplane.process.tail()
    assert sliceplane.get("/healthz")[0] == sliceplane.get("/readyz")[0] == 200


@pytest.mark.parametrize("kill", [False, True], ids=["restarted", "killed"])
def test_api_server_restarts_during_changes(granted: ControlPlane, world: World, kill: bool) -> None:
    world.service()
    world.pods(range(10))
    with running(granted) as sliceplane:
        eventually(lambda: check_all(world))
        with raging(world, seed=int(kill)):
            time.sleep(0.5)
            granted.stop_apiserver(kill=kill)
            alive(sliceplane)
            granted.start_apiserver()
            alive(sliceplane)
            time.sleep(0.5)
        eventually(lambda: check_all(world))
        alive(sliceplane)


def test_started_before_the_api_server(granted: ControlPlane, world: World) -> None:
    world.service()
    granted.stop_apiserver(kill=True)
    try:
        with running(granted, wait=False) as sliceplane:
            eventually(lambda: _says(sliceplane, "list or watch failed"))
            assert sliceplane.get("/readyz")[0] == 503
            granted.start_apiserver()
            sliceplane.wait_ready()
            eventually(lambda: check_all(world))
    finally:
        if "kube-apiserver" not in granted.pids:
            granted.start_apiserver()


def _says(sliceplane: Sliceplane, text: str) -> None:
    assert text in sliceplane.log()


def test_api_server_that_is_away_is_asked_less_than_once_a_second_per_kind(granted: ControlPlane) -> None:
    with running(granted) as sliceplane:
        granted.stop_apiserver(kill=True)
        try:
            # Lists and watches; writes of Services whose syncs fail have a back-off of their own.
            asked, start = sliceplane.metric("rest_client_requests_total", method="GET"), time.monotonic()
            time.sleep(4)
            asked = sliceplane.metric("rest_client_requests_total", method="GET") - asked
            # One more each: the first attempt after a watch has ended.
            assert 0 < asked <= KINDS * (time.monotonic() - start + 1)
            alive(sliceplane)
        finally:
            granted.start_apiserver()
