"""Histories on two real API servers: after each moment of rest, KCM's slices and Sliceplane's must be the same."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from api import names
from tests.parity.hints import counts, without_hints
from tests.parity.histories import World
from tests.parity.normal import difference, normal
from tests.parity.planes import BATCH_SECONDS, Plane

Object = dict[str, Any]

# A slice that was tampered with is looked at after a second (ES-11), a conflict after one or two more.
REST_SECONDS: Final = BATCH_SECONDS + 0.6
PATIENCE_SECONDS: Final = 25.0
TOPOLOGY_NODES: Final = {
    f"shared-{zone}": {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"shared-{zone}", "labels": {names.ZONE_LABEL: f"zone-{zone}"}},
        "status": {"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    for zone, cpu in (("a", "4"), ("b", "4"), ("c", "2"))
}
_EDITS: Final = ("delete", "lose", "unready", "label")


@dataclass(frozen=True)
class Moment:
    """A world to move to; or, with `edit`, the same world and a slice (by its place among all) to tamper with."""

    world: World
    what: str
    edit: tuple[float, str] | None = None


def history(seed: str, *, topology: bool = False, moving: bool = False) -> list[Moment]:
    """The moments of a seed. Any sublist that begins with a world is a history, too: that is how it is shrunk.

    With `topology` Services ask for hints. Their Nodes stay as they are, since their CPU counts for all histories on a
    server; with `moving` they come, go and change, and a server must play one history at a time.
    """
    rng = Random(seed)
    nodes = TOPOLOGY_NODES if topology and not moving else None
    prefix = "moving-" if moving else f"h{seed}-"
    world = World(rng, namespace=f"h-{seed}", prefix=prefix, topology=topology, nodes=nodes)
    moments = [Moment(world.copy(), "begin")]
    for _ in range(4):
        if rng.random() < 0.25:
            moments.append(Moment(world.copy(), "tamper", (rng.random(), rng.choice(_EDITS))))
        else:
            what = world.step()
            moments.append(Moment(world.copy(), what))
    return moments


def play(ours: Plane, theirs: Plane, moments: list[Moment], namespace: str, packing: bool) -> str:
    """Plays a history on both; returns the first difference, or "". `packing` compares whole slices, not endpoints."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda plane: plane.begin(namespace, moments[0].world.prefix), (ours, theirs)))
        before: World | None = None
        for number, moment in enumerate(moments):
            world = moment.world.copy()
            world.namespace = namespace
            for each in (world.service, *world.pods.values()):
                each["metadata"]["namespace"] = namespace
            list(pool.map(lambda plane, b=before, m=moment, w=world: _move(plane, b, m, w), (ours, theirs)))
            time.sleep(REST_SECONDS)
            list(pool.map(lambda plane, n=number, w=world: plane.nudge(w, str(n)), (ours, theirs)))
            found = _settled(ours, theirs, world, packing)
            if found:
                return f"after moment {number} ({moment.what}):\n{found}"
            before = world
    return ""


def _move(plane: Plane, before: World | None, moment: Moment, world: World) -> None:
    if moment.edit is None:
        plane.move(before, world)
        return
    place, edit = moment.edit
    found = sorted(plane.slices(world), key=lambda each: str(normal([each])))
    if found:
        plane.edit(found[int(place * len(found))], edit)


def _compared(slices: list[Object], packing: bool, topology: bool) -> Object:
    """What must be equal on both: with small slices, a free choice between equals leads to other sizes later.

    Of hints it is how many ready endpoints are for how many zones: which zone gets one more is free between equals.
    """
    if topology:
        # KCM writes slices anew for their hints at every sync, without a trigger time (D-8).
        slices = [_untimed(each) for each in slices]
    found = normal(without_hints(slices))
    for family in ("IPv4", "IPv6"):
        zones = counts(slices, family)
        unhinted = zones.pop("", 0)
        found[f"hints of {family}"] = {"endpoints": [f"none {unhinted}", *map(str, sorted(zones.values()))]}
    return found if packing else {group: {"endpoints": parts["endpoints"]} for group, parts in found.items()}


def _untimed(found: Object) -> Object:
    annotations = {
        k: v for k, v in found["metadata"].get("annotations", {}).items() if k != names.TRIGGER_TIME_ANNOTATION
    }
    return {**found, "metadata": {**found["metadata"], "annotations": annotations}}


def _settled(ours: Plane, theirs: Plane, world: World, packing: bool) -> str:
    """Waits until both agree and stay so for a moment, or patience ends; returns the difference that is left."""
    agreed = 0
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = difference(*(_compared(plane.slices(world), packing, world.topology) for plane in (ours, theirs)))
        agreed = 0 if found else agreed + 1
        if agreed == 2 or time.monotonic() > deadline:
            return found
        time.sleep(0.4)


def shrink(ours: Plane, theirs: Plane, moments: list[Moment], seed: str, packing: bool) -> tuple[list[Moment], str]:
    """The shortest history still found to differ, by leaving out one moment at a time; none if it does not repeat."""
    attempt = 0

    def differs(candidate: list[Moment]) -> str:
        nonlocal attempt
        attempt += 1
        return play(ours, theirs, candidate, f"h-{seed}-r{attempt}", packing)

    found = differs(moments)
    if not found:
        return [], ""
    index = 0
    while index < len(moments):
        candidate = moments[:index] + moments[index + 1 :]
        shorter = differs(candidate) if candidate and candidate[0].edit is None else ""
        if shorter:
            moments, found = candidate, shorter
        else:
            index += 1
    return moments, found


def run(
    ours: Plane,
    theirs: Plane,
    seeds: list[str],
    at_once: int,
    *,
    packing: bool = True,
    topology: bool = False,
    moving: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Plays many histories, some at once; returns the differences by seed.

    A difference counts when it repeats with the history played alone: with many at once, a burst of changes may fall
    apart into two batches on one side.
    """

    def one(seed: str) -> tuple[str, str]:
        found = play(ours, theirs, history(seed, topology=topology, moving=moving), f"h-{seed}", packing)
        tell(f"seed {seed}: {'suspect: ' + found if found else 'equal'}")
        return seed, found

    if topology and not moving:
        for plane in (ours, theirs):
            plane.give_nodes(TOPOLOGY_NODES)
    with ThreadPoolExecutor(at_once) as pool:
        suspects = [seed for seed, found in pool.map(one, seeds) if found]
    confirmed = {}
    for seed in suspects:
        moments, found = shrink(ours, theirs, history(seed, topology=topology, moving=moving), seed, packing)
        if moments:
            what = " → ".join(moment.what + (f" {moment.edit[1]}" if moment.edit else "") for moment in moments)
            confirmed[seed] = f"seed {seed}, shrunk to: {what}\n{found}"
    return confirmed
