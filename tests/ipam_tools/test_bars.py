"""Bars: each number in one cell, nothing that is taken unseen."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.ipam.capacity import Count
from controllers.ipam.ranges import Span
from controllers.ipam_tools.bars import ASCII, BLOCKS, WIDTH, Cell, bar, cell, cells, legend, parts


@given(st.integers(0, 2**128), st.integers(1, 2**64), st.integers(1, 100))
def test_every_number_is_in_one_cell(first: int, size: int, width: int) -> None:
    found = list(parts(Span(first, first + size - 1), width))
    assert len(found) == min(size, width)
    assert (found[0].first, found[-1].last) == (first, first + size - 1)
    assert all(one.last + 1 == other.first for one, other in itertools.pairwise(found))
    sizes = {each.last - each.first + 1 for each in found}
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 2**64), st.data())
def test_what_is_taken_is_seen(total: int, data: st.DataObject) -> None:
    used = data.draw(st.integers(1, total))
    found = cell(Count(total=total, used=used, free=total - used, reach=total))
    assert BLOCKS.of(found) in BLOCKS.used
    if used == total:
        assert BLOCKS.of(found) == "█"


@pytest.mark.parametrize(
    ("count", "blocks", "ascii_"),
    [
        (Count(total=8, free=8, reach=8), "·", "."),
        (Count(total=8, used=1, free=7, reach=8), "▂", "-"),
        (Count(total=8, used=4, free=4, reach=8), "▅", "+"),
        (Count(total=8, used=8, reach=8), "█", "#"),
        (Count(total=8, used=1, reserved=2, free=5, reach=8), "▒", "r"),
        (Count(total=8, cooling=1, free=7, reach=8), "░", "c"),
        # Of as many of each what is used is told.
        (Count(total=8, used=2, reserved=2, free=4, reach=8), "▅", "+"),
        (Count(), "x", "x"),
        (Count(total=8, free=8), "?", "?"),
    ],
)
def test_cells(count: Count, blocks: str, ascii_: str) -> None:
    assert (BLOCKS.of(cell(count)), ASCII.of(cell(count))) == (blocks, ascii_)


def test_bar() -> None:
    found = cells(Span(0, 3), lambda part: Count(total=1, used=int(part.first < 2), reach=1))
    assert bar(found, ASCII) == "##.." + " " * (WIDTH - 4)
    painted = bar(found, ASCII, lambda text, state: f"<{state}:{text}>")
    assert painted.startswith("<used:##><free:..>")
    assert bar([], BLOCKS) == " " * WIDTH
    assert len(bar([Cell("free")] * WIDTH, BLOCKS)) == WIDTH


def test_legend() -> None:
    assert legend(BLOCKS).startswith("▁ to █ used")
    assert legend(ASCII).isascii()
