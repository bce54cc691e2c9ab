"""Manifests on the command line: files, directories with all below them, and standard input."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

STDIN: Final = "-"
EXTENSIONS: Final = (".json", ".yaml", ".yml")
# About what takes a second.
_LARGE: Final = 1_000_000


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


def data_of(name: str) -> bytes:
    """What is in a file. Raises OSError. Who waits for a large one at a terminal is told what is being read."""
    with click.open_file(name, "rb") as file:
        data: bytes = file.read()
    if len(data) > _LARGE and sys.stderr.isatty():
        click.echo(f"reading {called(name)} ({len(data) / 1e6:.0f} MB)", err=True)
    return data
