"""Adaptive hints that were good become good again: few endpoints change, instead of all being divided anew."""

from collections.abc import Iterator
from typing import Final

from controllers.topology.spread import MOST_ZONES, NO_ZONE, Spread, Task, crossing, loads, named

# So many changes are tried at most: then a new division is as good.
_PATIENCE: Final = 3000

Class = tuple[int, int]
# Endpoints without a zone and names that zones lack; load above the limit; crossing above what is wanted.
Fault = tuple[int, float, float]


def repair(task: Task, spread: Spread, most_crossing: float) -> Spread | None:
    """Changes what a few endpoints name, each time what helps most, until every zone is named often enough, none is
    overloaded, and no more traffic than `most_crossing` (a share of all) leaves its zone; None when that fails.
    """
    found = dict(spread)
    fault = _fault(task, found, most_crossing)
    tried = 0
    while any(fault):
        steps: list[tuple[Fault, Class, int]] = []
        for which, mask in _steps(task, found):
            after = _moved(task, found, which, mask)
            steps.append((_fault(task, after, most_crossing), which, mask))
        tried += len(steps)
        best = min(steps, default=None)
        if best is None or best[0] >= fault or tried > _PATIENCE:
            return None
        fault, which, mask = best
        found = _moved(task, found, which, mask)
    return found


def _fault(task: Task, spread: Spread, most_crossing: float) -> Fault:
    """How far a spread is from what is wanted; rounded, so that no step is for the sake of a rounding error."""
    counts = named(task, spread)
    missing = sum(max(task.floor - count, 0) for count in counts) + spread.get((NO_ZONE, 0), 0)
    over = sum(max(load - task.limit, 0.0) * spread[each] for each, load in sorted(loads(task, spread, counts).items()))
    crosses = crossing(task, spread, counts) - most_crossing
    return missing, round(over, 9), round(max(crosses, 0.0), 9)


def _steps(task: Task, found: Spread) -> Iterator[tuple[Class, int]]:
    """Every class, and what an endpoint of it could name instead: a zone more, a zone less, or a single other one."""
    for own, mask in sorted(found):
        for zone in range(len(task.shares)):
            bit = 1 << zone
            if mask & bit:
                if mask != bit:
                    yield (own, mask), mask ^ bit
            else:
                if mask.bit_count() < MOST_ZONES:
                    yield (own, mask), mask | bit
                if mask:
                    yield (own, mask), bit


def _moved(task: Task, found: Spread, which: Class, mask: int) -> dict[Class, int]:
    """The spread after some endpoints of a class name other zones: one, or a few where there are thousands."""
    after = dict(found)
    count = min(max(1, task.endpoints // 256), after[which])
    after[which] -= count
    if not after[which]:
        del after[which]
    moved = which[0], mask
    after[moved] = after.get(moved, 0) + count
    return after
