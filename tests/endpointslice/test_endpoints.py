"""From Pods to endpoints (ES-36 ... ES-46; ES-T13 ... ES-T29, ES-T55, ES-T56)."""

from typing import Any

import pytest

from controllers.model.identity import equal_beyond_identity, identity
from controllers.model.objects import (
    Conditions,
    Endpoint,
    ForZone,
    Hints,
    Node,
    Pod,
    Service,
    TargetRef,
)
from controllers.model.reasons import Reason
from tests.builders import (
    NODE,
    apply,
    conditions,
    counts,
    created,
    deleted,
    endpoint,
    existing,
    placeholder,
    planned,
    pod,
    pods,
    service,
    sizes,
    updated,
)

BOTH = pod(ipv4=("1.2.3.4",), ipv6=("1234::5678:0:0:9abc:def0",))


def published(of: Service, *pods: Pod) -> list[Endpoint]:
    return [found for each in created(planned(of, pods)) for found in each.endpoints]


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        pytest.param(("IPv4",), {"IPv4": [("1.2.3.4",)]}, id="ES-T13"),
        pytest.param(("IPv6",), {"IPv6": [("1234::5678:0:0:9abc:def0",)]}, id="ES-T14"),
        pytest.param(
            ("IPv6", "IPv4"), {"IPv4": [("1.2.3.4",)], "IPv6": [("1234::5678:0:0:9abc:def0",)]}, id="ES-T15-dual"
        ),
        pytest.param(("IPv4", "IPv9"), {"IPv4": [("1.2.3.4",)]}, id="ES-52-unknown-family"),
    ],
)
def test_families(families: tuple[str, ...], expected: dict[str, list[tuple[str, ...]]]) -> None:
    plan = planned(service(ip_families=families), [BOTH])
    assert {each.address_type: [e.addresses for e in each.endpoints] for each in created(plan)} == expected
    assert [(family.added, family.removed) for family in plan.families] == [(1, 0)] * len(expected)


@pytest.mark.parametrize(
    ("cluster_ip", "expected"),
    [
        pytest.param("10.0.0.10", {"IPv4": 1}, id="ES-T16"),
        pytest.param("fd00::10", {"IPv6": 0}, id="ES-52-by-cluster-ip"),
        pytest.param("nonsense", {"IPv4": 1}, id="ES-52-IPv4-unless-it-parses"),
        pytest.param("None", {"IPv4": 1, "IPv6": 0}, id="ES-T17-headless"),
        pytest.param("", {"IPv4": 1, "IPv6": 0}, id="ES-T17-no-cluster-ip"),
    ],
)
def test_families_without_ip_families(cluster_ip: str, expected: dict[str, int]) -> None:
    plan = planned(service(ip_families=(), cluster_ip=cluster_ip), [pod()])
    assert {each.address_type: len(each.endpoints) for each in created(plan)} == expected


@pytest.mark.parametrize(
    ("ready", "terminating", "publish", "expected"),
    [
        pytest.param(True, False, False, (True, True, False), id="ES-41-ready"),
        pytest.param(False, False, False, (False, False, False), id="ES-41-not-ready"),
        pytest.param(True, True, False, (False, True, True), id="ES-T18"),
        pytest.param(False, True, False, (False, False, True), id="ES-T19"),
        pytest.param(False, False, True, (True, False, False), id="ES-T20"),
        pytest.param(True, True, True, (True, True, True), id="ES-41-published-while-terminating"),
        pytest.param(False, True, True, (True, False, True), id="ES-41-published-unready-and-terminating"),
    ],
)
def test_conditions(ready: bool, terminating: bool, publish: bool, expected: tuple[bool, bool, bool]) -> None:
    (found,) = published(service(publish_not_ready=publish), pod(ready=ready, terminating=terminating))
    assert found.conditions == Conditions(*expected)


def test_fifty_pods_published_although_a_third_is_unready_es_t21() -> None:
    plan = planned(service(publish_not_ready=True), [pod(number, ready=number % 3 != 0) for number in range(50)])
    assert sizes(created(plan)) == [50]
    assert all(found.conditions.ready for found in created(plan)[0].endpoints)


@pytest.mark.parametrize(
    ("changes", "present"),
    [
        pytest.param({"phase": "Succeeded"}, False, id="ES-T22-succeeded"),
        pytest.param({"phase": "Failed", "terminating": True}, False, id="ES-T22-failed"),
        pytest.param({"phase": "Pending", "ready": False}, True, id="ES-T23-pending"),
        pytest.param({"phase": "Unknown"}, True, id="ES-T23-unknown"),
        pytest.param({"first_family": "", "ipv4": ()}, False, id="ES-36-no-ip"),
        pytest.param({"ipv4": (), "refused_ips": ("127.0.0.1",)}, False, id="ES-152-refused"),
    ],
)
def test_presence(changes: dict[str, Any], present: bool) -> None:
    assert bool(published(service(), pod(**changes))) is present


