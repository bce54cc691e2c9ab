"""From Pods to the subsets of an Endpoints object: who is in it, on which ports, and what 1,000 addresses leave out
(EP-29 ... EP-35, EP-51).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from controllers.membership import pods as membership
from controllers.membership.ports import Resolver
from controllers.membership.subsets import repack, same_ports
from controllers.model.addresses import is_ipv6
from controllers.model.objects import (
    EndpointAddress,
    EndpointPort,
    EndpointSubset,
    Pod,
    Service,
    SubsetPort,
    TargetRef,
)

CAPACITY: Final = 1000


class Truncated(Struct, frozen=True, gc=False):
    """Subsets that fit, and how many addresses there were before."""

    subsets: tuple[EndpointSubset, ...]
    total: int

    @property
    def cut(self) -> bool:
        return self.total > CAPACITY


def family_of(service: Service, pod: Pod) -> str:
    """The only family that Endpoints publish; a Service that has none yet goes by the Pod's first address (EP-30)."""
    if service.ip_families:
        return service.ip_families[0]
    if service.cluster_ip and service.cluster_ip != "None":
        return "IPv6" if is_ipv6(service.cluster_ip) else "IPv4"
    return pod.first_family or "IPv4"


def desired(service: Service, pods: Iterable[Pod]) -> tuple[EndpointSubset, ...]:
    """The subsets of a Service's Endpoints in canonical order, however many addresses that makes."""
    found = list(_raw(service, pods))
    if all([each.ports is found[0].ports for each in found]):
        return same_ports(found)  # the ordinary case, and what `repack` would make of it
    return repack(found, from_api=False)


def _raw(service: Service, pods: Iterable[Pod]) -> Iterator[EndpointSubset]:
    """One subset for each Pod; a Pod without any of the Service's ports is in none (EP-33, EP-34)."""
    resolver = Resolver(service)
    portless = not service.ports and service.cluster_ip == "None"
    ports_of: dict[tuple[EndpointPort, ...], tuple[SubsetPort, ...]] = {}
    for pod in pods:
        family = family_of(service, pod)
        if membership.left_out(pod) or membership.left_out_of_endpoints(pod, service, family):
            continue
        group = resolver.group(pod)
        ports = ports_of.get(group)
        if ports is None:
            ports = ports_of[group] = tuple(map(_subset_port, group))
        if not ports and not portless:
            continue
        address = (_address(pod, service, family),)
        if membership.ready(pod, service):
            yield EndpointSubset(addresses=address, ports=ports)
        else:
            yield EndpointSubset(not_ready_addresses=address, ports=ports)


def _subset_port(port: EndpointPort) -> SubsetPort:
    return SubsetPort(port.name or "", port.port or 0, port.protocol or "", port.app_protocol)


def _address(pod: Pod, service: Service, family: str) -> EndpointAddress:
    """A Pod without a Node has no nodeName: the empty one that KCM writes is refused by the API server (EP-32)."""
    return EndpointAddress(
        ip=membership.addresses(pod, family)[0],
        hostname=membership.hostname(pod, service),
        node_name=pod.node_name or None,
        target_ref=TargetRef(kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid),
    )


def truncate(subsets: tuple[EndpointSubset, ...]) -> Truncated:
    """At most 1,000 addresses: the ready ones first, each subset in proportion to what it has (EP-51).

    Subsets that are left without an address are dropped, since the API server refuses them (EP-52).
    """
    ready = sum(len(each.addresses) for each in subsets)
    unready = sum(len(each.not_ready_addresses) for each in subsets)
    if ready + unready <= CAPACITY:
        return Truncated(subsets, ready + unready)
    if ready > CAPACITY:
        shares = _shares([len(each.addresses) for each in subsets], CAPACITY, ready)
        cut = [
            EndpointSubset(each.addresses[:share], (), each.ports) for each, share in zip(subsets, shares, strict=True)
        ]
    else:
        shares = _shares([len(each.not_ready_addresses) for each in subsets], CAPACITY - ready, unready)
        cut = [
            replace(each, not_ready_addresses=each.not_ready_addresses[:share])
            for each, share in zip(subsets, shares, strict=True)
        ]
    kept = tuple(each for each in cut if each.addresses or each.not_ready_addresses)
    return Truncated(kept, ready + unready)


def _shares(counts: list[int], budget: int, total: int) -> list[int]:
    """What each subset may keep; late ones may get less than their share, as upstream's rounding has it."""
    left = budget
    shares = []
    for count in counts:
        share = min(count, math.ceil(count / total * budget), left)
        left -= share
        shares.append(share)
    return shares
