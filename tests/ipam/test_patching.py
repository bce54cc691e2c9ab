"""The patch that fills a Service."""

import copy
from typing import Any

import pytest

from api import names
from controllers.ipam.needs import Needs
from controllers.ipam.objects import PREFER
from controllers.ipam.patching import patched
from controllers.ipam.ranges import IPV4, IPV6

A, B, C = "10.96.0.20", "fd00:10:96::20", "10.96.0.21"
POOL = {"op": "add", "path": "/metadata/annotations", "value": {names.IPAM_POOL_ANNOTATION: "main"}}
SINGLE_NEED = Needs(families=(IPV4,), addresses=("",))
DUAL_NEED = Needs(families=(IPV4, IPV6), addresses=("", ""))


def body(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "web"} | ({} if annotations is None else {"annotations": annotations})
    return {"metadata": metadata, "spec": spec}


def add(path: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def ips(*texts: str) -> list[dict[str, Any]]:
    return [add("/spec/clusterIP", texts[0]), add("/spec/clusterIPs", list(texts))]


@pytest.mark.parametrize(
    ("spec", "needs", "chosen", "expected"),
    [
        ({}, SINGLE_NEED, (A,), ips(A)),  # IP-70: both fields
        ({}, DUAL_NEED, (A, B), ips(A, B)),
        ({}, DUAL_NEED, (A, ""), ips(A)),  # IP-33: the second is the API server's
        ({}, DUAL_NEED, ("", B), []),  # IP-33: a second without a first cannot be said
        ({}, DUAL_NEED, ("", ""), []),
        ({}, DUAL_NEED, (), []),
        # IP-69: the given first stays
        (
            {"clusterIP": A, "clusterIPs": [A]},
            Needs(families=(IPV4, IPV6), addresses=(A, ""), given_addresses=(A,)),
            ("", B),
            [add("/spec/clusterIPs", [A, B])],
        ),
        ({"clusterIP": A}, Needs(families=(IPV4, IPV6), addresses=(A, "")), (C, B), [add("/spec/clusterIPs", [A, B])]),
        # IP-9, IP-70: a PUT without its carried address gets both fields, and the policy
        (
            {},
            Needs(families=(IPV4, IPV6), addresses=(A, ""), policy=PREFER),
            ("", B),
            [*ips(A, B), add("/spec/ipFamilyPolicy", PREFER)],
        ),
        ({}, Needs(families=(IPV4, IPV6), addresses=(A, ""), policy=PREFER), ("", ""), []),
        # IP-55: canonical text
        (
            {"clusterIP": "fd00:010:96::20", "clusterIPs": ["fd00:010:96::20"]},
            Needs(families=(IPV6,), addresses=(B,), canonicalised=True),
            (),
            ips(B),
        ),
        (
            {"clusterIP": A, "clusterIPs": [A, "fd00:010:96::20"]},
            Needs(families=(IPV4, IPV6), addresses=(A, B), canonicalised=True),
            (),
            [add("/spec/clusterIPs", [A, B])],
        ),
        ({"clusterIP": A, "clusterIPs": [A]}, Needs(families=(IPV4,), addresses=(A,)), (), []),
    ],
)
def test_addresses(spec: dict[str, Any], needs: Needs, chosen: tuple[str, ...], expected: list[dict[str, Any]]) -> None:
    given = body(**spec)
    before = copy.deepcopy(given)
    assert patched(given, needs, chosen, (), 0, "") == expected
    assert patched(given, needs, chosen, (), 0, "main") == (expected and [*expected, POOL])
    assert given == before


def test_node_ports() -> None:
    """IP-42, IP-69, IP-72: all of them in one go, and none that was given."""
    ports = [{"port": 53}, {"port": 53, "protocol": "UDP"}, {"port": 80, "nodePort": 30080}, {"port": 81}, {"port": 82}]
    needs = Needs(
        families=(IPV4,),
        addresses=(A,),
        node_ports=(0, 0, 30080, 30081, 0),
        port_groups=((0, 1), (4,)),
    )
    paths = [f"/spec/ports/{index}/nodePort" for index in range(5)]
    assert patched(body(ports=ports), needs, (), (30053, 30082), 0, "") == [
        add(paths[0], 30053),
        add(paths[1], 30053),
        add(paths[3], 30081),
        add(paths[4], 30082),
    ]
    # A group of which none was chosen is the API server's.
    assert patched(body(ports=ports), needs, (), (0, 30082), 0, "") == [add(paths[3], 30081), add(paths[4], 30082)]
    assert patched(body(ports=ports), needs, (), (0, 0), 0, "") == []
    assert patched(body(ports=ports), needs, (), (), 0, "") == []


def test_health() -> None:
    """IP-43: only where one must be allocated."""
    needs = Needs(families=(IPV4,), addresses=(A,), health=True)
    assert patched(body(), needs, (), (), 30100, "") == [add("/spec/healthCheckNodePort", 30100)]
    assert patched(body(), needs, (), (), 0, "") == []
    assert patched(body(), Needs(families=(IPV4,), addresses=(A,)), (), (), 30100, "main") == []


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        (None, [POOL]),
        ({}, [POOL]),
        ({"a": "b"}, [add("/metadata/annotations/ipam.sliceplane.dev~1pool", "main")]),
        ({names.IPAM_POOL_ANNOTATION: "other"}, [add("/metadata/annotations/ipam.sliceplane.dev~1pool", "main")]),
        ({names.IPAM_POOL_ANNOTATION: "main"}, []),
    ],
)
def test_annotation(annotations: dict[str, str] | None, expected: list[dict[str, Any]]) -> None:
    """Information only: set with numbers, never alone."""
    assert patched(body(annotations), SINGLE_NEED, (A,), (), 0, "main") == ips(A) + expected
    assert patched(body(annotations), SINGLE_NEED, (), (), 0, "main") == []


def test_wrong_lengths_are_errors() -> None:
    with pytest.raises(ValueError, match="zip"):
        patched(body(), DUAL_NEED, (A,), (), 0, "")
