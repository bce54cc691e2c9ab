"""config/sharded: every Namespace has its Deployment, and these do not get in each other's way."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from api.config import Configuration
from controllers import app
from controllers.cli import main
from controllers.runtime.shards import Shard
from e2e.cluster.kubelets import Kubelets
from e2e.cluster.kustomize import apply_strictly
from e2e.cluster.local import ControlPlane
from e2e.cluster.nodes import in_zones
from e2e.cluster.process import free_port
from e2e.cluster.product import spawn_sliceplane
from e2e.cluster.rest import Api
from tests.config.overlay import NAMESPACE, SHARD_LABEL, Overlay
from tests.config.test_kind import kcm_controllers
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

SHARDS = [Shard(number, 2) for number in range(2)]


@pytest.mark.parametrize("shard", SHARDS, ids=str)
def test_deployment_runs_the_shard_that_it_is_called_after(
    shard: Shard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Configuration] = []
    monkeypatch.setattr(app, "run", found.append)
    monkeypatch.setattr("controllers.telemetry.logs.configure", lambda **_: None)
    overlay = Overlay("sharded", str(shard))
    outcome = CliRunner().invoke(main, overlay.arguments(tmp_path))
    assert outcome.exit_code == 0, outcome.output
    assert [(each.shard, each.shards) for each in found] == [shard]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert overlay.one(kind)["metadata"]["name"] == f"sliceplane-{shard}"


@pytest.mark.parametrize("shard", SHARDS, ids=str)
def test_selectors_select_this_shard_only(shard: Shard) -> None:
    """Else a drain could take both replicas of a shard, or the scheduler put them on one Node."""
    overlay = Overlay("sharded", str(shard))
    selectors = [
        overlay.one("Deployment")["spec"]["selector"]["matchLabels"],
        overlay.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        overlay.one("Service")["spec"]["selector"],
        *(each["labelSelector"]["matchLabels"] for each in overlay.template["spec"]["topologySpreadConstraints"]),
    ]
    assert [each[SHARD_LABEL] for each in selectors] == [str(shard)] * 5
    assert overlay.template["metadata"]["labels"][SHARD_LABEL] == str(shard)


def test_the_rest_is_that_of_the_default() -> None:
    """What a shard differs in is said in its folder, and nothing else differs."""
    default, sharded = Overlay("default"), Overlay("sharded", "0-of-2")
    assert [each["kind"] for each in sharded.objects] == [each["kind"] for each in default.objects]
    for kind in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "RoleBinding"):
        assert sharded.one(kind) == default.one(kind)
    assert sharded.container["args"][: len(default.container["args"])] == default.container["args"]
    assert {**sharded.container, "args": 0} == {**default.container, "args": 0}
    assert sharded.one("ConfigMap")["data"] == default.one("ConfigMap")["data"]


def test_shards_come_up_and_one_of_them_publishes_both(tmp_path: Path) -> None:
    """As `test_deployed` has it for one: the overlay's Pods on simulated Nodes, and its command lines as processes."""
    overlays = {shard: Overlay("sharded", str(shard)) for shard in SHARDS}
    with ControlPlane() as plane:
        plane.start_kcm(controllers=kcm_controllers())
        api = plane.client()
        with Kubelets(api, in_zones(1), start_delay=0.0, termination=0.0):
            for overlay in overlays.values():
                apply_strictly(api, overlay.objects)
            for shard in SHARDS:
                eventually(lambda shard=shard: _assert_replicas_are_ready(api, shard))  # type: ignore[misc]
            for shard, overlay in overlays.items():
                folder = tmp_path / str(shard)
                folder.mkdir()
                address = f"--metrics-bind-address=127.0.0.1:{free_port()}"
                spawn_sliceplane(plane, *overlay.arguments(folder)[1:], address)
            for shard in SHARDS:
                eventually(lambda shard=shard: _assert_is_published(api, shard))  # type: ignore[misc]
                eventually(lambda shard=shard: _assert_is_held(api, f"sliceplane-{shard}"))  # type: ignore[misc]
            _assert_is_held(api, "sliceplane", "2-shards")


def _assert_replicas_are_ready(api: Api, shard: Shard) -> None:
    assert api.read("Deployment", f"sliceplane-{shard}", NAMESPACE)["status"]["readyReplicas"] == 2
    budget = api.get(f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/sliceplane-{shard}")["status"]
    assert (budget["expectedPods"], budget["currentHealthy"], budget["disruptionsAllowed"]) == (2, 2, 1)


def _assert_is_held(api: Api, lease: str, holder: str = "") -> None:
    found = api.read("Lease", lease, NAMESPACE)["spec"]["holderIdentity"]
    assert found == holder if holder else found


def _assert_is_published(api: Api, shard: Shard) -> None:
    service = f"kubernetes.io/service-name=sliceplane-metrics-{shard}"
    slices = api.list("EndpointSlice", NAMESPACE, labelSelector=service)
    assert [len(each["endpoints"] or ()) for each in slices] == [2]
