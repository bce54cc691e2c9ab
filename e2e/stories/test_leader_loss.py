"""The leader dies in the middle of changes: the other replica goes on, nothing is lost, and nothing is there twice."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.cluster.clusters import Cluster, holder
from e2e.stories.shop import Shop
from e2e.stories.watching import SliceLog
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

NAMES = ("web", "api", "db")
SIZES = (6, 2)
AT_LAST = 4
PAUSE = 0.5


@contextmanager
def changing(shop: Shop) -> Iterator[None]:
    """Deployments that grow and shrink, one after the other, until the end."""
    stop = threading.Event()

    def change() -> None:
        for size in itertools.cycle(SIZES):
            for name in NAMES:
                if stop.wait(PAUSE):
                    return
                shop.scale(size, name)

    thread = threading.Thread(target=change, name="changes")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def written(log: SliceLog, mark: int) -> None:
    """Every Service's slices have been written since then."""
    assert all(log.since(mark, name) for name in NAMES)


def followed(cluster: Cluster, before: str) -> None:
    assert holder(cluster.api) != before


def test_leader_is_killed(sliceplane: Cluster, shop: Shop, log: SliceLog) -> None:
    for name in NAMES:
        shop.service(name)
        shop.deploy(name, replicas=SIZES[-1])
    for name in NAMES:
        eventually(lambda name=name: shop.assert_published(SIZES[-1], name))  # type: ignore[misc]
    with changing(shop):
        start = log.mark()
        eventually(lambda: written(log, start))
        leader = holder(shop.api)
        sliceplane.kill_leader()
        eventually(lambda: followed(sliceplane, leader))
        taken_over = log.mark()
        eventually(lambda: written(log, taken_over))
    for name in NAMES:
        shop.scale(AT_LAST, name)
    for name in NAMES:
        eventually(lambda name=name: shop.assert_published(AT_LAST, name))  # type: ignore[misc]
    log.catch_up()
    for name in NAMES:
        assert len(shop.slices(name)) == len(shop.families(name))
        assert [event.repeated for event in log.since(start, name) if event.repeated] == []
    assert log.rewritten == []
