"""`sliceplane ipam show`: pools as text for people, as JSON and YAML for programs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import click
import msgspec
import yaml

from controllers.ipam_tools import bars
from controllers.ipam_tools.bars import ASCII, BLOCKS, Glyphs
from controllers.ipam_tools.drawing import Drawer
from controllers.ipam_tools.errors import ToolError
from controllers.ipam_tools.tables import table
from controllers.ipam_tools.views import Figures, PoolView, RangeView

_SHOWN: Final = 10
_COLOURS: Final = {bars.USED: "green", bars.RESERVED: "yellow", bars.COOLING: "cyan", bars.OUTSIDE: "red"}
_KINDS: Final = {
    "serviceippool": "ServiceIPPool",
    "serviceippools": "ServiceIPPool",
    "sip": "ServiceIPPool",
    "serviceportpool": "ServicePortPool",
    "serviceportpools": "ServicePortPool",
    "spp": "ServicePortPool",
}


class Style(msgspec.Struct, frozen=True):
    """How text is made: with which characters, coloured or not, and with all of the long lists or not."""

    glyphs: Glyphs = BLOCKS
    coloured: bool = False
    every: bool = False

    @property
    def most(self) -> int | None:
        """How many rows of a list there are at most."""
        return None if self.every else _SHOWN


def glyphs_for(encoding: str | None) -> Glyphs:
    """Blocks, where the terminal's encoding has them."""
    try:
        "".join((BLOCKS.used, BLOCKS.reserved, BLOCKS.cooling, BLOCKS.free)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def coloured_for(environment: Mapping[str, str], *, terminal: bool) -> bool:
    """Whether to colour: on a terminal that can, unless $NO_COLOR is set to anything (no-color.org)."""
    return terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def chosen(views: Sequence[PoolView], names: Sequence[str]) -> list[PoolView]:
    """The pools with these names, or KIND/names; all without any. Raises ToolError for one that there is not."""
    if not names:
        return list(views)
    wanted: list[PoolView] = []
    for text in names:
        kind, _, name = text.rpartition("/")
        only = _KINDS.get(kind.lower()) if kind else None
        if kind and only is None:
            raise ToolError(f'"{text}": the kind is serviceippool (sip) or serviceportpool (spp)')
        found = [each for each in views if each.name == name and only in (None, each.kind)]
        if not found:
            known = ", ".join(dict.fromkeys(each.name for each in views)) or "none"
            raise ToolError(f'there is no pool "{text}"; there are: {known}')
        wanted += [each for each in found if each not in wanted]
    return wanted


def as_text(views: Sequence[PoolView], style: Style) -> str:
    """All of them, each in a block, with the legend of the bars once at the end."""
    if not views:
        return "No pools found.\n"
    blocks = ["\n".join(_pool(view, style)) + "\n" for view in views]
    return "\n".join([*blocks, f"{bars.legend(style.glyphs)}\n"])


def as_json(views: Sequence[PoolView]) -> str:
    """An object with `pools`; bars are left out, the figures of each range are there."""
    return msgspec.json.format(msgspec.json.encode(_plain(views)), indent=2).decode() + "\n"


def as_yaml(views: Sequence[PoolView]) -> str:
    """The same."""
    return yaml.safe_dump(_plain(views), sort_keys=False, allow_unicode=True, width=10_000)


def _plain(views: Sequence[PoolView]) -> dict[str, Any]:
    pools = msgspec.to_builtins(list(views))
    for view, pool in zip(views, pools, strict=True):
        for each in pool["ranges"]:
            del each["cells"]
        pool["consumers"] = [{"namespace": name, "count": count} for name, count in view.consumers]
        # An absent one is not null.
        pool["drawers"] = [{k: v for k, v in each.items() if v is not None} for each in pool["drawers"]]
    return {"pools": pools}


def _pool(view: PoolView, style: Style) -> list[str]:
    lines = [
        f"{_bold(view.kind, style)}/{_bold(view.name, style)}   for {view.select}",
        f"  {', '.join(view.policy)}",
    ]
    lines += ["", *_ranges(view, style)]
    if view.excluded:
        lines.append(f"  excluded: {view.excluded}")
    lines += _holders(view, style)
    lines += _section(
        "  Reserved:",
        table(
            ("RESERVATION", "SERVICE", "PHASE", "NUMBERS"),
            [
                (each.reservation, each.service, each.phase, ",".join(each.numbers))
                for each in view.reservations[: style.most]
            ],
            "    ",
        ),
        len(view.reservations),
        style,
    )
    lines += _conditions(view)
    lines += _next(view, style)
    return lines


def _bold(text: str, style: Style) -> str:
    return click.style(text, bold=True) if style.coloured else text


def _painter(style: Style) -> Callable[[str, str], str]:
    def paint(text: str, state: str) -> str:
        if not style.coloured:
            return text
        return click.style(text, fg=_COLOURS[state]) if state in _COLOURS else click.style(text, dim=True)

    return paint


def _ranges(view: PoolView, style: Style) -> list[str]:
    """A line for each range, and one for each family (or the ports) in all."""
    header = ("RANGE", "", "TOTAL", "USED", "RESERVED", "COOLING", "FREE", "BAND", "CELL")
    # Escape sequences have no width on a terminal: the bars are put in when the columns stand.
    # Only the operator knows which are cooling down, and it tells no more than how many in all.
    hidden = any(each.cooling for each in view.capacity) and not any(each.figures.cooling for each in view.ranges)
    rows = [_range_row(each, hidden) for each in view.ranges]
    lines = table(header, [*rows, *map(_sum_row, view.capacity)], "  ")
    for index, each in enumerate(view.ranges, 1):
        drawn = bars.bar(each.cells, style.glyphs, _painter(style))
        lines[index] = lines[index].replace(_PLACE, drawn)
    return lines


_PLACE: Final = "\0" * bars.WIDTH


def _range_row(each: RangeView, hidden: bool) -> tuple[str, ...]:
    total, used, reserved, cooling, free = _numbers(each.figures)
    figures = (total, used, reserved, "?" if hidden else cooling, free)
    return (each.range, _PLACE, *figures, str(each.in_band), str(each.cell_size))


def _sum_row(each: Figures) -> tuple[str, ...]:
    return (f"{each.family or 'ports'} in all", "", *_numbers(each), "", "")


def _numbers(each: Figures) -> tuple[str, ...]:
    return tuple(map(str, (each.total, each.used, each.reserved, each.cooling, each.free)))


def _section(title: str, rows: Iterable[str], count: int, style: Style) -> list[str]:
    found = list(rows)
    if not found:
        return []
    more = count - _SHOWN if not style.every else 0
    return ["", title, *found, *([f"    and {more} more (--all)"] if more > 0 else [])]


def _holders(view: PoolView, style: Style) -> list[str]:
    shares = ", ".join(f"{name} {count}" for name, count in view.consumers[: style.most])
    more = len(view.consumers) - _SHOWN if not style.every else 0
    title = f"  Held by: {shares}{f' and {more} more namespaces' if more > 0 else ''}" if shares else "  Held by:"
    # Those of the largest holders first, as the title has them.
    places = {name: place for place, (name, _) in enumerate(view.consumers)}
    ranked = sorted(view.holders, key=lambda each: places.get(each.holder.partition("/")[0], len(places)))
    rows = table(("HOLDER", "NUMBER"), [(each.holder, each.number) for each in ranked[: style.most]], "    ")
    return _section(title, rows, len(view.holders), style) or ["", "  Held by nobody"]


def _conditions(view: PoolView) -> list[str]:
    if not view.conditions:
        return ["", "  No conditions: no operator has looked at it (sliceplane ipam run)"]
    rows = [(each.type, each.status, each.reason, each.message) for each in view.conditions]
    return ["", "  Conditions:", *table(("TYPE", "STATUS", "REASON", "MESSAGE"), rows, "    ")]


def _next(view: PoolView, style: Style) -> list[str]:
    lines = ["", "  The next one:", *(f"    {each.kind}: {each.text}" for each in view.next)]
    rows = [_drawer_row(each) for each in view.drawers[: style.most]]
    lines += _section(
        "  Who draws from it:",
        table(("NAMESPACE", "SERVICES", "HOLDS", "QUOTA", "AFTER"), rows, "    "),
        len(view.drawers),
        style,
    )
    return lines if rows else [*lines, "", "  No namespace that there is draws from it"]


def _drawer_row(each: Drawer) -> tuple[str, ...]:
    quota = "<none>" if each.quota is None else f"{each.quota}{' (used up)' if each.full else ''}"
    return (each.namespace, str(each.services), str(each.held), quota, ",".join(each.after) or "<none>")
