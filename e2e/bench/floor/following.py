"""The floor of a change: the slices are there, as Sliceplane has written them, and it knows where in them each Pod is.

It turns a condition over in what it holds, and PUTs it.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import click
import msgspec
from msgspec import Struct

from controllers.runtime.watch import Lines
from controllers.runtime.writer import WRITABLE_SLICES
from e2e.bench.floor.session import Meta, headers, options, run
from e2e.bench.load import NAMESPACE
from e2e.bench.observer import SLICES

# What it prints once the slices are held and the Pods are followed.
READY: Final = "following"


class _Condition(Struct):
    type: str
    status: str


class _Status(Struct):
    conditions: list[_Condition] = []


class _Pod(Struct):
    metadata: Meta
    status: _Status = msgspec.field(default_factory=_Status)


class _Event(Struct):
    object: _Pod


class _Answer(Struct):
    metadata: Meta


@dataclass(eq=False)
class _Slice:
    body: dict[str, Any]
    dirty: bool = False
    writing: bool = False


class Following:
    """Holds the slices, and writes what changes."""

    def __init__(self, session: aiohttp.ClientSession, in_flight: int, accept: str) -> None:
        self._session, self._headers = session, headers(accept)
        self._slots = asyncio.Semaphore(in_flight)
        self._places: dict[str, list[tuple[_Slice, dict[str, Any]]]] = defaultdict(list)
        self._events = msgspec.json.Decoder(_Event)
        self._answers = msgspec.json.Decoder(_Answer)

    async def run(self) -> None:
        """Lists the slices, and follows the Pods until it is ended. Raises aiohttp.ClientError."""
        for body in await self._list(SLICES):
            if not body["metadata"]["namespace"].startswith(NAMESPACE):
                continue
            # A list leaves the kind out of its items.
            found = _Slice({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **body})
            found.body["metadata"].pop("managedFields", None)
            for endpoint in body["endpoints"]:
                self._places[endpoint["targetRef"]["name"]].append((found, endpoint["conditions"]))
        query = {"watch": "true", "resourceVersion": "0", "timeoutSeconds": "3600"}
        lines = Lines()
        following = self._session.get("/api/v1/pods", params=query, timeout=aiohttp.ClientTimeout())
        async with asyncio.TaskGroup() as group, following as response:
            click.echo(READY)
            async for part in response.content.iter_any():
                for line in lines.feed(part):
                    self._turn_over(self._events.decode(line).object, group)

    def _turn_over(self, pod: _Pod, group: asyncio.TaskGroup) -> None:
        ready = any(each.type == "Ready" and each.status == "True" for each in pod.status.conditions)
        for found, conditions in self._places[pod.metadata.name]:
            if conditions["ready"] is ready:
                continue
            conditions["ready"] = conditions["serving"] = ready
            found.dirty = True
            if not found.writing:
                found.writing = True
                group.create_task(self._write(found))

    async def _write(self, found: _Slice) -> None:
        while found.dirty:
            async with self._slots:
                found.dirty = False
                metadata = found.body["metadata"]
                path = WRITABLE_SLICES.path(metadata["namespace"], metadata["name"])
                data = msgspec.json.encode(found.body)
                async with self._session.put(path, data=data, headers=self._headers) as response:
                    answer = self._answers.decode(await response.read())
                metadata["resourceVersion"] = answer.metadata.resource_version
        found.writing = False

    async def _list(self, path: str) -> list[dict[str, Any]]:
        async with self._session.get(path) as response:
            items: list[dict[str, Any]] = msgspec.json.decode(await response.read())["items"]
            return items


@click.command()
@options
def main(in_flight: int, accept: str, **connection: str) -> None:
    """Turns conditions over in the slices that are there, and nothing else."""
    run(lambda session: Following(session, in_flight, accept).run(), **connection)


if __name__ == "__main__":
    main()
