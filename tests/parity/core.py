"""The core against upstream's own reconciler, snapshot by snapshot, without a server on either side."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from controllers.endpointslice.reconcile import Plan, Snapshot, reconcile
from controllers.endpointslice.slices import managed
from controllers.membership.trigger_time import Seen
from controllers.model import wire
from controllers.model.objects import EndpointSlice, Service
from controllers.model.reasons import Reason
from controllers.model.selectors import matches
from controllers.topology.capacity import capacity_of
from controllers.topology.hints import Memory, wants_proportional
from tests.builders import apply
from tests.parity.hints import difference as hint_difference
from tests.parity.hints import without_hints
from tests.parity.histories import World
from tests.parity.normal import difference, normal
from tests.parity.oracle_client import Oracle
from tests.parity.tampering import tamper

Object = dict[str, Any]
LIMITS: Final = (1, 2, 3, 5, 8, 100)


@dataclass
class Sequence:
    """A history as the oracle reads it: options, and a step for each sync."""

    limit: int
    steps: list[Object] = field(default_factory=list)


def sequence(rng: Random, *, topology: bool = False) -> Sequence:
    """A few snapshots of one Service; the first may find slices of an earlier time, tampered with."""
    world = World(rng, topology=topology)
    made = Sequence(rng.choice(LIMITS))
    slices: list[Object] = []
    if rng.random() < 0.7:
        # What an earlier process left: written by the core itself, then touched by others.
        earlier, _ = ours(_snapshot(made.limit, _step(world), [], None))
        slices = tamper(rng, earlier)
        for _ in range(rng.randint(0, 2)):
            world.step()
    made.steps.append({**_step(world), "slices": slices})
    for _ in range(rng.randint(1, 6) if topology else rng.randint(0, 3)):
        world.step()
        step = _step(world)
        if rng.random() < 0.05:
            step["service"]["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
        made.steps.append(step)
    return made


def _step(world: World) -> Object:
    now = world.copy()
    if now.service["spec"].get("clusterIP") is None and now.service["spec"]["type"] == "ClusterIP":
        first = now.service["spec"].get("ipFamilies", ["IPv4"])[0]
        now.service["spec"]["clusterIP"] = "10.96.0.10" if first == "IPv4" else "fd00:10:96::a"
    return {"service": now.service, "pods": list(now.pods.values()), "nodes": list(now.nodes.values())}


def _decode(value: object, kind: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def slices_of(objects: list[Object]) -> list[EndpointSlice]:
    return [wire.slice_from_wire(_decode(each, wire.WireSlice)) for each in objects]


def _snapshot(
    limit: int, step: Object, slices: list[Object], seen: Seen | None, hints: dict[str, Memory] | None = None
) -> Snapshot:
    service: Service = wire.service_from_wire(_decode(step["service"], wire.WireService))
    pods = [wire.pod_from_wire(_decode(each, wire.WirePod)) for each in step["pods"]]
    nodes = [wire.node_from_wire(_decode(each, wire.WireNode)) for each in step["nodes"]]
    found = slices_of(slices)
    return Snapshot(
        service=service,
        pods=[pod for pod in pods if matches(service.selector, pod.labels)],
        nodes={node.name: node for node in nodes},
        slices=[each for each in found if managed(each)],
        taken={each.name for each in found},
        seen=seen,
        max_endpoints=limit,
        capacity=capacity_of({node.name: node for node in nodes}),
        hints=hints or {},
    )


def ours(snapshot: Snapshot, others: list[Object] | None = None) -> tuple[list[Object], Plan]:
    """What the core makes of a snapshot: all slices afterwards, and its plan."""
    plan = reconcile(snapshot)
    after = apply(plan, list(snapshot.slices))
    known = {each.name for each in snapshot.slices}
    rest = [each for each in others or [] if each["metadata"]["name"] not in known]
    return [*rest, *(_decode(each, dict[str, Any]) for each in after)], plan


def _writes(plan: Plan) -> list[tuple[str, str]]:
    """(name, verb) of each write of a plan."""
    found = [(each.name, "delete") for each in plan.unsupported]
    for family in plan.families:
        found += [(each.name, "create") for each in family.writes.create]
        found += [(each.name, "update") for each in family.writes.update]
        found += [(each.name, "delete") for each in family.writes.delete]
    return found


def compare(oracle: Oracle, made: Sequence) -> str:
    """The first difference between the core and upstream over a sequence, or "".

    Each step starts from what upstream left in the one before: its free choices are not ours to follow.
    """
    answers = oracle.run({"maxEndpointsPerSlice": made.limit}, made.steps)
    seen: Seen | None = None
    memory: dict[str, Memory] = {}
    before: list[Object] = made.steps[0].get("slices") or []
    for number, (step, answer) in enumerate(zip(made.steps, answers, strict=True)):
        snapshot = _snapshot(made.limit, step, before, seen, memory)
        after, plan = ours(snapshot, before)
        found = _compare(snapshot, plan, after, answer)
        if found:
            return f"step {number}, limit {made.limit}:\n{found}"
        seen = plan.seen if plan.seen is not None else seen
        memory = {family.address_type: family.hints for family in plan.families} or memory
        before = answer["slices"]
    return ""


def _compare(snapshot: Snapshot, plan: Plan, after: list[Object], answer: Object) -> str:
    found = _side_effects(plan, answer, exact=not wants_proportional(snapshot.service))
    # A Service that is being deleted gets no new slices (ES-72): which endpoints stay out is anybody's choice.
    if any(family.suppressed for family in plan.families):
        return found
    mine, theirs = dict(_writes(plan)), dict(_answered(answer))
    if wants_proportional(snapshot.service):
        # What KCM writes anew for its hints at every sync is not written by us (D-8).
        mine, theirs = {}, {}
    packed = difference(normal(without_hints(after), mine), normal(without_hints(answer["slices"]), theirs))
    return packed or found or hint_difference(snapshot, plan, after, answer)


def _answered(answer: Object) -> list[tuple[str, str]]:
    return [(write["name"], write["verb"]) for write in answer["writes"] if not write.get("error")]


def _side_effects(plan: Plan, answer: Object, *, exact: bool) -> str:
    mine = Counter(verb for _, verb in _writes(plan))
    theirs = Counter(verb for _, verb in _answered(answer))
    if not exact:
        # Which slices are examined first decides which are written for their hints (ES-104): that is free.
        del mine["update"], theirs["update"]
    if mine != theirs:
        return f"writes: ours {mine}, theirs {theirs}"
    missing = any(left.reason is Reason.NODE_NOT_FOUND for left in plan.left_out)
    if missing != bool(answer["error"]):
        return f"error: ours {missing}, theirs {answer['error']!r}"
    return ""
