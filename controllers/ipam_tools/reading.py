"""The cluster as it is now: each kind is listed once, page by page, and nothing is watched."""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct

from controllers import __version__
from controllers.ipam.ranges import Span
from controllers.ipam_operator import kinds
from controllers.ipam_operator.served import not_served
from controllers.ipam_tools.errors import ToolError
from controllers.ipam_tools.facts import Facts
from controllers.runtime import listing
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import SystemClock
from controllers.runtime.credentials import Credentials, CredentialsError
from controllers.runtime.errors import ApiError, Expired, Forbidden, NotFound, Unauthorized, Unreachable, Untrusted
from controllers.runtime.watch import Kind

R = TypeVar("R")

# A person waits: a server that is away is told of after one more try.
_ATTEMPTS: Final = 2
_HOME: Final = Path("~/.kube/config")
# Ours first: that they are not installed is the commonest error.
_KINDS: Final[tuple[Kind[Any], ...]] = (
    kinds.IP_POOLS,
    kinds.PORT_POOLS,
    kinds.RESERVATIONS,
    kinds.SERVICES,
    kinds.ADDRESSES,
    kinds.SERVICE_CIDRS,
    kinds.NAMESPACES,
)


class Access(NamedTuple):
    """Where the API server is: what --kubeconfig and --context say."""

    kubeconfig: str | None = None
    context: str | None = None


class _Page(Struct):
    items: list[Raw] | None = None


class _Meta(Struct):
    name: str = ""
    namespace: str = ""


class _Named(Struct):
    metadata: _Meta


class Listed(NamedTuple):
    """The objects of a kind that were understood, and what is to be said of the others."""

    found: list[Any]
    skipped: list[str]


@asynccontextmanager
async def connected(access: Access) -> AsyncGenerator[ApiClient]:
    """A client of the API server; whatever goes wrong with it or within is raised as ToolError."""
    credentials = Credentials(access.kubeconfig or _kubeconfig_at_home(), access.context)
    try:
        async with ApiClient(credentials, SystemClock(), user_agent=f"sliceplane/{__version__} ipam") as client:
            yield client
    except CredentialsError as error:
        raise ToolError(str(error)) from error
    except ApiError as error:
        raise ToolError(said(error, credentials.server)) from error


def _kubeconfig_at_home() -> str | None:
    """kubectl's default, where neither $KUBECONFIG nor a Pod says otherwise."""
    elsewhere = os.environ.get("KUBECONFIG") or os.environ.get("KUBERNETES_SERVICE_HOST")
    path = _HOME.expanduser()
    return str(path) if not elsewhere and path.is_file() else None


def said(error: ApiError, server: str = "") -> str:
    """An API error for a person: the server's own words, and what to do where these do not say it."""
    own = error.status.message
    if isinstance(error, Untrusted):
        return str(error)
    if isinstance(error, Unreachable):
        return f"the API server {server} does not answer: {error}"
    if isinstance(error, Unauthorized):
        return f"the API server {server} does not accept the credentials: {own or error}"
    if isinstance(error, Forbidden) and "cannot" in own:
        return f"{own}: ask for the right, or use another --context"
    return own or str(error)


def read(access: Access, node_ports: Span) -> Facts:
    """Everything that the tools look at. Raises ToolError."""
    return asyncio.run(_read(access, node_ports))


async def _read(access: Access, node_ports: Span) -> Facts:
    async with connected(access) as client:
        # One after the other: a cluster's largest list takes as long as all the others together.
        found = {each.name: await listed(client, each) for each in _KINDS}
    return Facts(
        services={each.key: each for each in found["Service"].found},
        addresses={each.name: each for each in found["IPAddress"].found},
        service_cidrs={each.name: each for each in found["ServiceCIDR"].found},
        namespaces={each.name: each for each in found["Namespace"].found},
        ip_pools={each.name: each.resource for each in found["ServiceIPPool"].found},
        port_pools={each.name: each.resource for each in found["ServicePortPool"].found},
        reservations={f"{each.namespace}/{each.name}": each.resource for each in found["ServiceReservation"].found},
        node_ports=node_ports,
        skipped=tuple(text for each in found.values() for text in each.skipped),
    )


async def listed(
    client: ApiClient, kind: Kind[R], *, namespace: str = "", query: Mapping[str, str] | None = None
) -> Listed:
    """All objects of a kind, of one namespace or of all. Raises ApiError; ToolError when the kind is not served."""
    head, _, plural = kind.path.rpartition("/")
    path = f"{head}/namespaces/{namespace}/{plural}" if namespace else kind.path
    for _ in range(_ATTEMPTS):
        try:
            return await _listed(client, kind, path, query or {})
        except Expired:
            # The pages took longer than the server remembers: anew.
            continue
        except NotFound as error:
            raise ToolError(not_served(kind)) from error
    raise ToolError(f"the list of {kind.name} objects expires faster than it can be read: try again")


async def _listed(client: ApiClient, kind: Kind[R], path: str, query: Mapping[str, str]) -> Listed:
    decoder = msgspec.json.Decoder(kind.wire_type)
    result = Listed([], [])
    async with listing.listed(client, path, query, first=_ATTEMPTS, attempts=_ATTEMPTS) as pages:
        async for page in pages:
            for item in msgspec.json.decode(page.body, type=_Page).items or ():
                try:
                    result.found.append(kind.record(decoder.decode(item)))
                except (msgspec.MsgspecError, ValueError, TypeError) as error:
                    result.skipped.append(f"{kind.name} {_name(item)}: {str(error).splitlines()[0]}")
    return result


def _name(item: Raw) -> str:
    try:
        meta = msgspec.json.decode(item, type=_Named).metadata
    except msgspec.MsgspecError:
        return "without a name"
    return f"{meta.namespace}/{meta.name}".removeprefix("/")
