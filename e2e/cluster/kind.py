"""A kind cluster from config/kind, by the class that pytest-kind brings.

Not by its fixture `kind_cluster`, which has no way to say which configuration; its options are ours, too.
"""

import contextlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from api.controllers import CONTROLLERS
from e2e.cluster.clusters import NAMESPACE, Unavailable
from e2e.cluster.deployed import DeployedCluster, run
from e2e.cluster.rest import ApiError

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "config/kind/cluster.yaml"

_ANSWER_TIMEOUT: Final = 30.0
# Where kubeadm puts what the kubelet of the control plane's node runs by itself.
_KCM_MANIFEST: Final = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
# Not `sed -i`: it puts a file beside the manifest, and the kubelet reads every file there.
_EDIT: Final = 'new=$(mktemp) && sed -e "$1" "$2" > "$new" && cp "$new" "$2"'
_KUBEADMS: Final = "*,bootstrap-signer-controller,token-cleaner-controller"
_WITHOUT_OURS: Final = ",".join([_KUBEADMS, *(f"-{name}" for name in CONTROLLERS)])


@dataclass(frozen=True, slots=True)
class Options:
    """pytest-kind's options. Programs are found on PATH when they are not given; none is ever downloaded."""

    name: str
    keep: bool = False
    image: str | None = None
    kind: str | None = None
    kubectl: str | None = None


class KindCluster(DeployedCluster):
    """A `Cluster` that is made when it is entered (or used, if there is one of the name), and deleted at the end."""

    def __init__(self, options: Options, folder: Path) -> None:
        """`folder` is ours to write in. Raises Unavailable when Docker or a program is missing."""
        kind, kubectl = _programs(options)
        self._options = options
        self._node = f"{options.name}-control-plane"
        # pytest-kind makes a folder where it stands, whatever it is told of paths.
        with contextlib.chdir(folder):
            from pytest_kind import KindCluster as Made  # type: ignore[import-untyped]

            kubeconfig = folder / "kubeconfig"
            self._made: Any = Made(options.name, kubeconfig, options.image, Path(kind), Path(kubectl))
        try:
            self._made.create(CONFIG)
            super().__init__(kubeconfig, folder, overlay="kind", kubectl=kubectl)
            run("docker", "build", "-f", ROOT / "Containerfile", "-t", self.image, ROOT)
            self._made.load_docker_image(self.image)
        except BaseException:
            self._delete()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, value, at)
        self._delete()

    def serve_with_sliceplane(self) -> None:
        self._switch(_WITHOUT_OURS)
        super().serve_with_sliceplane()

    def serve_with_kcm(self) -> None:
        """Sliceplane goes first, so there are never two writers."""
        if self._deployment_replicas():
            self._scale(0)
            self._await("no Sliceplane runs", self._none_runs)
        self._switch(_KUBEADMS)

    def _none_runs(self) -> bool:
        return not self.api.list("Pod", NAMESPACE, labelSelector="app.kubernetes.io/name=sliceplane")

    def _switch(self, controllers: str) -> None:
        """Give KCM other `--controllers`, and wait until its kubelet has started it again with them."""
        if self._kcm_runs(controllers):
            return
        edit = f"s/--controllers=.*/--controllers={controllers}/"
        run("docker", "exec", self._node, "sh", "-c", _EDIT, "sh", edit, _KCM_MANIFEST)
        self._await("KCM runs with other controllers", lambda: self._kcm_runs(controllers))

    def _kcm_runs(self, controllers: str) -> bool:
        try:
            pod = self.api.read("Pod", f"kube-controller-manager-{self._node}", NAMESPACE)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return False
        command = pod["spec"]["containers"][0]["command"]
        conditions = pod["status"].get("conditions") or []
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        return ready and f"--controllers={controllers}" in command

    def _delete(self) -> None:
        if not self._options.keep:
            self._made.delete()


def _programs(options: Options) -> tuple[str, str]:
    """The paths of kind and kubectl, once Docker has answered. Raises Unavailable."""
    try:
        run("docker", "info", seconds=_ANSWER_TIMEOUT)
    except FileNotFoundError as error:
        raise Unavailable("kind needs Docker, and there is no docker on PATH") from error
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise Unavailable(f"kind needs Docker, and `docker info` fails: {said[-1] if said else error}") from error
    found = {}
    for program, given, option in (
        ("kind", options.kind, "--kind-bin"),
        ("kubectl", options.kubectl, "--kind-kubectl-bin"),
    ):
        found[program] = given or shutil.which(program) or ""
        if not found[program]:
            raise Unavailable(f"there is no {program} on PATH: give {option}")
    return found["kind"], found["kubectl"]
