"""`make e2e-upstream`: Kubernetes' own sig-network tests with KCM alone, and with Sliceplane for its controllers.

The binary is upstream's test/e2e, unchanged, of the version that the peers have. Each side has a control plane of its
own on this machine: API server, scheduler, all of kube-controller-manager's controllers (on one side without the three
that Sliceplane replaces), and kwok, whose Pods run and become ready but are nothing. So the tests are those that look
at objects; what a test needs, and why each of the others is left out, is in tests.yaml, which accounts for every
sig-network test that the binary holds. A run takes three minutes on two cores; the first one builds the binaries, four
minutes more.

Both sides' results are printed and go to out/upstream.json, the logs to out/upstream/. The exit code is 1 when a test
passes with KCM and not with Sliceplane.
"""

import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from e2e.cluster.build import kubernetes_version
from e2e.cluster.local import StartError
from e2e.cluster.toolchain import BuildError
from e2e.upstream.catalogue import Catalogue
from e2e.upstream.cluster import KCM, SLICEPLANE, RunError, Side, cluster, list_tests, run_tests
from e2e.upstream.results import Outcome, Result, Results, Verdict, judge

_OUT: Final = Path(__file__).parents[2] / "out"
# A side takes a minute; a test that waits for what never comes takes up to five.
_TIMEOUT: Final = 1800.0
_STYLES: Final = {Outcome.PASSED: "green", Outcome.FAILED: "red", Outcome.SKIPPED: "yellow", Outcome.MISSING: "red"}


@click.command()
@click.option("--only", default="", help="Run only the tests whose name this regular expression finds.")
def main(only: str) -> None:
    """Kubernetes' own sig-network tests with KCM alone, and with Sliceplane in place of its controllers."""
    console = Console(width=120)
    try:
        catalogue = Catalogue.load()
        if wrong := catalogue.unaccounted(list_tests()):
            raise click.ClickException("\n".join(["tests.yaml does not fit e2e.test:", *wrong]))
        catalogue = catalogue.select(only)
        if not catalogue.names:
            raise click.BadParameter("finds no test", param_hint="--only")
        sides = {side.name: _run(side, catalogue, console) for side in (KCM, SLICEPLANE)}
    except (BuildError, StartError, RunError) as error:
        raise click.ClickException(str(error)) from error
    kcm, ours = sides.values()
    verdict = judge(kcm, ours)
    console.print(_table(catalogue, kcm, ours))
    console.print(f"passed with KCM: {verdict.kcm}, with Sliceplane: {verdict.sliceplane}, of {len(catalogue.names)}")
    for name in verdict.lost:
        console.print(f"[red]passes with KCM only:[/] {escape(name)}: {escape(ours[name].message)}")
    _record(sides, verdict)
    sys.exit(not verdict.good)


def _run(side: Side, catalogue: Catalogue, console: Console) -> dict[str, Result]:
    started = time.monotonic()
    begun: set[str] = set()

    def told(line: str) -> None:
        # Labels follow the name.
        name = next((each for each in catalogue.names if line.startswith(f"{each} [")), None)
        if name and name not in begun:
            begun.add(name)
            console.print(f"{side.name} {len(begun)}/{len(catalogue.names)}: {escape(name)}", highlight=False)

    with cluster(side) as plane:
        try:
            results = run_tests(plane, catalogue.names, catalogue.focus(), _TIMEOUT, told)
        finally:
            shutil.copytree(plane.folder / "logs", _OUT / "upstream" / side.name.lower(), dirs_exist_ok=True)
    passed = sum(each.outcome is Outcome.PASSED for each in results.values())
    console.print(f"{side.name}: {passed} of {len(results)} passed, {time.monotonic() - started:.0f} s")
    return results


def _table(catalogue: Catalogue, kcm: Results, ours: Results) -> Table:
    table = Table(title=f"Kubernetes {kubernetes_version()}: test/e2e, [sig-network]".replace("[", r"\["))
    table.add_column("test, and what it needs")
    for name in (KCM.name, SLICEPLANE.name):
        table.add_column(name, justify="right", no_wrap=True)
    for name, needs in catalogue.needs.items():
        text = f"{escape(name.removeprefix('[sig-network] '))}\n[dim]{escape(needs)}[/]"
        table.add_row(text, *(_cell(side[name]) for side in (kcm, ours)))
    return table


def _cell(result: Result) -> str:
    style = _STYLES[result.outcome]
    return f"[{style}]{result.outcome.value}[/]\n[dim]{result.seconds:.1f} s[/]"


def _record(sides: dict[str, dict[str, Result]], verdict: Verdict) -> None:
    def plain(result: Result) -> dict[str, Any]:
        return asdict(result) | {"outcome": result.outcome.value}

    record = {
        "kubernetes": kubernetes_version(),
        "passed": {"kcm": verdict.kcm, "sliceplane": verdict.sliceplane},
        "lost": verdict.lost,
        "tests": {side: {name: plain(each) for name, each in results.items()} for side, results in sides.items()},
    }
    _OUT.mkdir(exist_ok=True)
    (_OUT / "upstream.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
