"""What a reservation becomes by the flags, and which Services can be adopted."""

from typing import Any, cast

import click
import msgspec
import pytest

from controllers.ipam.objects import Port, Service
from controllers.ipam_tools import writing
from controllers.ipam_tools.reserve import (
    Keep,
    Numbers,
    Object,
    adoptable,
    for_service,
    numbers,
    otherwise_reserved,
    reservation,
)
from controllers.ipam_tools.writing import Target, Written
from tests.ipam_tools.builders import run, service

SPEC: dict[str, Any] = {
    "serviceName": "web",
    "addresses": ["10.96.0.5", "fd00:10:96::5"],
    "nodePorts": [{"portName": "http", "nodePort": 30080}, {"nodePort": 30081}],
}


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        (Numbers(), {}),
        (Numbers(("10.96.0.6",)), {"addresses": ["10.96.0.6", "fd00:10:96::5"]}),
        (Numbers(("fd00:10:96::6", "10.96.0.6")), {"addresses": ["fd00:10:96::6", "10.96.0.6"]}),
        (
            Numbers(node_ports=(("http", 30090), ("", 30091), ("x", 30092))),
            {
                "nodePorts": [
                    {"portName": "http", "nodePort": 30090},
                    {"portName": "", "nodePort": 30091},
                    {"portName": "x", "nodePort": 30092},
                ]
            },
        ),
        (Numbers(health=30099), {"healthCheckNodePort": 30099}),
    ],
)
def test_numbers_over_a_spec(given: Numbers, changed: dict[str, Any]) -> None:
    assert given.over(SPEC) == SPEC | changed


def test_keep_over_a_spec() -> None:
    assert Keep().over(SPEC) == SPEC
    assert Keep(hold=True, ttl="1h").over({}) == {
        "enforcement": "Hold",
        "retain": {"policy": "TTL", "ttl": "1h"},
    }
    assert Keep(hold=False, ttl="forever").over({}) == {"enforcement": "Guard", "retain": {"policy": "Forever"}}


def test_flags() -> None:
    found = numbers(("10.96.0.5", "FD00::0005"), ("http=30080", "30081"), 30082)
    assert found == Numbers(("10.96.0.5", "fd00::5"), (("http", 30080), ("", 30081)), 30082)
    assert not numbers((), (), None)


@pytest.mark.parametrize(
    ("addresses", "ports", "message"),
    [
        (("10.96.0",), (), "--address 10.96.0: not an IP address"),
        (("10.96.0.1", "10.96.0.2"), (), "at most one address of each family"),
        ((), ("http:30080",), "give NAME=PORT"),
        ((), ("http=70000",), "give NAME=PORT"),
        ((), ("a=30000", "a=30001"), "give each port once"),
    ],
)
def test_flags_that_make_no_sense(addresses: tuple[str, ...], ports: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        numbers(addresses, ports, None)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (service("shop/web", "10.96.0.5"), ""),
        (service("default/kubernetes", "10.96.0.1"), "it is the API server's own"),
        (msgspec.structs.replace(service("shop/web", "10.96.0.5"), terminating=True), "it is being deleted"),
        (
            Service(namespace="a", name="b", cluster_ip="None", cluster_ips=("None",)),
            "it is headless and has no number",
        ),
        (Service(namespace="a", name="b", type="ExternalName"), "it is an alias (ExternalName) and has no number"),
        (Service(namespace="a", name="b"), "it has no number yet"),
    ],
)
def test_adoptable(given: Service, why: str) -> None:
    assert adoptable(given) == why


LOADED = Service(
    namespace="shop",
    name="web",
    cluster_ips=("10.96.0.5", "fd00:10:96::5"),
    type="LoadBalancer",
    ports=(Port("http", port=80, node_port=30080), Port("dns", port=53, node_port=30053)),
    local=True,
    health_check_node_port=30099,
)


@pytest.mark.parametrize(
    ("spec", "others"),
    [
        ({}, []),
        ({"addresses": ["10.96.0.5", "fd00:10:96:0::5"], "healthCheckNodePort": 30099}, []),
        ({"nodePorts": [{"portName": "http", "nodePort": 30080}, {"portName": "gone", "nodePort": 30081}]}, []),
        ({"addresses": ["10.96.0.6"]}, ["10.96.0.5, and 10.96.0.6 is reserved for it"]),
        (
            {"addresses": ["fd00:10:96::6"], "nodePorts": [{"portName": "dns", "nodePort": 30054}]},
            ["fd00:10:96::5, and fd00:10:96::6 is reserved for it", "30053, and 30054 is reserved for it"],
        ),
        ({"healthCheckNodePort": 30098}, ["30099, and 30098 is reserved for it"]),
    ],
)
def test_adopting_keeps_no_number_beside_another_that_is_reserved(spec: Object, others: list[str]) -> None:
    """What a reservation names counts, so what the live Service has would not be kept."""
    said = otherwise_reserved(LOADED, spec)
    remedy = ": make the Service anew, or delete the reservation and adopt again"
    assert said == (f"it has {'; '.join(others)}{remedy}" if others else "")


