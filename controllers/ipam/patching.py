"""The JSON patch (RFC 6902) that gives a Service the numbers chosen for it, and nothing that it did not lack."""

from collections.abc import Mapping
from typing import Any, Final

from api import names
from controllers.ipam.needs import Needs

Patch = dict[str, Any]


def patched(
    service_body: Mapping[str, Any],
    needs: Needs,
    addresses: tuple[str, ...],
    node_ports: tuple[int, ...],
    health: int,
    pool: str,
) -> list[Patch]:
    """What to change in the Service as it came in the admission review.

    `addresses` are parallel to `needs.families`, "" where none was chosen; `node_ports` parallel to
    `needs.port_groups`, 0 where none was; `health` 0 likewise; `pool` "" leaves the annotation alone. What is not
    chosen is the API server's to allocate. What the request gave is never replaced (IP-69), but by the same address in
    canonical text (IP-55). An empty patch stays empty: the annotation alone is no reason for one.
    """
    spec = service_body.get("spec") or {}
    patch = [
        *_addresses(spec, needs, addresses),
        *_node_ports(spec, needs, node_ports),
        *([_add("/spec/healthCheckNodePort", health)] if health and needs.health else []),
    ]
    return patch + _annotation(service_body, pool) if patch else []


def _addresses(spec: Mapping[str, Any], needs: Needs, chosen: tuple[str, ...]) -> list[Patch]:
    """clusterIP and clusterIPs together, and the policy that two of them take (IP-70)."""
    filled: list[str] = []
    for known, one in zip(needs.addresses, chosen or ("",) * len(needs.addresses), strict=True):
        if not (known or one):
            break  # a second address without a first cannot be said (IP-33)
        filled.append(known or one)
    fresh = tuple(filled) != tuple(known for known in needs.addresses if known)
    if not filled or not (fresh or needs.canonicalised):
        return []
    policy = needs.policy if len(filled) > 1 and not spec.get("ipFamilyPolicy") else ""
    return [
        *([] if spec.get("clusterIP") == filled[0] else [_add("/spec/clusterIP", filled[0])]),
        *([] if spec.get("clusterIPs") == filled else [_add("/spec/clusterIPs", filled)]),
        *([_add("/spec/ipFamilyPolicy", policy)] if policy else []),
    ]


def _node_ports(spec: Mapping[str, Any], needs: Needs, chosen: tuple[int, ...]) -> list[Patch]:
    """All of a Service's in one go (IP-72): also those that are known already, so that no pick can take them (IP-42).

    None when none was chosen: then every known number is either written in the request or carried over.
    """
    numbers = list(needs.node_ports)
    for group, number in zip(needs.port_groups, chosen or (0,) * len(needs.port_groups), strict=True):
        for index in group:
            numbers[index] = number
    if numbers == list(needs.node_ports):
        return []
    return [
        _add(f"/spec/ports/{index}/nodePort", number)
        for index, (port, number) in enumerate(zip(spec.get("ports") or (), numbers, strict=True))
        if number and not port.get("nodePort")
    ]


def _annotation(body: Mapping[str, Any], pool: str) -> list[Patch]:
    """Which pool the numbers are from, for people to read; the map may be absent."""
    if not pool:
        return []
    annotations = (body.get("metadata") or {}).get("annotations")
    if not annotations:
        return [_add("/metadata/annotations", {names.IPAM_POOL_ANNOTATION: pool})]
    if annotations.get(names.IPAM_POOL_ANNOTATION) == pool:
        return []
    return [_add(f"/metadata/annotations/{_POOL}", pool)]


_POOL: Final = names.IPAM_POOL_ANNOTATION.replace("~", "~0").replace("/", "~1")


def _add(path: str, value: object) -> Patch:
    """ "add" to a member of an object sets it whether it is there or not (RFC 6902, 4.1)."""
    return {"op": "add", "path": path, "value": value}
