"""How Adaptive hints divide the zones' clients among endpoints: the model of load, and the best division found.

A zone's clients pick uniformly among the endpoints whose hints name the zone. So an endpoint's load is the sum of
share / named over the zones that it names, and whatever is named, the mean is 1 / endpoints. Where a zone has too few
endpoints, others help: beside their own zone, or instead of it where that one has more than it needs. The traffic that
leaves a zone depends on nothing but how many endpoints name it, and how many of them are its own; so that is what is
searched for, with the condition that no endpoint gets more than its limit.

All of this is about counts, not about single endpoints: zones are numbers, a set of zones is a bit mask.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import Struct

from controllers.topology.allocation import OVERLOAD

# The API server's limit for `hints.forZones`.
MOST_ZONES: Final = 8
NO_ZONE: Final = -1
# How many divisions are looked at before the search hurries on to the first that will do.
_PATIENCE: Final = 100
EPSILON: Final = 1e-9

# (own zone or NO_ZONE, the zones named) → how many endpoints.
Spread = Mapping[tuple[int, int], int]


class Task(Struct, frozen=True, gc=False):
    """What is to be divided: each zone's share of the clients (1 in all) and its own endpoints, those of no zone that
    counts, and how many endpoints must name each zone, no more than there are.
    """

    shares: tuple[float, ...]
    own: tuple[int, ...]
    free: int
    floor: int

    @property
    def endpoints(self) -> int:
        return sum(self.own) + self.free

    @property
    def limit(self) -> float:
        """The most that one endpoint should be given, as a share of all traffic."""
        return (1 + OVERLOAD + EPSILON) / self.endpoints


@lru_cache(4096)
def bits(mask: int) -> tuple[int, ...]:
    """The zones of a set, in order."""
    return tuple(zone for zone in range(mask.bit_length()) if mask >> zone & 1)


def named(task: Task, spread: Spread) -> list[int]:
    """How many endpoints name each zone."""
    counts = [0] * len(task.shares)
    for (_, mask), count in spread.items():
        for zone in bits(mask):
            counts[zone] += count
    return counts


def loads(task: Task, spread: Spread, counts: Sequence[int]) -> dict[tuple[int, int], float]:
    """What one endpoint of each class gets of all traffic; `counts` are the spread's own."""
    weights = [share / count if count else 0.0 for share, count in zip(task.shares, counts, strict=True)]
    by_mask = {mask: sum(weights[zone] for zone in bits(mask)) for _, mask in spread}
    return {each: by_mask[each[1]] for each in spread}


def worst(task: Task, spread: Spread) -> float:
    """The largest load of an endpoint."""
    return max(loads(task, spread, named(task, spread)).values())


def crossing(task: Task, spread: Spread, counts: Sequence[int]) -> float:
    """The share of all traffic that leaves its zone; `counts` are the spread's own. A zone that no endpoint names is
    served by all of them.
    """
    home = list(task.own)
    for (own, mask), count in spread.items():
        if own != NO_ZONE and counts[own] and not mask >> own & 1:
            home[own] -= count
    return _crossing(task, home, counts)


def unhinted(task: Task) -> float:
    """The share of all traffic that leaves its zone when there are no hints."""
    return _crossing(task, task.own, [0] * len(task.shares))


def _crossing(task: Task, home: Sequence[int], counts: Sequence[int]) -> float:
    endpoints = task.endpoints
    return sum(
        share * (1 - own / (count or endpoints)) for share, own, count in zip(task.shares, home, counts, strict=True)
    )


def lawful(task: Task, spread: Spread) -> bool:
    """Whether every endpoint names some zone, and no more than it may, and every zone is named often enough."""
    return all(0 < mask.bit_count() <= MOST_ZONES for _, mask in spread) and min(named(task, spread)) >= task.floor


def best(task: Task) -> Spread:
    """The division with the least traffic between zones, as far as the search finds it, and no endpoint above the
    limit; if more than 8 zones make that impossible, the least overloaded one seen.
    """
    return _Search(task).run()


class _State(NamedTuple):
    """How many endpoints name each zone, and how many of them are its own."""

    counts: tuple[int, ...]
    home: tuple[int, ...]


