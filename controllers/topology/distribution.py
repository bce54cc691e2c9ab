"""Hints for `spec.trafficDistribution`, and none where nothing asks for any (ES-113 ... ES-117)."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from controllers.model.objects import Endpoint, EndpointSlice, ForNode, ForZone, Hints, Service

SAME_NODE: Final = "PreferSameNode"
VALID: Final = frozenset({"PreferClose", "PreferSameZone", SAME_NODE})

# What an endpoint's hints become.
Hinting = Callable[[Endpoint], Hints | None]


def hinting_for(service: Service) -> Hinting:
    """What a Service without `topology-mode: Auto` wants; an unknown value counts as none (ES-113)."""
    if service.traffic_distribution not in VALID:
        return no_hints
    return _same_node if service.traffic_distribution == SAME_NODE else _same_zone


def no_hints(_: Endpoint) -> Hints | None:
    """Hints for nobody."""
    return None


def _same_zone(endpoint: Endpoint) -> Hints | None:
    return _hints(endpoint.zone, None) if endpoint.conditions.ready else None


def _same_node(endpoint: Endpoint) -> Hints | None:
    return _hints(endpoint.zone, endpoint.node_name) if endpoint.conditions.ready else None


def _hints(zone: str | None, node: str | None) -> Hints | None:
    if not zone and not node:
        return None
    return Hints((ForZone(zone),) if zone else None, (ForNode(node),) if node else None)


def hinted(found: EndpointSlice, hinting: Hinting) -> EndpointSlice:
    """The slice with these hints on its endpoints; the very same slice when it has them already."""
    if hinting is no_hints and not any([endpoint.hints for endpoint in found.endpoints]):
        return found  # the ordinary case: asks nothing for each endpoint
    changed = False
    endpoints: list[Endpoint] = []
    for endpoint in found.endpoints:
        hints = hinting(endpoint)
        if hints != endpoint.hints:
            endpoint = replace(endpoint, hints=hints)
            changed = True
        endpoints.append(endpoint)
    return replace(found, endpoints=tuple(endpoints)) if changed else found
