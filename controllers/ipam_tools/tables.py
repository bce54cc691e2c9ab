"""Tables as kubectl prints them."""

from collections.abc import Iterable, Sequence
from typing import Final

GAP: Final = "   "


def table(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """The lines of a table, columns as wide as their widest cell; nothing at all without rows."""
    lines = [tuple(header), *map(tuple, rows)]
    if len(lines) == 1:
        return []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        indent + GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def counted(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
