"""Hints of two results: equal where the spec leaves no choice, equally many for each zone where it does (ES-106)."""

from collections import Counter
from typing import Any

from controllers.endpointslice.reconcile import Plan, Snapshot
from controllers.topology.allocation import Refused, shares
from controllers.topology.hints import ENABLED, wants_proportional

Object = dict[str, Any]


def without_hints(slices: list[Object]) -> list[Object]:
    """The slices as if there were no hints."""
    return [
        {**each, "endpoints": [{k: v for k, v in one.items() if k != "hints"} for one in each.get("endpoints") or []]}
        for each in slices
    ]


def _ready(slices: list[Object], family: str) -> list[Object]:
    return [
        endpoint
        for each in slices
        if each["addressType"] == family
        for endpoint in each.get("endpoints") or []
        if endpoint["conditions"].get("ready")
    ]


def _zones(endpoint: Object) -> list[str]:
    return [zone["name"] for zone in (endpoint.get("hints") or {}).get("forZones") or []]


def counts(slices: list[Object], family: str) -> Counter[str]:
    """How many ready endpoints are for each zone, and how many for none ("")."""
    return Counter(zone for endpoint in _ready(slices, family) for zone in _zones(endpoint) or [""])


def _exact(slices: list[Object], family: str) -> list[str]:
    return sorted(f"{one['targetRef']['name']} {one.get('hints') or {}}" for one in _ready(slices, family))


def _equally_good(snapshot: Snapshot, family: str, mine: Counter[str], other: Counter[str]) -> bool:
    """Whether two outcomes differ by free choices alone.

    Between zones that need equally much the choice is free. With several slices that have hints already, the order in
    which they are examined is free (ES-104), and decides whose hints stay: then KCM itself has several outcomes, and
    ours must be no farther from what the zones should have than one endpoint more or less in two zones.
    """
    hinted = [each for each in snapshot.slices if each.address_type == family and any(e.hints for e in each.endpoints)]
    slack = 2.0 if len(hinted) > 1 else 0.0
    return _distance(snapshot, mine) <= _distance(snapshot, other) + slack


def _distance(snapshot: Snapshot, given: Counter[str]) -> float:
    """How far the zones are from what they should have: ties between zones lead to equal distances."""
    wanted = shares(snapshot.capacity, sum(given.values()))
    if isinstance(wanted, Refused):
        return -1.0
    return round(sum(abs(given[zone] - share.desired) for zone, share in wanted.items()), 6)


def difference(snapshot: Snapshot, plan: Plan, ours: list[Object], answer: Object) -> str:
    """What differs in hints after a step, "" if nothing; `answer` is the oracle's."""
    theirs = answer["slices"]
    for family in plan.families:
        kind = family.address_type
        if not wants_proportional(snapshot.service):
            if _exact(ours, kind) != _exact(theirs, kind):
                return f"{kind} hints: ours {_exact(ours, kind)}, theirs {_exact(theirs, kind)}"
            continue
        mine, other = counts(ours, kind), counts(theirs, kind)
        if mine != other and not _equally_good(snapshot, kind, mine, other):
            return f"{kind} hints for zones: ours {dict(mine)}, theirs {dict(other)}"
        refused = any(
            event["reason"] == "TopologyAwareHintsDisabled" and event["message"].endswith(kind)
            for event in answer["events"]
        )
        if refused == (family.hints.told == ENABLED):
            return f"{kind}: ours {family.hints.told!r}, their events {answer['events']}"
    return ""
