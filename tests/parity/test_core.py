"""Some hundreds of random sequences, the core against upstream's reconciler; `make fuzz-parity` runs more."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.parity import core
from tests.parity.oracle_client import Oracle

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running


@pytest.mark.parametrize("topology", [False, True], ids=["packing", "hints"])
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(rng=st.randoms(use_true_random=False))
def test_core_agrees_with_upstream(oracle: Oracle, topology: bool, rng: Random) -> None:
    assert core.compare(oracle, core.sequence(rng, topology=topology)) == ""