def test_two_pods_with_one_address_es_t24() -> None:
    one, other = pod(1), pod(2, ipv4=pod(1).ipv4, ready=False)
    found = published(service(), one, other)
    assert sorted((e.target_ref.name, e.conditions.ready) for e in found if e.target_ref) == [
        ("pod-001", True),
        ("pod-002", False),
    ]


@pytest.mark.parametrize(
    ("hostname", "subdomain", "expected"),
    [
        pytest.param("h", "s", "h", id="ES-T25"),
        pytest.param("h", "other", None, id="ES-T25-other-subdomain"),
        pytest.param("h", "", None, id="ES-T25-no-subdomain"),
        pytest.param("", "s", None, id="ES-T25-no-hostname"),
    ],
)
def test_hostname(hostname: str, subdomain: str, expected: str | None) -> None:
    (found,) = published(service(), pod(hostname=hostname, subdomain=subdomain))
    assert found.hostname == expected


def test_whole_endpoint_es_42_43() -> None:
    assert published(service(), pod(7)) == [endpoint(pod(7))]
    assert endpoint(pod(7)).conditions == conditions(pod(7))


@pytest.mark.parametrize(
    ("node_name", "node", "expected"),
    [
        pytest.param("node-1", NODE, ("node-1", "zone-a"), id="ES-43-zone"),
        pytest.param("node-1", Node("node-1"), ("node-1", None), id="ES-43-no-zone-label"),
        pytest.param("gone", NODE, ("gone", None), id="ES-T27-no-node-no-zone"),
        pytest.param("", NODE, (None, None), id="ES-38-no-node-name"),
    ],
)
def test_node_and_zone(node_name: str, node: Node, expected: tuple[str | None, str | None]) -> None:
    plan = planned(service(publish_not_ready=True), [pod(node_name=node_name)], nodes=[node])
    (found,) = created(plan)[0].endpoints
    assert (found.node_name, found.zone) == expected


@pytest.mark.parametrize(
    ("publish", "expected", "reasons"),
    [
        pytest.param(False, [1], [Reason.NODE_NOT_FOUND], id="ES-T26"),
        pytest.param(True, [2], [], id="ES-T27"),
    ],
)
def test_node_of_one_pod_is_missing(publish: bool, expected: list[int], reasons: list[Reason]) -> None:
    plan = planned(service(publish_not_ready=publish), [pod(1), pod(2, node_name="gone")])
    assert (counts(plan), sizes(created(plan))) == ((1, 0, 0), expected)
    assert [each.reason for each in plan.left_out] == reasons


def test_pod_without_node_name_is_left_out_es_38() -> None:
    plan = planned(pods=[pod(node_name="")], nodes=[NODE, Node("other")])
    assert [(each.pod.name, each.reason) for each in plan.left_out] == [("pod-000", Reason.NODE_NOT_FOUND)]


def test_all_nodes_gone_empties_the_slice_es_t28() -> None:
    plan = planned(pods=pods(2), slices=[existing("s-a", pods(2))], nodes=[])
    assert counts(plan) == (0, 1, 0)
    (update,) = updated(plan)
    assert (update.name, update.endpoints, update.ports) == ("s-a", (), ())
    assert [family.removed for family in plan.families] == [2]
    assert [each.reason for each in plan.left_out] == [Reason.NODE_NOT_FOUND] * 2


def test_all_nodes_gone_but_published_es_t29() -> None:
    found = existing("s-a", [endpoint(each, zone=None) for each in pods(2)])
    plan = planned(service(publish_not_ready=True), pods(2), [found], nodes=[])
    assert not plan
    assert plan.left_out == ()


def test_why_pods_are_left_out() -> None:
    plan = planned(
        service(ip_families=("IPv4", "IPv6")),
        [pod(1), pod(2, phase="Failed"), pod(3, first_family="", ipv4=()), pod(4, ipv4=(), refused_ips=("::1",))],
    )
    # A reason for every family, or one for all of them.
    assert sorted((each.pod.name, each.reason.value, each.family) for each in plan.left_out) == [
        ("pod-001", "pod_no_address_of_family", "IPv6"),
        ("pod-002", "pod_finished", ""),
        ("pod-003", "pod_no_ip", ""),
        ("pod-004", "pod_address_refused", "IPv6"),
        ("pod-004", "pod_no_address_of_family", "IPv4"),
    ]


