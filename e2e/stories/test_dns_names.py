"""A headless Service and its Pods have names: a DNS server that reads our slices answers with the Pods' addresses."""

import pytest

from e2e.cluster.clusters import Cluster
from e2e.cluster.dns import DOMAIN
from e2e.stories.shop import Shop, pod_address
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

RECORDS = {"IPv4": "A", "IPv6": "AAAA"}
HOSTS = ("one", "two")


def assert_resolved(cluster: Cluster, shop: Shop, name: str, *pods: str) -> None:
    """The name stands for just these Pods, in every family that the Services have."""
    found = {each["metadata"]["name"]: each for each in shop.pods("db")}
    for family in shop.families("db"):
        wanted = sorted(pod_address(found[pod], family) for pod in pods)
        assert cluster.look_up(name, RECORDS[family]) == wanted


def test_names_of_a_headless_service_and_its_pods(sliceplane: Cluster, shop: Shop) -> None:
    shop.service("db", clusterIP="None")
    shop.service("all", clusterIP="None", publishNotReadyAddresses=True, selector={"app": "db"})
    for host in HOSTS:
        shop.pod(host, "db", hostname=host, subdomain="db")
    shop.pod("late", "db", ready=False, hostname="late", subdomain="db")
    shop.pod("hidden", "db", ready=False, hostname="hidden", subdomain="all")
    service = f"db.{shop.namespace}.svc.{DOMAIN}"
    everyone = f"all.{shop.namespace}.svc.{DOMAIN}"

    def named() -> None:
        assert_resolved(sliceplane, shop, service, *HOSTS)
        assert_resolved(sliceplane, shop, everyone, *HOSTS, "late", "hidden")
        for host in HOSTS:
            assert_resolved(sliceplane, shop, f"{host}.{service}", host)
        # Not ready, but of a Service that publishes those, too. The name is the Pod's in the Service of its subdomain.
        assert_resolved(sliceplane, shop, f"hidden.{everyone}", "hidden")
        assert_resolved(sliceplane, shop, f"one.{everyone}")
        assert_resolved(sliceplane, shop, f"late.{service}")

    eventually(named)

    shop.api.delete("Pod", "one", shop.namespace)

    def forgotten() -> None:
        assert len(shop.pods("db")) == 3
        assert_resolved(sliceplane, shop, service, "two")
        assert_resolved(sliceplane, shop, f"one.{service}")
        assert_resolved(sliceplane, shop, everyone, "two", "late", "hidden")

    eventually(forgotten)
