"""A Service gets the second family, and gives it back."""

import pytest

from e2e.cluster.clusters import Cluster, Unavailable
from e2e.stories.shop import Shop
from e2e.stories.watching import SliceLog
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

REPLICAS = 3


@pytest.mark.parametrize("spec", [{}, {"clusterIP": "None"}], ids=["cluster-ip", "headless"])
def test_second_family_comes_and_goes(sliceplane: Cluster, shop: Shop, log: SliceLog, spec: dict[str, str]) -> None:
    shop.service("probe")
    if len(shop.families("probe")) < 2:
        raise Unavailable("this cluster's Services have one family")
    shop.service(ipFamilyPolicy="SingleStack", **spec)
    shop.deploy(replicas=REPLICAS)
    eventually(lambda: shop.assert_published(REPLICAS))
    first = shop.families()
    assert len(first) == 1
    versions = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in shop.slices()}

    for policy, families in (("PreferDualStack", 2), ("SingleStack", 1)):
        shop.api.patch("Service", "web", {"spec": {"ipFamilyPolicy": policy}}, shop.namespace)
        assert len(shop.families()) == families
        # Each family that the Service has, and no other.
        eventually(lambda: shop.assert_published(REPLICAS))
        # What the second family does is nothing to the first.
        kept = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in shop.slices(family=first[0])}
        assert kept == versions
    log.catch_up()
    assert log.rewritten == []
