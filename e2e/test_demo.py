"""The demo as a command: that it ends well by itself, and leaves nothing behind when it is interrupted."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from e2e.cluster.process import Process
from e2e.demo.demands import Cluster, differences
from e2e.demo.workloads import DUAL, SHAPES
from tests.shell.waiting import eventually_true

ROOT = Path(__file__).parents[1]

# A shell's background jobs start with SIGINT ignored, and so would we.
MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from e2e.demo.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("demo")
    process = Process(
        "demo", [sys.executable, "-c", MAIN], folder / "demo.log", env={"TMPDIR": str(folder)}, folder=ROOT
    )
    yield process
    process.kill()


def left_of(demo: Process) -> list[str]:
    """What still runs or lies about of a demo: its folder is in the command line of all that it starts."""
    folder = str(demo.log.parent)
    running = [each.info["name"] for each in psutil.process_iter(["name", "cmdline"]) if folder in str(each.info)]
    return [*running, *(each.name for each in demo.log.parent.glob("sliceplane-*"))]


@pytest.mark.server
def test_ends_well_by_itself(demo: Process) -> None:
    assert demo.wait(240) == 0, demo.tail()
    told = demo.log.read_text()
    assert "✘" not in told
    assert told.count("✔") > len(SHAPES)
    assert left_of(demo) == []


@pytest.mark.server
@pytest.mark.parametrize("step", ["etcd and kube-apiserver", "Sliceplane", "Deployments", "Drain"])
def test_leaves_nothing_after_ctrl_c(demo: Process, step: str) -> None:
    eventually_true(lambda: demo.poll() is not None or f"  {step}" in demo.log.read_text())
    assert demo.poll() is None, demo.tail()
    eventually_true(lambda: left_of(demo))
    os.killpg(demo.pid, signal.SIGINT)
    eventually_true(lambda: demo.poll() is not None, why=demo.tail)
    assert demo.wait() == 130, demo.tail()
    assert "Traceback" not in demo.log.read_text()
    assert left_of(demo) == []


def cluster() -> Cluster:
    """A dual-stack Service with one ready Pod, and the slices that it demands."""
    service = {
        "metadata": {"name": "s", "namespace": "demo", "uid": "uid-s"},
        "spec": {
            "selector": {"app": "s"},
            "ipFamilies": list(DUAL),
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
        },
    }
    pod = {
        "metadata": {"name": "p", "uid": "uid-p", "labels": {"app": "s"}},
        "spec": {"nodeName": "n", "containers": []},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    node = {"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "zone-a"}}}
    slices = [
        {
            "metadata": {
                "name": f"s-{family.lower()}",
                "labels": {
                    "kubernetes.io/service-name": "s",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
                "ownerReferences": [{"uid": "uid-s"}],
            },
            "addressType": family,
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
            "endpoints": [
                {
                    "addresses": [address],
                    "conditions": {"ready": True, "serving": True, "terminating": False},
                    "targetRef": {"kind": "Pod", "name": "p", "uid": "uid-p"},
                    "nodeName": "n",
                    "zone": "zone-a",
                }
            ],
        }
        for family, address in zip(DUAL, ("10.0.0.1", "fd00::1"), strict=True)
    ]
    return Cluster([service], [pod], [node], slices)


def test_right_slices_are_right() -> None:
    assert differences(cluster()) == []


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda made: made.slices.pop(), id="slice-missing"),
        pytest.param(lambda made: made.slices.append(made.slices[0]), id="slice-twice"),
        pytest.param(lambda made: made.slices[0]["endpoints"].clear(), id="endpoint-missing"),
        pytest.param(lambda made: made.slices[0]["endpoints"].extend(made.slices[0]["endpoints"]), id="endpoint-twice"),
        pytest.param(lambda made: made.slices[0]["endpoints"][0]["conditions"].update(ready=False), id="condition"),
        pytest.param(lambda made: made.slices[0]["endpoints"][0].update(zone="zone-b"), id="zone"),
        pytest.param(lambda made: made.slices[0]["ports"][0].update(port=80), id="port"),
        pytest.param(lambda made: made.slices[0]["metadata"]["ownerReferences"].clear(), id="owner"),
        pytest.param(lambda made: made.pods.clear(), id="pod-gone"),
        pytest.param(lambda made: made.pods[0]["metadata"].update(deletionTimestamp="now"), id="pod-terminating"),
        pytest.param(lambda made: made.pods[0]["spec"].update(hostname="p", subdomain="s"), id="hostname"),
    ],
)
def test_wrong_slices_are_noticed(spoil: Callable[[Cluster], object]) -> None:
    made = cluster()
    spoil(made)
    assert differences(made) != []
