"""A Deployment gets a new version: whoever connects always finds enough Pods, and in the end the new ones alone."""

import pytest

from e2e.cluster.clusters import Cluster
from e2e.cluster.rest import Object
from e2e.stories.shop import Shop
from e2e.stories.watching import SliceLog, fates, left_gracefully
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

REPLICAS = 10
UNAVAILABLE = 2
SURGE = 3


def test_rolling_update(sliceplane: Cluster, shop: Shop, log: SliceLog) -> None:
    bounds = {"maxUnavailable": UNAVAILABLE, "maxSurge": SURGE}
    shop.service()
    shop.deploy(replicas=REPLICAS, strategy={"type": "RollingUpdate", "rollingUpdate": bounds})
    eventually(lambda: shop.assert_published(REPLICAS))
    old = set(shop.ready_pods())

    start = log.mark()
    template: Object = {"metadata": {"labels": {"app": "web", "version": "2"}}}
    shop.api.patch("Deployment", "web", {"spec": {"template": template}}, shop.namespace)

    def replaced() -> None:
        shop.assert_published(REPLICAS)
        assert not old & set(shop.ready_pods())

    eventually(replaced)
    log.catch_up()
    events = log.since(start)
    assert {event.family for event in events} == set(shop.families())
    assert min(event.ready for event in events) >= REPLICAS - UNAVAILABLE
    assert max(event.ready for event in events) <= REPLICAS + SURGE
    assert [event.repeated for event in events if event.repeated] == []
    for family in shop.families():
        told = fates(log.since(0), family)
        assert [(name, told[name]) for name in old if not left_gracefully(told[name])] == []
        assert {name for name, fate in told.items() if fate[-1]} == set(shop.ready_pods())
