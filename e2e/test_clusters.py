"""The clusters that stories run on, as far as this machine goes: kind's programs are played, what they do recorded."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from controllers import __version__
from e2e.cluster.clusters import NAMESPACE, VARIABLE, Unavailable, chosen, holder
from e2e.cluster.deployed import DeployedCluster, connect
from e2e.cluster.fixtures import unavailable
from e2e.cluster.kind import KindCluster, Options
from e2e.cluster.rest import Api, Object
from e2e.cluster.simulated import SimulatedCluster
from e2e.cluster.toolchain import BuildError
from tests.config.test_kind import kcm_controllers
from tests.shell.waiting import eventually

server = pytest.mark.server

ROOT = Path(__file__).parents[1]
NAME = "stories"

# Says what it was asked; makes the kubeconfig that it is asked to write.
PLAYED = """\
#!/bin/sh
echo "${0##*/} $*" >> RECORD
for each; do
    case $each in --kubeconfig=*) [ -s "${each#*=}" ] || cp GIVEN "${each#*=}" ;; esac
done
"""


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedCluster]:
    """With Sliceplane serving."""
    try:
        with SimulatedCluster() as made:
            made.serve_with_sliceplane()
            yield made
    except BuildError as error:
        unavailable(error)


Play = Callable[[str], None]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Puts docker, kind and kubectl before all others on PATH, all three the same script."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) + os.pathsep + os.environ["PATH"])

    def write(script: str) -> None:
        for program in ("docker", "kind", "kubectl"):
            (folder / program).write_text(script)
            (folder / program).chmod(0o755)

    return write


def test_what_is_no_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="neither 'local' nor 'kind' nor the path of a kubeconfig"):
        chosen()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2; exit 1", "`docker info` fails: Cannot connect to"),
        (None, "there is no docker on PATH"),
    ],
)
def test_kind_without_docker_tells_so(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    if script is not None:
        play(script)
    with pytest.raises(Unavailable, match=f"^kind needs Docker, and .*{reason}"):
        KindCluster(Options(NAME), tmp_path)


def test_programs_are_not_downloaded(play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    play("#!/bin/sh\n")
    (tmp_path / "bin/kind").unlink()
    with pytest.raises(Unavailable, match="there is no kind on PATH: give --kind-bin"):
        KindCluster(Options(NAME), tmp_path)


def test_user_without_a_certificate_is_refused(tmp_path: Path) -> None:
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "ca.crt"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    with pytest.raises(Unavailable, match="a user with a client certificate"):
        connect(tmp_path / "config", tmp_path)


@dataclass(frozen=True)
class ControlPlaneNode:
    """KCM as a static Pod of a kind cluster, which its kubelet starts anew when the manifest has been edited."""

    api: Api
    record: Path
    stop: threading.Event

    def start_kcm(self, controllers: str) -> None:
        name = f"kube-controller-manager-{NAME}-control-plane"
        command = ["kube-controller-manager", f"--controllers={controllers}", "--leader-elect=true"]
        spec: Object = {"nodeName": "elsewhere", "containers": [{"name": "kcm", "image": "kcm", "command": command}]}
        metadata = {"name": name, "namespace": NAMESPACE}
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        self.api.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}])

    def follow_manifest(self) -> None:
        done = 0
        while not self.stop.wait(0.1):
            edits = re.findall(
                r"^docker exec .*s/--controllers=\.\*/--controllers=(\S+)/ ", self.record.read_text(), re.M
            )
            for controllers in edits[done:]:
                self.api.delete("Pod", f"kube-controller-manager-{NAME}-control-plane", NAMESPACE, grace=0)
                self.start_kcm(controllers)
            done = len(edits)


@pytest.fixture
def node(simulated: SimulatedCluster, tmp_path: Path) -> Iterator[ControlPlaneNode]:
    record = tmp_path / "record"
    record.touch()
    made = ControlPlaneNode(simulated.plane.client(), record, threading.Event())
    made.start_kcm(",".join(kcm_controllers()))
    thread = threading.Thread(target=made.follow_manifest)
    thread.start()
    yield made
    made.stop.set()
    thread.join()
    made.api.delete("Pod", f"kube-controller-manager-{NAME}-control-plane", NAMESPACE, grace=0)


@server
def test_kind_cluster_is_made_used_and_deleted(
    simulated: SimulatedCluster, node: ControlPlaneNode, play: Play, tmp_path: Path
) -> None:
    """What is asked of docker and kind; behind kind's kubeconfig is this machine's cluster."""
    play(PLAYED.replace("RECORD", str(node.record)).replace("GIVEN", str(simulated.plane.kubeconfig())))
    image = f"sliceplane:{__version__}"
    kubeconfig = tmp_path / "kubeconfig"
    with KindCluster(Options(NAME, image="node:1"), tmp_path) as cluster:
        assert cluster.image == image
        cluster.serve_with_sliceplane()
        [container] = cluster.api.read("Deployment", "sliceplane", NAMESPACE)["spec"]["template"]["spec"]["containers"]
        assert (container["image"], container["imagePullPolicy"]) == (image, "Never")
        cluster.serve_with_kcm()
        assert cluster.api.list("Pod", NAMESPACE, labelSelector="app.kubernetes.io/name=sliceplane") == []
        cluster.serve_with_sliceplane()
    edit = f"docker exec {NAME}-control-plane sh -c "
    asked = node.record.read_text().splitlines()
    assert [line for line in asked if not line.startswith(edit)] == [
        "docker info",
        "kind get clusters",
        f"kind create cluster --name={NAME} --kubeconfig={kubeconfig} --image=node:1"
        f" --config {ROOT / 'config/kind/cluster.yaml'}",
        f"docker build -f {ROOT / 'Containerfile'} -t {image} {ROOT}",
        f"kind load docker-image --name {NAME} {image}",
        f"kind delete cluster --name={NAME} --kubeconfig={kubeconfig}",
    ]
    # What it starts with is left alone; then all of KCM's controllers, then again without ours.
    off, on = ",".join(kcm_controllers()), "*,bootstrap-signer-controller,token-cleaner-controller"
    assert re.findall(r"--controllers=([^./]+)/ /etc/kubernetes/manifests/\S+\.yaml$", "\n".join(asked), re.M) == [
        on,
        off,
    ]


@server
def test_names_are_asked_of_the_clusters_dns(simulated: SimulatedCluster, play: Play, tmp_path: Path) -> None:
    """Over TCP, by a port that kubectl forwards; behind it is this machine's CoreDNS."""
    play(f"#!/bin/sh\necho \"$*\" > {tmp_path}/asked\necho Forwarding from {simulated.dns} '->' 53\nexec sleep 600\n")
    ports = [{"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    metadata = {"name": "kube-dns", "namespace": NAMESPACE}
    kubeconfig = simulated.plane.kubeconfig()
    simulated.api.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}})
    try:
        with DeployedCluster(kubeconfig, tmp_path) as cluster:
            assert cluster.look_up("kubernetes.default.svc.cluster.local", "A") == ["10.96.0.1"]
            assert cluster.look_up("nobody.default.svc.cluster.local", "A") == []
    finally:
        simulated.api.delete("Service", "kube-dns", NAMESPACE)
    asked = (tmp_path / "asked").read_text()
    assert asked == f"--kubeconfig={kubeconfig} -n {NAMESPACE} port-forward service/kube-dns :53\n"


@server
def test_stories_run_on_the_cluster_of_a_kubeconfig(simulated: SimulatedCluster) -> None:
    """As a user starts them. What needs more than a kubeconfig says so."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env[VARIABLE] = str(simulated.plane.kubeconfig())
    stories = [f"e2e/stories/test_{name}.py" for name in ("dual_stack", "drain", "dns_names", "leader_loss", "upgrade")]
    argv = [sys.executable, "-m", "pytest", "-q", "-rs", *stories]
    leader = eventually(lambda: holder(simulated.api))
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^3 passed, 3 skipped", done.stdout, re.M), done.stdout
    assert "cannot set the flags of kube-controller-manager" in done.stdout
    assert "the cluster has no DNS that we know of" in done.stdout
    assert f"{leader.rpartition('_')[0]}, which leads, is no Pod of this cluster" in done.stdout
    # It has been deployed first; its Pods are simulated, and the replicas that work are processes.
    assert simulated.api.read("Deployment", "sliceplane", NAMESPACE)["status"]["readyReplicas"] == 2
