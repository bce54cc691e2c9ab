"""The networks of Pods and Nodes, as Nodes tell of them."""

import msgspec
import pytest

from controllers.ipam.networks import Networks, WireNode, joined, networks_of
from tests.ipam.snapshots import addresses


def node(*cidrs: str, **told: str) -> WireNode:
    """A Node with these podCIDRs, and addresses by type."""
    listed = [{"type": kind, "address": text} for kind, text in told.items()]
    body = {"metadata": {"name": "n"}, "spec": {"podCIDRs": cidrs}, "status": {"addresses": listed, "phase": "x"}}
    return msgspec.json.decode(msgspec.json.encode(body), type=WireNode)


@pytest.mark.parametrize(
    ("case", "nodes", "pods", "own"),
    [
        ("both families", [node("10.244.0.0/24", "fd01::/64")], addresses("10.244.0.0/24", "fd01::/64"), addresses()),
        ("neighbours", [node("10.0.0.0/25"), node("10.0.0.128/25")], addresses("10.0.0.0/24"), addresses()),
        ("an address", [node(InternalIP="10.1.2.3")], addresses(), addresses("10.1.2.3/32")),
        ("of six", [node(InternalIP="fd02::7")], addresses(), addresses("fd02::7/128")),
        ("only internal ones", [node(ExternalIP="10.9.9.9", Hostname="10.9.9.8")], addresses(), addresses()),
        ("nonsense", [node("x", "10.0.0.0/33", "10.5.0.0/24", InternalIP="")], addresses("10.5.0.0/24"), addresses()),
        ("an address for a CIDR", [node("10.5.0.7/24")], addresses("10.5.0.0/24"), addresses()),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_networks_of_nodes(case: str, nodes: list[WireNode], pods: object, own: object) -> None:
    assert networks_of(nodes) == Networks(pods, own), case  # type: ignore[arg-type]


@pytest.mark.parametrize("body", ["{}", '{"spec": {}, "status": {}}', '{"spec": {"podCIDRs": null}}'])
def test_a_node_that_has_none_yet(body: str) -> None:
    assert networks_of([msgspec.json.decode(body, type=WireNode)]) == Networks()


def test_joined_is_all_of_both() -> None:
    one, other = (
        networks_of([node("10.0.0.0/25", InternalIP="10.9.0.1")]),
        networks_of([node("10.0.0.128/25", "fd::/64")]),
    )
    assert joined([one, other]) == Networks(addresses("10.0.0.0/24", "fd::/64"), addresses("10.9.0.1/32"))
    assert joined([]) == Networks()


def test_shared_is_the_part_in_both_and_whose_it_is() -> None:
    networks = Networks(addresses("10.0.0.0/24"), addresses("10.0.0.9/32", "10.1.0.1/32"))
    assert networks.shared(addresses("10.0.0.8/31")) == [
        ("Pods", addresses("10.0.0.8/31")),
        ("Nodes", addresses("10.0.0.9/32")),
    ]
    assert networks.shared(addresses("10.0.1.0/24")) == []
