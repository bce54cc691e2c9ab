"""Hints move no more than upstream's: which endpoint serves another zone is free, and chosen so that few change."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from api.names import TOPOLOGY_MODE_ANNOTATION, ZONE_LABEL
from controllers.topology.hints import Memory, wants_proportional
from tests.parity import core
from tests.parity.oracle_client import Oracle

pytestmark = pytest.mark.server

Object = dict[str, Any]
SEQUENCES = 600
# Which hints upstream moves depends on Go's maps: of one turn the sums differ by 9 ± 3.3, of so many by 45 ± 7.4.
TURNS = 5


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
    sequences = [core.sequence(Random(f"steady-{seed}"), topology=True) for seed in range(SEQUENCES)]
    for made in sequences * TURNS:
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


def test_upstream_keeps_a_stale_hint_and_we_do_not(oracle: Oracle) -> None:
    """ES-104: an endpoint that is not ready is not looked at; its hint would be wrong when it wakes up."""
    pods = [_pod(number, zone, number < 3) for number, zone in enumerate("abca")]
    step = {"service": _SERVICE, "pods": pods, "nodes": [_node(zone) for zone in "abc"]}
    (first,) = oracle.run({}, [{**step, "slices": []}])
    slices = [_stale(each) for each in first["slices"]]
    (second,) = oracle.run({}, [{**step, "slices": slices}])
    after, _ = core.ours(core._snapshot(100, step, slices, None), slices)
    assert _sleepers_with_hints(second["slices"]) == 1
    assert _sleepers_with_hints(after) == 0


_SERVICE: Object = {
    "metadata": {"name": "s", "namespace": "ns", "uid": "uid-s", "annotations": {TOPOLOGY_MODE_ANNOTATION: "Auto"}},
    "spec": {"selector": {"app": "s"}, "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]}
    | {"type": "ClusterIP", "clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"]},
}


def _node(zone: str) -> Object:
    status = {"allocatable": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": f"node-{zone}", "labels": {ZONE_LABEL: f"zone-{zone}"}}, "status": status}


def _pod(number: int, zone: str, ready: bool) -> Object:
    address = f"10.0.0.{number + 1}"
    return {
        "metadata": {"name": f"p{number}", "namespace": "ns", "uid": f"uid-{number}", "labels": {"app": "s"}},
        "spec": {"nodeName": f"node-{zone}", "containers": []},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def _stale(found: Object) -> Object:
    endpoints = [
        each if each["conditions"]["ready"] else {**each, "hints": {"forZones": [{"name": "zone-b"}]}}
        for each in found["endpoints"]
    ]
    return {**found, "endpoints": endpoints}


def _sleepers_with_hints(slices: list[Object]) -> int:
    return sum("hints" in each and not each["conditions"]["ready"] for found in slices for each in found["endpoints"])
