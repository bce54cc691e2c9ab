"""Which Endpoints are mirrored, and why the others are not (MI-12, MI-22)."""

from typing import Any

import pytest
from msgspec.structs import replace

from api.names import MANAGED_BY_LABEL
from controllers.mirroring.mirrorable import excluded, mirrored, not_mirrored
from controllers.model.objects import Endpoints, Labels, Service
from controllers.model.reasons import Reason
from tests.mirroring.builders import SERVICE, endpoints, existing, labelled

SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
SELECTING = replace(SERVICE, selector=Labels(app="e"))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param({}, None, id="MI-12"),
        pytest.param({"labels": {SKIP: "true"}}, Reason.ENDPOINTS_SKIPPED, id="MI-T5"),
        pytest.param({"labels": {SKIP: "false"}}, None, id="MI-T6-false"),
        pytest.param({"labels": {SKIP: "invalid"}}, None, id="MI-T6-invalid"),
        pytest.param({"labels": {SKIP: "True"}}, None, id="MI-12-case-matters"),
        pytest.param({"labels": {SKIP: ""}}, None, id="MI-12-empty"),
        pytest.param({"annotations": {SKIP: "true"}}, None, id="MI-5-a-label-not-an-annotation"),
        pytest.param({"annotations": {LEADER: "{}"}}, Reason.ENDPOINTS_LEADER_ELECTION, id="MI-12-leader"),
        pytest.param({"annotations": {LEADER: ""}}, Reason.ENDPOINTS_LEADER_ELECTION, id="MI-T7"),
        pytest.param({"labels": {LEADER: ""}}, None, id="MI-6-an-annotation-not-a-label"),
    ],
)
def test_what_excludes_endpoints_whatever_service_there_is(metadata: Any, expected: Reason | None) -> None:
    assert excluded(endpoints(**metadata)) is expected
    assert not_mirrored(endpoints(**metadata), SERVICE) is expected


@pytest.mark.parametrize(
    ("of", "service", "expected"),
    [
        pytest.param(endpoints(), SERVICE, None, id="MI-22.7"),
        pytest.param(None, SERVICE, Reason.ENDPOINTS_GONE, id="MI-22.1"),
        pytest.param(None, None, Reason.ENDPOINTS_GONE, id="MI-22.1-both"),
        pytest.param(endpoints(labels={SKIP: "true"}), None, Reason.ENDPOINTS_SKIPPED, id="MI-22.2-before-22.3"),
        pytest.param(endpoints(), None, Reason.ENDPOINTS_NO_SERVICE, id="MI-T8"),
        pytest.param(endpoints(), SELECTING, Reason.ENDPOINTS_SELECTOR, id="MI-T9"),
        pytest.param(endpoints(), replace(SERVICE, selector=Labels()), Reason.ENDPOINTS_SELECTOR, id="MI-22.4-empty"),
        pytest.param(endpoints(), replace(SERVICE, type="ExternalName"), None, id="MI-22.4-type-does-not-matter"),
        pytest.param(endpoints(), replace(SERVICE, terminating=True), None, id="MI-22-nor-its-deletion"),
    ],
)
def test_first_reason_not_to_mirror(of: Endpoints | None, service: Service | None, expected: Reason | None) -> None:
    assert not_mirrored(of, service) is expected


def test_slices_of_the_mirroring_controller_mi_1() -> None:
    assert mirrored(existing("e-1"))
    others = {**labelled(), MANAGED_BY_LABEL: "endpointslice-controller.k8s.io"}
    unmanaged = {key: value for key, value in labelled().items() if key != MANAGED_BY_LABEL}
    for labels in (others, unmanaged, None):
        assert not mirrored(existing("e-1", labels=labels))
