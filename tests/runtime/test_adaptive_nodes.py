"""Adaptive Services and Nodes in the controller's shell: who is asked, when a held Node is let go of, what is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from api.names import REASON_HINTS_ENABLED, REASON_INVALID_ANNOTATION, TOPOLOGY_FLOOR_ANNOTATION
from controllers.model.objects import Node
from controllers.runtime.loop import Controller
from controllers.runtime.slice_controller import SliceController
from controllers.runtime.stores import Stores
from tests.builders import pod, service
from tests.runtime.clocks import LoopClock, virtually
from tests.runtime.test_slice_controller import Hands

NODES = [Node(f"node-{zone}", f"zone-{zone}", nano_cpu=10**9) for zone in "abc"]
DOWN = replace(NODES[2], ready=False)
GRACE = 60.0


class World:
    """A Service in three zones, and the controller before its first sync."""

    def __init__(self, **changes: Any) -> None:
        self.stores = Stores()
        for node in NODES:
            self.stores.nodes.put(node)
        self.stores.services.put(service(**changes))
        for number, zone in enumerate("abca"):
            self.stores.pods.put(pod(number, node_name=f"node-{zone}"))
        self.hands = Hands(self.stores)
        self.controller: Controller = SliceController(
            self.stores,
            self.hands,  # type: ignore[arg-type]
            self.hands,  # type: ignore[arg-type]
            LoopClock(),
            max_endpoints=100,
            batch_seconds=0,
            grace_seconds=GRACE,
        ).start()

    async def settle(self) -> list[str]:
        """Syncs what waits for a worker now; the keys, except those that are no Service's."""
        done: list[str] = []
        while len(self.controller.queue):
            taken = await self.controller.queue.get()
            assert taken is not None
            await self.controller.sync(taken[0])
            self.controller.queue.done(taken[0])
            done.append(taken[0])
        return [key for key in done if "/" in key]

    @property
    def zones(self) -> set[str]:
        found = self.stores.slices.of_service("ns", "s")
        hints = [one.hints for each in found for one in each.endpoints]
        return {zone.name for each in hints if each and each.for_zones for zone in each.for_zones}


@asynccontextmanager
async def _timers(world: World) -> AsyncIterator[None]:
    """Lets delays of the queue end."""
    task = asyncio.create_task(world.controller.queue.run_timers())
    yield
    task.cancel()


def test_a_node_that_flaps_moves_no_hints_one_that_stays_away_does() -> None:
    async def scenario() -> None:
        world = World(adaptive=True)
        clock = LoopClock()
        await world.settle()
        assert world.zones == {"zone-a", "zone-b", "zone-c"}
        async with _timers(world):
            world.stores.nodes.put(DOWN)
            assert await world.settle() == []
            await clock.sleep(GRACE / 2)
            world.stores.nodes.put(NODES[2])
            await clock.sleep(GRACE)
            assert await world.settle() == []
            world.stores.nodes.put(DOWN)
            await clock.sleep(GRACE - 1)
            assert await world.settle() == []
            # Asked for another reason, it still counts with the Node.
            world.stores.pods.put(pod(4, node_name="node-b"))
            assert await world.settle() == ["ns/s"]
            assert world.zones == {"zone-a", "zone-b", "zone-c"}
            await clock.sleep(1.1)
            assert await world.settle() == ["ns/s"]
        assert world.zones == {"zone-a", "zone-b"}
        assert [notice.reason for notice in world.hands.events] == [REASON_HINTS_ENABLED]

    virtually(scenario())


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        pytest.param({"adaptive": True}, [], id="adaptive-is-held"),
        pytest.param({"topology_mode": "Auto"}, ["ns/s"], id="auto-soon"),
        pytest.param({}, [], id="without-hints"),
    ],
)
def test_which_services_a_lost_node_asks_for(changes: dict[str, Any], asked: list[str]) -> None:
    async def scenario() -> None:
        world = World(**changes)
        world.stores.pods.drop(pod(3, node_name="node-a"))
        await world.settle()
        async with _timers(world):
            for _ in range(5):
                world.stores.nodes.put(DOWN)
                world.stores.nodes.put(NODES[2])
            world.stores.nodes.put(DOWN)
            assert await world.settle() == []
            await LoopClock().sleep(0.11)
            # Once, however many Nodes have changed.
            assert await world.settle() == asked

    virtually(scenario())


@pytest.mark.parametrize("changes", [{"adaptive": True}, {"topology_mode": "Auto"}], ids=["adaptive", "auto"])
def test_service_synced_while_nodes_were_otherwise_is_asked_for_afterwards(changes: dict[str, Any]) -> None:
    """The zones are as they were at the last look, but not the hints."""

    async def scenario() -> None:
        world = World(**changes)
        world.stores.pods.drop(pod(3, node_name="node-a"))
        await world.settle()
        assert world.zones == {"zone-a", "zone-b", "zone-c"}
        async with _timers(world):
            for node in NODES[1:]:
                world.stores.nodes.put(replace(node, control_plane=True))
            world.controller.queue.add("ns/s")
            assert await world.settle() == ["ns/s"]
            assert world.zones == set()
            for node in NODES[1:]:
                world.stores.nodes.put(node)
            await LoopClock().sleep(0.11)
            assert await world.settle() == ["ns/s"]
        assert world.zones == {"zone-a", "zone-b", "zone-c"}

    virtually(scenario())


def test_nodes_that_change_while_a_plan_is_carried_out_are_not_missed() -> None:
    async def scenario() -> None:
        world = World(adaptive=True)
        apply = world.hands.apply

        async def meanwhile(writes: Any) -> None:
            await apply(writes)
            world.stores.nodes.put(Node("node-d", "zone-d", nano_cpu=10**9))

        world.hands.apply = meanwhile  # type: ignore[method-assign]
        async with _timers(world):
            assert await world.settle() == ["ns/s", "ns/s"]
        assert world.zones == {"zone-a", "zone-b", "zone-c", "zone-d"}

    virtually(scenario())


def test_an_annotation_that_is_not_valid_is_told_once_per_change() -> None:
    async def scenario() -> None:
        world = World(refused_annotations=(f"{TOPOLOGY_FLOOR_ANNOTATION}: '0'",))
        await world.settle()
        for refused in (("x",), ("x",), (), ("x",)):
            world.stores.services.put(service(labels=pod(1).labels, refused_annotations=refused))
            world.controller.queue.add("ns/s")
            await world.settle()
        told = [notice.message for notice in world.hands.events if notice.reason == REASON_INVALID_ANNOTATION]
        assert told == [f"{TOPOLOGY_FLOOR_ANNOTATION}: '0'", "x", "x"]

    virtually(scenario())
