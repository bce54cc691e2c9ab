"""From Pods to endpoints: what every family of a Service should publish, and why a Pod is not in it (ES-36 ...
ES-46).
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from msgspec import Struct

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


class Candidate(Struct, frozen=True, gc=False):
    """A Pod that may be published, its Node if there is one, its port group, and what is the same in every family."""

    pod: Pod
    node: Node | None
    group: Group
    conditions: Conditions
    hostname: str
    target: TargetRef


class Selected(NamedTuple):
    candidates: list[Candidate]
    left_out: list[LeftOut]


class Desired(NamedTuple):
    """What one family should publish: endpoints by identity, per port group (a group may be empty: ES-37)."""

    groups: dict[Group, dict[Identity, Endpoint]]
    left_out: list[LeftOut]


def select(service: Service, pods: Iterable[Pod], nodes: Mapping[str, Node]) -> Selected:
    """Which of the selected Pods may be endpoints, in whatever family."""
    resolver = Resolver(service)
    candidates: list[Candidate] = []
    left_out: list[LeftOut] = []
    for pod in pods:
        reason = membership.left_out(pod)
        if reason is None:
            candidates.append(_candidate(pod, nodes.get(pod.node_name), service, resolver.group(pod)))
        else:
            left_out.append(LeftOut(pod, reason))
    return Selected(candidates, left_out)


def desired(service: Service, candidates: Iterable[Candidate], family: str) -> Desired:
    """The endpoints of one family ("IPv4" or "IPv6"); a Pod registers its port group even if it is left out (ES-37)."""
    groups: dict[Group, dict[Identity, Endpoint]] = {}
    left_out: list[LeftOut] = []
    group: dict[Identity, Endpoint] = {}
    last: Group | None = None
    for each in candidates:
        pod = each.pod
        # Most often the very same one as before: a look-up would hash every port.
        if each.group is not last:
            last = each.group
            group = groups.setdefault(last, {})
        reason = membership.left_out_of_family(pod, each.node, service, family)
        if reason is None:
            addresses = membership.addresses(pod, family)
            group[(addresses, each.hostname, pod.namespace, pod.name)] = _endpoint(each, addresses)
        else:
            left_out.append(LeftOut(pod, reason, family))
    return Desired(groups, left_out)


def _candidate(pod: Pod, node: Node | None, service: Service, group: Group) -> Candidate:
    return Candidate(
        pod,
        node,
        group,
        _CONDITIONS[membership.ready(pod, service), pod.ready, pod.terminating],
        membership.hostname(pod, service),
        TargetRef(kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid),
    )


def _endpoint(each: Candidate, addresses: tuple[str, ...]) -> Endpoint:
    return Endpoint(
        addresses=addresses,
        conditions=each.conditions,
        hostname=each.hostname or None,
        target_ref=each.target,
        node_name=each.pod.node_name or None,
        zone=(each.node.zone or None) if each.node is not None else None,
    )
