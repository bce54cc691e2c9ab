"""The generated guards: policies that keep numbers for those they are kept for, while all our processes are down.

A ValidatingAdmissionPolicy can only refuse (IP-62), so it is the hard stop; where skipping is better, webhooks
(`webhook_configurations.py`) ask us first. Every policy is param-less (IP-64) and fails open: one that the API server
cannot evaluate must not stop Services, nor the start of an API server whose repair writes IPAddresses (IP-49). What
escapes is found by the audit. A denial is a denial either way.

Reserved addresses are guarded on `ipaddresses` alone, where namespace and name decide; ranges and ports on Services,
too: there labels are known, ports are nowhere else, and a dry run, which creates no IPAddress, is answered (IP-24).

Who writes them has two duties. First, Services may have come between the reading of the facts and the moment when a
policy is in force: read again afterwards and correct (IP-63a). Second, write what is new or changed before what is
superfluous is removed: names of shards contain how many there are, so that growing them leaves no gap.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from api import names
from controllers.ipam import guard_cel as cel
from controllers.ipam.guard_fill import fills
from controllers.ipam.guard_rules import (
    AddressRegion,
    Facts,
    PortRegion,
    Rules,
    kept,
    reserved,
    rules,
    violation,
)
from controllers.ipam.guard_shards import address_parts, buckets, chunks, port_parts, stem
from controllers.ipam.objects import KUBERNETES

__all__ = [
    "MANAGER",
    "Facts",
    "Rules",
    "address_guards",
    "address_hooks",
    "policies",
    "rules",
    "unsaid",
    "violation",
]

Object = dict[str, Any]

MANAGER: Final = names.IPAM_MANAGED_BY
API_VERSION: Final = "admissionregistration.k8s.io/v1"

_ADDRESS: Final = "object.metadata.name"
_LONGEST: Final = 100_000
_MOST_CONDITIONS: Final = 64


class Guard(Struct, frozen=True, kw_only=True):
    """One policy: it refuses what meets all `conditions` (match conditions of the API), with a message made by CEL.

    `names` are those of the objects that it is about at all, if they are known: the cheapest filter there is.
    """

    name: str
    conditions: list[dict[str, str]]
    message: str
    names: tuple[str, ...] = ()

    @property
    def too_long(self) -> bool:
        """Whether the API server would not take it."""
        expressions = [self.message, *(each["expression"] for each in self.conditions)]
        return len(self.conditions) > _MOST_CONDITIONS or any(len(each) > _LONGEST for each in expressions)


def policies(rules: Rules) -> list[Object]:
    """All policies with their bindings. Same rules, same objects, in the same order."""
    made = [
        *(_validating(guard, _rule(guard)) for guard in address_guards(rules)),
        *(_validating(guard, _SERVICES, rules.facts.exempt) for guard in _said(_service_guards(rules))),
        *(_mutating(fill.name, fill.spec) for fill in fills(rules)),
    ]
    return [each for pair in made for each in pair]


def address_guards(rules: Rules) -> list[Guard]:
    """What the policies refuse when IPAddresses are created."""
    return _said([*_region_guards(rules, _not_ours(rules)), *_reservation_guards(rules)])


def address_hooks(rules: Rules) -> list[Guard]:
    """The same for the webhooks on IPAddresses: what a policy would refuse, they ask us about first.

    They never ask us about ourselves: so what we try is judged by the policies, and tells whether they are in force.
    """
    others = f"request.userInfo.username != {cel.text(rules.facts.user)}" if rules.facts.user else ""
    return _said([*_region_guards(rules, others), *_reservation_hooks(rules, others)])


def unsaid(rules: Rules) -> list[str]:
    """The guards that would be longer than the API server takes: their numbers are not guarded (in full)."""
    return [
        each.name
        for each in [*_region_guards(rules, _not_ours(rules)), *_reservation_guards(rules), *_service_guards(rules)]
        if each.too_long
    ]


def metadata(name: str) -> Object:
    """Metadata of a generated object."""
    return {"name": name, "labels": dict(names.IPAM_LABELS)}


def _said(guards: list[Guard]) -> list[Guard]:
    return [guard for guard in guards if not guard.too_long]


def _region_guards(rules: Rules, by: str) -> list[Guard]:
    """What is refused in exclusive ranges, when done `by` whom this condition tells."""
    return [guard for region in rules.address_regions for guard in _parts_of(rules, region, by)]


def _parts_of(rules: Rules, region: AddressRegion, by: str) -> list[Guard]:
    """One guard for each part of a region: so many CIDRs and so many grandfathered Services go into one policy."""
    if any(each.namespaces is None for each in region.entitled):
        # A Service of any namespace may be admitted, by labels that an IPAddress does not tell.
        return []
    names = sorted({name for each in region.entitled for name in each.namespaces or ()})
    strangers = [f"!({cel.PARENT_NAMESPACE} in {cel.listed(some)})" for some in chunks(names)]
    found = []
    for at, (networks, held) in enumerate(address_parts(region)):
        known = cel.listed(f"{address} {key}" for address, key in held)
        parts = [cel.within(_ADDRESS, networks), by, _judged(rules), *strangers]
        parts += [f"!(({_ADDRESS} + ' ' + {cel.PARENT_KEY}) in {known})"] if held else []
        name = f"{MANAGER}-addresses-{stem(region)}-{at}"
        found.append(Guard(name=name, conditions=cel.conditions(parts), message=_message(_ADDRESS, kept(region))))
    return found


def _reservation_guards(rules: Rules) -> list[Guard]:
    found = []
    for suffix, some in buckets(rules.owners, lambda address, owner: 2 * len(address) + len(owner) + 8):
        owners = cel.mapping({address: cel.text(owner) for address, owner in some.items()})
        before, _, after = reserved("|").partition("|")
        found.append(
            Guard(
                name=f"{MANAGER}-reserved-addresses-{suffix}",
                conditions=_reserved_for_others(rules, some, _not_ours(rules)),
                message=f"{_ADDRESS} + {cel.text(f' {before}')} + {owners}[{_ADDRESS}] + {cel.text(after)}",
                names=tuple(some),
            )
        )
    return found


def _reservation_hooks(rules: Rules, by: str) -> list[Guard]:
    """The same in few parts: the API server spends as much on every webhook that it does not call, however short its
    conditions are (25 µs, measured), and webhooks have no list of names that would spare it that."""
    return [
        Guard(name=f"{MANAGER}-reserved-{suffix}", conditions=_reserved_for_others(rules, some, by), message="")
        for suffix, some in buckets(rules.owners, lambda address, _: len(address) + 4, cel.MAX_EXPRESSION)
    ]


def _reserved_for_others(rules: Rules, owners: Mapping[str, str], by: str) -> list[dict[str, str]]:
    # Besides the owner, whoever has the address in spite of the reservation (IP-63a).
    holding = {
        f"{address} {key}"
        for address, owner in owners.items()
        for key in (owner, *rules.facts.holders.get(address, ()))
    }
    return cel.conditions(
        [
            f"{_ADDRESS} in {cel.listed(owners)}",
            by,
            _judged(rules),
            *(f"!(({_ADDRESS} + ' ' + {cel.PARENT_KEY}) in {cel.listed(some)})" for some in chunks(sorted(holding))),
        ]
    )


def _service_guards(rules: Rules) -> list[Guard]:
    found = []
    for region in rules.address_regions:
        for at, (networks, _) in enumerate(address_parts(region)):
            name = f"{MANAGER}-services-{stem(region)}-{at}"
            found += _service_guard(name, cel.newly_named(cel.within("a", networks)), region, "A ClusterIP")
    for ports in rules.port_regions:
        for at, spans in enumerate(port_parts(ports)):
            name = f"{MANAGER}-ports-{stem(ports)}-{at}"
            found += _service_guard(name, cel.newly_held(cel.between("n", spans)), ports, "A node port")
    return [*found, *_port_reservation_guards(rules)]


def _service_guard(name: str, test: str, region: AddressRegion | PortRegion, what: str) -> list[Guard]:
    admitted = cel.admitted(region.entitled)
    if not admitted:
        return []
    parts = [test, cel.NOT_THE_SERVERS, f"!{admitted}"]
    message = cel.text(f"{what} that {kept(region)}")
    return [Guard(name=name, conditions=cel.conditions(parts), message=message)]


def _port_reservation_guards(rules: Rules) -> list[Guard]:
    found = []
    for suffix, some in buckets(rules.port_owners, lambda _, owner: len(owner) + 20):
        owners = cel.listed(f"{number} {key}" for number, key in some.items())
        foreign = f"n in {cel.listed(some)} && !((string(n) + ' ' + {cel.SERVICE_KEY}) in {owners})"
        found.append(
            Guard(
                name=f"{MANAGER}-reserved-ports-{suffix}",
                conditions=cel.conditions([cel.newly_held(foreign), cel.NOT_THE_SERVERS]),
                message=cel.text("A node port of this Service is reserved for another one by a ServiceReservation"),
            )
        )
    return found


def _not_ours(rules: Rules) -> str:
    """Whether an IPAddress is not one of our holds or the like (see `violation`); "" while we are nobody."""
    user = rules.facts.user
    return f"!(request.userInfo.username == {cel.text(user)} && {cel.FOREIGN})" if user else ""


def _judged(rules: Rules) -> str:
    """Whether the creation of an IPAddress is judged: not those of exempt Services (IP-67)."""
    exempt = cel.listed(sorted(rules.facts.exempt))
    return f"!({cel.PARENT_NAMESPACE} in {exempt}) && {cel.PARENT_KEY} != {cel.text(KUBERNETES)}"


def _message(subject: str, predicate: str) -> str:
    return f"{subject} + {cel.text(' ' + predicate)}"


_SERVICES: Final[Object] = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["services"],
    "scope": "Namespaced",
}
ADDRESSES: Final[Object] = {
    "apiGroups": ["networking.k8s.io"],
    "apiVersions": ["v1"],
    "operations": ["CREATE"],
    "resources": ["ipaddresses"],
    "scope": "Cluster",
}


def _rule(guard: Guard) -> Object:
    return {**ADDRESSES, "resourceNames": list(guard.names)} if guard.names else ADDRESSES


def elsewhere(exempt: frozenset[str]) -> Object:
    """A selector of all Namespaces but these."""
    if not exempt:
        return {}
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": sorted(exempt)}]}


def _validating(guard: Guard, rule: Object, exempt: frozenset[str] = frozenset()) -> tuple[Object, Object]:
    """A policy that refuses what meets its match conditions: the same text serves the webhook, where it can only be
    a match condition."""
    matched: Object = {"resourceRules": [rule], "matchPolicy": "Equivalent"}
    matched |= {"namespaceSelector": elsewhere(exempt)} if exempt else {}
    spec: Object = {
        "failurePolicy": "Ignore",
        "matchConstraints": matched,
        "matchConditions": guard.conditions,
        "validations": [{"expression": "false", "messageExpression": guard.message, "reason": "Forbidden"}],
    }
    binding = {"policyName": guard.name, "validationActions": ["Deny"]}
    return _object("ValidatingAdmissionPolicy", guard.name, spec), _object(
        "ValidatingAdmissionPolicyBinding", guard.name, binding
    )


def _mutating(name: str, spec: Object) -> tuple[Object, Object]:
    return _object("MutatingAdmissionPolicy", name, spec), _object(
        "MutatingAdmissionPolicyBinding", name, {"policyName": name}
    )


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata(name), "spec": dict(spec)}
