"""`sliceplane ipam reserve` and `adopt`: ServiceReservations written by the API, which validates them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import click
import msgspec

from api.v1alpha1.common import API_VERSION, GROUP
from controllers.ipam.objects import KUBERNETES, Service
from controllers.ipam_operator import kinds
from controllers.ipam_tools.errors import ToolError
from controllers.ipam_tools.reading import Access, connected, listed, said
from controllers.ipam_tools.reserve import (
    CREATED,
    REFUSED,
    SKIPPED,
    UNCHANGED,
    Keep,
    Numbers,
    Object,
    adoptable,
    for_service,
    never_has_numbers,
    nothing_named,
    otherwise_reserved,
    reservation,
)
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError, Forbidden, Invalid, NotFound
from controllers.runtime.watch import Kind

_PLURAL: Final = "servicereservations"
RESOURCE: Final = f"servicereservation.{GROUP}"
# Reservations as they are in JSON: what is sent back must have every field that was read.
_RAW: Final[Kind[Object]] = Kind(
    "ServiceReservation", f"/apis/{API_VERSION}/{_PLURAL}", dict[str, Any], lambda found: found
)


class Written(NamedTuple):
    """What became of one reservation: `name` is its own, `why` the reason where it was refused."""

    namespace: str
    name: str
    outcome: str
    why: str = ""


class Target(NamedTuple):
    """Which Services: `names` in a namespace, or all that `selector` selects in it; in every one when it is ""."""

    namespace: str
    names: tuple[str, ...] = ()
    selector: str = ""


class _Writer:
    """Creates and updates reservations; with `dry_run` only the API server's answer is had."""

    def __init__(self, client: ApiClient, dry_run: bool) -> None:
        self._client = client
        self._query = {"fieldValidation": "Strict", "fieldManager": "sliceplane-ipam"}
        self._query |= {"dryRun": "All"} if dry_run else {}

    async def create(self, made: Object) -> None:
        await self._send("POST", _path(made["metadata"]["namespace"]), made)

    async def replace(self, changed: Object) -> None:
        meta = changed["metadata"]
        await self._send("PUT", _path(meta["namespace"], meta["name"]), changed)

    async def _send(self, method: str, path: str, body: Object) -> None:
        await self._client.request(method, path, query=self._query, body=msgspec.json.encode(body), attempts=2)


def _path(namespace: str, name: str = "") -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{_PLURAL}{f'/{name}' if name else ''}"


def reserve(access: Access, namespace: str, service: str, numbers: Numbers, keep: Keep, *, dry_run: bool) -> Written:
    """Reserves numbers for a Service, whether it exists or not. Raises ToolError, click.UsageError."""
    return asyncio.run(_reserve(access, namespace, service, numbers, keep, dry_run))


async def _reserve(
    access: Access, namespace: str, service: str, numbers: Numbers, keep: Keep, dry_run: bool
) -> Written:
    async with connected(access) as client:
        writer = _Writer(client, dry_run)
        existing = (await listed(client, _RAW, namespace=namespace)).found
        found = for_service(existing, service)
        if found is None:
            if not numbers:
                raise click.UsageError(nothing_named(namespace, service))
            spec = keep.over(numbers.over({"serviceName": service}))
            name = _unused_name(existing, service)
            await _created(writer, reservation(namespace, name, spec), namespace)
            return Written(namespace, name, "reserved")
        spec = keep.over(numbers.over(found["spec"]))
        name = found["metadata"]["name"]
        if spec == found["spec"]:
            return Written(namespace, name, UNCHANGED)
        await writer.replace(found | {"spec": spec})
        return Written(namespace, name, "reserved")


def _unused_name(existing: Sequence[Object], service: str) -> str:
    """The Service's name. Raises ToolError when somebody gave it to a reservation for another Service."""
    for each in existing:
        if each["metadata"]["name"] == service:
            other = each["spec"].get("serviceName", "")
            raise ToolError(
                f'the ServiceReservation "{service}" is for Service {other}: delete it, or give it another name'
            )
    return service


async def _created(writer: _Writer, made: Object, namespace: str) -> None:
    try:
        await writer.create(made)
    except NotFound as error:
        # The list before this has shown that the kind is served.
        raise ToolError(f'namespace "{namespace}" not found: create it first') from error


def adopt(access: Access, target: Target, keep: Keep, *, dry_run: bool) -> list[Written]:
    """Reserves for Services what they have. Raises ToolError for what concerns them all."""
    return asyncio.run(_adopt(access, target, keep, dry_run))


async def _adopt(access: Access, target: Target, keep: Keep, dry_run: bool) -> list[Written]:
    async with connected(access) as client:
        writer = _Writer(client, dry_run)
        query = {"labelSelector": target.selector} if target.selector else {}
        services = (await listed(client, kinds.SERVICES, namespace=target.namespace, query=query)).found
        existing: dict[str, list[Object]] = {}
        for each in (await listed(client, _RAW, namespace=target.namespace)).found:
            existing.setdefault(each["metadata"]["namespace"], []).append(each)
        return [each async for each in _each(writer, services, existing, target, keep)]


async def _each(
    writer: _Writer, services: Sequence[Service], existing: Mapping[str, list[Object]], target: Target, keep: Keep
) -> AsyncIterator[Written]:
    by_name = {each.name: each for each in services} if target.names else {}
    wanted = [by_name.get(name) or name for name in dict.fromkeys(target.names)] if target.names else services
    for service in wanted:
        if isinstance(service, str):
            yield Written(target.namespace, service, REFUSED, f'Service "{service}" not found')
            continue
        # Asked for by name they are refused; among all there are, they are no news.
        if not target.names and service.key == KUBERNETES:
            continue
        if not target.names and never_has_numbers(service):
            yield Written(service.namespace, service.name, SKIPPED)
            continue
        yield await _adopted(writer, service, existing.get(service.namespace, []), keep)


async def _adopted(writer: _Writer, service: Service, existing: Sequence[Object], keep: Keep) -> Written:
    found = for_service(existing, service.name)
    why = adoptable(service) or (otherwise_reserved(service, found["spec"]) if found is not None else "")
    if why:
        return Written(service.namespace, service.name, REFUSED, why)
    name = found["metadata"]["name"] if found is not None else service.name
    spec = keep.over({**(found["spec"] if found is not None else {"serviceName": service.name}), "adopt": True})
    try:
        if found is None:
            made = reservation(service.namespace, _unused_name(existing, service.name), spec)
            await writer.create(made)
            return Written(service.namespace, name, CREATED)
        if spec == found["spec"]:
            return Written(service.namespace, name, UNCHANGED)
        await writer.replace(found | {"spec": spec})
        return Written(service.namespace, name, "configured")
    except ToolError as error:
        return Written(service.namespace, name, REFUSED, error.message)
    except (Invalid, Forbidden) as error:
        # One that is refused says nothing of the others.
        return Written(service.namespace, name, REFUSED, said(error))
    except ApiError as error:
        raise ToolError(f"Service {service.key}: {said(error)}") from error


def told(written: Written, *, dry_run: bool, with_namespace: bool) -> str:
    """A line, as kubectl has them."""
    where = f" (namespace {written.namespace})" if with_namespace else ""
    dry = " (server dry run)" if dry_run else ""
    if written.outcome == REFUSED:
        return f"{RESOURCE}/{written.name} refused{where}: {written.why}"
    return f"{RESOURCE}/{written.name} {written.outcome}{where}{dry}"
