"""The networks that no Service should share: those of Pods, and the Nodes' own addresses."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from msgspec import Struct, field

from controllers.ipam.ranges import NOWHERE, Addresses, Span, addresses_of, network


class _NodeSpec(Struct, gc=False):
    pod_cidrs: list[str] | None = field(default=None, name="podCIDRs")


class _NodeAddress(Struct, gc=False):
    type: str = ""
    address: str = ""


class _NodeStatus(Struct, gc=False):
    addresses: list[_NodeAddress] | None = None


class WireNode(Struct, gc=False):
    """A Node as the API sends it, as far as its networks go."""

    spec: _NodeSpec | None = None
    status: _NodeStatus | None = None


class Networks(Struct, frozen=True):
    """All addresses of Pods, by the CIDRs of their Nodes, and the internal addresses of Nodes."""

    pods: Addresses = NOWHERE
    nodes: Addresses = NOWHERE

    def shared(self, addresses: Addresses) -> list[tuple[str, Addresses]]:
        """What of these addresses is somebody's already: "Pods" or "Nodes", and the part that is."""
        parts = (("Pods", self.pods.overlap(addresses)), ("Nodes", self.nodes.overlap(addresses)))
        return [(whose, part) for whose, part in parts if part.families]


def networks_of(nodes: Iterable[WireNode]) -> Networks:
    """The networks of these Nodes. What is no network or no address is left out."""
    pods: list[tuple[str, Span]] = []
    own: list[tuple[str, Span]] = []
    for node in nodes:
        pods += _spans((node.spec and node.spec.pod_cidrs) or ())
        told = (node.status and node.status.addresses) or ()
        own += _spans(each.address for each in told if each.type == "InternalIP")
    return Networks(addresses_of(pods), addresses_of(own))


def joined(some: Iterable[Networks]) -> Networks:
    """All of them as one."""
    every = list(some)
    return Networks(_union(each.pods for each in every), _union(each.nodes for each in every))


def _union(some: Iterable[Addresses]) -> Addresses:
    return addresses_of((family, span) for each in some for family in each.families for span in each.of(family).spans)


def _spans(texts: Iterable[str]) -> Iterator[tuple[str, Span]]:
    for text in texts:
        try:
            # Old API servers let an address with a prefix length pass for a CIDR.
            yield network(str(ip_network(text, strict=False)))
        except ValueError:
            continue
