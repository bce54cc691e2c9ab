"""A cluster that a kubeconfig leads to, in which Sliceplane is a Deployment."""

import base64
import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import urllib3
import yaml

from e2e.cluster.certs import Pair
from e2e.cluster.clusters import NAMESPACE, REPLICAS, Unavailable, holder
from e2e.cluster.dns import ask
from e2e.cluster.kustomize import apply_strictly, kustomize
from e2e.cluster.process import Process
from e2e.cluster.rest import Api, ApiError, Object

NAME: Final = "sliceplane"

_PATIENCE: Final = 300.0
_POLL: Final = 0.5


class DeployedCluster:
    """A `Cluster`, as a context manager. What is deployed in it stays: it was there, or it is wanted there."""

    def __init__(self, kubeconfig: Path, folder: Path, *, overlay: str = "default", kubectl: str = "") -> None:
        """`folder` is ours to write in, for as long as it is used. `overlay` in config/ is what is deployed when there
        is no Sliceplane yet. `kubectl` is its path; without one, that on PATH.

        Raises Unavailable when the kubeconfig has no client certificate: this client knows no other credentials.
        """
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._overlay = overlay
        self._kubectl = kubectl or shutil.which("kubectl") or ""
        self._forward: Process | None = None
        self._dns_port = 0
        self.api = connect(kubeconfig, folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._forward is not None:
            self._forward.stop()
        self.api.close()

    @property
    def image(self) -> str:
        """Sliceplane's own: the one image that the nodes can get for sure."""
        deployment = self._deployment()
        if deployment is None:
            deployment = next(each for each in kustomize(self._overlay) if each["kind"] == "Deployment")
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    def serve_with_sliceplane(self) -> None:
        if self._deployment() is None:
            apply_strictly(self.api, kustomize(self._overlay))
        elif self._deployment_replicas() < REPLICAS:
            self._scale(REPLICAS)
        self._await("Sliceplane's replicas are ready", self._all_ready)
        self._await("one of them leads", lambda: bool(holder(self.api)))

    def serve_with_kcm(self) -> None:
        raise Unavailable("whoever only has a kubeconfig cannot set the flags of kube-controller-manager")

    def kill_leader(self) -> None:
        """As near to SIGKILL as the API gets: the Pod is gone at once, and its processes get next to no time."""
        pod = holder(self.api).rpartition("_")[0]
        try:
            self.api.delete("Pod", pod, NAMESPACE, grace=0)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            raise Unavailable(f"{pod}, which leads, is no Pod of this cluster") from error

    def look_up(self, name: str, record: str) -> list[str]:
        if self._forward is None or self._forward.poll() is not None:
            self._start_forward()
        return ask(self._dns_port, name, record, tcp=True)

    def _deployment(self) -> Object | None:
        try:
            return self.api.read("Deployment", NAME, NAMESPACE)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            return None

    def _deployment_replicas(self) -> int:
        deployment = self._deployment()
        return int(deployment["spec"]["replicas"]) if deployment else 0

    def _scale(self, replicas: int) -> None:
        self.api.patch("Deployment", NAME, {"spec": {"replicas": replicas}}, NAMESPACE)

    def _all_ready(self) -> bool:
        deployment = self.api.read("Deployment", NAME, NAMESPACE)
        status, wanted = deployment["status"], deployment["spec"]["replicas"]
        seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
        return seen and counts == [wanted] * 3

    def _start_forward(self) -> None:
        """To the cluster's DNS over TCP: port-forward knows no UDP."""
        if not self._kubectl:
            raise Unavailable("there is no kubectl on PATH to reach the cluster's DNS with")
        try:
            self.api.read("Service", "kube-dns", NAMESPACE)
        except ApiError as error:
            raise Unavailable(f"the cluster has no DNS that we know of: {error}") from error
        target = ["-n", NAMESPACE, "port-forward", "service/kube-dns", ":53"]
        log = self._folder / "port-forward.log"
        log.unlink(missing_ok=True)
        kubectl = [self._kubectl, f"--kubeconfig={self._kubeconfig}"]
        forward = self._forward = Process("kubectl", [*kubectl, *target], log)

        def forwards() -> bool:
            if forward.poll() is not None:
                raise LookupError(f"kubectl port-forward ended:\n{forward.tail()}")
            found = re.search(r"127\.0\.0\.1:(\d+) ->", log.read_text())
            self._dns_port = int(found[1]) if found else 0
            return found is not None

        self._await("kubectl forwards a port", forwards)

    def _await(self, what: str, true: Callable[[], bool]) -> None:
        """Raises TimeoutError."""
        until = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(ApiError, LookupError, urllib3.exceptions.HTTPError):
                if true():
                    return
            if time.monotonic() > until:
                raise TimeoutError(f"not so after {_PATIENCE:.0f} s: {what}")
            time.sleep(_POLL)


def connect(kubeconfig: Path, folder: Path) -> Api:
    """A client for the current context of a kubeconfig; its certificates are put into `folder`. Raises Unavailable."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    relative_to = kubeconfig.parent
    try:
        ca = _file(cluster, "certificate-authority", folder / "ca.crt", relative_to)
        cert = _file(user, "client-certificate", folder / "client.crt", relative_to)
        key = _file(user, "client-key", folder / "client.key", relative_to)
    except KeyError as missing:
        raise Unavailable(f"{kubeconfig}: stories need a user with a client certificate; no {missing}") from missing
    return Api(cluster["server"], ca, Pair(cert, key))


def _named(found: list[Object], name: str) -> Object:
    return next(each for each in found if each["name"] == name)


def _file(entry: Object, key: str, target: Path, relative_to: Path) -> Path:
    """The file that an entry of a kubeconfig names, or `target` with the data that it holds. Raises KeyError."""
    if key in entry:
        return relative_to / str(entry[key])
    data = base64.b64decode(entry[f"{key}-data"])
    target.touch(mode=0o600)
    target.write_bytes(data)
    return target


def run(*argv: str | Path, seconds: float = 1800.0) -> str:
    """What a command prints. Raises subprocess.CalledProcessError with what it says on stderr in its notes."""
    done = subprocess.run([str(each) for each in argv], capture_output=True, text=True, timeout=seconds)
    if done.returncode != 0:
        error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        error.add_note(done.stderr)
        raise error
    return done.stdout