class _Search:
    """Best first: what crosses zones least is tried first, and what it lacks is added, one zone at a time."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._least = [
            max(task.floor, math.ceil(share * task.endpoints / (1 + OVERLOAD) - EPSILON)) for share in task.shares
        ]
        self._heap: list[tuple[float, float, _State]] = []
        self._known: set[_State] = set()
        self._heavy: list[int] = []
        self._load = 0.0
        self._found: tuple[tuple[bool, float, float], Spread, _State] | None = None

    def run(self) -> Spread:
        task = self._task
        self._push(0.0, self._start(self._least))
        if len(task.shares) > MOST_ZONES:
            # There may not be room for all that each zone needs.
            self._push(0.0, self._start([task.floor] * len(task.shares)))
        for _ in range(_PATIENCE):
            if not self._heap:
                break
            _, _, state = heapq.heappop(self._heap)
            if self._try(state):
                break
            self._branch(state)
        assert self._found is not None
        rank, _, state = self._found
        if rank[0] or rank[1] > task.limit:
            self._hurry(state)
        return self._result()

    def _result(self) -> Spread:
        """What was found, unless it is no better than when every endpoint names every zone."""
        assert self._found is not None
        rank, spread, _ = self._found
        size = len(self._task.shares)
        if size > MOST_ZONES or rank[2] < unhinted(self._task) - EPSILON:
            return spread
        return _pack(self._task, _State((self._task.endpoints,) * size, self._task.own))

    def _start(self, least: Sequence[int]) -> _State:
        """Every endpoint names its own zone; those that have none help where it is needed most."""
        task = self._task
        counts = [max(own, bound) for own, bound in zip(task.own, least, strict=True)]
        rest = max(task.endpoints - sum(counts), 0)
        counts = [count + int(share * rest) for count, share in zip(counts, task.shares, strict=True)]
        for _ in range(task.endpoints - sum(counts)):
            zone = max(range(len(counts)), key=lambda zone: task.shares[zone] / counts[zone])
            counts[zone] += 1
        return _State(tuple(counts), task.own)

    def _hurry(self, state: _State) -> None:
        """Adds to the zone that costs least until it will do: for 8 zones, that is when all name all at the latest."""
        task = self._task
        while not self._try(state):
            if not self._heavy:
                return
            zone = min(self._heavy, key=lambda zone: (task.own[zone], -task.shares[zone] / state.counts[zone], zone))
            state = self._raised(state, zone)

    def _try(self, state: _State) -> bool:
        task = self._task
        spread = _pack(task, state)
        counts = named(task, spread)
        by_class = loads(task, spread, counts)
        heaviest = max(by_class, key=lambda each: (by_class[each], each))
        load = by_class[heaviest]
        rank = (not lawful(task, spread), max(load, task.limit), crossing(task, spread, counts))
        if self._found is None or rank < self._found[0]:
            self._found = rank, spread, state
        self._load = load
        self._heavy = [zone for zone in bits(heaviest[1]) if state.counts[zone] < task.endpoints]
        return not rank[0] and load <= task.limit

    def _branch(self, state: _State) -> None:
        """What to try next: more endpoints for a zone of the heaviest, or one that helps instead of its own zone."""
        load = self._load
        for zone in self._heavy:
            self._push(load, self._raised(state, zone))
        helping = sum(state.counts) - sum(state.home)
        missing = helping - (self._task.endpoints - sum(state.home))
        rich = [zone for zone, count in enumerate(state.counts) if self._surplus(state, zone) > 0 and count > 1]
        if missing > 0 and rich:
            zone = min(rich, key=lambda zone: (self._task.shares[zone] / (state.counts[zone] - 1), zone))
            step = min(max(1, missing // 4), self._surplus(state, zone))
            self._push(load, _State(_less(state.counts, zone, step), _less(state.home, zone, step)))

    def _surplus(self, state: _State, zone: int) -> int:
        """How many of its endpoints a zone can do without."""
        return min(state.counts[zone] - self._least[zone], state.home[zone])

    def _raised(self, state: _State, zone: int) -> _State:
        counts = state.counts
        step = min(max(1, counts[zone] // 16), self._task.endpoints - counts[zone])
        return _State(_less(counts, zone, -step), state.home)

    def _push(self, load: float, state: _State) -> None:
        if state not in self._known:
            self._known.add(state)
            heapq.heappush(self._heap, (round(_crossing(self._task, state.home, state.counts), 9), load, state))


def _less(counts: tuple[int, ...], zone: int, step: int) -> tuple[int, ...]:
    return (*counts[:zone], counts[zone] - step, *counts[zone + 1 :])


def _pack(task: Task, state: _State) -> Spread:
    """Lets so many endpoints name each zone: the heaviest zone first, each by the endpoints that have least to do.

    A zone is named by fewer when all others have 8 zones already.
    """
    weights = [share / max(count, 1) for share, count in zip(task.shares, state.counts, strict=True)]
    rows = [(weights[zone], zone, 1 << zone, count) for zone, count in enumerate(state.home) if count]
    away = [(zone, own - count) for zone, (own, count) in enumerate(zip(task.own, state.home, strict=True))]
    rows += [(0.0, zone, 0, count) for zone, count in [(NO_ZONE, task.free), *away] if count]
    for zone in sorted(range(len(weights)), key=lambda zone: (-weights[zone], zone)):
        need = state.counts[zone] - state.home[zone]
        if need <= 0:
            continue
        rows.sort()
        after = []
        for load, own, mask, count in rows:
            taken = 0 if mask >> zone & 1 or mask.bit_count() >= MOST_ZONES else min(need, count)
            need -= taken
            if taken:
                after.append((load + weights[zone], own, mask | 1 << zone, taken))
            if count > taken:
                after.append((load, own, mask, count - taken))
        rows = after
    found: dict[tuple[int, int], int] = {}
    for _, own, mask, count in rows:
        found[own, mask] = found.get((own, mask), 0) + count
    return dict(sorted(found.items()))
