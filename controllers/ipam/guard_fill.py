"""Policies that fill in what is reserved for a Service when it is created, by its name: our pods may be down.

Only what the user has left open is filled, and only as the API server would accept it (IP-30): a reserved address
that does not suit the families asked for is left out, not forced. Names made by `generateName` are not known yet
(IP-73). What the guards would refuse, or somebody else has, is not filled: the Service then gets other numbers.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from controllers.ipam import guard_cel as cel
from controllers.ipam.guard_rules import Entitled, Rules, canonical, ranked
from controllers.ipam.guard_shards import CHARACTERS, buckets
from controllers.ipam.ranges import family_of

Object = dict[str, Any]
_PREFIX: Final = "sliceplane-ipam-fill"


class Fill(Struct, frozen=True):
    """A MutatingAdmissionPolicy: its name and spec."""

    name: str
    spec: Object


class _Wish(Struct):
    """What is filled for one Service, and the condition on its labels under which it may have that ("" for none)."""

    addresses: dict[str, str]
    ports: dict[str, int]
    health: int = 0
    condition: str = ""

    @property
    def empty(self) -> bool:
        return not (self.addresses or self.ports or self.health)


def fills(rules: Rules) -> list[Fill]:
    """The policies, by Namespace: a Service is looked at by those alone that know its Namespace."""
    by_condition: dict[str, dict[str, _Wish]] = {}
    for key, wish in _wishes(rules).items():
        by_condition.setdefault(wish.condition, {})[key] = wish
    found = []
    for condition, wishes in sorted(by_condition.items()):
        prefix = f"{_PREFIX}-if-{sha256(condition.encode()).hexdigest()[:8]}" if condition else _PREFIX
        found += [Fill(f"{prefix}-{suffix}", _spec(condition, some)) for suffix, some in _shards(wishes)]
    return found


def _wishes(rules: Rules) -> dict[str, _Wish]:
    """What each Service with reservations is to get, by `namespace/name`; the older reservation wins."""
    found: dict[str, _Wish] = {}
    conditions: dict[str, dict[str, None]] = {}
    for each in ranked(rules.facts.reservations):
        # What is out of reach the API server would refuse, and with it the Service.
        if rules.exempts(each.key) or each.phase == "Pending":
            continue
        wish = found.setdefault(each.key, _Wish({}, {}))
        needs = conditions.setdefault(each.key, {})
        # A hold is in the API server's way, and nobody takes it out of it while we are down: rather another address.
        ready = () if each.hold and each.phase != "Bound" else each.addresses
        for address in filter(None, map(canonical, ready)):
            family = family_of(address)
            if family in rules.facts.families and _may(each.key, needs, *_about_address(rules, address)):
                wish.addresses.setdefault(family, address)
        for name, number in each.node_ports:
            if _may(each.key, needs, *_about_port(rules, number)):
                wish.ports.setdefault(name, number)
        health = each.health_check_node_port
        if health and not wish.health and _may(each.key, needs, *_about_port(rules, health)):
            wish.health = health
    for key, wish in found.items():
        wish.condition = " && ".join(sorted(conditions[key]))
    return {key: wish for key, wish in sorted(found.items()) if not wish.empty}


def _about_address(rules: Rules, address: str) -> tuple[str, Sequence[str], Sequence[Entitled] | None]:
    """Who owns an address, who holds it, and whom the pools admit that keep it."""
    keeping = next((r.entitled for r in rules.address_regions if r.addresses.holds(address)), None)
    return rules.owners[address], list(rules.facts.holders.get(address, ())), keeping


def _about_port(rules: Rules, number: int) -> tuple[str, Sequence[str], Sequence[Entitled] | None]:
    keeping = next((r.entitled for r in rules.port_regions if number in r.ports), None)
    return rules.port_owners.get(number, ""), list(rules.facts.port_holders.get(number, ())), keeping


def _may(
    key: str, needs: dict[str, None], owner: str, holders: Sequence[str], entitled: Sequence[Entitled] | None
) -> bool:
    """Whether a number may be filled for a Service; a condition on its labels that this takes goes into `needs`."""
    if owner != key or any(holder != key for holder in holders):
        return False
    if entitled is None:
        return True
    namespace = key.partition("/")[0]
    admitting = [each for each in entitled if each.namespaces is None or namespace in each.namespaces]
    if not admitting:
        return False
    selectors = [each.pool.select.service for each in admitting]
    chosen = ["" if selector is None else cel.selected(selector) for selector in selectors]
    if all(chosen):
        needs["(" + " || ".join(chosen) + ")"] = None
    return True


def _weight(key: str, wish: _Wish) -> int:
    """About how many characters the entries of a Service take."""
    return 2 * len(key) + 100 + sum(len(key) + len(name) + 12 for name in wish.ports)


def _weights(wishes: Mapping[str, _Wish]) -> int:
    return sum(_weight(*item) for item in wishes.items())


def _shards(wishes: Mapping[str, _Wish]) -> list[tuple[str, dict[str, _Wish]]]:
    """By Namespace, so that each is in one shard; one that is too much for a shard is spread by name."""
    namespaces: dict[str, dict[str, _Wish]] = {}
    for key, wish in wishes.items():
        namespaces.setdefault(key.partition("/")[0], {})[key] = wish
    small = {name: some for name, some in namespaces.items() if _weights(some) <= CHARACTERS}
    found = [
        (suffix, {key: wish for some in group.values() for key, wish in some.items()})
        for suffix, group in buckets(small, lambda _, some: _weights(some))
    ]
    for name in namespaces.keys() - small.keys():
        found += [(f"in-{name}-{suffix}", some) for suffix, some in buckets(namespaces[name], _weight)]
    return sorted(found, key=lambda each: each[0])


def _spec(condition: str, wishes: Mapping[str, _Wish]) -> Object:
    namespaces = sorted({key.partition("/")[0] for key in wishes})
    services = sorted({key.partition("/")[2] for key in wishes})
    parts = [
        f"has(object.metadata.name) && {_KEY} in {cel.listed(wishes)}",
        "object.spec.type != 'ExternalName' && !(has(object.spec.clusterIP) && object.spec.clusterIP == 'None')",
        cel.NOT_THE_SERVERS,
        condition,
    ]
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["services"],
        "resourceNames": services,
        "scope": "Namespaced",
    }
    selector = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces}
    return {
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
        "matchConstraints": {
            "resourceRules": [rule],
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [selector]},
        },
        "matchConditions": cel.conditions(parts),
        "variables": [{"name": name, "expression": text} for name, text in _variables(wishes).items()],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": text}} for text in _MUTATIONS],
    }


def _variables(wishes: Mapping[str, _Wish]) -> dict[str, str]:
    """What the mutations read; each is evaluated only when it is read."""
    addresses = {key: cel.listed(wish.addresses.values()) for key, wish in wishes.items() if wish.addresses}
    ports = {f"{key}/{name}": str(n) for key, wish in wishes.items() for name, n in wish.ports.items()}
    health = {key: str(wish.health) for key, wish in wishes.items() if wish.health}
    return {
        "reserved": f"{cel.mapping(addresses)}[?{_KEY}].orValue([])" if addresses else "[]",
        "ports": cel.mapping(ports),
        "health": f"{cel.mapping(health)}[?{_KEY}].orValue(0)" if health else "0",
        **_READING,
    }


_KEY: Final = cel.SERVICE_KEY
_DUAL: Final = "['PreferDualStack', 'RequireDualStack']"
_FAMILY: Final = "(a.contains(':') ? 'IPv6' : 'IPv4')"
_READING: Final = {
    "open": "!(has(object.spec.clusterIP) && object.spec.clusterIP != '')"
    " && !(has(object.spec.clusterIPs) && size(object.spec.clusterIPs) > 0)",
    "policy": "has(object.spec.ipFamilyPolicy) ? object.spec.ipFamilyPolicy : ''",
    "families": "has(object.spec.ipFamilies) ? object.spec.ipFamilies : []",
    # No family asked for: the reserved ones, in their order. Otherwise the first one asked for comes first, and the
    # other only where two are asked for (IP-30).
    "first": f"size(variables.families) == 0 ? [] : variables.reserved.filter(a, {_FAMILY} == variables.families[0])",
    "other": f"size(variables.families) == 0 ? [] : variables.reserved.filter(a, {_FAMILY} != variables.families[0])",
    "suited": "size(variables.families) == 0"
    " ? (variables.policy == 'SingleStack' && size(variables.reserved) > 1"
    " ? [variables.reserved[0]] : variables.reserved)"
    f" : (size(variables.first) > 0 && variables.policy in {_DUAL}"
    " ? variables.first + variables.other : variables.first)",
    # A number that the user has given to another port of the Service must not be given twice.
    "given": "has(object.spec.ports) ? object.spec.ports.filter(p, has(p.nodePort) && p.nodePort != 0)"
    ".map(p, p.nodePort) : []",
    "takesPorts": "has(object.spec.ports) && (object.spec.type == 'NodePort' || (object.spec.type == 'LoadBalancer'"
    " && !(has(object.spec.allocateLoadBalancerNodePorts) && !object.spec.allocateLoadBalancerNodePorts)))",
    "takesHealth": "object.spec.type == 'LoadBalancer' && has(object.spec.externalTrafficPolicy)"
    " && object.spec.externalTrafficPolicy == 'Local'"
    " && !(has(object.spec.healthCheckNodePort) && object.spec.healthCheckNodePort != 0)",
}
_NUMBER: Final = f"variables.ports[?({_KEY} + '/' + (has(p.name) ? p.name : ''))].orValue(0)"
_MUTATIONS: Final = (
    "variables.open && size(variables.suited) > 0 ? ["
    "JSONPatch{op: 'add', path: '/spec/clusterIP', value: variables.suited[0]}, "
    "JSONPatch{op: 'add', path: '/spec/clusterIPs', value: variables.suited}]"
    " + (size(variables.suited) > 1 && variables.policy == ''"
    " ? [JSONPatch{op: 'add', path: '/spec/ipFamilyPolicy', value: 'PreferDualStack'}] : []) : []",
    "variables.takesPorts ? object.spec.ports.transformList(i, p,"
    f" !(has(p.nodePort) && p.nodePort != 0) && {_NUMBER} != 0 && !({_NUMBER} in variables.given),"
    f" JSONPatch{{op: 'add', path: '/spec/ports/' + string(i) + '/nodePort', value: {_NUMBER}}}) : []",
    "variables.takesHealth && variables.health != 0 && !(variables.health in variables.given)"
    " ? [JSONPatch{op: 'add', path: '/spec/healthCheckNodePort', value: variables.health}] : []",
)
