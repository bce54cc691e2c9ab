"""Which Services are synced and which Pods belong, each "no" with its reason (ES-32, ES-36 ... ES-40)."""

from typing import Any

import pytest

from controllers.membership.pods import addresses, left_out, left_out_of_family
from controllers.membership.services import not_syncable
from controllers.model.reasons import Reason
from tests.builders import NODE, pod, service


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, None, id="synced"),
        pytest.param({"type": "LoadBalancer"}, None, id="any-other-type"),
        pytest.param({"terminating": True}, None, id="ES-33-terminating"),
        pytest.param({"selector": None}, Reason.SERVICE_NO_SELECTOR, id="ES-T6"),
        pytest.param({"type": "ExternalName"}, Reason.SERVICE_EXTERNAL_NAME, id="ES-T7-with-selector"),
        pytest.param(
            {"type": "ExternalName", "selector": None, "ports": ()}, Reason.SERVICE_EXTERNAL_NAME, id="ES-T7-bare"
        ),
    ],
)
def test_not_syncable(changes: dict[str, Any], expected: Reason | None) -> None:
    assert not_syncable(service(**changes)) is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"phase": "Running"}, None, id="running"),
        pytest.param({"phase": "Pending"}, None, id="ES-T23-pending"),
        pytest.param({"phase": "Unknown"}, None, id="ES-T23-unknown"),
        pytest.param({"phase": ""}, None, id="ES-36-empty-phase"),
        pytest.param({"phase": "Frozen"}, None, id="phase-of-the-future"),
        pytest.param({"phase": "Succeeded"}, Reason.POD_FINISHED, id="ES-T22-succeeded"),
        pytest.param({"phase": "Failed"}, Reason.POD_FINISHED, id="ES-T22-failed"),
        pytest.param({"first_family": "", "ipv4": ()}, Reason.POD_NO_IP, id="ES-36-no-ip"),
        pytest.param({"terminating": True, "ready": False}, None, id="ES-36-terminating-is-kept"),
    ],
)
def test_left_out(changes: dict[str, Any], expected: Reason | None) -> None:
    assert left_out(pod(**changes)) is expected


@pytest.mark.parametrize(
    ("changes", "node", "publish", "family", "expected"),
    [
        pytest.param({}, NODE, False, "IPv4", None, id="published"),
        pytest.param({}, None, False, "IPv4", Reason.NODE_NOT_FOUND, id="ES-T26-node-missing"),
        pytest.param({}, None, True, "IPv4", None, id="ES-T27-node-missing-but-published"),
        pytest.param({}, NODE, False, "IPv6", Reason.POD_NO_ADDRESS_OF_FAMILY, id="ES-40-other-family"),
        pytest.param({}, None, False, "IPv6", Reason.NODE_NOT_FOUND, id="ES-38-node-comes-first"),
        pytest.param(
            {"ipv4": (), "refused_ips": ("127.0.0.1",)}, NODE, False, "IPv4", Reason.POD_ADDRESS_REFUSED, id="refused"
        ),
        pytest.param({"refused_ips": ("fe80::1",)}, NODE, False, "IPv4", None, id="refused-but-not-all"),
        pytest.param({"ipv4": ()}, NODE, False, "IPv4", Reason.POD_NO_ADDRESS_OF_FAMILY, id="ES-39-podIP-alone"),
    ],
)
def test_left_out_of_family(
    changes: dict[str, Any], node: Any, publish: bool, family: str, expected: Reason | None
) -> None:
    found = left_out_of_family(pod(**changes), node, service(publish_not_ready=publish), family)
    assert found is expected


def test_addresses_of_each_family_es_39() -> None:
    both = pod(ipv4=("10.0.0.1",), ipv6=("fd00::1", "fd00::2"))
    assert addresses(both, "IPv4") == ("10.0.0.1",)
    assert addresses(both, "IPv6") == ("fd00::1", "fd00::2")


def test_reasons_have_stable_labels_and_a_text() -> None:
    assert sorted(reason.value for reason in Reason) == [
        "endpoints_gone",
        "endpoints_leader_election",
        "endpoints_no_service",
        "endpoints_selector",
        "endpoints_skipped",
        "node_not_found",
        "pod_address_refused",
        "pod_finished",
        "pod_no_address_of_family",
        "pod_no_ip",
        "pod_terminating",
        "service_external_name",
        "service_no_selector",
        "topology_annotation_invalid",
        "topology_no_zone",
        "topology_node_information",
        "topology_nodes_incomplete",
        "topology_overload",
        "topology_overloaded",
        "topology_single_zone",
        "topology_switched_off",
        "topology_too_few_endpoints",
        "topology_zones_uncovered",
    ]
    assert all(reason.text[0].islower() and not reason.text.endswith(".") for reason in Reason)
