"""The local control plane itself: what it grants and refuses, that it restarts, and that it leaves nothing behind."""

import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import urllib3

from e2e.cluster.build import kubernetes_version
from e2e.cluster.certs import Authority
from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.process import Process
from e2e.cluster.rest import Api, ApiError, Object
from tests.shell.waiting import eventually_true

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[1]

PARENT = """
import json, signal, time
from e2e.cluster.local import ControlPlane
# A shell's background jobs start with it ignored, and so would we.
signal.signal(signal.SIGINT, signal.default_int_handler)
with ControlPlane() as plane:
    plane.start_kcm()
    print(json.dumps({"pids": plane.pids, "folder": str(plane.folder)}), flush=True)
    # Not `signal.pause`: a signal that comes just before it is called would not wake it.
    while True:
        time.sleep(0.1)
"""


def gone(pid: int) -> bool:
    """A zombie counts as gone: in a container nobody may be there to collect it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def config_map(namespace: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def service(namespace: str, name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"},
    }


def running_pod(namespace: str, name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"nodeName": "node-a", "containers": [{"name": "main", "image": "none"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.1.0.1",
            "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00:10:1::1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


class Elsewhere(NamedTuple):
    """A Python of its own with a control plane, in a session of its own as if in another terminal."""

    parent: Process
    pids: dict[str, int]
    folder: Path


@pytest.fixture
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary files of this test alone: whatever control plane starts next takes away what others have left."""
    # Not pytest's folder: its path is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="left-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    parent = Process("parent", [sys.executable, "-c", PARENT], tmp_path / "parent.log", folder=ROOT)
    try:
        eventually_true(lambda: parent.poll() is not None or parent.log.read_text().endswith("\n"))
        assert parent.poll() is None, parent.tail()
        told = json.loads(parent.tail(1))
        yield Elsewhere(parent, told["pids"], Path(told["folder"]))
    finally:
        parent.kill()


def test_server_is_the_pinned_one(control_plane: ControlPlane) -> None:
    assert control_plane.client().get("/version")["gitVersion"] == kubernetes_version()


def test_services_are_dual_stack(control_plane: ControlPlane, namespace: str) -> None:
    created = control_plane.client().create(service(namespace, "web"))
    assert created["spec"]["ipFamilies"] == ["IPv4", "IPv6"]


def test_server_is_refused_under_another_authority(control_plane: ControlPlane, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    api = Api(control_plane.url, other.ca_file, other.client("admin", ("system:masters",)))
    with contextlib.closing(api), pytest.raises(urllib3.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        api.get("/version")


def test_client_of_another_authority_is_refused(control_plane: ControlPlane, tmp_path: Path) -> None:
    impostor = Authority(tmp_path).client("admin", ("system:masters",))
    api = Api(control_plane.url, control_plane.ca_file, impostor)
    with contextlib.closing(api), pytest.raises(ApiError) as caught:
        api.list("Pod")
    assert caught.value.status == 401


def test_unknown_user_may_do_nothing(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        control_plane.client("nobody").list("Service", namespace)
    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")


def test_private_files_are_ours_alone(control_plane: ControlPlane) -> None:
    control_plane.kubeconfig("someone", ("some-group",))
    secret = [*control_plane.folder.glob("pki/*"), *control_plane.folder.glob("*.kubeconfig")]
    assert [path for path in [control_plane.folder, *secret] if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_restarted_server_has_the_objects(control_plane: ControlPlane, namespace: str, kill: bool) -> None:
    api = control_plane.client()
    created = api.create(config_map(namespace, "kept"))
    url = control_plane.url

    control_plane.stop_apiserver(kill=kill)
    with pytest.raises(urllib3.exceptions.HTTPError):
        api.get("/version")
    control_plane.start_apiserver()

    assert control_plane.url == url
    assert api.read("ConfigMap", "kept", namespace)["metadata"]["uid"] == created["metadata"]["uid"]


def test_kcm_fills_slices(control_plane: ControlPlane, namespace: str) -> None:
    api = control_plane.client()
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a"}}
    api.apply([node, service(namespace, "web"), running_pod(namespace, "web")])

    kcm = control_plane.start_kcm()
    try:
        eventually_true(
            lambda: (
                {e["addresses"][0] for s in api.list("EndpointSlice", namespace) for e in s.get("endpoints") or []}
                == {"10.1.0.1", "fd00:10:1::1"}
            )
        )
    finally:
        kcm.stop()
    assert "kube-controller-manager" not in control_plane.pids


def test_failed_start_tells_why_and_leaves_nothing() -> None:
    plane = ControlPlane(extra_apiserver_args=["--no-such-flag"])
    with pytest.raises(StartError, match="unknown flag: --no-such-flag"):
        plane.start()
    assert not plane.pids
    assert not plane.folder.exists()


@pytest.mark.usefixtures("own_folder")
def test_nothing_is_left_when_the_parent_is_killed(elsewhere: Elsewhere) -> None:
    assert set(elsewhere.pids) == {"etcd", "kube-apiserver", "kube-controller-manager"}
    elsewhere.parent.kill()
    eventually_true(lambda: all(map(gone, elsewhere.pids.values())))
    # The folder cannot have been removed; the next control plane does that.
    assert elsewhere.folder.exists()
    with ControlPlane():
        assert not elsewhere.folder.exists()


def test_nothing_is_left_after_ctrl_c(elsewhere: Elsewhere) -> None:
    # To the whole foreground group, as a terminal does.
    os.killpg(elsewhere.parent.pid, signal.SIGINT)
    elsewhere.parent.wait(60)
    assert [name for name, pid in elsewhere.pids.items() if not gone(pid)] == []
    assert not elsewhere.folder.exists()
