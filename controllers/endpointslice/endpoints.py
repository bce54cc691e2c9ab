"""From Pods to endpoints: what every family of a Service should publish, and why a Pod is not in it (ES-36 ...
ES-46).
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from controllers.membership import pods as membership
from controllers.membership.ports import Resolver
from controllers.model.identity import Identity
from controllers.model.objects import Conditions, Endpoint, EndpointPort, Node, Pod, Service, TargetRef
from controllers.model.reasons import Reason

Group = tuple[EndpointPort, ...]

_CONDITIONS: Final = {
    (ready, serving, terminating): Conditions(ready, serving, terminating)
    for ready in (False, True)
    for serving in (False, True)
    for terminating in (False, True)
}


class LeftOut(NamedTuple):
    """A selected Pod that is not published: in `family` ("IPv4", "IPv6"), or in none when that is ""."""

    pod: Pod
    reason: Reason
    family: str = ""


# A Pod that may be published in some family, and the port group that it belongs to there; plain, for there are many.
Candidate = tuple[Pod, Group]


class Selected(NamedTuple):
    candidates: list[Candidate]
    left_out: list[LeftOut]


class Desired(NamedTuple):
    """What one family should publish: endpoints by identity, per port group (a group may be empty: ES-37)."""

    groups: dict[Group, dict[Identity, Endpoint]]
    left_out: list[LeftOut]


def select(service: Service, pods: Iterable[Pod]) -> Selected:
    """Which of the selected Pods may be endpoints, in whatever family."""
    resolver = Resolver(service)
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    for pod in pods:
        reason = membership.left_out(pod)
        if reason is None:
            candidates.append((pod, resolver.group(pod)))
        else:
            left_out.append(LeftOut(pod, reason))
    return Selected(candidates, left_out)


def desired(service: Service, candidates: Iterable[Candidate], nodes: Mapping[str, Node], family: str) -> Desired:
    """The endpoints of one family ("IPv4" or "IPv6"); a Pod registers its port group even if it is left out (ES-37)."""
    groups: dict[Group, dict[Identity, Endpoint]] = {}
    left_out: list[LeftOut] = []
    for pod, key in candidates:
        group = groups.get(key)
        if group is None:
            group = groups[key] = {}
        node = nodes.get(pod.node_name)
        reason = membership.left_out_of_family(pod, node, service, family)
        if reason is None:
            made = _endpoint(pod, node, service, family)
            group[(made.addresses, made.hostname or "", pod.namespace, pod.name)] = made
        else:
            left_out.append(LeftOut(pod, reason, family))
    return Desired(groups, left_out)


def _endpoint(pod: Pod, node: Node | None, service: Service, family: str) -> Endpoint:
    return Endpoint(
        addresses=membership.addresses(pod, family),
        conditions=_CONDITIONS[membership.ready(pod, service), pod.ready, pod.terminating],
        hostname=membership.hostname(pod, service) or None,
        target_ref=TargetRef(kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid),
        node_name=pod.node_name or None,
        zone=(node.zone or None) if node is not None else None,
    )
