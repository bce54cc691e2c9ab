"""Watches EndpointSlices like a node proxy would, and tells when a change has become visible."""

import asyncio
import contextlib
import time
from itertools import pairwise
from typing import Final

import msgspec
from msgspec import Struct

from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError
from controllers.runtime.watch import Lines
from e2e.bench.load import NAMESPACE, Answered

_PATH: Final = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"


class _Target(Struct):
    name: str = ""


class _Conditions(Struct):
    ready: bool = False


class _Endpoint(Struct, rename="camel"):
    conditions: _Conditions
    target_ref: _Target


class _Meta(Struct, rename="camel"):
    name: str = ""
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


class Observer(Answered):
    """Follows the slices of the benchmark's Namespace; in monotonic seconds: uvloop's clock knows only ms."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._decoder = msgspec.json.Decoder(_Event)
        self._pending: dict[tuple[str, str], tuple[bool, float | None]] = {}
        self._seen_early: dict[tuple[str, str], float] = {}
        self._version = ""
        self._task: asyncio.Task[None] | None = None
        self.names: set[str] = set()
        self.last_event = 0.0
        self.writes = 0
        self.resumed = 0
        self.latencies: list[float] = []
        self.written_at: list[float] = []

    async def __aenter__(self) -> "Observer":
        version = msgspec.json.decode(await self._client.request("GET", _PATH, query={"limit": "1"}), type=_List)
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
            async with self._client.stream(_PATH, query, idle_seconds=600) as stream:
                lines = Lines()
                async for chunk in stream.iter_any():
                    for line in lines.feed(chunk):
                        self._event(self._decoder.decode(line))
            self.resumed += 1

    def longest_gap(self, since: float) -> float:
        """The longest time without a write from a moment (of time.monotonic) until now, in seconds."""
        times = [since, *(at for at in self.written_at if at >= since), time.monotonic()]
        return max(later - earlier for earlier, later in pairwise(times))

    def check(self) -> None:
        """Raises what has ended the watch, if anything has: figures without it would be wrong."""
        if self._task is not None and self._task.done():
            self._task.result()

    def _event(self, event: _Event) -> None:
        self._version = event.object.metadata.resource_version or self._version
        if event.type == "BOOKMARK":
            return
        now = self.last_event = time.monotonic()
        self.writes += 1
        self.written_at.append(now)
        found = event.object
        if event.type == "DELETED":
            self.names.discard(found.metadata.name)
            return
        self.names.add(found.metadata.name)
        for endpoint in found.endpoints or ():
            key = (endpoint.target_ref.name, found.address_type)
            wanted = self._pending.get(key)
            if wanted is not None and wanted[0] == endpoint.conditions.ready:
                self._shown(key, wanted[1], now)

    def _shown(self, key: tuple[str, str], answered: float | None, now: float) -> None:
        if answered is None:
            # The slice was faster than the answer to the change.
            self._seen_early[key] = now
            return
        self.latencies.append(now - answered)
        del self._pending[key]

    def sent(self, pod: str, ready: bool) -> None:
        for family in ("IPv4", "IPv6"):
            self._pending[pod, family] = (ready, None)
            self._seen_early.pop((pod, family), None)

    def answered(self, pod: str, ready: bool) -> None:
        now = time.monotonic()
        for family in ("IPv4", "IPv6"):
            key = (pod, family)
            if self._pending.get(key, (not ready, None))[0] != ready:
                continue  # turned over again meanwhile
            if self._seen_early.pop(key, None) is not None:
                self.latencies.append(0.0)
                del self._pending[key]
            else:
                self._pending[key] = (ready, now)

    @property
    def outstanding(self) -> int:
        """How many endpoints do not show their last change yet."""
        return len(self._pending)
