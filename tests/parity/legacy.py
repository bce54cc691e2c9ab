"""The cores of Endpoints and mirroring against upstream's own controllers, snapshot by snapshot, without a server."""

from collections import Counter
from random import Random
from typing import Any, Final

import msgspec

from api import names
from controllers.endpoints import reconcile as endpoints_core
from controllers.membership.subsets import remembered, repack, without_versions
from controllers.membership.trigger_time import Seen
from controllers.mirroring import reconcile as mirroring_core
from controllers.mirroring.groups import desired
from controllers.mirroring.mirrorable import mirrored
from controllers.model import wire
from controllers.model.objects import Endpoints, EndpointSubset, Service
from controllers.model.selectors import matches
from tests.parity.core import slices_of, step_of
from tests.parity.handmade import Handmade, touched
from tests.parity.histories import World
from tests.parity.normal import difference, normal
from tests.parity.oracle_legacy_client import LegacyOracle

Object = dict[str, Any]
_RESERVED: Final = {names.SERVICE_NAME_LABEL, names.MANAGED_BY_LABEL}
LIMITS: Final = (1, 2, 3, 5, 1000)


def _decode(value: object, kind: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def _service(found: Object) -> Service:
    return wire.service_from_wire(_decode(found, wire.WireService))


def _endpoints(found: Object | None) -> Endpoints | None:
    return None if found is None else wire.endpoints_from_wire(_decode(found, wire.WireEndpoints))


def play(oracle: LegacyOracle, kind: str, rng: Random) -> tuple[int, str]:
    """A random sequence of a kind, "endpoints" or "mirroring": how many snapshots, and the first difference or ""."""
    if kind == "endpoints":
        steps = endpoints_steps(rng)
        return len(steps), compare_endpoints(oracle, steps)
    limit, steps = mirroring_steps(rng)
    return len(steps), compare_mirroring(oracle, limit, steps)


def endpoints_steps(rng: Random) -> list[Object]:
    """A few snapshots of one Service with a selector; the first may find Endpoints of an earlier time."""
    world = World(rng)
    if rng.random() < 0.01:
        _grow(rng, world)
    step = {**step_of(world), "endpoints": None, "endpointsGiven": True}
    if rng.random() < 0.6:
        plan = endpoints_core.reconcile(_endpoints_snapshot(step, None, None))
        earlier = _stored(plan, None)
        step["endpoints"] = touched(rng, earlier) if earlier is not None else None
        for _ in range(rng.randint(0, 2)):
            world.step()
        step |= step_of(world)
    steps = [step]
    for _ in range(rng.randint(0, 4)):
        world.step()
        steps.append(step_of(world))
        if rng.random() < 0.05:
            steps.append({"serviceDeleted": True, "service": None, "pods": []})
            break
    for step in steps:
        for each in step["pods"]:
            # Without a Node KCM writes an empty nodeName, which the API server refuses, and we none (EP-32).
            each["spec"].setdefault("nodeName", "node-1")
    return [{key: value for key, value in step.items() if key != "nodes"} for step in steps]


def _grow(rng: Random, world: World) -> None:
    """More Pods than an Endpoints object can hold, in a few sets of named ports."""
    for _ in range(rng.randint(990, 1400)):
        world._add_pod()


def _endpoints_snapshot(step: Object, current: Object | None, seen: Seen | None) -> endpoints_core.Snapshot:
    service = None if step.get("serviceDeleted") else _service(step["service"])
    pods = [wire.pod_from_wire(_decode(each, wire.WirePod)) for each in step["pods"]]
    found = _endpoints(current)
    return endpoints_core.Snapshot(
        service=service,
        pods=[pod for pod in pods if service and service.selector and matches(service.selector, pod.labels)],
        # As the store keeps it: of what is ours, fingerprints.
        current=None if found is None else remembered(found),
        seen=seen,
    )


def _stored(plan: endpoints_core.Plan, current: Object | None) -> Object | None:
    """What the API server holds after a plan."""
    for found in plan.writes.delete:
        return current if found.metadata.finalizers else None
    for each in (*plan.writes.create, *plan.writes.update):
        written: Object = _decode({"metadata": each.metadata, "subsets": each.subsets}, dict[str, Any])
        written["metadata"] = {"uid": "uid-s", "resourceVersion": "1", **written["metadata"]}
        return written
    return current


def compare_endpoints(oracle: LegacyOracle, steps: list[Object]) -> str:
    """The first difference over a sequence, or ""; each step starts from what upstream left."""
    seen: Seen | None = None
    before: Object | None = steps[0].get("endpoints")
    for number, (step, answer) in enumerate(zip(steps, oracle.endpoints(steps), strict=True)):
        plan = endpoints_core.reconcile(_endpoints_snapshot(step, before, seen))
        mine, theirs = _comparable(_stored(plan, before)), _comparable(answer["endpoints"])
        quirky = _written_at_every_sync(step, theirs)
        if quirky and mine is not None and theirs is not None and not plan.writes:
            # We write only when something has changed (D-8); KCM's writes carry another trigger time, and mend the
            # headless label, which otherwise nobody looks at (EP-42).
            for each in (mine, theirs):
                each["labels"].pop(names.HEADLESS_LABEL, None)
                each["subsets"] = repack(_subsets(each["subsets"]), from_api=True)
                each["annotations"].pop(names.TRIGGER_TIME_ANNOTATION, None)
        if mine != theirs:
            return f"step {number}, ours | theirs:\n{_only(mine, theirs)}"
        wrote = [each["verb"] for each in answer["writes"] if each["verb"] != "delete" or before is not None]
        verbs = [verb for verb in ("create", "update", "delete") if getattr(plan.writes, verb)]
        if verbs != wrote and not (quirky and wrote == ["update"]):
            return f"step {number}: ours writes {verbs}, theirs {answer['writes']}"
        seen, before = plan.seen if plan.seen is not None else seen, answer["endpoints"]
    return ""


def _subsets(found: list[Object]) -> tuple[EndpointSubset, ...]:
    read = _endpoints({"metadata": {}, "subsets": found})
    return tuple(map(without_versions, read.subsets or ())) if read is not None else ()


def _written_at_every_sync(step: Object, theirs: Object | None) -> bool:
    """KCM's quirks: a truncated object (EP-43), a Service with a reserved label (EP-42)."""
    labels = step["service"]["metadata"].get("labels", {}) if step["service"] else {}
    reserved = {names.HEADLESS_LABEL, names.ENDPOINTS_MANAGED_BY_LABEL} & labels.keys()
    return bool(reserved) or (theirs is not None and names.OVER_CAPACITY_ANNOTATION in theirs["annotations"])


def _comparable(found: Object | None) -> Object | None:
    if found is None:
        return None
    meta = found["metadata"]
    subsets = [{key: value for key, value in each.items() if value} for each in found.get("subsets") or []]
    # EP-52: a subset without an address is refused by the API server.
    subsets = [each for each in subsets if each.get("addresses") or each.get("notReadyAddresses")]
    return {
        "name": meta["name"],
        "labels": dict(meta.get("labels") or {}),
        "annotations": dict(meta.get("annotations") or {}),
        "owners": meta.get("ownerReferences"),
        "finalizers": meta.get("finalizers"),
        "subsets": subsets,
    }


def _only(mine: Object | None, theirs: Object | None) -> str:
    if mine is None or theirs is None:
        return f"{mine} | {theirs}"
    return "\n".join(f"{key}: {mine[key]} | {theirs[key]}" for key in mine if mine[key] != theirs[key])


def mirroring_steps(rng: Random) -> tuple[int, list[Object]]:
    """The limit, and a few snapshots of hand-made Endpoints; the first may find slices of an earlier time."""
    limit, made = rng.choice(LIMITS), Handmade(rng)
    step: Object = {**made.step(), "slices": []}
    if rng.random() < 0.6:
        plan = mirroring_core.reconcile(_mirroring_snapshot(rng.choice(LIMITS), step, []))
        step["slices"] = made.tampered([_decode(each, dict[str, Any]) for each in plan.writes.create])
        for _ in range(rng.randint(0, 2)):
            made.change()
        step |= made.step()
    steps = [step]
    for _ in range(rng.randint(0, 4)):
        made.change()
        steps.append(made.step())
    return limit, steps


def _mirroring_snapshot(limit: int, step: Object, slices: list[Object]) -> mirroring_core.Snapshot:
    found = slices_of(slices)
    return mirroring_core.Snapshot(
        endpoints=_endpoints(step["endpoints"]),
        service=None if step.get("serviceDeleted") else _service(step["service"]),
        slices=[each for each in found if mirrored(each) and each.labels.get(names.SERVICE_NAME_LABEL) == "s"],
        taken={each.name for each in found},
        limit=limit,
    )


def compare_mirroring(oracle: LegacyOracle, limit: int, steps: list[Object]) -> str:
    """The first difference over a sequence, or ""; each step starts from what upstream left."""
    before: list[Object] = steps[0]["slices"]
    answers = oracle.mirroring({"maxEndpointsPerSubset": limit, "metrics": True}, steps)
    for number, (step, answer) in enumerate(zip(steps, answers, strict=True)):
        if any(map(_twice_a_port, answer["slices"])):
            return ""
        if any(each["metadata"].get("deletionTimestamp") for each in before):
            # KCM goes on with slices that are being deleted, or fails until they are gone (MI-22.5): we make new ones.
            return ""
        plan = mirroring_core.reconcile(_mirroring_snapshot(limit, step, before))
        after = {each["metadata"]["name"]: each for each in before}
        for each in plan.writes.delete:
            if not each.metadata.finalizers:
                del after[each.name]
        for each in (*plan.writes.create, *plan.writes.update):
            after[each.name] = _decode(each, dict[str, Any])
        found = _different(step, limit, list(after.values()), answer["slices"]) or _told_and_counted(plan, answer)
        if found:
            return f"step {number}, limit {limit}, attempts {answer['attempts']}:\n{found}"
        before = answer["slices"]
    return ""


def _different(step: Object, limit: int, mine: list[Object], theirs: list[Object]) -> str:
    """The difference between slices, but for what KCM updates at every sync and we do not.

    Such updates take the generateName (MI-42) and put the ports in order. They come when Endpoints carry a reserved
    label (MI-38), and when more endpoints fall into a group than a slice may hold (MI-39): which is free.
    """
    endpoints = step["endpoints"] or {"metadata": {}}
    read = _endpoints(endpoints)
    surplus = any(len(group) > limit for group in desired((read.subsets if read else ()) or (), limit).groups.values())
    if not surplus and not _RESERVED & endpoints["metadata"].get("labels", {}).keys():
        return difference(normal(mine), normal(theirs))
    forms = [normal([_as_updated(each) for each in side]) for side in (mine, theirs)]
    if surplus:
        forms = [{key: {"slices": [str(len(parts["slices"]))]} for key, parts in form.items()} for form in forms]
    return difference(*forms)


def _twice_a_port(found: Object) -> bool:
    """Slices with a port given twice, which the API server refuses: ours have it once."""
    ports = [str(port) for port in found.get("ports") or []]
    return len(set(ports)) < len(ports)


def _as_updated(found: Object) -> Object:
    metadata = {key: value for key, value in found["metadata"].items() if key != "generateName"}
    return {**found, "metadata": metadata, "ports": sorted(found.get("ports") or [], key=str)}


def _told_and_counted(plan: mirroring_core.Plan, answer: Object) -> str:
    told = Counter((each.reason, each.message) for each in plan.notices)
    theirs = Counter((each["reason"], each["message"]) for each in answer["events"])
    if told != theirs:
        return f"events: ours {told}, theirs {theirs}"
    if answer["attempts"] > 1 or plan.counts is None:
        return ""
    counts, grown = plan.counts, answer["metrics"]
    mine = {
        "endpoints_added_per_sync": counts.added,
        "endpoints_updated_per_sync": counts.updated,
        "endpoints_removed_per_sync": counts.removed,
        "addresses_skipped_per_sync": counts.skipped,
    }
    for name, value in mine.items():
        if grown.get(name, {}).get("sum") != value:
            return f"{name}: ours {value}, theirs {grown.get(name)}"
    gauges = {
        "endpoints_desired": counts.endpoints,
        "num_endpoint_slices": counts.slices,
        "desired_endpoint_slices": counts.perfect_slices,
    }
    wrong = {name: (value, grown.get(name)) for name, value in gauges.items() if grown.get(name) != value}
    return f"gauges: {wrong}" if wrong else ""
