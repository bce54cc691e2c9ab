"""Samples of stacks: which functions take the time, as a table's rows and as a flame graph."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Final

_WIDTH: Final = 1600.0
_ROW: Final = 17
_TOP: Final = 40
_NARROWEST: Final = 0.4
_CHARACTER: Final = 6.6
_WAITING: Final = ("Runner.run (asyncio/", "epoll_", "select ", "kqueue")
# The packages whose functions are our own.
OURS: Final = ("controllers/", "api/")
_COLORS: Final = (*((mine, "#f4a259") for mine in OURS), ("asyncio/", "#8cb369"), ("aiohttp/", "#7fb2d6"))
_OTHER: Final = "#cfcfcf"


@dataclass(frozen=True)
class Stack:
    """A stack, outermost call first, and how many samples showed it."""

    frames: tuple[str, ...]
    samples: int


@dataclass(frozen=True)
class Share:
    """A function, the samples in itself, and those in itself or in what it called."""

    function: str
    own: int
    total: int


def parse(folded: str) -> list[Stack]:
    """Reads folded stacks: `outer;inner 12`, one a line. Raises ValueError when a line is not one."""
    found = []
    for line in folded.splitlines():
        frames, _, samples = line.rpartition(" ")
        found.append(Stack(tuple(frames.split(";")), int(samples)))
    return found


def awake(stacks: Iterable[Stack]) -> list[Stack]:
    """Without the event loop's waiting, which py-spy takes for work; its own work in C goes too, unless --native."""
    return [stack for stack in stacks if not stack.frames[-1].startswith(_WAITING)]


def shares(stacks: Iterable[Stack]) -> list[Share]:
    """Every function that was seen; a recursion counts once in its total."""
    own, total = Counter[str](), Counter[str]()
    for stack in stacks:
        own[stack.frames[-1]] += stack.samples
        for function in set(stack.frames):
            total[function] += stack.samples
    return [Share(function, own[function], total[function]) for function in sorted(total)]


def ours(stacks: Iterable[Stack]) -> list[Stack]:
    """Each stack cut off above the innermost function of ours, which so answers for the libraries that it calls."""
    return [Stack(_cut(stack.frames), stack.samples) for stack in stacks]


def _cut(frames: tuple[str, ...]) -> tuple[str, ...]:
    last = max((at for at, frame in enumerate(frames) if any(f"({mine}" in frame for mine in OURS)), default=0)
    return frames[: last + 1]


def packages(stacks: Iterable[Stack]) -> list[Stack]:
    """Each stack as nothing but the package (or module) whose code ran."""
    return [Stack((_package(stack.frames[-1]),), stack.samples) for stack in stacks]


def _package(frame: str) -> str:
    file = frame.rpartition("(")[2].rpartition(":")[0] or frame.rpartition("(")[2].rstrip(")")
    return file.partition("/")[0]


@dataclass
class _Box:
    """One function under one caller."""

    function: str
    samples: int = 0
    callees: "dict[str, _Box]" = field(default_factory=dict)


def _tree(stacks: Iterable[Stack]) -> _Box:
    root = _Box("all")
    for stack in stacks:
        box = root
        box.samples += stack.samples
        for function in stack.frames:
            box = box.callees.setdefault(function, _Box(function))
            box.samples += stack.samples
    return root


@dataclass(frozen=True)
class _Placed:
    function: str
    samples: int
    depth: int
    left: float
    width: float


def _placed(box: _Box, depth: int, left: float, scale: float) -> Iterator[_Placed]:
    """A box and all below it that are wide enough to be seen, callees in the order of their names."""
    width = box.samples * scale
    if width < _NARROWEST:
        return
    yield _Placed(box.function, box.samples, depth, left, width)
    for _, callee in sorted(box.callees.items()):
        yield from _placed(callee, depth + 1, left, scale)
        left += callee.samples * scale


def draw(stacks: Iterable[Stack], title: str) -> str:
    """A flame graph as SVG, callers above callees; a box is as wide as its share, and tells it when pointed at."""
    root = _tree(stacks)
    boxes = list(_placed(root, 0, 0.0, _WIDTH / max(root.samples, 1)))
    height = _TOP + _ROW * (1 + max((box.depth for box in boxes), default=0))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height}" font-family="monospace" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="6" y="24" font-size="15">{escape(title)}</text>'
    )
    return "\n".join([head, *(_svg(box, root.samples) for box in boxes), "</svg>", ""])


def _svg(box: _Placed, samples: int) -> str:
    y = _TOP + _ROW * box.depth
    color = next((color for start, color in _COLORS if f"({start}" in box.function), _OTHER)
    room = int((box.width - 4) / _CHARACTER)
    shown = box.function if len(box.function) <= room else f"{box.function[: room - 1]}…" if room > 3 else ""
    text = f'<text x="{box.left + 2:.1f}" y="{y + 12}">{escape(shown)}</text>' if shown else ""
    about = f"{box.function}: {box.samples} samples, {box.samples / samples:.1%}"
    return (
        f'<g><title>{escape(about)}</title><rect x="{box.left:.2f}" y="{y}" width="{box.width:.2f}" '
        f'height="{_ROW - 1}" fill="{color}" rx="1"/>{text}</g>'
    )