TARGET = endpoint(pod()).target_ref


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        pytest.param({}, True, id="the-same"),
        pytest.param({"deprecated_topology": {"a": "b"}}, True, id="ES-46-deprecated-topology"),
        pytest.param(
            {
                "target_ref": TargetRef(
                    kind="Pod", namespace="ns", name="pod-000", uid="uid-pod-0", resource_version="1"
                )
            },
            True,
            id="ES-T55-resource-version",
        ),
        pytest.param(
            {"target_ref": TargetRef(kind="Pod", namespace="ns", name="pod-000", uid="other")}, False, id="ES-46-uid"
        ),
        pytest.param(
            {"target_ref": TargetRef(kind="", namespace="ns", name="pod-000", uid="uid-pod-0")}, False, id="ES-46-kind"
        ),
        pytest.param(
            {"target_ref": TargetRef(kind="Pod", namespace="ns", name="pod-000", uid="uid-pod-0", api_version="v1")},
            False,
            id="ES-46-api-version",
        ),
        pytest.param(
            {"target_ref": TargetRef(kind="Pod", namespace="ns", name="pod-000", uid="uid-pod-0", field_path="x")},
            False,
            id="ES-46-field-path",
        ),
        pytest.param({"node_name": "other"}, False, id="ES-46-node"),
        pytest.param({"node_name": None}, False, id="ES-46-node-absent"),
        pytest.param({"zone": "other"}, False, id="ES-46-zone"),
        pytest.param({"zone": None}, False, id="ES-46-zone-absent"),
        pytest.param({"conditions": Conditions(False, True, False)}, False, id="ES-46-ready"),
        pytest.param({"conditions": Conditions(True, False, False)}, False, id="ES-46-serving"),
        pytest.param({"conditions": Conditions(True, True, True)}, False, id="ES-46-terminating"),
        pytest.param({"conditions": Conditions(True)}, False, id="ES-T56-serving-and-terminating-absent"),
        pytest.param({"conditions": Conditions(True, True)}, False, id="ES-T56-absent-is-not-false"),
    ],
)
def test_equal_endpoints_need_no_write(change: dict[str, Any], equal: bool) -> None:
    found = endpoint(pod(), **change)
    assert equal_beyond_identity(found, endpoint(pod())) is equal
    plan = planned(pods=[pod()], slices=[existing("s-a", [found])])
    assert counts(plan) == ((0, 0, 0) if equal else (0, 1, 0))
    if not equal:
        assert updated(plan)[0].endpoints == (endpoint(pod()),)
    assert [(family.added, family.removed) for family in plan.families] == [(0, 0)]


def test_hints_are_not_compared_es_46() -> None:
    assert equal_beyond_identity(endpoint(pod(), hints=Hints((ForZone("zone-a"),))), endpoint(pod()))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [(None, None, True), (TARGET, None, False), (None, TARGET, False), (TARGET, TARGET, True)],
)
def test_endpoints_without_a_target_es_46(one: TargetRef | None, other: TargetRef | None, equal: bool) -> None:
    found = [endpoint(pod(), target_ref=each) for each in (one, other)]
    assert equal_beyond_identity(*found) is equal


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({"node_name": "x", "zone": "x", "conditions": Conditions()}, True, id="ES-45-not-part-of-it"),
        pytest.param({"addresses": ("10.9.9.9",)}, False, id="ES-45-address"),
        pytest.param({"hostname": "h"}, False, id="ES-45-hostname"),
        pytest.param({"hostname": ""}, True, id="ES-45-no-hostname-is-empty"),
        pytest.param({"target_ref": TargetRef(namespace="ns", name="pod-000")}, True, id="ES-45-uid"),
        pytest.param({"target_ref": TargetRef(namespace="ns", name="other")}, False, id="ES-45-name"),
        pytest.param({"target_ref": TargetRef(namespace="other", name="pod-000")}, False, id="ES-45-namespace"),
        pytest.param({"target_ref": None}, False, id="ES-45-no-target"),
    ],
)
def test_identity(change: dict[str, Any], same: bool) -> None:
    found = endpoint(pod(), **change)
    assert (identity(found) == identity(endpoint(pod()))) is same


def test_identity_sorts_addresses_es_45() -> None:
    of = pod(ipv4=("10.0.0.1", "10.0.0.2"))
    found = existing("s-a", [endpoint(of, addresses=("10.0.0.2", "10.0.0.1"))])
    assert not planned(pods=[of], slices=[found])


def test_a_pod_that_came_back_under_its_name_is_an_update() -> None:
    found = [existing("s-a", [pod()])]
    plan = planned(pods=[pod(uid="reborn")], slices=found)
    assert (counts(plan), deleted(plan)) == ((0, 1, 0), [])
    (after,) = apply(plan, found)
    assert [each.target_ref and each.target_ref.uid for each in after.endpoints] == ["reborn"]


def test_refused_addresses_do_not_stop_the_others() -> None:
    plan = planned(pods=[pod(1, ipv4=(), refused_ips=("<nil>",)), pod(2)], slices=[placeholder()])
    assert sizes(updated(plan)) == [1]
    assert [each.reason for each in plan.left_out] == [Reason.POD_ADDRESS_REFUSED]
