"""Sliceplane itself as a process on a control plane, as it would be deployed: under the rights that it ships with."""

import compileall
import functools
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import urllib3
import yaml

from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.process import Process, free_port
from e2e.cluster.rest import Object, Objects

USER = "system:serviceaccount:kube-system:sliceplane"

ROOT = Path(__file__).parents[2]
_READY_TIMEOUT = 60.0
_POLL = 0.05


def start_sliceplane(plane: ControlPlane, *flags: str, user: str = USER, groups: Sequence[str] = ()) -> Process:
    """Start `sliceplane run`, and return when its caches have synced. `flags` come last on its command line.

    Another `user` than the one that it has when deployed must have been given its rights. The process' `url` serves
    /metrics. Raises StartError.
    """
    if user == USER:
        grant(plane)
    port = free_port()
    process = spawn_sliceplane(plane, f"--metrics-bind-address=127.0.0.1:{port}", *flags, user=user, groups=groups)
    process.url = f"http://127.0.0.1:{port}"
    await_ready(process)
    return process


def grant(plane: ControlPlane) -> None:
    """Give Sliceplane's user the rights in config/rbac, and no others."""
    namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    # The API server makes this namespace by itself, but not before it says that it is ready.
    plane.client().apply([namespace, *rights()])


def rights() -> Objects:
    """What config/rbac grants, and to whom."""
    files = (ROOT / "config/rbac" / name for name in ("sliceplane.yaml", "leader-election.yaml"))
    return [each for path in files for each in yaml.safe_load_all(path.read_text())]


def spawn_sliceplane(plane: ControlPlane, *flags: str, user: str = USER, groups: Sequence[str] = ()) -> Process:
    """Start `sliceplane run` and return at once; `grant` must have come before."""
    _compile()
    argv = [sys.executable, "-m", "controllers", "run", f"--kubeconfig={plane.kubeconfig(user, groups)}", *flags]
    return plane.spawn(plane.fresh_name("sliceplane"), argv, {"PYTHONPATH": str(ROOT)})


@functools.cache
def _compile() -> None:
    """Makes the bytecode that an installation has, whatever PYTHONDONTWRITEBYTECODE says: it is 70 ms of a start."""
    for package in ("api", "controllers"):
        compileall.compile_dir(ROOT / package, quiet=2)


def await_ready(process: Process) -> None:
    """Returns when /readyz says that it is. Raises StartError."""
    until = time.monotonic() + _READY_TIMEOUT
    answer = "no answer yet"
    with urllib3.PoolManager(retries=False, timeout=_READY_TIMEOUT) as http:
        while time.monotonic() < until:
            try:
                response = http.request("GET", f"{process.url}/readyz")
                if response.status == 200:
                    return
                answer = response.data.decode(errors="replace")
            except urllib3.exceptions.HTTPError as error:
                answer = str(error)
            try:
                code = process.wait(_POLL)
            except subprocess.TimeoutExpired:
                continue
            raise StartError(f"{process.name} ended with exit code {code}:\n{process.tail()}")
    raise StartError(f"{process.name} is not ready after {_READY_TIMEOUT:.0f} s ({answer}):\n{process.tail()}")
