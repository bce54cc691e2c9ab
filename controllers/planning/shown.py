"""The shell around `planning.py`: files in, and text out."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import click

from controllers.planning import rendering
from controllers.planning.files import EXTENSIONS, STDIN, called, data_of, files
from controllers.planning.manifests import READ, Manifests, load
from controllers.planning.output import listed, put
from controllers.planning.planning import Outcome, plan
from controllers.planning.reading import Document, Problem, read

_RENDER: Final[dict[str, Callable[[Outcome], str]]] = {
    "yaml": rendering.as_yaml,
    "json": rendering.as_json,
    "table": rendering.as_table,
}


def show(filenames: tuple[str, ...], namespace: str, max_endpoints: int, output: str, *, explain: bool) -> None:
    """Prints what manifests would lead to, in one of the formats, and on standard error what is to be said of it.

    Raises click.UsageError, and click.exceptions.Exit(1) when something cannot be read: every error is shown.
    """
    if filenames.count(STDIN) > 1:
        raise click.UsageError("standard input can be read only once")
    documents, problems = _read_all(filenames)
    manifests = load(documents, namespace)
    problems += manifests.problems
    if not problems and manifests.empty:
        problems.append(_nothing(filenames, manifests))
    if problems:
        for problem in problems:
            click.echo(f"error: {problem}", err=True)
        raise click.exceptions.Exit(1)
    outcome = plan(manifests, max_endpoints)
    put(_RENDER[output](outcome))
    _tell(manifests, outcome, "none" if output == "table" else "each" if explain else "grouped")


def _nothing(filenames: tuple[str, ...], manifests: Manifests) -> Problem:
    found = f"nothing to plan with, only {_ignored(manifests)}" if manifests.ignored else "no objects in it"
    return Problem(listed(map(called, filenames)), "", f"{found}. What is read: {READ}")


def _ignored(manifests: Manifests) -> str:
    return listed(f"{count} {kind}" for kind, count in sorted(manifests.ignored.items()))


def _read_all(filenames: tuple[str, ...]) -> tuple[list[Document], list[Problem]]:
    documents: list[Document] = []
    problems: list[Problem] = []
    for name in filenames:
        for found in files(name):
            try:
                data = data_of(found)
            except OSError as error:
                problems.append(Problem(found, "", (error.strerror or str(error)).lower()))
                continue
            got = read(called(found), data)
            documents += (each for each in got.found if each.content is not None)
            problems += got.problems
        if name != STDIN and Path(name).is_dir() and not list(files(name)):
            problems.append(Problem(name, "", f"no files that end in {', '.join(EXTENSIONS)}"))
    return documents, problems


def _tell(manifests: Manifests, outcome: Outcome, pods: Literal["each", "grouped", "none"]) -> None:
    """Notes, warnings and the summary, on standard error."""
    if manifests.ignored:
        click.echo(f"note: ignored: {_ignored(manifests)}", err=True)
    if manifests.replaced:
        click.echo(f"note: given twice, the last one counts: {listed(manifests.replaced)}", err=True)
    if outcome.represented:
        click.echo(f"note: not expanded, what they made is given: {listed(outcome.represented)}", err=True)
    if outcome.assumed:
        click.echo(f"note: no Nodes given, taken to exist, without a zone: {listed(outcome.assumed)}", err=True)
    for warning in rendering.warnings(outcome, pods):
        click.echo(f"warning: {warning}", err=True)
    click.echo(rendering.summary(outcome), err=True)
