"""`sliceplane plan`: its flags."""

from typing import Final

import click

from controllers.planning.flags import Whole, manifest_options

_OUTPUTS: Final = ("yaml", "json", "table")


@click.command(
    "plan",
    short_help="Show the EndpointSlices that manifests would lead to, without a cluster.",
    epilog="Exit status: 0 planned, 1 bad input (every error is shown), 2 wrong usage.",
)
@manifest_options
@click.option(
    "--max-endpoints-per-slice",
    "max_endpoints",
    type=Whole(1, 1000),
    default=100,
    show_default=True,
    help="The controller's flag of the same name.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(_OUTPUTS),
    default="yaml",
    show_default=True,
    help="yaml: the slices to write, ready to be fed back; json: these, deletes and reasons; table: for reading.",
)
@click.option("--explain", is_flag=True, help="Name every Pod that is left out, each with its reason.")
def plan_command(filenames: tuple[str, ...], namespace: str, max_endpoints: int, output: str, explain: bool) -> None:
    """Show the EndpointSlices that the controller would write for manifests. No cluster is asked.

    Reads Services, Pods, Nodes and EndpointSlices, and Deployments, ReplicaSets, StatefulSets and DaemonSets, which
    stand for the ready Pods that they would have, as does a Pod without a status. Without Nodes, those that Pods name
    are taken to exist, and all other Pods are on six sample Nodes in three zones. What the API server would fill in is
    filled in as on a dual-stack cluster, IPv4 first.
    """
    # Imported here: who runs the controllers needs none of it.
    from controllers.planning.shown import show

    show(filenames, namespace, max_endpoints, output, explain=explain)
