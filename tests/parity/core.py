"""The core against upstream's own reconciler, snapshot by snapshot, without a server on either side."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import msgspec

from api import names
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
from tests.parity.oracle_client import Oracle, OracleError
from tests.parity.rules import broken
from tests.parity.tampering import tamper

Object = dict[str, Any]
LIMITS: Final = (1, 2, 3, 5, 8, 100)
_REPEATS: Final = 4
# What `shrink` may leave parts of out.
_PARTS: Final = ("pods", "nodes", "slices", "endpoints", "ports", "labels", "annotations", "podIPs")


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
        # What an earlier process left, perhaps with another limit: written by the core itself, then touched by others.
        earlier, _ = ours(_snapshot(rng.choice(LIMITS), step_of(world), [], None))
        slices = tamper(rng, earlier)
        for _ in range(rng.randint(0, 2)):
            world.step()
    made.steps.append({**step_of(world), "slices": slices})
    for _ in range(rng.randint(1, 6) if topology else rng.randint(0, 3)):
        world.step()
        step = step_of(world)
        if rng.random() < 0.05:
            step["service"]["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
        made.steps.append(step)
    return made


def step_of(world: World) -> Object:
    """A snapshot of a world, as the oracle reads it."""
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
        slices=[each for each in found if managed(each) and each.labels.get(names.SERVICE_NAME_LABEL) == service.name],
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
        found = _compare(snapshot, plan, after, answer, first=number == 0)
        if found:
            return f"step {number}, limit {made.limit}:\n{found}"
        seen = plan.seen if plan.seen is not None else seen
        memory = {family.address_type: family.hints for family in plan.families} or memory
        before = answer["slices"]
    return ""


def shrink(oracle: Oracle, made: Sequence) -> Sequence:
    """The sequence without all that can be left out, one thing at a time, while the same rule is broken.

    Upstream chooses at random where it may (ES-65): what is left out must leave a difference that repeats.
    """
    kind = broken(compare(oracle, made))
    left = Sequence(made.limit, _decode(made.steps, list[Object]))

    def differs() -> bool:
        try:
            return all(broken(compare(oracle, left)) == kind for _ in range(_REPEATS))
        except (OracleError, msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, AssertionError):
            return False  # not even an API server would hold it

    while _drop_steps(oracle, left, differs) + sum(_drop_parts(part, differs) for part in _containers(left.steps)):
        continue
    return left


def _drop_steps(oracle: Oracle, left: Sequence, differs: Callable[[], bool]) -> int:
    """Leaves steps out, the last first. Returns how many."""
    before = len(left.steps)
    for number in reversed(range(1, before)):
        _replace_if(left, left.steps[:number] + left.steps[number + 1 :], differs)
    while len(left.steps) > 1:
        first, second, *rest = left.steps
        # What upstream made of the slices that the first step found, or these as they were.
        made = oracle.run({"maxEndpointsPerSlice": left.limit}, [first])[0]["slices"]
        if not any(
            _replace_if(left, [{**second, "slices": slices}, *rest], differs)
            for slices in (made, first.get("slices") or [])
        ):
            break
    return before - len(left.steps)


def _replace_if(left: Sequence, steps: list[Object], differs: Callable[[], bool]) -> bool:
    before, left.steps = left.steps, steps
    if differs():
        return True
    left.steps = before
    return False


def _containers(steps: list[Object]) -> Iterator[Any]:
    """Every list and mapping of which parts may be left out, the largest things first."""
    level: list[Any] = [steps]
    while level:
        below: list[Any] = []
        for found in level:
            pairs = list(found.items() if isinstance(found, dict) else enumerate(found))
            for key, value in pairs:
                if isinstance(value, dict | list):
                    below.append(value)
                    if key in _PARTS:
                        yield value
        level = below


def _drop_parts(part: Any, differs: Callable[[], bool]) -> int:
    """Leaves out what it can of one list or mapping, the last first. Returns how much."""
    dropped = 0
    for key in reversed(list(part) if isinstance(part, dict) else range(len(part))):
        value = part.pop(key)
        if differs():
            dropped += 1
        elif isinstance(part, dict):
            part[key] = value
        else:
            part.insert(key, value)
    return dropped


def _compare(snapshot: Snapshot, plan: Plan, after: list[Object], answer: Object, *, first: bool) -> str:
    found = _side_effects(plan, answer, exact=not wants_proportional(snapshot.service))
    # A Service that is being deleted gets no new slices (ES-72): which endpoints stay out is anybody's choice.
    if any(family.suppressed for family in plan.families):
        return found
    mine, theirs = dict(_writes(plan)), dict(_answered(answer))
    if wants_proportional(snapshot.service):
        # What KCM writes anew for its hints at every sync is not written by us (D-8).
        mine, theirs = {}, {}
    packed = difference(normal(without_hints(after), mine), normal(without_hints(answer["slices"]), theirs))
    events = _topology_events(plan, answer) if first else ""
    return packed or found or hint_difference(snapshot, plan, after, answer) or events


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
    failed = [event["type"] for event in answer["events"] if event["reason"] == names.REASON_UPDATE_FAILED]
    if failed != ["Warning"] * missing:
        return f"events: ours about a missing Node {missing}, theirs {failed}"
    return ""


def _topology_events(plan: Plan, answer: Object) -> str:
    """What a first sync says about hints: neither side has said anything before.

    KCM says "enabled" for the first of two families alone (ES-108), whichever that is.
    """
    mine = Counter(
        (notice.type, notice.reason, family.address_type) for family in plan.families for notice in family.notices
    )
    theirs = Counter(
        (event["type"], event["reason"], event["message"].rpartition(" ")[2])
        for event in answer["events"]
        if event["reason"] != names.REASON_UPDATE_FAILED
    )
    enabled = [each for each in mine if each[1] == names.REASON_HINTS_ENABLED]
    if len(enabled) == 2 and any(theirs == mine - Counter([each]) for each in enabled):
        return ""
    return "" if mine == theirs else f"events: ours {sorted(mine)}, theirs {sorted(theirs)}"
