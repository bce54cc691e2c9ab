"""`sliceplane ipam run` as processes on a control plane: several replicas, under the rights that they ship with."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from controllers.ipam_operator.guard_writer import KINDS
from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, free_port
from e2e.cluster.product import await_ready
from e2e.cluster.rest import ApiError, Object, Objects

USER = "system:serviceaccount:kube-system:sliceplane-ipam"

_ROOT = Path(__file__).parents[2]
_TIMEOUT = 60.0
_SELECTOR = "app.kubernetes.io/managed-by=sliceplane-ipam"


class Ipam:
    """Replicas that serve one address: they listen on the same port, and the kernel deals out connections."""

    def __init__(self, plane: ControlPlane, *flags: str) -> None:
        """`flags` come last on each replica's command line. CRDs and rights are applied."""
        self._plane, self._flags = plane, flags
        self._port = free_port()
        self.replicas: list[Process] = []
        plane.client().apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}])
        plane.client().apply(crds() + rights())
        _until(
            lambda: [plane.client().list(kind) for kind in ("ServiceIPPool", "ServicePortPool", "ServiceReservation")]
        )

    def start(self, count: int = 1) -> list[Process]:
        """Starts so many replicas more, and returns them when they are ready. Raises StartError."""
        started = [self._spawn() for _ in range(count)]
        for process in started:
            await_ready(process)
        self.replicas += started
        return started

    def in_force(self) -> None:
        """Waits until the API server asks us about Services, and knows our guards: until a pool says so, if any is."""

        def registered() -> None:
            api = self._plane.client()
            assert api.list("MutatingWebhookConfiguration", labelSelector=_SELECTOR)
            for kind in ("ServiceIPPool", "ServicePortPool"):
                for pool in api.list(kind):
                    found = {each["type"]: each["status"] for each in pool.get("status", {}).get("conditions", [])}
                    enforced = pool["spec"].get("enforcement") == "Enforce"
                    assert not enforced or found.get("EnforcementActive") == "True", (pool["metadata"]["name"], found)

        _until(registered)

    def remove(self) -> None:
        """Takes away what the API server was told about us: webhooks and policies."""
        api = self._plane.client()
        for kind in KINDS:
            for each in api.list(kind, labelSelector=_SELECTOR):
                api.delete(kind, each["metadata"]["name"])

    def kill(self) -> None:
        """Kills every replica at once."""
        for process in self.replicas:
            process.kill()
        self.replicas.clear()

    def stop(self) -> list[int]:
        """Asks every replica to end; their exit codes."""
        codes = [process.stop(_TIMEOUT) for process in self.replicas]
        self.replicas.clear()
        return codes

    def _spawn(self) -> Process:
        serving, port = self._plane.serving, free_port()
        argv = [
            sys.executable,
            "-m",
            "controllers",
            "ipam",
            "run",
            f"--kubeconfig={self._plane.kubeconfig(USER)}",
            f"--metrics-bind-address=127.0.0.1:{port}",
            f"--webhook-bind-address=127.0.0.1:{self._port}",
            f"--webhook-url=https://127.0.0.1:{self._port}",
            f"--webhook-cert-file={serving.cert}",
            f"--webhook-key-file={serving.key}",
            f"--webhook-ca-file={self._plane.ca_file}",
            *self._flags,
        ]
        process = self._plane.spawn(self._plane.fresh_name("sliceplane-ipam"), argv, {"PYTHONPATH": str(_ROOT)})
        process.url = f"http://127.0.0.1:{port}"
        return process


def crds() -> Objects:
    """The CustomResourceDefinitions that ship."""
    folder = _ROOT / "config/crd"
    found = [each for path in sorted(folder.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]
    return [each for each in found if each["kind"] == "CustomResourceDefinition"]


def rights() -> Objects:
    """What config/ipam grants, and to whom."""
    return list(yaml.safe_load_all((_ROOT / "config/ipam/rbac.yaml").read_text()))


def ip_pool(name: str, *ranges: str, **spec: object) -> Object:
    """A ServiceIPPool of these CIDRs or `first-last` ranges."""
    parts = [
        dict(zip(("start", "end"), each.split("-"), strict=True)) if "-" in each else {"cidr": each} for each in ranges
    ]
    return {
        "apiVersion": "ipam.sliceplane.dev/v1alpha1",
        "kind": "ServiceIPPool",
        "metadata": {"name": name},
        "spec": {"ranges": parts, **spec},
    }


def port_pool(name: str, *ranges: tuple[int, int], **spec: object) -> Object:
    """A ServicePortPool of these ranges."""
    return {
        "apiVersion": "ipam.sliceplane.dev/v1alpha1",
        "kind": "ServicePortPool",
        "metadata": {"name": name},
        "spec": {"ranges": [{"from": first, "to": last} for first, last in ranges], **spec},
    }


def _until(done: Callable[[], object]) -> None:
    until = time.monotonic() + _TIMEOUT
    while True:
        try:
            done()
            return
        except (AssertionError, ApiError):
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
