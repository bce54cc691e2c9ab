"""A node is drained: its Pods leave one after the other, as their budget allows, and are replaced elsewhere."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from e2e.cluster.clusters import Cluster
from e2e.cluster.rest import Api, ApiError
from e2e.stories.shop import Shop
from e2e.stories.watching import SliceLog, fates, left_gracefully
from tests.shell.waiting import PATIENCE, eventually

pytestmark = pytest.mark.server

REPLICAS = 6
LEAST = 5
TOO_MANY_REQUESTS = 429


@contextmanager
def cordoned(api: Api, node: str) -> Iterator[None]:
    api.patch("Node", node, {"spec": {"unschedulable": True}})
    try:
        yield
    finally:
        api.patch("Node", node, {"spec": {"unschedulable": None}})


def evict(shop: Shop, pod: str) -> None:
    """As kubectl drain does it: ask until the budget allows it."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": shop.namespace}}
    until = time.monotonic() + PATIENCE
    while True:
        try:
            shop.api.create(eviction, subresource="eviction")
            return
        except ApiError as error:
            if error.status != TOO_MANY_REQUESTS or time.monotonic() > until:
                raise
        time.sleep(0.2)


def test_drained_node(sliceplane: Cluster, shop: Shop, log: SliceLog) -> None:
    shop.service()
    shop.deploy(replicas=REPLICAS)
    shop.budget("web", LEAST)

    def settled() -> None:
        shop.assert_published(REPLICAS)
        assert shop.allowed("web") == REPLICAS - LEAST

    eventually(settled)
    nodes = Counter(each["spec"]["nodeName"] for each in shop.pods())
    [(node, _)] = nodes.most_common(1)
    leaving = sorted(name for name, pod in shop.ready_pods().items() if pod["spec"]["nodeName"] == node)
    start = log.mark()
    with cordoned(shop.api, node):
        for pod in leaving:
            evict(shop, pod)

        def drained() -> None:
            settled()
            assert node not in [each["spec"]["nodeName"] for each in shop.pods()]

        eventually(drained)
    log.catch_up()
    events = log.since(start)
    assert min(event.ready for event in events) >= LEAST
    for family in shop.families():
        told = fates(log.since(0), family)
        assert [(name, told[name]) for name in leaving if not left_gracefully(told[name])] == []
        assert sorted(name for name, fate in told.items() if not fate[-1]) == leaving
