"""`python -m tests.parity core` compares snapshots with upstream's reconciler, `api` plays histories on servers."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Literal

import click
import msgspec

from tests.parity import core, legacy, live
from tests.parity.oracle_client import Oracle
from tests.parity.oracle_legacy_client import LegacyOracle
from tests.parity.outcome import Rules
from tests.parity.planes import two_planes
from tests.parity.rules import rule


@click.group()
def main() -> None:
    """Sliceplane against kube-controller-manager."""


@main.command("core")
@click.option("--snapshots", default=100_000, show_default=True, help="How many snapshots to compare.")
@click.option("--seed", default=0, show_default=True, help="Where the random sequences start.")
@click.option("--topology", is_flag=True, help="Services that ask for hints, and Nodes that change.")
def core_command(snapshots: int, seed: int, topology: bool) -> None:
    """Compare the core with upstream's own reconciler; stops at the fifth difference.

    Each is printed with the rule that it probably breaks, and what is left of its sequence when all is left out that
    has nothing to do with it.
    """
    done, different, number, start = 0, 0, 0, time.monotonic()
    with Oracle() as oracle:
        while done < snapshots and different < 5:
            made = core.sequence(Random(f"{seed}-{number}"), topology=topology)
            found = core.compare(oracle, made)
            if found:
                different += 1
                shrunk = core.shrink(oracle, made)
                line = msgspec.json.encode({"limit": shrunk.limit, "steps": shrunk.steps}).decode()
                click.echo(f"seed {seed}-{number}: {found}\n{rule(found)}\nshrunk: {line}\n")
            done += len(made.steps)
            number += 1
    seconds = time.monotonic() - start
    click.echo(f"{done} snapshots in {number} sequences, {different} different, {seconds:.0f} s")
    sys.exit(1 if different else 0)


@main.command("legacy")
@click.option("--kind", type=click.Choice(["endpoints", "mirroring"]), required=True, help="Which controller.")
@click.option("--snapshots", default=100_000, show_default=True, help="How many snapshots to compare.")
@click.option("--seed", default=0, show_default=True, help="Where the random sequences start.")
def legacy_command(kind: str, snapshots: int, seed: int) -> None:
    """Compare the cores of Endpoints or mirroring with upstream's controllers; stops at the fifth difference."""
    done, different, number, start = 0, 0, 0, time.monotonic()
    with LegacyOracle() as oracle:
        while done < snapshots and different < 5:
            steps, found = legacy.play(oracle, kind, Random(f"{seed}-{number}"))
            if found:
                different += 1
                click.echo(f"seed {seed}-{number}: {found}\n")
            done, number = done + steps, number + 1
    seconds = time.monotonic() - start
    click.echo(f"{kind}: {done} snapshots in {number} sequences, {different} different, {seconds:.0f} s")
    sys.exit(1 if different else 0)


@main.command("api")
@click.option("--seeds", default=200, show_default=True, help="How many histories of each kind to play.")
@click.option(
    "--kind",
    type=click.Choice(["services", "mirroring", "all"]),
    default="all",
    show_default=True,
    help="Services with Pods (slices and Endpoints are compared), Endpoints by hand (they are mirrored), or both.",
)
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--at-once", default=12, show_default=True, help="How many histories are played at the same time.")
@click.option(
    "--limit", default=100, show_default=True, help="Endpoints a slice; below 100 only endpoints are compared."
)
@click.option("--topology", is_flag=True, help="Services that ask for hints, on Nodes that stay as they are.")
@click.option(
    "--pairs", default=0, help="Nodes change, too: so many pairs of API servers, each for one history at a time."
)
def api_command(
    seeds: int,
    kind: Literal["services", "mirroring", "all"],
    first: int,
    at_once: int,
    limit: int,
    topology: bool,
    pairs: int,
) -> None:
    """Play histories on two API servers, one served by KCM and one by Sliceplane."""
    names = [str(number) for number in range(first, first + seeds)]
    services = Rules(packing=limit >= 100, topology=topology or bool(pairs), moving=bool(pairs))
    kinds = [services] if kind != "mirroring" else []
    # Hints have to do with Services alone.
    if kind != "services" and not services.topology:
        kinds.append(Rules("mirroring"))
    differences = sum(_play(names, rules, 1 if pairs else at_once, pairs or 1, limit) for rules in kinds)
    sys.exit(1 if differences else 0)


def _play(names: list[str], rules: Rules, at_once: int, pairs: int, limit: int) -> int:
    """Shares the histories out to pairs of planes; tells the differences, and returns how many."""
    start = time.monotonic()

    def share(mine: list[str]) -> tuple[dict[str, str], int]:
        with two_planes(limit) as (ours, theirs):
            return live.run(ours, theirs, mine, at_once, rules, tell=click.echo), theirs.mended

    with ThreadPoolExecutor(pairs) as pool:
        shares = list(pool.map(share, [names[number::pairs] for number in range(pairs)]))
    found = {seed: text for part, _ in shares for seed, text in part.items()}
    for text in found.values():
        click.echo(f"{text}\n{rule(text)}\n")
    mended = sum(times for _, times in shares)
    helped = f", KCM helped over its own defects {mended} times" if mended else ""
    click.echo(
        f"{len(names)} histories of {rules.kind}, {len(found)} different, {time.monotonic() - start:.0f} s{helped}"
    )
    return len(found)


if __name__ == "__main__":
    main()
