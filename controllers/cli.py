"""The command line. Flags come from the configuration's fields, so a flag cannot differ from what it sets."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from api import config_file
from api.config import Configuration
from api.ipam_config import IPAMConfiguration
from api.settings import SETTINGS, Setting, settings_of
from controllers import __version__
from controllers.ipam_tools.command import ipam_command
from controllers.planning.command import plan_command
from controllers.planning.files import STDIN, called
from controllers.starting import importing


class FileError(click.ClickException):
    """What is wrong is in a file: how the command is used does not help."""

    exit_code = 2


def _refused(error: config_file.ConfigurationError) -> click.ClickException:
    """A configuration that cannot be, each line marked as an error; below the usage when flags are among them."""
    return (click.UsageError if error.of_flags else FileError)("\nError: ".join(error.told))


def _verbosity(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """-v takes what comes next, whatever it is: a flag that is lost in this way is told of, not the rest of it."""
    if value.startswith("-") and not value.removeprefix("-").isdecimal():
        raise click.UsageError(f"-v takes a number: '{value}' is none; give one, such as -v 4", context)
    return value


def option(setting: Setting) -> Callable[..., Any]:
    """The flag of a setting. Its text is passed on: the model says what is wrong with it, as with the file's."""
    default = setting.kind.show(setting.default)
    told = "; ".join(each for each in (setting.limits, default and f"default: {default}") if each)
    more: dict[str, Any] = {"is_flag": False, "flag_value": setting.kind.bare} if setting.kind.bare else {}
    if setting.flag == "v":
        more["callback"] = _verbosity
    return click.option(
        f"--{setting.flag}",
        setting.field,
        *(["-v"] if setting.flag == "v" else []),
        type=str,
        metavar=setting.kind.metavar,
        default=default,
        help=f"{setting.text}  [{told}]" if told else setting.text,
        **more,
    )


def _with_flags(settings: dict[str, Setting]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        for setting in reversed(settings.values()):
            command = option(setting)(command)
        return command

    return decorated


def _given(context: click.Context, flags: dict[str, str]) -> dict[str, str]:
    """The flags that are on the command line: one that is given with its default still wins over a file."""
    given = {
        field: text for field, text in flags.items() if context.get_parameter_source(field) != ParameterSource.DEFAULT
    }
    if "v" in given:
        # KCM's flags may be written -v=4; click takes all after -v for the value.
        given["v"] = given["v"].removeprefix("=")
    return given


def _read(flag: str, path: str) -> config_file.File:
    try:
        return config_file.read(path, Path(path).read_bytes())
    except OSError as error:
        raise click.UsageError(f"--{flag}={path}: {(error.strerror or str(error)).lower()}") from error


def _configured(flags: dict[str, str], file: config_file.File | None) -> Configuration:
    try:
        return config_file.configured(flags, file)
    except config_file.ConfigurationError as error:
        raise _refused(error) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="sliceplane %(version)s", help="Print the version.")
def main() -> None:
    """Service networking controllers for Kubernetes, in place of kube-controller-manager's."""


@main.command()
@click.option(
    "--config", metavar="FILE", help="A configuration file; flags win over it. `sliceplane config` shows what it holds."
)
@_with_flags(SETTINGS)
@click.pass_context
def run(context: click.Context, /, config: str | None, **flags: str) -> None:
    """Run the controllers against an API server until SIGTERM."""
    # Imported here: the other commands need neither a network nor the memory that it takes.
    with importing():
        from controllers import app
        from controllers.runtime.credentials import CredentialsError
        from controllers.telemetry import logs

    file = None if config is None else _read("config", config)
    configuration = _configured(_given(context, flags), file)
    logs.configure(json=configuration.logging_format == "json", verbosity=configuration.v)
    try:
        app.run(configuration)
    except (CredentialsError, OSError) as error:
        click.echo(f"sliceplane: {error}", err=True)
        sys.exit(1)


@main.command("config", short_help="Show the default configuration, or check a file.")
@click.option("--print-default", is_flag=True, help="Print the default configuration as a file for `run --config`.")
@click.option(
    "--check",
    metavar="FILE|-",
    help="Tell every problem of a configuration file, - is standard input; exit status 2 if there are any.",
)
def config_command(print_default: bool, check: str | None) -> None:
    """Show the default configuration, or check a file."""
    if print_default == (check is not None):
        raise click.UsageError("give either --print-default or --check=FILE")
    if check is None:
        click.echo(config_file.default_text(), nl=False)
        return
    if check == STDIN:
        with click.open_file(STDIN, "rb") as stream:
            file = config_file.read(called(STDIN), stream.read())
    else:
        file = _read("check", check)
    _configured({}, file)
    click.echo(f"{file.name}: valid")


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"sliceplane {__version__}")


@ipam_command.command("run", short_help="Serve the admission webhooks; keep pools, policies and statuses.")
@_with_flags(settings_of(IPAMConfiguration))
@click.pass_context
def ipam_run(context: click.Context, /, **flags: str) -> None:
    """Serve the admission webhooks and keep pools, policies and statuses, until SIGTERM."""
    with importing():
        from controllers.ipam_operator import app
        from controllers.runtime.credentials import CredentialsError
        from controllers.runtime.errors import ApiError
        from controllers.telemetry import logs

    try:
        configuration = config_file.configured_by_flags(_given(context, flags), IPAMConfiguration)
    except config_file.ConfigurationError as error:
        raise _refused(error) from error
    logs.configure(json=configuration.logging_format == "json", verbosity=configuration.v)
    try:
        app.run(configuration)
    except (CredentialsError, ApiError, OSError) as error:
        click.echo(f"sliceplane: {error}", err=True)
        sys.exit(1)


main.add_command(plan_command)
main.add_command(ipam_command)
