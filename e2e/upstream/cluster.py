"""A control plane that e2e.test takes for a cluster: real servers, a real scheduler, and kwok's nodes and Pods."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from api.controllers import CONTROLLERS
from e2e.cluster.build import binaries
from e2e.cluster.local import ControlPlane
from e2e.cluster.nodes import in_zones
from e2e.cluster.process import Process
from e2e.cluster.product import start_sliceplane
from e2e.upstream.results import Result, read_report

BINARIES: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "e2e.test")

_KWOK_CONFIG: Final = Path(__file__).parent / "kwok.yaml"
# As many as the tests ask for at most: three zones with two nodes each.
_NODES_PER_ZONE: Final = 2
_POLL: Final = 0.5


@dataclass(frozen=True, slots=True)
class Side:
    """Who runs the Service-networking controllers beside kube-controller-manager's others, which both sides have."""

    name: str
    kcm_controllers: tuple[str, ...]
    start_more: Callable[[ControlPlane], object] = lambda plane: None


KCM: Final = Side("KCM", ("*",))
SLICEPLANE: Final = Side("Sliceplane", ("*", *(f"-{name}" for name in CONTROLLERS)), start_sliceplane)


class RunError(Exception):
    """The tests could not be run to their end; the message ends with the end of a log."""


@contextlib.contextmanager
def cluster(side: Side) -> Iterator[ControlPlane]:
    """A control plane with six ready nodes in three zones, whose Pods are scheduled, run and become ready.

    Everything listens on the loopback interface alone. Raises build.BuildError, local.StartError.
    """
    programs = binaries(BINARIES)
    with ControlPlane() as plane:
        plane.start_kcm(controllers=side.kcm_controllers)
        kubeconfig = plane.kubeconfig()
        scheduler = [
            str(programs["kube-scheduler"]),
            f"--kubeconfig={kubeconfig}",
            "--leader-elect=false",
            # It serves metrics and probes only, and nobody asks.
            "--secure-port=0",
        ]
        plane.spawn("kube-scheduler", scheduler)
        kwok = [
            str(programs["kwok"]),
            f"--kubeconfig={kubeconfig}",
            f"--config={_KWOK_CONFIG}",
            "--manage-all-nodes",
            # Otherwise it holds none, and KCM's node lifecycle controller takes the nodes for dead.
            "--node-lease-duration-seconds=40",
        ]
        plane.spawn("kwok", kwok)
        _add_nodes(plane)
        side.start_more(plane)
        yield plane


def run_tests(
    plane: ControlPlane, names: Sequence[str], focus: Sequence[str], timeout: float, told: Callable[[str], None]
) -> dict[str, Result]:
    """Run e2e.test on these tests, which `focus` (regular expressions, at least one) selects; their results.

    `told` hears the lines of its log while it runs. Raises RunError when it does not end in time, and when something
    that it needs has ended.
    """
    folder = plane.folder / "report"
    argv = [
        str(binaries(("e2e.test",))["e2e.test"]),
        f"--kubeconfig={plane.kubeconfig()}",
        "--provider=skeleton",
        f"--report-dir={folder}",
        f"--e2e-output-dir={folder}",
        "--node-schedulable-timeout=1m",
        # It shuffles the tests: the same way on both sides.
        "--ginkgo.seed=1",
        "--ginkgo.v",
        "--ginkgo.no-color",
        f"--ginkgo.timeout={timeout:.0f}s",
        *(f"--ginkgo.focus={each}" for each in focus),
    ]
    process = plane.spawn("e2e.test", argv)
    _follow(plane, process, timeout, told)
    report = folder / "junit_01.xml"
    if not report.is_file():
        raise RunError(f"e2e.test ended with exit code {process.poll()} and no report:\n{process.tail()}")
    return read_report(report, names)


def list_tests() -> list[str]:
    """The names of all tests that e2e.test holds, as Ginkgo composes them; no cluster is asked."""
    program = binaries(("e2e.test",))["e2e.test"]
    done = subprocess.run([program, "--list-tests"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RunError(f"e2e.test --list-tests failed:\n{done.stderr.strip()[-2000:]}")
    # Such as "    ../network/endpoints.go:58: [sig-network] Endpoints should …".
    lines = [line.partition(".go:")[2].partition(": ")[2] for line in done.stdout.splitlines()]
    return [line for line in lines if line]


def _follow(plane: ControlPlane, process: Process, timeout: float, told: Callable[[str], None]) -> None:
    # Of those that are waited for when they start it is known that they run.
    needed = {*plane.pids, "kube-scheduler", "kwok"} - {process.name}
    # Ginkgo ends by itself before that, unless it hangs.
    until = time.monotonic() + timeout + 60
    with process.log.open(errors="replace") as log:
        while process.poll() is None:
            for line in log:
                told(line)
            if gone := needed - plane.pids.keys():
                raise RunError(f"{', '.join(sorted(gone))} ended:\n{_tails(plane, gone)}")
            if time.monotonic() > until:
                raise RunError(f"e2e.test did not end within {timeout:.0f} s:\n{process.tail()}")
            time.sleep(_POLL)


def _tails(plane: ControlPlane, names: set[str]) -> str:
    logs = [plane.folder / "logs" / f"{name}.log" for name in sorted(names)]
    return "\n".join(line for log in logs for line in log.read_text(errors="replace").splitlines()[-25:])


def _add_nodes(plane: ControlPlane) -> None:
    for node in in_zones(_NODES_PER_ZONE):
        manifest = node.manifest()
        # Whether it is ready is for kwok to say; then KCM takes the taint away that every new node gets.
        del manifest["status"]["conditions"]
        plane.client().create(manifest)
