"""Shares of the Namespaces: each has one, always the same, and they are of a size."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.runtime import shards
from controllers.runtime.shards import Shard, shard_of

ROOT = Path(__file__).parents[2]
# To change these is to change who writes what, while both versions run.
PINNED = {
    ("default", 2): 1,
    ("default", 3): 1,
    ("kube-system", 2): 0,
    ("kube-system", 3): 2,
    ("shop", 2): 1,
    ("shop", 1000): 59,
}


def test_hash_is_the_same_in_every_version() -> None:
    assert {key: shard_of(*key) for key in PINNED} == PINNED


def test_hash_is_the_same_in_every_process() -> None:
    """Unlike Python's own, which a process has a seed for."""
    script = f"from controllers.runtime.shards import shard_of; print([shard_of(*key) for key in {list(PINNED)}])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
        cwd=ROOT,
    )
    assert done.stdout.strip() == str(list(PINNED.values()))


@pytest.mark.parametrize("of", [2, 3, 4, 7, 8])
@pytest.mark.parametrize(
    "pattern", ["team-{}", "{}", "tenant-{}-prod", "ns{:05}", "a{:x}-b"], ids=["team", "digits", "prod", "wide", "hex"]
)
def test_shares_are_of_a_size(of: int, pattern: str) -> None:
    """Also of names that differ in a digit or two."""
    found = Counter(shard_of(pattern.format(number), of) for number in range(2000 * of))
    assert found.keys() == set(range(of))
    assert all(1850 < each < 2150 for each in found.values()), found


@given(st.text(max_size=63), st.integers(2, 20))
def test_law_every_namespace_belongs_to_exactly_one_shard(namespace: str, of: int) -> None:
    assert sum(Shard(number, of).has(namespace) for number in range(of)) == 1


def test_one_share_is_none() -> None:
    assert shards.chosen(0, 1) is None
    assert shards.chosen(1, 2) == Shard(1, 2)
    assert str(Shard(1, 2)) == "1-of-2"


@pytest.mark.parametrize(("number", "of"), [(1, 1), (2, 2), (-1, 2), (0, 0)])
def test_share_that_there_is_not_is_refused(number: int, of: int) -> None:
    with pytest.raises(ValueError, match=f"no shard {number} of {of}"):
        shards.chosen(number, of)
