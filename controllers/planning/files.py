"""Manifests on the command line: files, directories with all below them, and standard input."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

STDIN: Final = "-"
EXTENSIONS: Final = (".json", ".yaml", ".yml")


def manifest_options(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that name them, and the Namespace of those that name none."""
    filename: Callable[..., Any] = click.option(
        "-f",
        "--filename",
        "filenames",
        metavar="FILE|DIR|-",
        multiple=True,
        required=True,
        help="Manifests in YAML or JSON; may be repeated. A directory is read with all below it, - is standard input.",
    )
    namespace: Callable[..., Any] = click.option(
        "-n", "--namespace", default="default", show_default=True, help="Namespace of the objects that do not name one."
    )
    decorated: Callable[..., None] = filename(namespace(command))
    return decorated


def files(name: str) -> Iterator[str]:
    """The files of a directory, sorted; anything else as it is."""
    path = Path(name)
    if name == STDIN or not path.is_dir():
        yield name
        return
    yield from sorted(str(each) for each in path.rglob("*") if each.suffix in EXTENSIONS and each.is_file())


def called(name: str) -> str:
    """As messages name it."""
    return "standard input" if name == STDIN else name
