"""From KCM to Sliceplane and back: neither switch writes anything, and changes are served on either side."""

import time

import pytest

from e2e.cluster.clusters import Cluster
from e2e.stories.shop import Shop
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

REPLICAS = 3
# After the first new Service is served there is nothing left to wait for; late writes would come at once.
QUIET = 2.0
BY_HAND = ("10.9.0.1", "10.9.0.2")


def fill(shop: Shop) -> None:
    """Services of every shape that KCM treats in its own way."""
    shop.deploy(replicas=REPLICAS)
    shop.service()
    shop.service("single", selector={"app": "web"}, ipFamilyPolicy="SingleStack")
    shop.service("headless", selector={"app": "web"}, clusterIP="None")
    shop.service("early", selector={"app": "web"}, publishNotReadyAddresses=True)
    shop.service("nothing")
    shop.service("manual", selector=None)
    shop.manual("manual", *BY_HAND)
    shop.pod("late", "web", ready=False)


def assert_filled(shop: Shop, replicas: int) -> None:
    """All controllers have done their work, and the Pods have settled."""
    assert len(shop.ready_pods()) == replicas
    assert len(shop.pods()) == replicas + 1
    for name in ("web", "single", "headless", "early"):
        # The one that is not ready is there as well, and said to be ready where that is asked for.
        ready = replicas + (name == "early")
        for family in shop.families(name):
            [found] = shop.slices(name, family)
            assert len(found["endpoints"]) == replicas + 1
            assert sum(each["conditions"]["ready"] for each in found["endpoints"]) == ready
        assert len(shop.addresses(name)) == ready
        assert len(shop.addresses(name, ready=False)) == replicas + 1 - ready
    assert len(shop.slices("nothing")) == len(shop.families("nothing"))
    assert shop.addresses("nothing") == []
    assert_mirrored(shop, "manual")


def assert_mirrored(shop: Shop, name: str) -> None:
    [mirrored] = shop.slices(name, "IPv4")
    assert sorted(each["addresses"][0] for each in mirrored["endpoints"]) == list(BY_HAND)


def assert_unwritten(shop: Shop, before: dict[str, str], probe: str) -> None:
    """Whoever serves now has come to a Service that is newer than all others, and has written none of those."""
    manual = f"{probe}-manual"
    shop.service(probe, selector={"app": "web"})
    shop.service(manual, selector=None)
    shop.manual(manual, *BY_HAND)

    def served() -> None:
        assert len(shop.slices(probe)) == len(shop.families(probe))
        assert len(shop.addresses(probe)) == REPLICAS
        assert_mirrored(shop, manual)

    eventually(served)
    until = time.monotonic() + QUIET
    while time.monotonic() < until:
        now = shop.versions()
        assert {name: now.get(name) for name in before} == before
        time.sleep(0.2)


def change(shop: Shop) -> None:
    """One Pod more, and one less."""
    shop.scale(REPLICAS + 1)
    eventually(lambda: assert_filled(shop, REPLICAS + 1))
    shop.scale(REPLICAS)
    eventually(lambda: assert_filled(shop, REPLICAS))


def test_upgrade_from_kcm_and_rollback(cluster: Cluster, shop: Shop) -> None:
    cluster.serve_with_kcm()
    fill(shop)
    eventually(lambda: assert_filled(shop, REPLICAS))

    before = shop.versions()
    cluster.serve_with_sliceplane()
    assert_unwritten(shop, before, "probe-up")
    change(shop)

    before = shop.versions()
    cluster.serve_with_kcm()
    assert_unwritten(shop, before, "probe-down")
    change(shop)
