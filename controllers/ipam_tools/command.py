"""`sliceplane ipam show`, `check`, `reserve`, `adopt`: flags in, the tools' text out."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from controllers.planning.files import STDIN
from controllers.planning.flags import Whole, manifest_options, namespace_name
from controllers.planning.output import listed, put

if TYPE_CHECKING:
    from controllers.ipam.ranges import Span
    from controllers.ipam_tools.facts import Facts
    from controllers.ipam_tools.findings import Outcome
    from controllers.ipam_tools.reading import Access
    from controllers.ipam_tools.writing import Written

# The modules behind a command are imported when it runs: the others, and --help, need none of them.

_RANGE: Final = re.compile(r"(\d{1,5})-(\d{1,5})")
# As the CRD has it.
_DURATION: Final = re.compile(r"([0-9]{1,5}(h|m|s|ms)){1,4}")


class PortRange(click.ParamType[tuple[int, int]]):
    """FROM-TO, as kube-apiserver's flag has it."""

    name = "from-to"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:  # noqa: ANN401
        """Two ports, the first not above the second."""
        if isinstance(value, tuple):
            return value
        found = _RANGE.fullmatch(str(value))
        if found is None or not 0 < int(found[1]) <= int(found[2]) < 65536:
            self.fail(f"{value} is no range of ports, such as 30000-32767", param, ctx)
        return int(found[1]), int(found[2])


