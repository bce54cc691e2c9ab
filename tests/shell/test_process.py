"""The process itself: how it starts, says how it is, and ends."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from e2e.cluster.local import ControlPlane
from tests.shell.sliceplane import ROOT, running
from tests.shell.waiting import eventually
from tests.shell.world import World

pytestmark = pytest.mark.server

# What config/manager gives it before it is killed.
GRACE_SECONDS = 15


def test_probes_and_metrics(granted: ControlPlane) -> None:
    with running(granted) as sliceplane:
        assert sliceplane.get("/healthz") == (200, "ok")
        assert sliceplane.get("/livez") == (200, "ok")
        assert sliceplane.get("/nowhere")[0] == 404
        assert sliceplane.metric("sliceplane_stored_objects", kind="Node") >= 3
        assert sliceplane.metric("rest_client_requests_total", code="200", method="GET") >= 4


def test_bind_address_0_serves_nothing(granted: ControlPlane, world: World) -> None:
    with running(granted, "--metrics-bind-address=0", wait=False) as sliceplane:
        world.service(ipFamilyPolicy="SingleStack")
        eventually(lambda: _has_slice(world))
        assert [c for c in psutil.Process(sliceplane.process.pid).net_connections() if c.status == "LISTEN"] == []


def _has_slice(world: World) -> None:
    assert world.slices()


def test_port_that_is_taken_is_told(granted: ControlPlane) -> None:
    with running(granted) as first, running(granted, f"--metrics-bind-address={first.url[7:]}", wait=False) as second:
        assert second.process.wait(60) == 1
        assert f"--metrics-bind-address={first.url[7:]}: the port is taken" in second.log()


def test_sigterm_under_load_ends_well(granted: ControlPlane, world: World) -> None:
    for number in range(20):
        world.service(f"web-{number}")
    with running(granted) as sliceplane:
        world.pods(range(40))
        world.set_status(3, ready=False)
        start = time.monotonic()
        assert sliceplane.process.stop(60) == 0
        assert time.monotonic() - start < GRACE_SECONDS
        assert '"stopped"' in sliceplane.log()


def test_sigterm_while_the_api_server_hangs(granted: ControlPlane, world: World) -> None:
    """Writes that get no answer are abandoned."""
    apiserver = psutil.Process(granted.pids["kube-apiserver"])
    with running(granted) as sliceplane:
        world.service()
        eventually(lambda: _has_slice(world))
        apiserver.suspend()
        try:
            start = time.monotonic()
            assert sliceplane.process.stop(60) == 0
            assert time.monotonic() - start < GRACE_SECONDS
        finally:
            apiserver.resume()


def test_unknown_kubeconfig_is_told(tmp_path: Path) -> None:
    nowhere = tmp_path / "no-such-file"
    argv = [sys.executable, "-m", "controllers", "run", f"--kubeconfig={nowhere}"]
    ended = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"cannot use kubeconfig {nowhere}: the file does not exist\nGive --kubeconfig FILE" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_rights_it_says_so_and_works_once_they_are_granted(granted: ControlPlane, world: World) -> None:
    api = granted.client()
    world.service(ipFamilyPolicy="SingleStack")
    kubeconfig = granted.kubeconfig("sliceplane-without-rights")
    with running(granted, kubeconfig=kubeconfig, wait=False) as sliceplane:

        def told() -> None:
            text = sliceplane.log()
            assert 'User \\"sliceplane-without-rights\\" cannot list resource' in text

        eventually(told)
        eventually(lambda: _answers(sliceplane.get("/healthz"), 200))
        assert sliceplane.get("/readyz")[1].startswith("caches have not synced yet: Pod, Service, ")
        assert world.slices() == []
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "late"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "sliceplane"},
            "subjects": [{"kind": "User", "name": "sliceplane-without-rights"}],
        }
        api.create(binding)
        try:
            sliceplane.wait_ready()
            eventually(lambda: _has_slice(world))
        finally:
            api.delete("ClusterRoleBinding", "late")


def _answers(answer: tuple[int, str], code: int) -> None:
    assert answer[0] == code
