"""Objects as the real API server answers them, with holes for what differs between two of them."""

import re
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "templates"
_HOLE: Final = re.compile(rb"\{\{(\w+)\}\}")


class Template:
    """A JSON text whose `{{name}}` holes are filled by formatting bytes: nothing is encoded for each object."""

    def __init__(self, text: bytes) -> None:
        self.holes = frozenset(_HOLE.findall(text))
        self._format = _HOLE.sub(rb"%(\1)b", text.strip().replace(b"%", b"%%"))

    def fill(self, values: dict[bytes, bytes]) -> bytes:
        """The text with every hole filled; raises KeyError when one is not."""
        return self._format % values


def load(name: str) -> Template:
    """The template of this name, as `capture` has written it. Raises FileNotFoundError."""
    return Template((FOLDER / f"{name}.json").read_bytes())
