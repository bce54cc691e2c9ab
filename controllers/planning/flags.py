"""The flags of commands that read manifests, and what their values may be."""

import re
from collections.abc import Callable
from typing import Any, Final

import click

from api.names import LABEL

_LONGEST: Final = 63


class Whole(click.IntRange):
    """A whole number in a range, refused in plain words."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """The number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value} is not a whole number from {self.min} to {self.max}", param, ctx)


def namespace_name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A callback: the name of a Namespace, or None where none is given."""
    if value is not None and not (len(value) <= _LONGEST and re.fullmatch(LABEL, value)):
        raise click.BadParameter(
            f"'{value}' is no name of a namespace: it takes lower-case letters, digits and hyphens, 63 at most"
        )
    return value


def _filenames(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    # An empty path is that of the working directory, which nobody means who has forgotten to set a variable.
    if "" in value:
        raise click.BadParameter("the name is empty")
    return value


def manifest_options(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that name manifests, and the Namespace of objects that name none."""
    filename: Callable[..., Any] = click.option(
        "-f",
        "--filename",
        "filenames",
        metavar="FILE|DIR|-",
        multiple=True,
        required=True,
        callback=_filenames,
        help="Manifests in YAML or JSON; may be repeated. A directory is read with all below it, - is standard input.",
    )
    namespace: Callable[..., Any] = click.option(
        "-n",
        "--namespace",
        default="default",
        show_default=True,
        callback=namespace_name,
        help="Namespace of the objects that do not name one.",
    )
    decorated: Callable[..., None] = filename(namespace(command))
    return decorated
