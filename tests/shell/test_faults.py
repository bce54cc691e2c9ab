"""Faults that a real API server will not make to order, at random and all at once; then it heals."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.cluster.product import USER
from tests.shell.proxy import Faults, faulty
from tests.shell.sliceplane import GROUPS, Sliceplane, running
from tests.shell.storm import check_all, raging
from tests.shell.waiting import eventually
from tests.shell.world import World

pytestmark = pytest.mark.server

STORMS = [
    pytest.param({"swallow": 0.6}, id="lost-answers"),
    pytest.param({"expire": 0.5, "cut": 0.5}, id="broken-watches"),
    pytest.param({"refuse": 0.3, "swallow": 0.3, "expire": 0.3, "cut": 0.3, "delay": 0.3}, id="all"),
]


@contextmanager
def behind(made: Faults, world: World, folder: Path) -> Iterator[Sliceplane]:
    """Sliceplane with the faults between it and the API server, and ten published Pods."""
    world.service()
    world.pods(range(10))
    with (
        faulty(made, world.plane.kubeconfig(USER, GROUPS), folder) as kubeconfig,
        running(world.plane, kubeconfig=kubeconfig) as sliceplane,
    ):
        eventually(lambda: check_all(world))
        yield sliceplane
        assert sliceplane.ready
        assert "unexpectedly" not in sliceplane.log()


@pytest.mark.parametrize("faults", STORMS)
def test_after_faults_all_is_as_it_should_be(world: World, tmp_path: Path, faults: dict[str, float]) -> None:
    made = Faults(seed=len(faults))

    def struck() -> None:
        assert all(made.happened[name] >= 3 for name in faults if name != "delay"), made.happened

    with behind(made, world, tmp_path):
        for name, likely in faults.items():
            setattr(made, name, likely)
        with raging(world, seed=1):
            time.sleep(2)
            eventually(struck)
        made.heal()
        eventually(lambda: check_all(world))


def test_what_failed_is_made_good_without_another_event(world: World, tmp_path: Path) -> None:
    """D-2: nothing changes any more when the API server takes writes again."""
    made = Faults(seed=0)
    with behind(made, world, tmp_path) as sliceplane:
        made.refuse = 1.0
        world.pod(10)

        def failed() -> None:
            assert len(sliceplane.failures(world.namespace)) >= 3

        eventually(failed)
        made.heal()
        eventually(lambda: check_all(world))
