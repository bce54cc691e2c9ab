"""Objects decoded as from the API's JSON; what does not fit is told field by field, all at once."""

import copy
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

_T = TypeVar("_T")
_Content = dict[str, Any]
Step = str | int

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_LACKS: Final = re.compile(r"Object missing required field `(.+)`")
_MOST_PER_OBJECT: Final = 20


class Fault(NamedTuple):
    """What is wrong, and where in the object."""

    path: tuple[Step, ...]
    message: str

    def __str__(self) -> str:
        where = dotted(self.path)
        return f"{where}: {self.message}" if where else self.message


def dotted(path: tuple[Step, ...]) -> str:
    """`spec.ranges[0].cidr`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def decode(content: _Content, type_: type[_T]) -> _T:
    """Decodes a plain object into a struct, exactly as it would be from the API's JSON."""
    return msgspec.json.decode(msgspec.json.encode(content), type=type_)


def misfits(content: _Content, types: tuple[type[Struct], ...]) -> Iterator[Fault]:
    """All that keeps an object from being each of the types.

    A decoder stops at the first error: what is wrong is taken out, and it is asked again.
    """
    removed: set[str] = set()
    for _ in range(_MOST_PER_OBJECT):
        error = _first_error(content, types)
        if error is None:
            return
        message, _, place = error.partition(" - at `$")
        steps = _steps(content, place.rstrip("`"))
        lacks = _LACKS.fullmatch(message)
        if lacks:
            fault = Fault((*steps, lacks[1]), "required, but not set")
        else:
            fault = Fault(tuple(steps), f"{message[0].lower()}{message[1:]}" if steps else message)
        if dotted(fault.path) not in removed:
            yield fault
        while steps and isinstance(steps[-1], int):
            # Without one item the others would have other numbers: the whole list goes.
            steps.pop()
        if not steps:
            return
        if not removed:
            content = copy.deepcopy(content)
        removed |= {dotted(fault.path), dotted(tuple(steps))}
        _remove(content, steps)


def _first_error(content: _Content, types: tuple[type[Struct], ...]) -> str | None:
    text = msgspec.json.encode(content)
    for type_ in types:
        try:
            msgspec.json.decode(text, type=type_)
        except msgspec.ValidationError as error:
            return str(error)
    return None


def _steps(root: _Content, path: str) -> list[Step]:
    """The path as keys and indexes; "[...]", any value of a mapping, becomes the key that is meant."""
    content: Any = root
    steps: list[Step] = []
    for name, index, anything in _STEP.findall(path):
        step: Step = name
        if index:
            step = int(index)
        elif anything:
            step = next((key for key, value in content.items() if not isinstance(value, str)), "...")
        steps.append(step)
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):
            content = {}
    return steps


def _remove(root: _Content, steps: list[Step]) -> None:
    content: Any = root
    for step in steps[:-1]:
        content = content[step]
    content.pop(steps[-1], None)
