"""The command line. Flags come from the configuration's fields, so a flag cannot differ from what it sets."""

import sys
import types
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from api.config import Configuration, parse_duration
from api.controllers import UnknownController, chosen
from controllers import __version__
from controllers.planning.command import plan_command


class DurationType(click.ParamType[float]):
    """A duration as Go writes it, in seconds inside."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return float(str(parse_duration(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _option(field: str, info: FieldInfo) -> Callable[..., Any]:
    extra = info.json_schema_extra
    name = str(extra["flag"]) if isinstance(extra, dict) else field
    kwargs: dict[str, Any] = {"default": info.default, "help": info.description, "show_default": True}
    if info.annotation is float and info.metadata and any(hasattr(each, "func") for each in info.metadata):
        kwargs["type"] = DurationType()
        kwargs["default"] = f"{info.default:g}s"
    elif get_origin(info.annotation) is Literal:
        values = get_args(info.annotation)
        if values == (False,):
            kwargs |= {"type": click.BOOL, "is_flag": False, "flag_value": True}
        else:
            kwargs["type"] = click.Choice(values)
    elif isinstance(info.annotation, type) and not isinstance(info.annotation, types.GenericAlias):
        kwargs["type"] = info.annotation
    declarations = [f"--{name}", field] + (["-v"] if name == "v" else [])
    return click.option(*declarations, **kwargs)


def _with_flags(command: Callable[..., None]) -> Callable[..., None]:
    for field, info in reversed(Configuration.model_fields.items()):
        command = _option(field, info)(command)
    return command


def _usage_errors(error: ValidationError) -> str:
    lines = []
    for each in error.errors():
        field = str(each["loc"][0])
        extra = Configuration.model_fields[field].json_schema_extra
        name = extra["flag"] if isinstance(extra, dict) else field
        lines.append(f"--{name}={each['input']}: {each['msg']}")
    return "\n".join(lines)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Service networking controllers for Kubernetes, in place of kube-controller-manager's."""


@main.command()
@_with_flags
def run(**flags: object) -> None:
    """Run the controllers against an API server until SIGTERM."""
    # Imported here: the other commands need neither a network nor the memory that it takes.
    from controllers import app
    from controllers.runtime.credentials import CredentialsError
    from controllers.telemetry import logs

    try:
        configuration = Configuration.model_validate(flags)
        controllers = chosen(configuration.controllers)
    except ValidationError as error:
        raise click.UsageError(_usage_errors(error)) from error
    except UnknownController as error:
        raise click.UsageError(f"--controllers: {error}") from error
    if not controllers:
        raise click.UsageError(f"--controllers={configuration.controllers} leaves nothing to run")
    logs.configure(json=configuration.logging_format == "json", verbosity=configuration.v)
    try:
        app.run(configuration)
    except (CredentialsError, OSError) as error:
        click.echo(f"sliceplane: {error}", err=True)
        sys.exit(1)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"sliceplane {__version__}")


main.add_command(plan_command)
