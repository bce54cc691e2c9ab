"""Who is measured: the real KCM, and Sliceplane; both with full speed towards the API server."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.cluster.local import ControlPlane
from e2e.cluster.process import Process, free_port
from e2e.cluster.product import spawn_sliceplane, start_sliceplane

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Contender:
    name: str
    start: Callable[[ControlPlane], Process]


def _kcm(plane: ControlPlane) -> Process:
    workers = ("--concurrent-service-endpoint-syncs=50", "--concurrent-endpoint-syncs=50")
    return plane.start_kcm("--kube-api-qps=5000", "--kube-api-burst=10000", *workers)


def _sliceplane(plane: ControlPlane) -> Process:
    return spawn_sliceplane(plane, "--leader-elect=false", f"--metrics-bind-address=127.0.0.1:{free_port()}")


def _kcm_replica(plane: ControlPlane) -> Process:
    limits = ("--kube-api-qps=5000", "--kube-api-burst=10000")
    return plane.start_kcm(*limits, "--leader-elect=true", "--leader-elect-resource-name=kcm")


def _sliceplane_replica(plane: ControlPlane) -> Process:
    return start_sliceplane(plane)


KCM: Final = Contender("kube-controller-manager", _kcm)
SLICEPLANE: Final = Contender("sliceplane", _sliceplane)

# With leader election, at its defaults; returns when the process says that it is ready.
REPLICAS: Final = (
    Contender(KCM.name, _kcm_replica),
    Contender(SLICEPLANE.name, _sliceplane_replica),
)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int, key: str) -> int:
    """Bytes of `VmRSS` (now) or `VmHWM` (peak)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return 0
