"""The generated guards without a server: what there is, that it is always the same, and that nothing is too long."""

import json
from typing import Any

import msgspec
import pytest

from controllers.ipam.guard_rules import Facts, rules, violation
from controllers.ipam.guard_shards import CHARACTERS, LIMIT, address_parts
from controllers.ipam.guards import policies, unsaid
from controllers.ipam.objects import ALLOCATOR, IPADDRESS_MANAGED_BY_LABEL, Address, Namespace
from controllers.ipam.pools import IPPool, LabelSelector, PortPool, Requirement, Reservation, Select
from controllers.ipam.ranges import IPV4, Span, Spans, addresses_of, network, text_of
from controllers.ipam.webhook_configurations import Paths, WebhookClient, webhooks
from controllers.model.objects import Labels

Object = dict[str, Any]

US = "system:serviceaccount:sliceplane-system:sliceplane-ipam"
CLIENT = WebhookClient(namespace="sliceplane-system", name="ipam", port=8443, prefix="/hooks", ca_bundle=b"PEM")


def pool(name: str, *ranges: str, exclusive: bool = True, enforced: bool = True, **select: Any) -> IPPool:
    return IPPool(
        name=name,
        exclusive=exclusive,
        enforced=enforced,
        addresses=addresses_of(network(each) for each in ranges),
        select=Select(**select),
    )


def port_pool(name: str, first: int, last: int, **select: Any) -> PortPool:
    ports = Spans([Span(first, last)])
    return PortPool(name=name, exclusive=True, enforced=True, ports=ports, select=Select(**select))


def reservation(service: str, *addresses: str, **more: Any) -> Reservation:
    namespace, _, name = service.partition("/")
    return Reservation(namespace=namespace, name=name, service_name=name, addresses=addresses, **more)


def address(name: str, service: str) -> Address:
    namespace, _, service_name = service.partition("/")
    return Address(name=name, parent=("", "services", namespace, service_name))


def names(objects: list[Object], kind: str) -> list[str]:
    return [each["metadata"]["name"] for each in objects if each["kind"] == kind]


def expressions(objects: list[Object]) -> list[str]:
    """Every expression in these policies."""
    found = []
    for spec in (each["spec"] for each in objects if "failurePolicy" in each["spec"]):
        found += [each["expression"] for each in [*spec["matchConditions"], *spec.get("variables", [])]]
        found += [
            text for each in spec.get("validations", []) for text in (each["expression"], each["messageExpression"])
        ]
        found += [each["jsonPatch"]["expression"] for each in spec.get("mutations", [])]
    return found


PAY = pool("pay", "10.96.1.0/28", "fd00:10:96::100/120", namespaces=frozenset({"payments"}))
GOLD = pool("gold", "10.96.2.0/27", service=LabelSelector(Labels(tier="gold")))
FACTS = Facts(
    ip_pools=(PAY, GOLD),
    port_pools=(port_pool("ports", 30000, 30015, namespaces=frozenset({"payments"})),),
    reservations=(
        reservation(
            "shop/web", "10.96.3.7", "fd00:10:96::77", node_ports=(("http", 30100),), health_check_node_port=30102
        ),
    ),
    namespaces=(Namespace("payments"), Namespace("shop")),
    holders={"10.96.1.3": ("old/svc",)},
    user=US,
)


def test_the_same_rules_make_the_same_bytes() -> None:
    shuffled = Facts(
        ip_pools=(GOLD, PAY),
        port_pools=FACTS.port_pools,
        reservations=FACTS.reservations,
        namespaces=FACTS.namespaces[::-1],
        holders=dict(FACTS.holders),
        exempt=frozenset({"kube-system"}),
        user=US,
    )
    first, second = (json.dumps([policies(r), webhooks(r, CLIENT)]) for r in map(rules, (FACTS, shuffled)))
    assert first == second


