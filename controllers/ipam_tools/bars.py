"""A range as a bar: each cell stands for equally many numbers, and shows in which states they are."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from controllers.ipam.capacity import Count
from controllers.ipam.ranges import Span

WIDTH: Final = 32

USED: Final = "used"
RESERVED: Final = "reserved"
COOLING: Final = "cooling"
FREE: Final = "free"
EXCLUDED: Final = "excluded"
OUTSIDE: Final = "outside"


class Cell(Struct, frozen=True):
    """`state` is what most of the taken ones are, `share` which part of all is taken (0 … 1)."""

    state: str
    share: float = 0.0


class Glyphs(Struct, frozen=True):
    """How cells look; `used` by growing share."""

    used: str
    reserved: str
    cooling: str
    free: str
    excluded: str
    outside: str

    def of(self, cell: Cell) -> str:
        """One character. The smallest share is seen, and the highest is full: 1 of 2^64 is not nothing."""
        if cell.state == USED:
            return self.used[min(int(cell.share * len(self.used)), len(self.used) - 1)]
        named = {RESERVED: self.reserved, COOLING: self.cooling, EXCLUDED: self.excluded, OUTSIDE: self.outside}
        return named.get(cell.state, self.free)


BLOCKS: Final = Glyphs(used="▁▂▃▄▅▆▇█", reserved="▒", cooling="░", free="·", excluded="x", outside="?")
ASCII: Final = Glyphs(used="-+#", reserved="r", cooling="c", free=".", excluded="x", outside="?")


def parts(span: Span, width: int = WIDTH) -> Iterator[Span]:
    """The numbers of each cell: at most `width` cells, none without a number, sizes differ by one at most."""
    size = span.last - span.first + 1
    cells = min(width, size)
    for index in range(cells):
        yield Span(span.first + index * size // cells, span.first + (index + 1) * size // cells - 1)


def cells(span: Span, count: Callable[[Span], Count], width: int = WIDTH) -> list[Cell]:
    """The bar of a range; `count` tells the states of the numbers of a cell."""
    return [cell(count(part)) for part in parts(span, width)]


def cell(count: Count) -> Cell:
    """What one cell shows."""
    if not count.total:
        return Cell(EXCLUDED)
    taken = {USED: count.used, RESERVED: count.reserved, COOLING: count.cooling}
    most = max(taken, key=lambda state: taken[state])
    if taken[most]:
        return Cell(most, sum(taken.values()) / count.total)
    return Cell(FREE if count.reach else OUTSIDE)


def bar(found: Sequence[Cell], glyphs: Glyphs, paint: Callable[[str, str], str] = lambda text, state: text) -> str:
    """The bar as text, filled up to the common width; `paint(text, state)` may colour runs of one state."""
    text, run, state = "", "", ""
    for each in found:
        if each.state != state:
            text, run, state = text + (paint(run, state) if run else ""), "", each.state
        run += glyphs.of(each)
    return text + (paint(run, state) if run else "") + " " * max(0, WIDTH - len(found))


def legend(glyphs: Glyphs) -> str:
    """What the characters mean."""
    return (
        f"{glyphs.used[0]} to {glyphs.used[-1]} used, by share of the cell   {glyphs.reserved} reserved  "
        f" {glyphs.cooling} cooling   {glyphs.free} free   {glyphs.excluded} excluded  "
        f" {glyphs.outside} cannot be given: in no ready ServiceCIDR, or outside the node port range\n"
        "BAND: how many the API server picks last by itself   CELL: how many one character stands for"
    )