class Unwritten:
    """Takes what is to be created."""

    def __init__(self) -> None:
        self.created: list[Object] = []

    async def create(self, made: Object) -> None:
        self.created.append(made)


HEADLESS = Service(namespace="shop", name="db", cluster_ip="None", cluster_ips=("None",))
ALIAS = Service(namespace="shop", name="alias", type="ExternalName")
PENDING = Service(namespace="shop", name="pending")
LIVE = (HEADLESS, ALIAS, PENDING, service("shop/web", "10.96.0.5"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            Target("shop"),
            {"db": "skipped", "alias": "skipped", "pending": "refused", "web": "created"},
        ),
        (Target("", selector="a=b"), {"db": "skipped", "alias": "skipped", "pending": "refused", "web": "created"}),
        (Target("shop", ("web", "db", "alias")), {"web": "created", "db": "refused", "alias": "refused"}),
    ],
)
async def test_what_never_has_numbers_is_refused_only_by_name(target: Target, expected: dict[str, str]) -> None:
    writer = Unwritten()
    found = [each async for each in writing._each(cast("Any", writer), LIVE, {}, target, Keep())]
    assert {each.name: each.outcome for each in found} == expected
    assert [each["spec"]["serviceName"] for each in writer.created] == ["web"]


@pytest.mark.parametrize(
    ("outcomes", "code", "out", "err"),
    [
        (
            ("skipped", "created"),
            0,
            "servicereservation.ipam.sliceplane.dev/b created\n",
            "note: skipped, headless or ExternalName, without a number: shop/a\n",
        ),
        (("skipped",), 0, "", "note: skipped, headless or ExternalName, without a number: shop/a\n"),
        (
            ("refused", "skipped"),
            1,
            "",
            "servicereservation.ipam.sliceplane.dev/a refused: it is so\n"
            "note: skipped, headless or ExternalName, without a number: shop/b\n",
        ),
        ((), 0, "", "No Services found.\n"),
    ],
)
def test_skipped_is_no_failure(
    outcomes: tuple[str, ...], code: int, out: str, err: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [Written("shop", name, each, "it is so") for name, each in zip("ab", outcomes, strict=False)]
    monkeypatch.setattr(writing, "adopt", lambda *_, **__: written)
    assert run("adopt", "-n", "shop") == (code, out, err)


def test_of_several_reservations_the_oldest() -> None:
    def made(name: str, created: str, service: str = "web") -> dict[str, Any]:
        found = reservation("shop", name, {"serviceName": service})
        found["metadata"]["creationTimestamp"] = created
        return found

    existing = [made("b", "2026-01-02"), made("c", "2026-01-01"), made("a", "2026-01-02"), made("d", "2025", "db")]
    assert for_service(existing, "web") is existing[1]
    assert for_service(existing, "none") is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("adopt",), "give either --namespace=NAMESPACE or --all-namespaces"),
        (("adopt", "-n", "a", "-A"), "give either --namespace=NAMESPACE or --all-namespaces"),
        (("adopt", "-A", "web"), "names of Services go with --namespace alone"),
        # An unset $NS must not stand for all namespaces.
        (("adopt", "-n", ""), "'' is no name of a namespace"),
        (("reserve", "web", "-n", "BAD NS"), "'BAD NS' is no name of a namespace"),
        (("reserve", "web", "--health-check-node-port", "abc"), "abc is not a whole number from 1 to 65535"),
        (("reserve", "web", "--ttl", "30d"), "30d is no duration, such as 720h"),
        (("reserve", "web", "--address", "ten"), "--address ten: not an IP address"),
    ],
)
def test_usage(args: tuple[str, ...], message: str) -> None:
    ran = run(*args)
    assert ran.code == 2
    assert message in ran.err


def test_without_a_cluster(tmp_path: Any) -> None:
    ran = run("adopt", "-n", "a", "--kubeconfig", str(tmp_path / "none"))
    assert ran.code == 1
    assert ran.err.startswith("error: cannot use kubeconfig")