def _cluster(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that say which cluster."""
    command = click.option("--context", metavar="NAME", help="The kubeconfig's context; its current one by default.")(
        command
    )
    return click.option(
        "--kubeconfig", metavar="FILE", help="The kubeconfig; $KUBECONFIG, the Pod's own or ~/.kube/config by default."
    )(command)


def _node_ports(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--service-node-port-range",
        "node_ports",
        type=PortRange(),
        default="30000-32767",
        show_default=True,
        help="The API server's flag of this name, which no API tells.",
    )(command)


def _exempt(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--exempt-namespaces",
        "exempt",
        metavar="NAMES",
        default="kube-system",
        show_default=True,
        help="Namespaces that no pool concerns: the operator's flag of this name, and its --namespace.",
    )(command)


def _keeping(command: Callable[..., None]) -> Callable[..., None]:
    """The flags that say how numbers are kept."""
    command = click.option("--dry-run", is_flag=True, help="Have the API server check it, and write nothing.")(command)
    command = click.option(
        "--ttl",
        metavar="DURATION",
        callback=_duration,
        help="How long it is kept without its Service, such as 720h; forever (the default of a new one) has no end.",
    )(command)
    return click.option(
        "--hold/--guard",
        default=None,
        help="Hold: IPAddress objects also stand in for the absent Service. Guard (the default of a new one): none do.",
    )(command)


def _duration(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and value != "forever" and not _DURATION.fullmatch(value):
        raise click.BadParameter(f"{value} is no duration, such as 720h or 1h30m, nor forever")
    return value


@click.group("ipam", short_help="Cluster addresses and node ports: pools, reservations, and checks of manifests.")
def ipam_command() -> None:
    """Cluster addresses and node ports: pools, reservations, and checks of manifests."""


def _read(access: "Access", node_ports: "Span") -> "Facts":
    from controllers.ipam_tools.reading import read

    facts = read(access, node_ports)
    for text in facts.skipped:
        click.echo(f"warning: left out: {text}", err=True)
    return facts


@ipam_command.command("show", short_help="Show pools: their ranges, who holds what, and what comes next.")
@click.argument("pools", metavar="[POOL]...", nargs=-1)
@click.option(
    "-o", "--output", type=click.Choice(("text", "json", "yaml")), default="text", show_default=True, help="For whom."
)
@click.option(
    "--all", "every", is_flag=True, help="All holders, reservations and namespaces, not the first ten of each."
)
@_cluster
@_node_ports
@_exempt
def show_command(
    pools: tuple[str, ...],
    output: str,
    every: bool,
    kubeconfig: str | None,
    context: str | None,
    node_ports: tuple[int, int],
    exempt: str,
) -> None:
    """Show pools: their ranges as bars, who holds what, which reservations there are, and who would get which number
    next.

    POOL is a name, or KIND/NAME where a ServiceIPPool (sip) and a ServicePortPool (spp) have the same one.
    """
    from controllers.ipam.ranges import Span
    from controllers.ipam_tools import show
    from controllers.ipam_tools.reading import Access
    from controllers.ipam_tools.views import views

    facts = replace(_read(Access(kubeconfig, context), Span(*node_ports)), exempt=_names(exempt))
    found = show.chosen(views(facts), pools)
    if output == "text":
        coloured = show.coloured_for(os.environ, terminal=sys.stdout.isatty())
        style = show.Style(show.glyphs_for(sys.stdout.encoding), coloured, every)
        put(show.as_text(found, style))
    else:
        put(show.as_json(found) if output == "json" else show.as_yaml(found))


@ipam_command.command(
    "check",
    short_help="Check manifests before they are applied: collisions, entitlement, quotas.",
    epilog="Exit status: 0 no errors, 1 errors (each is shown), 2 wrong usage.",
)
@manifest_options
@click.option("--offline", is_flag=True, help="Ask no cluster: the manifests are all there is.")
@click.option(
    "--service-cidr",
    "service_cidrs",
    metavar="CIDR[,CIDR]",
    help="With --offline: what the API server allocates from, as its --service-cluster-ip-range has it.",
)
@click.option(
    "-o", "--output", type=click.Choice(("text", "json")), default="text", show_default=True, help="For whom."
)
@click.option("-q", "--quiet", is_flag=True, help="Leave out where numbers would come from; errors and warnings alone.")
@_cluster
@_node_ports
@_exempt
def check_command(
    filenames: tuple[str, ...],
    namespace: str,
    offline: bool,
    service_cidrs: str | None,
    output: str,
    quiet: bool,
    kubeconfig: str | None,
    context: str | None,
    node_ports: tuple[int, int],
    exempt: str,
) -> None:
    """Check manifests of Services, pools, reservations, Namespaces and ServiceCIDRs before they are applied.

    Looks for addresses and node ports that somebody else has or that are reserved, exclusive or out of reach, for
    quotas and pools that are used up, for pools and reservations that would be refused; and tells from which pool each
    Service would get its numbers. One line for each: FILE:LINE: KIND NAMESPACE/NAME: error|warning|info: MESSAGE.
    """
    from controllers.ipam.ranges import Span
    from controllers.ipam_tools.check import check
    from controllers.ipam_tools.manifests import load
    from controllers.ipam_tools.reading import Access

    if filenames.count(STDIN) > 1:
        raise click.UsageError("standard input can be read only once")
    if service_cidrs is not None and not offline:
        raise click.UsageError("--service-cidr goes with --offline: a cluster says itself what its ServiceCIDRs are")
    manifests = load(filenames)
    ports = Span(*node_ports)
    facts = _offline(service_cidrs, ports) if offline else _read(Access(kubeconfig, context), ports)
    _tell(check(manifests, replace(facts, exempt=_names(exempt)), namespace), output, quiet)


def _names(text: str) -> frozenset[str]:
    return frozenset(each.strip() for each in text.split(",") if each.strip())


def _offline(service_cidrs: str | None, node_ports: "Span") -> "Facts":
    """The facts without a cluster."""
    from controllers.ipam.objects import ServiceCIDR
    from controllers.ipam.ranges import network
    from controllers.ipam.world import DEFAULT_CIDR
    from controllers.ipam_tools.facts import Facts

    if service_cidrs is None:
        return Facts(node_ports=node_ports)
    given = tuple(each.strip() for each in service_cidrs.split(","))
    for each in given:
        try:
            network(each)
        except ValueError as error:
            raise click.UsageError(f"--service-cidr {each}: not a CIDR, such as 10.96.0.0/16: {error}") from error
    return Facts(node_ports=node_ports, service_cidrs={DEFAULT_CIDR: ServiceCIDR(name=DEFAULT_CIDR, cidrs=given)})


def _tell(outcome: "Outcome", output: str, quiet: bool) -> None:
    from controllers.ipam_tools import findings

    if output == "json":
        put(findings.as_json(outcome))
    else:
        put(findings.as_text(outcome.findings, quiet=quiet))
        if outcome.ignored:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.ignored.items()))
            click.echo(f"note: not looked at: {kinds}", err=True)
        for note in outcome.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(findings.summary(outcome), err=True)
    if outcome.failed:
        raise click.exceptions.Exit(1)


@ipam_command.command("reserve", short_help="Reserve numbers for a Service, whether it exists or not.")
@click.argument("service")
@click.option(
    "-n",
    "--namespace",
    default="default",
    show_default=True,
    callback=namespace_name,
    help="The Service's namespace.",
)
@click.option("--address", "addresses", metavar="IP", multiple=True, help="A cluster address; one for each family.")
@click.option(
    "--node-port",
    "node_ports",
    metavar="[NAME=]PORT",
    multiple=True,
    help="The node port of the Service's port of this name; may be repeated.",
)
@click.option("--health-check-node-port", "health", type=Whole(1, 65535), help="A LoadBalancer's.")
@_keeping
@_cluster
def reserve_command(
    service: str,
    namespace: str,
    addresses: tuple[str, ...],
    node_ports: tuple[str, ...],
    health: int | None,
    hold: bool | None,
    ttl: str | None,
    dry_run: bool,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Reserve numbers for a Service by a ServiceReservation. A Service that has one already gets these in addition: an
    address takes the place of that of its family, a node port that of its name."""
    from controllers.ipam_tools import writing
    from controllers.ipam_tools.reading import Access
    from controllers.ipam_tools.reserve import Keep, numbers

    wanted = numbers(addresses, node_ports, health)
    access = Access(kubeconfig, context)
    written = writing.reserve(access, namespace, service, wanted, Keep(hold, ttl), dry_run=dry_run)
    put(writing.told(written, dry_run=dry_run, with_namespace=False) + "\n")


@ipam_command.command(
    "adopt",
    short_help="Reserve for Services the numbers that they have.",
    epilog="Exit status: 0 none is refused, 1 some are refused (each is shown), 2 wrong usage.",
)
@click.argument("services", metavar="[SERVICE]...", nargs=-1)
@click.option(
    "-n", "--namespace", callback=namespace_name, help="The Services' namespace: all in it, unless some are named."
)
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="The Services of all namespaces.")
@click.option("-l", "--selector", default="", metavar="SELECTOR", help="Only Services with these labels (team=a,tier).")
@_keeping
@_cluster
def adopt_command(
    services: tuple[str, ...],
    namespace: str | None,
    everywhere: bool,
    selector: str,
    hold: bool | None,
    ttl: str | None,
    dry_run: bool,
    kubeconfig: str | None,
    context: str | None,
) -> None:
    """Reserve for live Services the addresses and node ports that they have, by ServiceReservations that adopt them.

    Without names, those that never have a number are left out: headless ones, and aliases (ExternalName).
    """
    from controllers.ipam_tools import writing
    from controllers.ipam_tools.reading import Access
    from controllers.ipam_tools.reserve import Keep

    if (namespace is None) != everywhere:
        raise click.UsageError("give either --namespace=NAMESPACE or --all-namespaces")
    if services and (everywhere or selector):
        raise click.UsageError("names of Services go with --namespace alone, without --all-namespaces and --selector")
    target = writing.Target(namespace or "", services, selector)
    written = writing.adopt(Access(kubeconfig, context), target, Keep(hold, ttl), dry_run=dry_run)
    _tell_adopted(written, dry_run=dry_run, with_namespace=everywhere)


def _tell_adopted(written: "Sequence[Written]", *, dry_run: bool, with_namespace: bool) -> None:
    from controllers.ipam_tools.reserve import REFUSED, SKIPPED
    from controllers.ipam_tools.writing import told

    for each in written:
        line = told(each, dry_run=dry_run, with_namespace=with_namespace) + "\n"
        if each.outcome == REFUSED:
            click.echo(line, err=True, nl=False)
        elif each.outcome != SKIPPED:
            put(line)
    skipped = [f"{each.namespace}/{each.name}" for each in written if each.outcome == SKIPPED]
    if skipped:
        click.echo(f"note: skipped, headless or ExternalName, without a number: {listed(skipped)}", err=True)
    if not written:
        click.echo("No Services found.", err=True)
    if any(each.outcome == REFUSED for each in written):
        raise click.exceptions.Exit(1)
