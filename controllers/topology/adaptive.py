"""Hints of `sliceplane.dev/topology-mode: Adaptive`: which zones each endpoint names.

Laws: every zone that counts is named by `floor` endpoints at least (by all, when there are fewer), or no hint is
given at all, because proxies use hints only when every ready endpoint has one; none gets more than 1.2 times the mean
load, unless the limit of 8 zones for an endpoint makes that impossible; within this, as little traffic as possible
leaves its zone, and never more than without hints; and what was given before stays while it obeys these laws and is
not much worse than what would be given anew, or is repaired if that takes few changes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from controllers.model.reasons import Reason
from controllers.topology.allocation import OVERLOAD, Refused
from controllers.topology.capacity import Capacity
from controllers.topology.repair import repair
from controllers.topology.spread import (
    EPSILON,
    NO_ZONE,
    Spread,
    Task,
    best,
    bits,
    crossing,
    lawful,
    loads,
    named,
    unhinted,
    worst,
)

# Hints stay while no more than this share of all traffic crosses zones that need not.
TOLERATED_CROSSING: Final = 0.05
# A zone's share may drift so far before its hints are looked at again, if no law is broken meanwhile.
TOLERATED_DRIFT: Final = 0.02

Zones = tuple[str, ...]


class Candidate(Struct, frozen=True, gc=False):
    """A ready endpoint: its own zone ("" for none), and the zones that its hints named until now."""

    zone: str
    before: Zones = ()


class Given(Struct, frozen=True, gc=False):
    """What is remembered of Adaptive hints: the zones' shares, and how many endpoints name which zones."""

    shares: Mapping[str, float] = {}
    classes: tuple[tuple[Zones, int], ...] = ()


class Adapted(Struct, frozen=True, gc=False):
    """The zones that each candidate names, sorted, in the candidates' order; `overload` is the largest load as a
    multiple of the mean, when it is above the limit, and 0 otherwise.
    """

    zones: list[Zones]
    given: Given
    overload: float = 0.0


def adapt(capacity: Capacity, candidates: Sequence[Candidate], floor: int) -> Adapted | Refused:
    """The zones that each candidate's hints name. There is one candidate at least.

    If some must change, it is rather the last candidates than the first: those come first whose change costs most.
    """
    if capacity.unusable is not None:
        return Refused(capacity.unusable)
    zones = sorted(capacity.shares)
    index = {zone: number for number, zone in enumerate(zones)}
    masks = [_before(each, index) for each in candidates]
    owns = [index.get(each.zone, NO_ZONE) for each in candidates]
    counts = Counter(owns)
    task = Task(
        shares=tuple(capacity.shares[zone] for zone in zones),
        own=tuple(counts[number] for number in range(len(zones))),
        free=counts[NO_ZONE],
        floor=min(floor, len(candidates)),
    )
    hinted = any(each.before for each in candidates)
    spread = _choose(task, Counter(zip(owns, masks, strict=True)) if hinted else None)
    if spread is None:
        return Refused(Reason.TOPOLOGY_ZONES_UNCOVERED, len(candidates), len(zones))
    actual = [_mask(each.before, index) for each in candidates]
    names = {mask: tuple(zones[zone] for zone in bits(mask)) for _, mask in spread}
    load = worst(task, spread)
    return Adapted(
        zones=[names[mask] for mask in _assign(spread, owns, masks, actual)],
        given=Given(capacity.shares, tuple(sorted(_classes(spread, names).items()))),
        overload=load * len(candidates) if load > task.limit else 0.0,
    )


def _mask(zones: Zones, index: Mapping[str, int]) -> int:
    """The zones as a set; those that do not count make it none."""
    return sum(1 << index[zone] for zone in set(zones)) if all(zone in index for zone in zones) else 0


def _before(candidate: Candidate, index: Mapping[str, int]) -> int:
    """What is left of an endpoint's hints: the zones that count, and its own if there are none."""
    found = sum(1 << number for number in sorted({index[zone] for zone in candidate.before if zone in index}))
    return found or (1 << index[candidate.zone] if candidate.zone in index else 0)


def _choose(task: Task, before: Spread | None) -> Spread | None:
    """What was before, if it will do; else repaired or the best, whichever changes less; None if zones stay unnamed."""
    anew = best(task)
    if not lawful(task, anew):
        return None
    if before is None:
        return anew
    limit = max(task.limit, worst(task, anew))
    least = crossing(task, anew, named(task, anew))
    most_crossing = max(least, min(least + TOLERATED_CROSSING, unhinted(task)))

    def will_do(spread: Spread) -> bool:
        counts = named(task, spread)
        return (
            lawful(task, spread)
            and max(loads(task, spread, counts).values()) <= limit
            and crossing(task, spread, counts) <= most_crossing
        )

    if will_do(before):
        return before
    repaired = repair(task, before, most_crossing)
    if repaired is None or not will_do(repaired) or _changes(before, anew) < _changes(before, repaired):
        return anew
    return repaired


def _changes(before: Spread, after: Spread) -> int:
    """How many endpoints' hints change."""
    return (Counter(before) - Counter(after)).total()


def _assign(spread: Spread, owns: Sequence[int], masks: Sequence[int], actual: Sequence[int]) -> list[int]:
    """Which endpoint becomes one of which class: what it is already, if there is room, and then whatever is left."""
    left: Counter[tuple[int, int]] = Counter(spread)
    found: dict[int, int] = {}
    for wishes in (actual, masks):
        for number, each in enumerate(zip(owns, wishes, strict=True)):
            if number not in found and left[each] > 0:
                left[each] -= 1
                found[number] = each[1]
    rest: dict[int, list[int]] = {}
    for own, mask in sorted(left.elements(), reverse=True):
        rest.setdefault(own, []).append(mask)
    return [found[number] if number in found else rest[own].pop() for number, own in enumerate(owns)]


def _classes(spread: Spread, names: Mapping[int, Zones]) -> Counter[Zones]:
    totals: Counter[Zones] = Counter()
    for (_, mask), count in spread.items():
        totals[names[mask]] += count
    return totals


def outdated(given: Given, capacity: Capacity) -> bool:
    """Whether hints that were given for other shares should be looked at again: zones come or go, a share has drifted,
    or an endpoint gets too much now and did not then.
    """
    if capacity.unusable is not None or capacity.shares.keys() != given.shares.keys():
        return True
    if any(abs(share - given.shares[zone]) > TOLERATED_DRIFT for zone, share in capacity.shares.items()):
        return True
    return _overload(given, capacity.shares) > max(_overload(given, given.shares), 1 + OVERLOAD + EPSILON)


def _overload(given: Given, shares: Mapping[str, float]) -> float:
    """The largest load of an endpoint, as a multiple of the mean."""
    totals: Counter[str] = Counter()
    for zones, count in given.classes:
        totals.update(dict.fromkeys(zones, count))
    largest = max((sum(shares[zone] / totals[zone] for zone in zones) for zones, _ in given.classes), default=0.0)
    return largest * sum(count for _, count in given.classes)
