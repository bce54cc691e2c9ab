"""Which number is next, against the plain reading of each strategy; and that huge pools cost nothing."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.ipam.choose import LEAST_RECENTLY_USED, RANDOM, SEQUENTIAL, free
from controllers.ipam.ranges import NONE, Span, Spans, usable

STRATEGIES = (RANDOM, SEQUENTIAL, LEAST_RECENTLY_USED)
pools = st.lists(st.builds(Span, st.integers(0, 30), st.integers(0, 30)), max_size=4).map(Spans)
some = st.sets(st.integers(0, 30))


class Taken:
    """A set that counts how often it is asked: the measure of a search's work."""

    def __init__(self, spans: Spans) -> None:
        self.spans, self.asked = spans, 0

    def __call__(self, number: int) -> bool:
        self.asked += 1
        return number in self.spans


@given(spans=pools, taken=some, count=st.integers(0, 9), strategy=st.sampled_from(STRATEGIES), seed=st.integers())
def test_law_only_free_ones_as_many_as_there_are(
    spans: Spans, taken: set[int], count: int, strategy: str, seed: int
) -> None:
    at = Random(seed).randrange
    found = free(spans, taken.__contains__, count, strategy=strategy, at=at, freed=lambda each: None)
    left = set(spans) - taken
    assert len(set(found)) == len(found) == min(count, len(left))
    assert set(found) <= left


@given(spans=pools, taken=some, count=st.integers(1, 9))
def test_law_sequential_takes_the_lowest(spans: Spans, taken: set[int], count: int) -> None:
    found = free(spans, taken.__contains__, count, strategy=SEQUENTIAL, at=Random().randrange, freed=lambda each: None)
    assert found == sorted(set(spans) - taken)[:count]


@given(spans=pools, taken=some, count=st.integers(1, 9), freed=st.dictionaries(st.integers(0, 30), st.floats(-9, 9)))
def test_law_never_used_first_then_longest_ago(
    spans: Spans, taken: set[int], count: int, freed: dict[int, float]
) -> None:
    found = free(spans, taken.__contains__, count, strategy=LEAST_RECENTLY_USED, at=Random().randrange, freed=freed.get)
    left = sorted(set(spans) - taken, key=lambda each: (each in freed, freed.get(each, 0.0), each))
    assert found == left[:count]


@given(spans=pools, taken=some, start=st.integers(0, 200))
def test_law_random_walks_upward_and_around(spans: Spans, taken: set[int], start: int) -> None:
    """IP-16."""
    found = free(spans, taken.__contains__, 1, strategy=RANDOM, at=lambda size: start % size, freed=lambda each: None)
    every = list(spans)
    at = start % len(every) if every else 0
    around = [each for each in every[at:] + every[:at] if each not in taken]
    assert found == around[:1]


@pytest.mark.parametrize("left", [0, 4, 5, 8, 20])
def test_the_only_free_one_is_found_from_everywhere(left: int) -> None:
    """Also right before the place where the search starts, and at the ends of each span."""
    spans = Spans([Span(0, 5), Span(8, 8), Span(20, 22)])
    for start in range(spans.size):
        for strategy in STRATEGIES:
            found = free(
                spans,
                lambda each: each != left,
                2,
                strategy=strategy,
                at=start.__mod__,
                freed=lambda each: None,
            )
            assert found == [left]


def test_each_random_one_is_a_search_of_its_own() -> None:
    places = iter([3, 3, 9, 0])
    found = free(
        Spans([Span(10, 19)]),
        {13}.__contains__,
        4,
        strategy=RANDOM,
        at=lambda size: next(places),
        freed=lambda each: None,
    )
    assert found == [14, 15, 19, 10]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_huge_pool_costs_as_much_as_what_is_taken_of_it(strategy: str) -> None:
    """A /64, of which the first 1000 addresses are in use and as many were before."""
    _, span = usable("fd00::/64")
    taken = Taken(Spans([Span(span.first, span.first + 999)]))
    was = Spans([Span(span.first + 1000, span.first + 1999)])
    found = free(
        Spans([span]),
        taken,
        32,
        strategy=strategy,
        at=Random(1).randrange,
        freed=lambda number: 1.0 if number in was else None,
    )
    assert len(found) == 32
    assert taken.asked < 3000
    if strategy == SEQUENTIAL:
        assert [found[0], found[-1]] == [span.first + 1000, span.first + 1031]
    if strategy == LEAST_RECENTLY_USED:
        assert [found[0], found[-1]] == [span.first + 2000, span.first + 2031]
    if strategy == RANDOM:
        assert max(after - before for before, after in pairwise(sorted(found))) > 1 << 58


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_full_pool_is_looked_at_a_few_times(strategy: str) -> None:
    every = Spans([Span(0, 999)])
    taken = Taken(every)
    assert free(every, taken, 32, strategy=strategy, at=Random().randrange, freed=lambda each: 1.0) == []
    assert taken.asked <= 2000


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_nothing_of_nothing(strategy: str) -> None:
    assert free(NONE, lambda each: False, 3, strategy=strategy, at=Random().randrange, freed=lambda each: None) == []
