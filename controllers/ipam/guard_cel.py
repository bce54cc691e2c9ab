"""CEL for the guards: texts, lists, ranges, label selectors, and what requests on IPAddresses and Services say.

Everything is inlined (IP-64). Lists of constants are made into sets when the API server compiles an expression, so
that looking a number up in them takes no longer with many than with few.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from controllers.ipam.guard_rules import API_SERVER, Entitled
from controllers.ipam.objects import ALLOCATOR, IPADDRESS_MANAGED_BY_LABEL
from controllers.ipam.pools import LabelSelector, Requirement
from controllers.ipam.ranges import Spans


def text(value: str) -> str:
    """A string literal. What is not ASCII stays as it is: JSON would escape it by surrogates, which CEL refuses."""
    return json.dumps(value, ensure_ascii=False)


# The parser takes no expression of more than 100,000 characters.
MAX_EXPRESSION: Final = 90_000
_FEW: Final = 4

_PARENT: Final = "object.spec.parentRef"
_OF_SERVICE: Final = f"(!has({_PARENT}.group) || {_PARENT}.group == '') && {_PARENT}.resource == 'services'"
_PARENT_NAMESPACE: Final = f"(has({_PARENT}.namespace) ? {_PARENT}.namespace : '')"
# The Service that an IPAddress is for, "" when it is for something else; and that Service's namespace.
PARENT_NAMESPACE: Final = f"({_OF_SERVICE} ? {_PARENT_NAMESPACE} : '')"
PARENT_KEY: Final = f"({_OF_SERVICE} ? {_PARENT_NAMESPACE} + '/' + {_PARENT}.name : '')"

LABELS: Final = "(has(object.metadata.labels) ? object.metadata.labels : {})"
SERVICE_KEY: Final = "(request.namespace + '/' + object.metadata.name)"
# Whether an IPAddress is not the allocator's.
_MANAGER: Final = text(IPADDRESS_MANAGED_BY_LABEL)
FOREIGN: Final = f"!({_MANAGER} in {LABELS} && {LABELS}[{_MANAGER}] == {text(ALLOCATOR)})"
# The Service that the API server keeps for itself, and what it writes in its own name (IP-67).
NOT_THE_SERVERS: Final = (
    f"request.userInfo.username != '{API_SERVER}'"
    " && !(request.namespace == 'default' && has(request.name) && request.name == 'kubernetes')"
)


def listed(values: Iterable[str | int]) -> str:
    """A list literal, in the order given."""
    return "[" + ", ".join(text(each) if isinstance(each, str) else str(each) for each in values) + "]"


def within(subject: str, networks: Sequence[str]) -> str:
    """Whether an address is in one of these CIDRs."""
    if len(networks) <= _FEW:
        return "(" + " || ".join(f"cidr({text(each)}).containsIP({subject})" for each in networks) + ")"
    return f"{listed(networks)}.exists(c, cidr(c).containsIP({subject}))"


def between(subject: str, spans: Spans) -> str:
    """Whether a number is in one of these ranges."""
    tests = [
        f"{subject} == {span.first}"
        if span.first == span.last
        else f"({subject} >= {span.first} && {subject} <= {span.last})"
        for span in spans.spans
    ]
    return "(" + " || ".join(tests) + ")"


def selected(selector: LabelSelector) -> str:
    """Whether a label selector admits the object; "" when it admits every one."""
    tests = [
        f"({_has(key)} && {LABELS}[{text(key)}] == {text(value)})" for key, value in sorted(selector.labels.items())
    ]
    return " && ".join([*tests, *map(_required, selector.expressions)])


def admitted(entitled: Sequence[Entitled]) -> str:
    """Whether one of these pools admits the Service, by its namespace and its labels; "" when one admits all."""
    tests = []
    for each in entitled:
        names, selector = each.namespaces, each.pool.select.service
        parts = [] if names is None else [f"request.namespace in {listed(names)}"]
        parts += [chosen] if selector is not None and (chosen := selected(selector)) else []
        if not parts:
            return ""
        tests.append("(" + " && ".join(parts) + ")")
    return "(" + " || ".join(tests) + ")"


def newly_named(test: str) -> str:
    """Whether a ClusterIP `a`, that the Service did not have before, passes a test."""
    had = "oldObject != null && has(oldObject.spec.clusterIPs) && a in oldObject.spec.clusterIPs"
    return (
        "has(object.spec.clusterIPs) && object.spec.type != 'ExternalName'"
        f" && object.spec.clusterIPs.exists(a, isIP(a) && {test} && !({had}))"
    )


def newly_held(test: str) -> str:
    """Whether a node port or the health check's port `n`, that the Service did not have before, passes a test."""
    health, had_health = "has(object.spec.healthCheckNodePort)", "has(oldObject.spec.healthCheckNodePort)"
    held = (
        "oldObject != null && ((has(oldObject.spec.ports)"
        " && oldObject.spec.ports.exists(o, has(o.nodePort) && o.nodePort == n))"
        f" || ({had_health} && oldObject.spec.healthCheckNodePort == n))"
    )
    # The test comes first: with many ports, comparing each with each that was held is what costs.
    failing = f"exists(n, n != 0 && {test} && !({held}))"
    return (
        "object.spec.type in ['NodePort', 'LoadBalancer'] && ("
        "(has(object.spec.ports) && object.spec.ports.exists(p, has(p.nodePort) && [p.nodePort]."
        f"{failing})) || ({health} && [object.spec.healthCheckNodePort].{failing}))"
    )


def conditions(parts: Sequence[str]) -> list[dict[str, str]]:
    """Match conditions that hold when all parts do, the cheapest first: evaluation ends with the first that is false.

    They are one expression while that is not too long, because the API server evaluates all match conditions.
    """
    joined: list[str] = []
    for part in filter(None, parts):
        if joined and len(joined[-1]) + len(part) < MAX_EXPRESSION:
            joined[-1] += f" && {part}"
        else:
            joined.append(part)
    return [{"name": f"forbidden-{at}", "expression": each} for at, each in enumerate(joined)]


def mapping(entries: Mapping[str, str]) -> str:
    """A map literal, of keys as text to values that are CEL already; sorted."""
    return "{" + ", ".join(f"{text(key)}: {value}" for key, value in sorted(entries.items())) + "}"


def _has(key: str) -> str:
    return f"{text(key)} in {LABELS}"


def _required(each: Requirement) -> str:
    if each.operator == "Exists":
        return f"({_has(each.key)})"
    if each.operator == "DoesNotExist":
        return f"!({_has(each.key)})"
    among = f"({_has(each.key)} && {LABELS}[{text(each.key)}] in {listed(each.values)})"
    return among if each.operator == "In" else f"!{among}"
