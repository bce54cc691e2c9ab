"""More Pods than Endpoints can hold: who is left out must be the same for KCM and Sliceplane (EP-50, EP-51)."""

from random import Random
from typing import Any, Final

import pytest

from api import names
from tests.parity import live
from tests.parity.histories import World
from tests.parity.live import Moment
from tests.parity.outcome import Rules
from tests.parity.planes import two_planes

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

Object = dict[str, Any]

NODE: Final[Object] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "many-node", "labels": {}}}
# How many Pods have the port under this number: of 1,010 three fifths and two fifths, so that every share is a whole
# number, and does not depend on the order of the subsets, which depends on uids.
PODS: Final = ((8080, 606), (8081, 404))
ASLEEP: Final = 10


def crowd() -> World:
    """A Service, and more Pods than its Endpoints can hold; every tenth is not ready."""
    world = World(Random("crowd"), "h-crowd", "many-")
    world.nodes, world.pods = {"many-node": NODE}, {}
    world.service["metadata"]["labels"] = {}
    world.service["spec"] = {
        "type": "ClusterIP",
        "selector": {"app": "s"},
        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    for port, count in PODS:
        for number in range(count):
            name = f"pod-{port}-{number}"
            world.pods[name] = pod(name, port, f"10.{port - 8000}.{number // 250}.{number % 250 + 1}")
            set_ready(world.pods[name], number % ASLEEP < ASLEEP - 1 or number >= count // ASLEEP * ASLEEP, 0)
    return world


def pod(name: str, port: int, ip: str) -> Object:
    container = {"name": "main", "image": "none", "ports": [{"name": "http", "containerPort": port}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "h-crowd", "labels": {"app": "s"}},
        "spec": {"nodeName": "many-node", "containers": [container]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    }


def set_ready(found: Object, ready: bool, minute: int) -> None:
    since = f"2026-01-01T00:{minute:02}:00Z"
    found["status"]["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}]


def test_the_same_addresses_are_left_out() -> None:
    """First some that are not ready, then some that are, then none; all in two subsets, by the number of a port."""
    world = crowd()
    moments = [Moment(world.copy(), "a tenth is not ready")]
    for each in world.pods.values():
        if each["status"]["conditions"][0]["status"] == "False":
            set_ready(each, True, 1)
    moments.append(Moment(world.copy(), "all are ready"))
    for name in list(world.pods)[::50]:
        del world.pods[name]
    moments.append(Moment(world.copy(), "there is room for all"))
    with two_planes() as (ours, theirs):
        assert live.play(ours, theirs, moments, "h-crowd", Rules(packing=False)) == ""
        # Both have been there: what follows from it is ours alone.
        assert names.REASON_OVER_CAPACITY in ours.warnings(world, "Service")
        found = ours.endpoints(world)
        assert found is not None
        assert sum(len(each["addresses"]) for each in found["subsets"]) == len(world.pods) < 1000
