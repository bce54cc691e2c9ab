"""`python -m tests.parity core` compares snapshots with upstream's reconciler, `api` plays histories on servers."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import click
import msgspec

from tests.parity import core, live
from tests.parity.oracle_client import Oracle
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


@main.command("api")
@click.option("--seeds", default=200, show_default=True, help="How many histories to play.")
@click.option("--first", default=0, show_default=True, help="The first seed.")
@click.option("--at-once", default=12, show_default=True, help="How many histories are played at the same time.")
@click.option(
    "--limit", default=100, show_default=True, help="Endpoints a slice; below 100 only endpoints are compared."
)
@click.option("--topology", is_flag=True, help="Services that ask for hints, on Nodes that stay as they are.")
@click.option(
    "--pairs", default=0, help="Nodes change, too: so many pairs of API servers, each for one history at a time."
)
def api_command(seeds: int, first: int, at_once: int, limit: int, topology: bool, pairs: int) -> None:
    """Play histories on two API servers, one served by KCM and one by Sliceplane."""
    start = time.monotonic()
    names = [str(number) for number in range(first, first + seeds)]

    def share(mine: list[str]) -> dict[str, str]:
        with two_planes(limit) as (ours, theirs):
            return live.run(
                ours,
                theirs,
                mine,
                1 if pairs else at_once,
                packing=limit >= 100,
                topology=topology or bool(pairs),
                moving=bool(pairs),
                tell=click.echo,
            )

    shares = [names[number::pairs] for number in range(pairs)] if pairs else [names]
    with ThreadPoolExecutor(len(shares)) as pool:
        found = {seed: text for part in pool.map(share, shares) for seed, text in part.items()}
    for text in found.values():
        click.echo(f"{text}\n{rule(text)}\n")
    click.echo(f"{seeds} histories, {len(found)} different, {time.monotonic() - start:.0f} s")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
