"""The least that a Python process can do for a change: no controller with this HTTP client takes less CPU.

It finds the slices as Sliceplane has written them, and then knows which slice has which Pod in which place: it turns a
condition over in what it holds and PUTs it, a few at a time. No selectors, no indexes, no queue, no metrics, and it
gives up at the first error. What is above its CPU is the controller; what is in it is HTTP, TLS and JSON. Its latency
is that of a full machine, as everybody's.
"""

import asyncio
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import click
import msgspec
import uvloop
from msgspec import Struct

from controllers.runtime.api_client import JSON, METADATA_ONLY
from controllers.runtime.credentials import Credentials
from controllers.runtime.watch import Lines
from controllers.runtime.writer import IN_FLIGHT, WRITABLE_SLICES
from e2e.bench.load import NAMESPACE
from e2e.bench.observer import SLICES
from e2e.cluster.local import ControlPlane, StartError
from e2e.cluster.process import Process
from e2e.cluster.product import spawn_sliceplane

_ROOT: Final = Path(__file__).parents[2]
_FOLLOWING: Final = "following"
_HEADERS: Final = {"Content-Type": JSON, "Accept": METADATA_ONLY}
_START_SECONDS: Final = 120.0
_QUIET_SECONDS: Final = 2.0
_POLL: Final = 0.2


class _Meta(Struct, rename="camel"):
    name: str = ""
    resource_version: str = ""


class _Condition(Struct):
    type: str
    status: str


class _Status(Struct):
    conditions: list[_Condition] = []


class _Pod(Struct):
    metadata: _Meta
    status: _Status = msgspec.field(default_factory=_Status)


class _Event(Struct):
    object: _Pod


class _Answer(Struct):
    metadata: _Meta


@dataclass(eq=False)
class _Slice:
    body: dict[str, Any]
    dirty: bool = False
    writing: bool = False


class Floor:
    """Holds the slices, and writes what changes."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._slots = asyncio.Semaphore(IN_FLIGHT)
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
            click.echo(_FOLLOWING)
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
                async with self._session.put(path, data=msgspec.json.encode(found.body), headers=_HEADERS) as response:
                    answer = self._answers.decode(await response.read())
                metadata["resourceVersion"] = answer.metadata.resource_version
        found.writing = False

    async def _list(self, path: str) -> list[dict[str, Any]]:
        async with self._session.get(path) as response:
            items: list[dict[str, Any]] = msgspec.json.decode(await response.read())["items"]
            return items


def start(plane: ControlPlane) -> Process:
    """Has Sliceplane write the slices, ends it, and starts the floor; for a cluster that changes no more meanwhile.

    Raises StartError.
    """
    ours = spawn_sliceplane(plane, "--leader-elect=false", "--metrics-bind-address=0")
    try:
        _await_slices(plane, ours)
    finally:
        ours.stop()
    argv = [sys.executable, "-m", "e2e.bench.floor", f"--kubeconfig={plane.kubeconfig()}"]
    process = plane.spawn(plane.fresh_name("floor"), argv, {"PYTHONPATH": str(_ROOT)})
    until = time.monotonic() + _START_SECONDS
    while _FOLLOWING not in process.tail():
        if process.poll() is not None or time.monotonic() > until:
            raise StartError(f"the floor does not follow the Pods:\n{process.tail()}")
        time.sleep(_POLL)
    return process


def _await_slices(plane: ControlPlane, ours: Process) -> None:
    """Returns when there are some, and no more come."""
    began = grown = time.monotonic()
    before = 0
    while not before or time.monotonic() - grown < _QUIET_SECONDS:
        if ours.poll() is not None or time.monotonic() - began > _START_SECONDS:
            raise StartError(f"Sliceplane does not write the slices:\n{ours.tail()}")
        time.sleep(_POLL)
        page = plane.client().get(SLICES, limit="1")
        now = len(page["items"]) + page["metadata"].get("remainingItemCount", 0)
        if now != before:
            before, grown = now, time.monotonic()


async def _run(kubeconfig: str) -> None:
    credentials = Credentials(kubeconfig)
    await credentials.load()
    connector = aiohttp.TCPConnector(limit=0, ssl=credentials.tls or True)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(
        credentials.server, connector=connector, cookie_jar=jar, raise_for_status=True
    ) as session:
        await Floor(session).run()


@click.command()
@click.option("--kubeconfig", required=True)
def main(kubeconfig: str) -> None:
    """Turns conditions over in the slices that are there, and nothing else."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(kubeconfig))


if __name__ == "__main__":
    main()
