"""What a reservation becomes by the flags, and which Services can be adopted."""

from typing import Any

import click
import msgspec
import pytest

from controllers.ipam.objects import Service
from controllers.ipam_tools.reserve import Keep, Numbers, adoptable, for_service, numbers, reservation
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
