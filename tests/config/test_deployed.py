"""All of it together: controllers as in the kind cluster, the overlay's Pods on nodes that are simulated, and us."""

from pathlib import Path

import pytest

from e2e.cluster.kubelets import Kubelets
from e2e.cluster.kustomize import apply_strictly
from e2e.cluster.local import ControlPlane
from e2e.cluster.nodes import in_zones
from e2e.cluster.process import Process, free_port
from e2e.cluster.product import spawn_sliceplane
from e2e.cluster.rest import Api
from tests.config.overlay import NAMESPACE, Overlay
from tests.config.test_kind import kcm_controllers
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server


def test_deployment_comes_up_and_publishes_itself(tmp_path: Path) -> None:
    overlay = Overlay("kind")
    with ControlPlane() as plane:
        plane.start_kcm(controllers=kcm_controllers())
        api = plane.client()
        with Kubelets(api, in_zones(1), start_delay=0.0, termination=0.0):
            apply_strictly(api, overlay.objects)
            eventually(lambda: _assert_replicas_are_ready(api))
            # KCM leaves Services alone: the ready Pods are published nowhere.
            assert api.list("EndpointSlice", NAMESPACE) == []
            assert api.list("Endpoints", NAMESPACE) == []

            # The container's command line, under the ServiceAccount's rights, on a port that is free here.
            address = f"--metrics-bind-address=127.0.0.1:{free_port()}"
            process = spawn_sliceplane(plane, *overlay.arguments(tmp_path)[1:], address)
            eventually(lambda: _assert_is_published(api, process))
            lease = api.read("Lease", "sliceplane", NAMESPACE)
            assert lease["spec"]["holderIdentity"]


def _assert_replicas_are_ready(api: Api) -> None:
    assert api.read("Deployment", "sliceplane", NAMESPACE)["status"]["readyReplicas"] == 2
    budget = api.get(f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/sliceplane")["status"]
    assert (budget["expectedPods"], budget["currentHealthy"], budget["disruptionsAllowed"]) == (2, 2, 1)


def _assert_is_published(api: Api, process: Process) -> None:
    service = "kubernetes.io/service-name=sliceplane-metrics"
    slices = api.list("EndpointSlice", NAMESPACE, labelSelector=service)
    assert [len(each["endpoints"] or ()) for each in slices] == [2], process.tail()
