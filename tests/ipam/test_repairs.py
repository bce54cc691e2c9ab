"""The few things that the audit finds and mends."""

import pytest

from controllers.ipam.audit import Ref, findings
from controllers.ipam.objects import ServiceCIDR
from controllers.ipam.repairs import repairs
from controllers.ipam.snapshot import Snapshot
from tests.ipam.snapshots import DEFAULT_CIDR, NOW, address, service, snapshot

WEB = service("shop/web", "10.96.0.20")


def test_repair_makes_what_the_api_server_makes() -> None:
    """IP-18, to the byte."""
    view = snapshot([WEB], without=["10.96.0.20"])
    (repair,) = repairs(view, findings(view, NOW))
    assert (repair.kind, repair.service, repair.address) == (
        "recreate_ipaddress",
        Ref("Service", "shop", "web", "uid-web"),
        "10.96.0.20",
    )
    assert repair.body == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": "10.96.0.20",
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": "shop", "name": "web"}},
    }


SIX = ServiceCIDR(name="six", cidrs=("fd00::/112",))


@pytest.mark.parametrize(
    ("case", "view", "expected"),
    [
        (
            "both families, each by itself",
            snapshot(
                [service("a/b", "10.96.0.7", "fd00::7")], without=["10.96.0.7", "fd00::7"], cidrs=[DEFAULT_CIDR, SIX]
            ),
            ["10.96.0.7", "fd00::7"],
        ),
        (
            "the second family's alone",
            snapshot([service("a/b", "10.96.0.7", "fd00::7")], without=["fd00::7"], cidrs=[DEFAULT_CIDR, SIX]),
            ["fd00::7"],
        ),
        (
            "one of two Services'",
            snapshot([WEB, service("a/b", "10.96.0.20")], without=["10.96.0.20"]),
            ["10.96.0.20"],
        ),
        (
            "not a Service's that goes",
            snapshot([service("a/b", "10.96.0.7", terminating=True)], without=["10.96.0.7"]),
            [],
        ),
        (
            "not where the API server could not",
            snapshot(
                [service("a/b", "10.96.0.7")],
                without=["10.96.0.7"],
                cidrs=[ServiceCIDR(name="kubernetes", cidrs=("10.96.0.0/24",), ready=False)],
            ),
            [],
        ),
        ("not what is somebody's", snapshot([WEB], [address("10.96.0.20")]), []),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_repairs(case: str, view: Snapshot, expected: list[str]) -> None:
    assert [each.address for each in repairs(view, findings(view, NOW))] == expected, case


def test_repairs_of_findings_that_are_over() -> None:
    found = findings(snapshot([WEB], without=["10.96.0.20"]), NOW)
    assert repairs(snapshot([WEB]), found) == []
    assert repairs(snapshot(), found) == []
