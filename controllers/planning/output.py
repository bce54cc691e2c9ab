"""Text on standard output, which may be a disk that is full, or a pipe that nobody reads from any more."""

import errno
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

_SHOWN: Final = 10


def put(text: str) -> None:
    """Writes text as it is. Raises click.exceptions.Exit(1) when it cannot be written, and has said so.

    Of a pipe that was closed there is nothing to say: whoever read it has what was wanted.
    """
    try:
        click.echo(text, nl=False)
    except OSError as error:
        _drop_the_rest()
        if error.errno != errno.EPIPE:
            click.echo(f"error: standard output: {(error.strerror or str(error)).lower()}", err=True)
        raise click.exceptions.Exit(1) from error


def _drop_the_rest() -> None:
    """What is still in the buffer is written when the interpreter ends, and must not fail once more."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def listed(items: Iterable[str]) -> str:
    """A list for a note, cut when it gets long."""
    found = list(items)
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
