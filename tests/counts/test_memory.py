"""Memory of a Pod in the store: what Python allocates for it, and what the process grows by."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.bench.bare import Bare, Shape, pod
from e2e.bench.load import NAMESPACE
from tests.counts.counting import allocated

ROOT = Path(__file__).parents[2]
THOUSAND = 1_000
# The record, its name, uid, and for each family a tuple and an address; two more for what it shares with replicas.
BLOCKS = 7 + 2
GOAL_BYTES = 700
PODS = 50_000


def blocks_of_thousand(first: int, bare: Bare) -> int:
    """Blocks that are kept of a thousand Pods, read from JSON of 4 to 5 kB each."""
    lines = [pod(number, bare.shape) for number in range(first, first + THOUSAND)]
    assert 4000 < len(lines[0]) < 6000
    with allocated() as found:
        for line in lines:
            bare.told(line)
    return found.blocks


@pytest.fixture
def bare() -> Bare:
    """Stores that know some Pods of a cluster of 20 Pods for each Service."""
    made = Bare(Shape(20 * THOUSAND, THOUSAND))
    for number in range(THOUSAND):
        made.told(pod(number, made.shape))
    return made


def test_allocations_of_a_thousand_pods(bare: Bare) -> None:
    """Nothing of a Pod's JSON is kept but what is read, and replicas share what they have in common."""
    assert THOUSAND < blocks_of_thousand(THOUSAND, bare) <= BLOCKS * THOUSAND


def test_a_thousand_pods_allocate_as_much_in_a_large_store(bare: Bare) -> None:
    early = blocks_of_thousand(THOUSAND, bare)
    for number in range(2 * THOUSAND, 19 * THOUSAND):
        bare.told(pod(number, bare.shape))
    late = blocks_of_thousand(19 * THOUSAND, bare)
    assert abs(late - early) <= 0.1 * early
    assert len(bare.stores.pods) == 20 * THOUSAND


def test_bytes_that_python_keeps_of_a_pod() -> None:
    """With the indexes and what replicas share; without what the allocator rounds up, which the process has to bear."""
    made = Bare(Shape(20 * THOUSAND, THOUSAND))
    with allocated() as found:
        for number in range(20 * THOUSAND):
            made.told(pod(number, made.shape))
    assert 100 < found.kept / len(made.stores.pods) <= GOAL_BYTES


def test_pods_that_are_told_again_allocate_nothing_that_stays(bare: Bare) -> None:
    """The records of before are kept, and the equal ones that have just been read are let go."""
    bare.told(pod(0, bare.shape, version=2))
    with allocated() as found:
        for number in range(THOUSAND):
            bare.told(pod(number, bare.shape, version=3))
    assert found.blocks < 0.1 * THOUSAND


def test_dropped_pods_leave_nothing() -> None:
    """Neither in the store nor in its indexes; labels that were shared are remembered for the next, but once."""
    bare = Bare(Shape(THOUSAND, 50))
    come_and_go(bare)
    with allocated() as found:
        come_and_go(bare)
    assert found.kept < 0.05 * GOAL_BYTES * THOUSAND


def come_and_go(bare: Bare) -> None:
    pods = bare.stores.pods
    for number in range(THOUSAND):
        bare.told(pod(number, bare.shape))
    for name in list(pods.names(NAMESPACE)):
        pods.drop_named(NAMESPACE, name)
    assert len(pods) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_bytes_of_a_pod_in_the_store() -> None:
    """How much a process grows by for each Pod of 50,000 (two families, no name twice), read page by page."""
    argv = [sys.executable, "-m", "e2e.bench.bare", f"--pods={PODS}", f"--services={PODS // 20}", "--changes=2"]
    answer = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    measured = json.loads(answer.stdout)["store_bytes"] / PODS
    print(f"{measured:.0f} B for each Pod, goal {GOAL_BYTES}")
    assert measured <= GOAL_BYTES
