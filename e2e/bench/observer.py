"""Watches EndpointSlices like a node proxy would, and tells when a change has become visible."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Struct

from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError
from controllers.runtime.watch import Lines
from e2e.bench.load import NAMESPACE, Answered

SLICES: Final = "/apis/discovery.k8s.io/v1/endpointslices"


class _Target(Struct):
    name: str = ""


class _Conditions(Struct):
    ready: bool = False


class _Endpoint(Struct, rename="camel"):
    conditions: _Conditions
    target_ref: _Target


class _Meta(Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Slice(Struct, rename="camel"):
    metadata: _Meta
    address_type: str = ""
    endpoints: list[_Endpoint] | None = None


class _Event(Struct):
    type: str
    object: _Slice


class _List(Struct):
    metadata: _Meta


@dataclass(slots=True)
class _Change:
    """What an endpoint should show, and since when: the answer's moment, once there is one."""

    ready: bool
    answered: float | None
    # Of a change that is turned over before it was seen, nobody can tell which write shows it, or whether any must.
    measured: bool


class Observer(Answered):
    """Follows the slices of the benchmark's Namespaces; in monotonic seconds: uvloop's clock knows only ms.

    `latencies` are of the changes that were seen before the same Pod changed again; `overturned` counts the others.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._decoder = msgspec.json.Decoder(_Event)
        self._pending: dict[tuple[str, str], _Change] = {}
        self._seen_early: dict[tuple[str, str], float] = {}
        self._version = ""
        self._task: asyncio.Task[None] | None = None
        self._slices: dict[str, _Slice] = {}
        self.last_event = 0.0
        self.writes = 0
        # JSON of the slices as the watch sends it, in every event but a deletion.
        self.bytes_written = 0
        self.resumed = 0
        self.overturned = 0
        self.latencies: list[float] = []
        self.written_at: list[float] = []

    async def __aenter__(self) -> "Observer":
        version = msgspec.json.decode(await self._client.request("GET", SLICES, query={"limit": "1"}), type=_List)
        self._task = asyncio.create_task(self._follow(version.metadata.resource_version))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ApiError):
                await self._task

    async def _follow(self, version: str) -> None:
        """Watches for ever: a busy API server ends watches that it cannot serve in time, and expects them to resume."""
        self._version = version
        while True:
            query = {"watch": "true", "resourceVersion": self._version, "allowWatchBookmarks": "true"}
            async with self._client.stream(SLICES, query, idle_seconds=600) as stream:
                lines = Lines()
                async for chunk in stream.iter_any():
                    for line in lines.feed(chunk):
                        self.see(line)
            self.resumed += 1

    def longest_gap(self, since: float) -> float:
        """The longest time without a write from a moment (of time.monotonic) until now, in seconds."""
        times = [since, *(at for at in self.written_at if at >= since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(times))

    def check(self) -> None:
        """Raises what has ended the watch, if anything has: figures without it would be wrong."""
        if self._task is not None and self._task.done():
            self._task.result()

    @property
    def names(self) -> set[str]:
        """The slices that there are."""
        return set(self._slices)

    def endpoints(self) -> dict[tuple[str, str], bool]:
        """By Pod and family, whether its endpoint is ready; only of those that are in a slice."""
        return {
            (endpoint.target_ref.name, each.address_type): endpoint.conditions.ready
            for each in self._slices.values()
            for endpoint in each.endpoints or ()
        }

    def count(self) -> tuple[int, int]:
        """How many slices and endpoints there are."""
        return len(self._slices), sum(len(each.endpoints or ()) for each in self._slices.values())

    def see(self, line: bytes) -> None:
        """Takes one line of the watch, as JSON."""
        event = self._decoder.decode(line)
        self._version = event.object.metadata.resource_version or self._version
        if event.type == "BOOKMARK":
            return
        found = event.object
        if not found.metadata.namespace.startswith(NAMESPACE):
            return
        now = self.last_event = time.monotonic()
        self.writes += 1
        self.written_at.append(now)
        if event.type == "DELETED":
            self._slices.pop(found.metadata.name, None)
            return
        self._slices[found.metadata.name] = found
        self.bytes_written += len(line)
        for endpoint in found.endpoints or ():
            key = (endpoint.target_ref.name, found.address_type)
            wanted = self._pending.get(key)
            if wanted is not None and wanted.ready == endpoint.conditions.ready:
                self._shown(key, wanted, now)

    def _shown(self, key: tuple[str, str], change: _Change, now: float) -> None:
        if change.answered is None:
            # The slice was faster than the answer to the change.
            self._seen_early[key] = now
            return
        self._done(key, change, now - change.answered)

    def _done(self, key: tuple[str, str], change: _Change, seconds: float) -> None:
        if change.measured:
            self.latencies.append(seconds)
        del self._pending[key]

    def sent(self, pod: str, ready: bool) -> None:
        for family in ("IPv4", "IPv6"):
            key = (pod, family)
            overturns = key in self._pending
            self.overturned += overturns
            self._pending[key] = _Change(ready, None, measured=not overturns)
            self._seen_early.pop(key, None)

    def answered(self, pod: str, ready: bool) -> None:
        now = time.monotonic()
        for family in ("IPv4", "IPv6"):
            key = (pod, family)
            change = self._pending.get(key)
            if change is None or change.ready != ready:
                continue  # turned over again meanwhile
            if self._seen_early.pop(key, None) is not None:
                self._done(key, change, 0.0)
            else:
                change.answered = now

    @property
    def outstanding(self) -> int:
        """How many endpoints do not show their Pod's last change; one that was undone unseen is shown."""
        if not self._pending:
            return 0
        shown = self.endpoints()
        return sum(shown.get(key) != change.ready for key, change in self._pending.items())
