"""From no Pod to more than fit into one slice, and back."""

import pytest

from e2e.cluster.clusters import Cluster
from e2e.stories.shop import PORT, Shop
from e2e.stories.watching import SliceLog
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

MANY = 120
# KCM's --max-endpoints-per-slice.
FULL = 100


def assert_placeholders(shop: Shop) -> None:
    """For each family one slice that holds nothing, and Endpoints that hold nothing."""
    slices = shop.slices()
    assert sorted(each["addressType"] for each in slices) == sorted(shop.families())
    assert [each for each in slices if each.get("endpoints") or each.get("ports")] == []
    assert shop.pods() == []
    assert shop.addresses() == []


def assert_full(shop: Shop) -> None:
    shop.assert_published(MANY)
    for family in shop.families():
        slices = shop.slices(family=family)
        assert len(slices) > 1
        # No placeholder is left.
        assert all(0 < len(each["endpoints"]) <= FULL for each in slices)
        assert {each["ports"][0]["port"] for each in slices} == {PORT}


def test_from_nothing_to_many_and_back(sliceplane: Cluster, shop: Shop, log: SliceLog) -> None:
    shop.service()
    shop.deploy(replicas=0)
    eventually(lambda: assert_placeholders(shop))
    for _ in range(2):
        shop.scale(MANY)
        eventually(lambda: assert_full(shop), timeout=120)
        shop.scale(0)
        eventually(lambda: assert_placeholders(shop), timeout=120)
    log.catch_up()
    assert log.rewritten == []
