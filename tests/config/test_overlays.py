"""Every overlay: the API server takes each field, and the parts fit each other and the program."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from api.config import Configuration
from controllers import __version__, app
from controllers.cli import main
from controllers.runtime.lease import RELEASE_SECONDS
from controllers.runtime.shards import Shard
from controllers.telemetry.tracing import FLUSH_SECONDS
from e2e.cluster.kustomize import apply_strictly
from e2e.cluster.local import ControlPlane
from e2e.cluster.product import USER
from e2e.cluster.rest import ApiError, path_of
from tests.config.overlay import NAMESPACE, Overlay, restrict
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server


def test_is_accepted_field_by_field(control_plane: ControlPlane, overlay: Overlay) -> None:
    apply_strictly(control_plane.client(), overlay.objects, dry_run=True)


def test_a_typo_is_refused(control_plane: ControlPlane, default: Overlay) -> None:
    default.template["spec"]["topologySpreadConstraint"] = []
    with pytest.raises(ApiError, match="topologySpreadConstraint"):
        apply_strictly(control_plane.client(), [default.one("Deployment")], dry_run=True)


def _admitted(plane: ControlPlane, namespace: str, overlay: Overlay) -> None:
    restrict(plane.client(), namespace)
    params = {"dryRun": "All", "fieldValidation": "Strict"}
    plane.client().request("POST", path_of("Pod", namespace=namespace), overlay.pod(namespace), params=params)


def test_pod_is_admitted_where_pod_security_is_restricted(
    control_plane: ControlPlane, namespace: str, overlay: Overlay
) -> None:
    _admitted(control_plane, namespace, overlay)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda overlay: overlay.template["spec"].update(hostNetwork=True),
        lambda overlay: overlay.template["spec"]["securityContext"].pop("seccompProfile"),
        lambda overlay: overlay.container["securityContext"].pop("capabilities"),
    ],
    ids=["host-network", "seccomp", "capabilities"],
)
def test_pod_security_is_at_work(
    control_plane: ControlPlane, namespace: str, default: Overlay, spoil: Callable[[Overlay], Any]
) -> None:
    spoil(default)
    with pytest.raises(ApiError, match="violates PodSecurity"):
        _admitted(control_plane, namespace, default)


def test_root_file_system_is_read_only_and_user_is_a_number(overlay: Overlay) -> None:
    """Of which "restricted" says nothing; without a number the kubelet cannot tell that an image's user is not root."""
    assert overlay.container["securityContext"]["readOnlyRootFilesystem"] is True
    assert overlay.template["spec"]["securityContext"]["runAsUser"] == 65532


Started = Callable[[Overlay], Configuration]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """What the program would run with, if it were started as an overlay's container."""

    def start(overlay: Overlay) -> Configuration:
        found: list[Configuration] = []
        monkeypatch.setattr(app, "run", found.append)
        monkeypatch.setattr("controllers.telemetry.logs.configure", lambda **_: None)
        outcome = CliRunner().invoke(main, overlay.arguments(tmp_path))
        assert outcome.exit_code == 0, outcome.output
        (configuration,) = found
        return configuration

    return start


def test_program_takes_its_arguments_and_configuration(overlay: Overlay, started: Started) -> None:
    configuration = started(overlay)
    assert overlay.one("Deployment")["spec"]["replicas"] == 2
    assert configuration.leader_elect
    assert overlay.one("Role")["metadata"]["namespace"] == configuration.leader_elect_resource_namespace
    common, shards = configuration.leader_elect_resource_name, configuration.shards
    own = [f"{common}-{Shard(number, shards)}" for number in range(shards) if shards > 1]
    assert overlay.one("Role")["rules"][1]["resourceNames"] == [common, *own]
    (port,) = overlay.container["ports"]
    assert configuration.metrics_bind_address == f":{port['containerPort']}"
    for probe in ("livenessProbe", "readinessProbe"):
        assert overlay.container[probe]["httpGet"]["port"] == port["name"]
    assert overlay.one("Service")["spec"]["ports"][0]["targetPort"] == port["name"]


def test_configuration_is_valid(overlay: Overlay, tmp_path: Path) -> None:
    """What a user is told to do before a change of the file is rolled out."""
    files = overlay.write_configuration(tmp_path).values()
    assert files
    for path in files:
        outcome = CliRunner().invoke(main, ["config", f"--check={path}"])
        assert (outcome.exit_code, outcome.output) == (0, f"{path}: valid\n")


def test_staging_traces_a_tenth_of_the_syncs(started: Started) -> None:
    configuration = started(Overlay("staging"))
    assert configuration.tracing_sampling_rate_per_million == 100_000
    # OTLP over HTTP, with the path: nothing is added to it.
    assert re.fullmatch(r"http://[\w.-]+:4318/v1/traces", configuration.tracing_endpoint)
    assert configuration.v == 4


@pytest.mark.parametrize("name", ["default", "kind"])
def test_traces_go_nowhere_elsewhere(name: str, started: Started) -> None:
    """Nobody can know where a cluster has its collector."""
    assert started(Overlay(name)).tracing_endpoint == ""


def test_version_is_the_programs(overlay: Overlay) -> None:
    assert overlay.container["image"] == f"sliceplane:{__version__}"
    labelled = [each["metadata"]["labels"] for each in (*overlay.objects, overlay.template)]
    assert {each["app.kubernetes.io/version"] for each in labelled} == {__version__}


def test_selectors_select_the_pods_and_not_their_version(overlay: Overlay) -> None:
    spread = overlay.template["spec"]["topologySpreadConstraints"]
    selectors = [
        overlay.one("Deployment")["spec"]["selector"]["matchLabels"],
        overlay.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        overlay.one("Service")["spec"]["selector"],
        *(each["labelSelector"]["matchLabels"] for each in spread),
    ]
    assert len(selectors) == 5
    for selector in selectors:
        assert selector
        assert selector.items() <= overlay.template["metadata"]["labels"].items()
        assert "app.kubernetes.io/version" not in selector


def test_rights_are_given_to_whom_the_pods_run_as(overlay: Overlay) -> None:
    name = overlay.template["spec"]["serviceAccountName"]
    assert overlay.one("ServiceAccount")["metadata"]["name"] == name
    assert f"system:serviceaccount:{NAMESPACE}:{name}" == USER
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        (subject,) = overlay.one(kind)["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}


def test_kubelet_is_patient_for_longer_than_a_stop_takes(overlay: Overlay) -> None:
    page = 1.0
    took = app.STOP_SECONDS + page + RELEASE_SECONDS + FLUSH_SECONDS
    assert took < overlay.template["spec"]["terminationGracePeriodSeconds"]


def test_rights_on_leases_are_for_one(control_plane: ControlPlane, default: Overlay) -> None:
    apply_strictly(control_plane.client(), [default.one("Role"), default.one("RoleBinding")])
    ours = control_plane.client(USER)
    leases = path_of("Lease", namespace=NAMESPACE)
    one = {"watch": "true", "fieldSelector": "metadata.name=sliceplane", "timeoutSeconds": "1"}

    def watched() -> None:
        # The API server's authorizer learns of the binding a little later.
        list(ours.stream(leases, **one))

    eventually(watched)
    for path, params in ((leases, {}), (leases, {"watch": "true"}), (f"{leases}/kube-scheduler", {})):
        with pytest.raises(ApiError, match="forbidden"):
            ours.get(path, **params)
    with pytest.raises(ApiError, match="forbidden"):
        ours.request("DELETE", f"{leases}/sliceplane")
