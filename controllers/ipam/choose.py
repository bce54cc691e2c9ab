"""Which free number of a pool is next: by the pool's strategy, past what is taken, cooling down or reserved."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from controllers.ipam.ranges import Spans

RANDOM: Final = "Random"
SEQUENTIAL: Final = "Sequential"
LEAST_RECENTLY_USED: Final = "LeastRecentlyUsed"


def free(
    spans: Spans,
    taken: Callable[[int], bool],
    count: int,
    *,
    strategy: str,
    at: Callable[[int], int],
    freed: Callable[[int], float | None],
) -> list[int]:
    """Up to `count` different numbers of `spans` that are not `taken`, best first.

    `at(n)` gives a place from 0 to n-1: where a random search starts, to walk upward from there and around (IP-16).
    `freed` tells when a number was last given back, None for never or unknown: those are used first by
    LeastRecentlyUsed, in ascending order.
    """
    if not spans or count < 1:
        return []
    if strategy == SEQUENTIAL:
        return list(islice(_walk(spans, 0, taken), count))
    if strategy == LEAST_RECENTLY_USED:
        return _least_recent(spans, taken, count, freed)
    found: dict[int, None] = {}
    # A search of its own for each, so that numbers chosen together do not lie together.
    while len(found) < count:
        number = next(_walk(spans, at(spans.size), lambda each: each in found or taken(each)), None)
        if number is None:
            break
        found[number] = None
    return list(found)


def _walk(spans: Spans, start: int, taken: Callable[[int], bool]) -> Iterator[int]:
    """The numbers that are not taken, from the one at place `start` upward and around."""
    begin = spans.nth(start)
    for span in spans.spans:
        if span.last >= begin:
            yield from (number for number in range(max(span.first, begin), span.last + 1) if not taken(number))
    for span in spans.spans:
        if span.first < begin:
            yield from (number for number in range(span.first, min(span.last, begin - 1) + 1) if not taken(number))


def _least_recent(
    spans: Spans, taken: Callable[[int], bool], count: int, freed: Callable[[int], float | None]
) -> list[int]:
    fresh = list(islice(_walk(spans, 0, lambda each: taken(each) or freed(each) is not None), count))
    if len(fresh) == count:
        return fresh
    # Only here is every number looked at: it takes a pool of which each free address has been in use before.
    used = [(freed(number) or 0.0, number) for number in _walk(spans, 0, taken) if freed(number) is not None]
    return fresh + [number for _, number in sorted(used)[: count - len(fresh)]]
