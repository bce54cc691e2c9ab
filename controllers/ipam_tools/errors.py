"""How a tool ends that cannot go on."""

from typing import IO, Any

import click


class ToolError(click.ClickException):
    """Something is in the way: the message says what, where, and what to do; exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """As kubectl says it."""
        click.echo(f"error: {self.message}", file=file, err=file is None)
