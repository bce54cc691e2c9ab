"""Proportional hints of `topology-mode: Auto`: how many endpoints each zone is given, and which (ES-101 ... ES-108).

The counts are KCM's. Which endpoint serves another zone is free, and is chosen so that hints move as little as
possible: an endpoint that serves the zone in need already goes on doing so.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from controllers.model.identity import Identity, identity
from controllers.model.objects import Endpoint, EndpointSlice, ForZone, Hints
from controllers.model.reasons import Reason
from controllers.topology.capacity import Capacity
from controllers.topology.distribution import hinted

OVERLOAD: Final = 0.2


class Share(Struct, frozen=True, gc=False):
    """What a zone should get of the ready endpoints: a whole number at least, and the exact wish."""

    minimum: int
    desired: float


class Refused(Struct, frozen=True, gc=False):
    """No hints for this family, and why; the counts are those of ready endpoints and zones."""

    reason: Reason
    endpoints: int = 0
    zones: int = 0


def shares(capacity: Capacity, ready: int) -> dict[str, Share] | Refused:
    """Splits `ready` endpoints over the zones, or says why that cannot be done within the overload limit (ES-102)."""
    if capacity.unusable is not None:
        return Refused(capacity.unusable)
    zones = len(capacity.shares)
    if zones > ready:
        return Refused(Reason.TOPOLOGY_TOO_FEW_ENDPOINTS, ready, zones)
    found = {}
    for zone, ratio in capacity.shares.items():
        wish = ratio * ready
        minimum = math.ceil(wish * (1 / (1 + OVERLOAD)))
        found[zone] = Share(minimum, max(wish, minimum))
    if sum(share.minimum for share in found.values()) > ready:
        return Refused(Reason.TOPOLOGY_OVERLOAD, ready, zones)
    return found


def overloaded(totals: Mapping[str, int], capacity: Capacity) -> bool:
    """Whether hints given with these counts per zone are wrong for the zones as they now are (ES-108)."""
    if not totals:
        return False
    if capacity.unusable is not None:
        return True
    endpoints = sum(totals.values())
    return any(
        zone not in totals or totals[zone] < math.ceil(endpoints * ratio * (1 / (1 + OVERLOAD)))
        for zone, ratio in capacity.shares.items()
    )


class Assigned(Struct, gc=False):
    """The slices with their hints; `update` has taken over those of `unchanged` whose hints change."""

    create: list[EndpointSlice]
    update: list[EndpointSlice]
    totals: dict[str, int]


def assign(
    create: Sequence[EndpointSlice],
    update: Sequence[EndpointSlice],
    unchanged: Sequence[EndpointSlice],
    wanted: Mapping[str, Share],
    before: Mapping[Identity, tuple[str, ...]],
) -> Assigned | Refused:
    """Gives every ready endpoint that is written anyway a zone (ES-104 ... ES-106).

    `before` are the zones that an endpoint's hints named until now. Slices are not changed in place.
    """
    spare = sum(1 for _ in _ready((*create, *update, *unchanged))) - sum(share.minimum for share in wanted.values())
    kept, bad, totals = _keep(unchanged, wanted, spare)
    written = [*create, *update, *bad]
    for endpoint in _ready(written):
        if not endpoint.zone:
            return Refused(Reason.TOPOLOGY_NO_ZONE)
        totals[endpoint.zone] += 1
    chosen: dict[Identity, str] = {}
    for giver, receivers in _moves(totals, wanted).items():
        lent = _choose(giver, receivers, written, before)
        chosen |= lent
        totals.update(lent.values())
        totals[giver] -= len(lent)
    made = [_hinted(each, chosen) for each in create]
    rest = [_hinted(each, chosen) for each in update]
    # A slice whose hints cannot be put right (an endpoint's zone is none of those that count) is not written again.
    rest += [new for each in bad if (new := _hinted(each, chosen)) is not each]
    # An endpoint that is not ready is not looked at above; a hint on it would be wrong when it wakes up.
    rest += [new for each in kept if (new := hinted(each, _ready_hints)) is not each]
    return Assigned(made, rest, {zone: count for zone, count in sorted(totals.items()) if count})


def _ready_hints(endpoint: Endpoint) -> Hints | None:
    return endpoint.hints if endpoint.conditions.ready else None


def _ready(slices: Iterable[EndpointSlice]) -> Iterable[Endpoint]:
    return (endpoint for each in slices for endpoint in each.endpoints if endpoint.conditions.ready)


def _keep(
    unchanged: Sequence[EndpointSlice], wanted: Mapping[str, Share], spare: int
) -> tuple[list[EndpointSlice], list[EndpointSlice], Counter[str]]:
    """The slices whose hints may stay, those whose may not, and what the former give to each zone (ES-104).

    `spare` is how many endpoints are left when each zone has its minimum: no zone may have more above its own.
    """
    kept: list[EndpointSlice] = []
    bad: list[EndpointSlice] = []
    totals: Counter[str] = Counter()
    for each in unchanged:
        counts = _zones_of(each, wanted)
        if counts is None or any(counts[zone] + totals[zone] > share.minimum + spare for zone, share in wanted.items()):
            bad.append(each)
        else:
            kept.append(each)
            totals += counts
    return kept, bad, totals


def _zones_of(each: EndpointSlice, wanted: Mapping[str, Share]) -> Counter[str] | None:
    """How many ready endpoints name each zone; None when one names none, or one that is no zone any more."""
    counts: Counter[str] = Counter()
    for endpoint in _ready([each]):
        zones = endpoint.hints.for_zones if endpoint.hints is not None else None
        if not zones or any(zone.name not in wanted for zone in zones):
            return None
        counts.update(zone.name for zone in zones)
    return counts


def _moves(totals: Mapping[str, int], wanted: Mapping[str, Share]) -> dict[str, Counter[str]]:
    """How many endpoints of one zone are to serve another: largest surplus to largest deficit, one by one (ES-106)."""
    surplus = {zone: totals.get(zone, 0) - share.desired for zone, share in wanted.items()}
    moves: dict[str, Counter[str]] = {}
    while True:
        giver = max(surplus, key=lambda zone: (surplus[zone], zone))
        receiver = min(surplus, key=lambda zone: (surplus[zone], zone))
        gives, needs = surplus[giver], -surplus[receiver]
        if gives <= 0 or needs <= 0 or (gives < 1 and needs < 1) or gives < 0.5 or needs < 0.5:
            return moves
        surplus[giver] -= 1
        surplus[receiver] += 1
        moves.setdefault(giver, Counter())[receiver] += 1


def _choose(
    giver: str, receivers: Counter[str], written: Sequence[EndpointSlice], before: Mapping[Identity, tuple[str, ...]]
) -> dict[Identity, str]:
    """Which endpoints of a zone serve others: those that did so before, then the first by identity, while there are
    any.
    """
    candidates = sorted(identity(endpoint) for endpoint in _ready(written) if endpoint.zone == giver)
    left = Counter(receivers)
    chosen: dict[Identity, str] = {}
    for each in candidates:
        zone = before.get(each, (giver,))[0]
        if left[zone] > 0:
            left[zone] -= 1
            chosen[each] = zone
    free = (each for each in candidates if each not in chosen)
    chosen.update(zip(free, sorted(left.elements()), strict=False))
    return chosen


def _hinted(each: EndpointSlice, chosen: Mapping[Identity, str]) -> EndpointSlice:
    endpoints = tuple(_with_hint(endpoint, chosen) for endpoint in each.endpoints)
    return replace(each, endpoints=endpoints) if endpoints != each.endpoints else each


def _with_hint(endpoint: Endpoint, chosen: Mapping[Identity, str]) -> Endpoint:
    hints: Hints | None = None
    if endpoint.conditions.ready and endpoint.zone:
        hints = Hints((ForZone(chosen.get(identity(endpoint), endpoint.zone)),))
    return endpoint if hints == endpoint.hints else replace(endpoint, hints=hints)
