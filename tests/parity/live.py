"""Histories on two real API servers: after each moment of rest, what KCM and Sliceplane made must be the same."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from random import Random
from typing import Any, Final

from api import names
from tests.parity.histories import World
from tests.parity.manual import ManualWorld
from tests.parity.normal import difference, normal
from tests.parity.outcome import Rules, outcome, plain
from tests.parity.planes import BATCH_SECONDS, Plane

Object = dict[str, Any]

# A slice that was tampered with is looked at after a second (ES-11), a conflict after one or two more.
REST_SECONDS: Final = BATCH_SECONDS + 0.6
# What is mirrored is looked at at once.
SHORT_REST_SECONDS: Final = 0.6
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
_ENDPOINTS: Final = "Endpoints"
_EDITS: Final = {
    "services": ("delete", "lose", "unready", "label"),
    "mirroring": ("delete", "lose", "unready", "label", "annotation", "owner", "double", "manager", "service"),
    _ENDPOINTS: ("delete", "lose", "label", "annotation"),
}
# What KCM does not notice by itself.
_UNNOTICED: Final = ("annotation", "owner")
# KCM loses a family, without a word, in about one of six times that Endpoints of both are made again at once: that the
# deleted slices have gone makes its defect with recycling (MI-47) succeed.
_LOSSY: Final = "endpoints_again"
_LOSS_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Edit:
    """Somebody tampers with the Endpoints, or with a slice: the one at this place among all, from 0 to 1."""

    what: str
    place: float | None = None


@dataclass(frozen=True)
class Moment:
    """A world to move to; or, with `edit`, the same world and what is done to it."""

    world: World
    what: str
    edit: Edit | None = None


def history(seed: str, rules: Rules) -> list[Moment]:
    """The moments of a seed. Any sublist that begins with a world is a history, too: that is how it is shrunk."""
    rng = Random(seed)
    prefix = "moving-" if rules.moving else f"h{seed}-"
    world: World
    if rules.kind == "mirroring":
        world = ManualWorld(rng, f"h-{seed}", prefix)
    else:
        nodes = TOPOLOGY_NODES if rules.topology and not rules.moving else None
        world = World(rng, f"h-{seed}", prefix, topology=rules.topology, nodes=nodes)
    moments = [Moment(world.copy(), "begin")]
    for _ in range(7 if rules.kind == "mirroring" else 4):
        if rng.random() < 0.25:
            moments.append(Moment(world.copy(), "tamper", _some_edit(rng, rules)))
        else:
            what = world.step()
            moments.append(Moment(world.copy(), what))
    return moments


def _some_edit(rng: Random, rules: Rules) -> Edit:
    if rules.kind == "services" and rng.random() < 0.3:
        return Edit(rng.choice(_EDITS[_ENDPOINTS]))
    return Edit(rng.choice(_EDITS[rules.kind]), rng.random())


def play(ours: Plane, theirs: Plane, moments: list[Moment], namespace: str, rules: Rules) -> str:
    """Plays a history on both; returns the first difference, or ""."""
    planes = (ours, theirs)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Plane.begin, planes, repeat(namespace), repeat(moments[0].world.prefix)))
        worlds: list[World] = []
        for number, moment in enumerate(moments):
            before = worlds[-1] if worlds else None
            worlds.append(moment.world.moved_to(namespace))
            said = theirs.said()
            list(pool.map(_move, planes, repeat(before), repeat(moment), repeat(worlds[-1])))
            time.sleep(REST_SECONDS if any(each.selects for each in worlds[-2:]) else SHORT_REST_SECONDS)
            list(pool.map(_nudge, planes, repeat(moment), repeat(worlds[-1]), repeat(str(number))))
            found = _settled(ours, theirs, worlds, rules, said, lossy=moment.what == _LOSSY)
            if found:
                return f"after moment {number} ({moment.what}):\n{found}"
    return ""


def _move(plane: Plane, before: World | None, moment: Moment, world: World) -> None:
    edit = moment.edit
    if edit is None:
        plane.move(before, world)
    elif edit.place is None:
        plane.edit_endpoints(world.namespace, edit.what)
    else:
        found = sorted(plane.slices(world), key=lambda each: str(normal([plain(each)])))
        if found:
            plane.edit(found[int(edit.place * len(found))], edit.what)


def _nudge(plane: Plane, moment: Moment, world: World, text: str) -> None:
    """Has both look at what KCM does not look at by itself, and nothing else: what it sees must be seen by us."""
    edit = moment.edit
    if edit is None or edit.place is not None or edit.what != "delete":
        plane.nudge(world, text)
    if isinstance(world, ManualWorld) and edit is not None and edit.what in _UNNOTICED:
        plane.nudge_endpoints(world.namespace, text)


def _settled(ours: Plane, theirs: Plane, worlds: list[World], rules: Rules, said: int, *, lossy: bool) -> str:
    """Waits until both agree and stay so for a moment, or patience ends; returns the difference that is left.

    `said` is where KCM's log was before: when it has met a defect of its own, it is helped; also when it may have met
    one (`lossy`) of which it says nothing.
    """
    agreed = 0
    start = time.monotonic()
    deadline = start + PATIENCE_SECONDS
    while True:
        found = difference(*(outcome(plane, worlds, rules) for plane in (ours, theirs)))
        agreed = 0 if found else agreed + 1
        if agreed == 2 or time.monotonic() > deadline:
            return found
        silent = lossy and time.monotonic() > start + _LOSS_SECONDS
        if found and (silent or theirs.defective(worlds[-1].namespace, said)):
            said, lossy = theirs.said(), lossy and not silent
            theirs.mirror_anew(worlds[-1].namespace)
        time.sleep(0.4)


def shrink(ours: Plane, theirs: Plane, moments: list[Moment], seed: str, rules: Rules) -> tuple[list[Moment], str]:
    """The shortest history still found to differ, by leaving out one moment at a time; none if it does not repeat."""
    attempt = 0

    def differs(candidate: list[Moment]) -> str:
        nonlocal attempt
        attempt += 1
        return play(ours, theirs, candidate, f"h-{seed}-r{attempt}", rules)

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
    rules: Rules,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Plays many histories, some at once; returns the differences by seed.

    A difference counts when it repeats with the history played alone: with many at once, a burst of changes may fall
    apart into two batches on one side.
    """

    def one(seed: str) -> tuple[str, str]:
        found = play(ours, theirs, history(seed, rules), f"h-{seed}", rules)
        tell(f"seed {seed}: {'suspect: ' + found if found else 'equal'}")
        return seed, found

    if rules.topology and not rules.moving:
        for plane in (ours, theirs):
            plane.give_nodes(TOPOLOGY_NODES)
    with ThreadPoolExecutor(at_once) as pool:
        suspects = [seed for seed, found in pool.map(one, seeds) if found]
    confirmed = {}
    for seed in suspects:
        moments, found = shrink(ours, theirs, history(seed, rules), seed, rules)
        if moments:
            what = " → ".join(moment.what + (f" {moment.edit.what}" if moment.edit else "") for moment in moments)
            confirmed[seed] = f"seed {seed}, shrunk to: {what}\n{found}"
    return confirmed
