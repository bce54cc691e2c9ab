"""Hints move no more than upstream's: which endpoint serves another zone is free, and chosen so that few change."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from controllers.topology.hints import Memory, wants_proportional
from tests.parity import core
from tests.parity.oracle_client import Oracle

pytestmark = pytest.mark.server

Object = dict[str, Any]
SEQUENCES = 600


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running


def hints(slices: list[Object]) -> dict[tuple[str, str], str]:
    """The hints of each ready endpoint, by family and Pod."""
    return {
        (each["addressType"], endpoint["targetRef"]["name"]): str(endpoint.get("hints"))
        for each in slices
        for endpoint in each.get("endpoints") or []
        if endpoint["conditions"].get("ready")
    }


def moved(before: list[Object], after: list[Object]) -> int:
    """How many endpoints that are ready before and after have other hints."""
    old, new = hints(before), hints(after)
    return sum(old[key] != new[key] for key in old.keys() & new.keys())


def test_hints_move_no_more_than_upstreams(oracle: Oracle) -> None:
    ours = theirs = 0
    for seed in range(SEQUENCES):
        made = core.sequence(Random(f"steady-{seed}"), topology=True)
        answers = oracle.run({"maxEndpointsPerSlice": made.limit}, made.steps)
        memory: dict[str, Memory] = {}
        before: list[Object] = made.steps[0].get("slices") or []
        for number, (step, answer) in enumerate(zip(made.steps, answers, strict=True)):
            snapshot = core._snapshot(made.limit, step, before, None, memory)
            after, plan = core.ours(snapshot, before)
            if number and wants_proportional(snapshot.service):
                ours += moved(before, after)
                theirs += moved(before, answer["slices"])
            memory = {family.address_type: family.hints for family in plan.families} or memory
            before = answer["slices"]
    print(f"hints moved: ours {ours}, upstream {theirs}")
    assert 0 < ours <= theirs