def test_what_there_is() -> None:
    made = policies(rules(FACTS))
    assert names(made, "ValidatingAdmissionPolicy") == [
        "sliceplane-ipam-addresses-pay-0",
        "sliceplane-ipam-reserved-addresses-0-of-1",
        "sliceplane-ipam-services-gold-0",
        "sliceplane-ipam-services-pay-0",
        "sliceplane-ipam-ports-ports-0",
        "sliceplane-ipam-reserved-ports-0-of-1",
    ]
    assert names(made, "MutatingAdmissionPolicy") == ["sliceplane-ipam-fill-0-of-1"]
    for kind in ("Validating", "Mutating"):
        policy = f"{kind}AdmissionPolicy"
        assert names(made, policy) == names(made, f"{policy}Binding")
    # Param-less (IP-64), and nothing that cannot be evaluated stops a Service or a start (IP-49).
    assert all("paramKind" not in e["spec"] and e["spec"].get("failurePolicy", "Ignore") == "Ignore" for e in made)
    everything = made + webhooks(rules(FACTS), CLIENT)
    assert all(e["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "sliceplane-ipam"} for e in everything)


def test_nothing_to_guard_makes_no_policy() -> None:
    facts = Facts(
        ip_pools=(pool("audited", "10.96.1.0/28", enforced=False), pool("open", "10.96.2.0/28", exclusive=False)),
        reservations=(reservation("shop/web", "10.96.3.7", phase="Expired"),),
    )
    assert policies(rules(facts)) == []
    _, validating = webhooks(rules(facts), CLIENT)
    assert [each["name"].partition(".")[0] for each in validating["webhooks"]] == [
        "serviceippools",
        "serviceportpools",
        "servicereservations",
    ]


def test_the_webhooks() -> None:
    mutating, *others = webhooks(rules(FACTS), CLIENT)
    services, strict = mutating["webhooks"]
    assert (services["failurePolicy"], strict["failurePolicy"]) == ("Ignore", "Fail")
    for hook in (services, strict):
        assert hook["timeoutSeconds"] == 2
        assert hook["sideEffects"] == "NoneOnDryRun"
        assert hook["reinvocationPolicy"] == "IfNeeded"
        assert hook["matchPolicy"] == "Equivalent"
        assert hook["clientConfig"] == {
            "service": {"namespace": "sliceplane-system", "name": "ipam", "port": 8443, "path": "/hooks/services"},
            "caBundle": "UEVN",
        }
        assert hook["namespaceSelector"]["matchExpressions"][0]["values"] == ["kube-system"]
    # Never Fail, at most 2 s (IP-63).
    hooks = [hook for each in others for hook in each["webhooks"]]
    assert [each["rules"][0]["resources"] for each in hooks] == [
        ["serviceippools"],
        ["serviceportpools"],
        ["servicereservations"],
        ["ipaddresses"],
        ["ipaddresses"],
    ]
    assert all(each["failurePolicy"] == "Ignore" and each["timeoutSeconds"] <= 2 for each in hooks)


def test_the_webhooks_on_addresses_ask_exactly_what_the_policies_refuse() -> None:
    found = rules(msgspec.structs.replace(FACTS, user=""))
    hooks = webhooks(found, CLIENT)[2:]
    # Mutating, to come before the policies.
    assert {each["kind"] for each in hooks} == {"MutatingWebhookConfiguration"}
    addresses = [e for e in policies(found) if e["kind"] == "ValidatingAdmissionPolicy" and "ipaddresses" in str(e)]
    assert [each["webhooks"][0]["matchConditions"] for each in hooks] == [
        each["spec"]["matchConditions"] for each in addresses
    ]
    # But not about ourselves.
    for each in webhooks(rules(FACTS), CLIENT)[2:]:
        assert f'request.userInfo.username != "{US}"' in each["webhooks"][0]["matchConditions"][0]["expression"]


def test_a_url_in_place_of_a_service() -> None:
    client = WebhookClient(url="https://127.0.0.1:8443")
    paths = Paths(services="/s")
    assert webhooks(rules(FACTS), client, paths)[0]["webhooks"][0]["clientConfig"] == {
        "url": "https://127.0.0.1:8443/s"
    }


def many(count: int) -> tuple[Reservation, ...]:
    return tuple(
        reservation(f"team-{n % 40}/service-{n}", text_of(IPV4, (10 << 24) + n), node_ports=(("http", 1024 + n),))
        for n in range(count)
    )


def test_ten_thousand_reservations_are_sharded() -> None:
    found = rules(Facts(reservations=many(10_000)))
    made = policies(found)
    longest = max(map(len, expressions(made)))
    assert 0.2 * CHARACTERS < longest < 100_000
    assert max(len(json.dumps(each)) for each in made) < 400_000
    reserved = [e for e in made if e["kind"] == "ValidatingAdmissionPolicy" and "reserved-addresses" in str(e)]
    listed = [name for e in reserved for name in e["spec"]["matchConstraints"]["resourceRules"][0]["resourceNames"]]
    assert len(listed) == len(set(listed)) == 10_000
    # Few webhooks, each small enough for an object, and each of its conditions for an expression.
    hooks = webhooks(found, CLIENT)[2:]
    assert len(hooks) == 2
    assert max(len(json.dumps(each)) for each in hooks) < 500_000
    conditions = [each for hook in hooks for each in hook["webhooks"][0]["matchConditions"]]
    assert max(len(each["expression"]) for each in conditions) < 100_000


def test_one_more_reservation_changes_a_few_policies() -> None:
    before = policies(rules(Facts(reservations=many(9_000))))
    after = policies(rules(Facts(reservations=many(9_001))))
    assert len(before) == len(after) > 30
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 3


def test_a_namespace_with_too_many_reservations_is_spread() -> None:
    facts = Facts(
        reservations=tuple(reservation(f"one/service-{n}", text_of(IPV4, (10 << 24) + n)) for n in range(3000))
    )
    made = policies(rules(facts))
    assert max(map(len, expressions(made))) < 100_000
    assert len(names(made, "MutatingAdmissionPolicy")) > 2


def test_regions_are_cut_where_many_are_grandfathered() -> None:
    holders = {text_of(IPV4, (10 << 24) + (96 << 16) + n): (f"old/{n}",) for n in range(2000)}
    facts = Facts(ip_pools=(pool("wide", "10.96.0.0/16", namespaces=frozenset({"new"})),), holders=holders)
    (region,) = rules(facts).address_regions
    parts = list(address_parts(region))
    assert all(len(held) <= LIMIT and len(networks) <= LIMIT for networks, held in parts)
    assert [each for _, held in parts for each in held] == list(region.grandfathered)
    assert addresses_of(network(each) for networks, _ in parts for each in networks) == region.addresses
    assert max(map(len, expressions(policies(rules(facts))))) < 100_000


def test_what_cannot_be_said_is_named() -> None:
    many_names = frozenset(f"{'n' * 50}-{n}" for n in range(2500))
    found = rules(Facts(ip_pools=(pool("wide", "10.96.0.0/16", namespaces=many_names),)))
    # On Services the list is one expression; on IPAddresses it is several match conditions, and complete.
    assert unsaid(found) == ["sliceplane-ipam-services-wide-0"]
    assert names(policies(found), "ValidatingAdmissionPolicy") == ["sliceplane-ipam-addresses-wide-0"]
    assert unsaid(rules(FACTS)) == []


def test_pools_that_overlap_admit_those_of_each() -> None:
    facts = Facts(
        ip_pools=(
            pool("a", "10.96.1.0/24", namespaces=frozenset({"one"})),
            pool("b", "10.96.1.128/25", "10.96.2.0/24", namespaces=frozenset({"two"})),
        )
    )
    found = rules(facts)
    allowed = {
        (text, namespace): violation(address(text, f"{namespace}/web"), found) is None
        for text in ("10.96.1.1", "10.96.1.200", "10.96.2.1")
        for namespace in ("one", "two")
    }
    assert allowed == {
        ("10.96.1.1", "one"): True,
        ("10.96.1.1", "two"): False,
        ("10.96.1.200", "one"): True,
        ("10.96.1.200", "two"): True,
        ("10.96.2.1", "one"): False,
        ("10.96.2.1", "two"): True,
    }
    # Each region's policies keep their names whichever other pools there are.
    assert len(set(names(policies(found), "ValidatingAdmissionPolicy"))) == 6


VERDICTS = {
    "entitled": ("10.96.1.5", "payments/web", None),
    "stranger": (
        "10.96.1.5",
        "shop/web",
        "10.96.1.5 is kept by ServiceIPPool pay (10.96.1.0-10.96.1.15, fd00:10:96::100-fd00:10:96::1ff)"
        " for Services of namespaces payments",
    ),
    "stranger in the other family": ("fd00:10:96::1ff", "shop/web", "fd00:10:96::1ff is kept by"),
    "a live Service that lists it": ("10.96.1.3", "old/svc", None),
    "that Service, another address": ("10.96.1.4", "old/svc", "10.96.1.4 is kept by"),
    "by labels, which nobody knows here": ("10.96.2.5", "shop/web", None),
    "exempt": ("10.96.1.5", "kube-system/dns", None),
    "the API server's own": ("10.96.1.5", "default/kubernetes", None),
    "reserved for it": ("10.96.3.7", "shop/web", None),
    "reserved for another": (
        "10.96.3.7",
        "shop/other",
        "10.96.3.7 is reserved for Service shop/web by a ServiceReservation",
    ),
    "nobody's": ("10.96.9.9", "shop/web", None),
}


@pytest.mark.parametrize(("text", "service", "message"), VERDICTS.values(), ids=VERDICTS)
def test_violation(text: str, service: str, message: str | None) -> None:
    found = violation(address(text, service), rules(FACTS))
    assert found is None if message is None else (found or "").startswith(message)


def test_what_is_no_services_is_refused_to_all_but_us() -> None:
    held = Address(name="10.96.1.5", parent=("ipam.sliceplane.dev", "servicereservations", "payments", "web"))
    assert violation(held, rules(FACTS), user="somebody")
    assert violation(held, rules(FACTS), user=US) is None
    # What we do in the API server's place is judged like the API server.
    repaired = msgspec.structs.replace(held, labels=Labels({IPADDRESS_MANAGED_BY_LABEL: ALLOCATOR}))
    assert violation(repaired, rules(FACTS), user=US)


def test_a_later_view_of_the_holders_counts() -> None:
    late = address("10.96.1.6", "old/late")
    assert violation(late, rules(FACTS))
    assert violation(late, rules(FACTS), holders=lambda text: ("old/late",) if text == "10.96.1.6" else ()) is None


def test_nothing_is_filled_that_the_guards_would_refuse_or_another_has() -> None:
    facts = Facts(
        ip_pools=(PAY, GOLD),
        port_pools=FACTS.port_pools,
        reservations=(
            reservation("shop/kept", "10.96.1.9", created="2026-01-01T00:00:00Z"),
            reservation("shop/port", node_ports=(("http", 30001),)),
            reservation("shop/taken", "10.96.3.8"),
            reservation("shop/later", "10.96.3.9", created="2026-01-02T00:00:00Z"),
            reservation("shop/first", "10.96.3.9", created="2026-01-01T00:00:00Z"),
            reservation("shop/gold", "10.96.2.9"),
            reservation("kube-system/dns", "10.96.3.10"),
        ),
        holders={"10.96.3.8": ("shop/other",)},
    )
    made = [each for each in policies(rules(facts)) if each["kind"] == "MutatingAdmissionPolicy"]
    filled = [each["spec"]["matchConstraints"]["resourceRules"][0]["resourceNames"] for each in made]
    assert filled == [["first"], ["gold"]]
    # Only while its labels entitle it.
    assert '"tier"' in made[1]["spec"]["matchConditions"][0]["expression"]


def test_selectors_are_spelled_out() -> None:
    selector = LabelSelector(
        Labels(tier="gold"),
        (Requirement("zone", "In", ("a", "b")), Requirement("x", "DoesNotExist"), Requirement("y", "Exists")),
    )
    made = policies(rules(Facts(ip_pools=(pool("p", "10.96.1.0/28", service=selector),))))
    (text,) = [each for each in expressions(made) if "clusterIPs" in each]
    for part in ('"tier"', '["a", "b"]', '!("x" in', '("y" in'):
        assert part in text
