"""A Lease in virtual time: an API server that holds it, lines to it that fail, and processes that run for it."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar, cast

import aiohttp

from controllers.model.plan import Notice
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError, Unreachable, error_for
from controllers.runtime.events import Regarding
from controllers.runtime.lease import Elector
from tests.runtime.clocks import EPOCH, LoopClock, virtually
from tests.shell.waiting import until

T = TypeVar("T")
Object = dict[str, Any]

PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
LEASE, RENEW, RETRY = 15.0, 10.0, 2.0
JITTERED = RETRY * 2.2
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def now() -> float:
    return asyncio.get_running_loop().time()


def date(seconds: float) -> str:
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}"


class Server:
    """What an API server does with one Lease: resourceVersions, and news for those who watch."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.asked: list[tuple[float, str, str]] = []
        self.version = 0
        self.changed = asyncio.Event()
        self.raw: bytes | None = None

    @property
    def spec(self) -> Object:
        assert self.lease is not None
        found: Object = self.lease["spec"]
        return found

    def answer(self, asker: str, method: str, path: str, body: bytes | None) -> bytes:
        self.asked.append((now(), asker, method))
        assert path == (PATH if method == "POST" else f"{PATH}/sliceplane")
        sent: Object = json.loads(body) if body else {}
        if self.raw is not None:
            return self.raw
        if method == "POST":
            assert sent["metadata"] == {"name": "sliceplane", "namespace": "kube-system"}
            if self.lease is not None:
                raise error_for(409, b'{"reason": "AlreadyExists"}', "POST")
            self.put({**sent, "metadata": {**sent["metadata"], "uid": f"uid-{self.version}"}})
        elif self.lease is None:
            raise error_for(404, b"", method)
        elif method == "PUT":
            if sent["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise error_for(409, b"", method)
            self.put(sent)
        return json.dumps(self.lease).encode()

    def put(self, lease: Object) -> None:
        """Somebody writes it; what changes nothing is no write."""
        if self.lease is None or {**lease, "metadata": 0} != {**self.lease, "metadata": 0}:
            self.version += 1
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self.version)}}
        self.changed.set()
        self.changed = asyncio.Event()

    def hold(self, holder: str | None, seconds: int | None = 15, **more: Any) -> None:
        """Another writes itself, or whatever, into the Lease."""
        spec = {"holderIdentity": holder, "leaseDurationSeconds": seconds, "renewTime": date(now()), **more}
        self.put({"metadata": {"name": "sliceplane", "namespace": "kube-system", "uid": "u"}, "spec": spec})


class Line(ApiClient):
    """The way from one process to the server. What was sent arrives, even if nobody waits for the answer any more."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.fault = ""
        self.only: tuple[str, ...] = ("GET", "POST", "PUT")
        self.delay: Callable[[], float] = lambda: 0.001
        self.watchable = False
        self.arrived: Callable[[], None] = lambda: None
        self.travelling: set[asyncio.Task[bytes]] = set()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: str = "",
        content_type: str = "",
        attempts: int = 4,
        began: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        assert attempts == 1
        journey = asyncio.get_running_loop().create_task(self._travel(method, path, body), context=Context())
        self.travelling.add(journey)
        journey.add_done_callback(self._over)
        await asyncio.wait({journey})
        return journey.result()

    def _over(self, journey: asyncio.Task[bytes]) -> None:
        self.travelling.discard(journey)
        if not journey.cancelled():
            journey.exception()
            self.arrived()

    async def _travel(self, method: str, path: str, body: bytes | None) -> bytes:
        fault = self.fault if method in self.only else ""
        await asyncio.sleep(self.delay())
        if fault == "hang":
            self.travelling.discard(cast("asyncio.Task[bytes]", asyncio.current_task()))
            await asyncio.sleep(3600)
        if fault == "refuse":
            raise error_for(503, b"", method)
        if fault == "cut":
            raise Unreachable(method)
        try:
            answer: bytes | ApiError = self.server.answer(self.name, method, path, body)
        except ApiError as error:
            answer = error
        await asyncio.sleep(self.delay())
        if fault == "lose":
            raise Unreachable(method)
        if isinstance(answer, ApiError):
            raise answer
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, idle_seconds: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        assert (path, query) == (PATH, {"watch": "true", "fieldSelector": "metadata.name=sliceplane"})
        if not self.watchable:
            raise error_for(403, b"", "watch")
        yield cast("aiohttp.StreamReader", self)

    async def iter_any(self) -> AsyncIterator[bytes]:
        while True:
            await self.server.changed.wait()
            if not self.fault:
                yield b"{}"


@dataclass
class Skewed(LoopClock):
    """A machine's own idea of the date, and of when time began."""

    skew: float = 0.0
    origin: float = 0.0

    def now(self) -> float:
        return super().now() + self.origin

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=super().now() + self.skew)


@dataclass(eq=False)
class Process:
    """One replica: its elector, and work that lasts until it is told to stop, and `drain` seconds more."""

    server: Server
    name: str
    skew: float = 0.0
    origin: float = 0.0
    drain: float = 0.0
    seed: int = 0
    times: dict[str, float] = field(default_factory=dict)
    led: list[float] = field(default_factory=list)
    events: list[tuple[Regarding, Notice]] = field(default_factory=list)
    terms: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    open_ends: int = 0
    slow: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = Line(self.server, self.name)
        self.stopping = asyncio.Event()
        self.awake = asyncio.Event()
        self.awake.set()
        self.elector = Elector(
            self.line,
            Skewed(self.skew, self.origin),
            namespace="kube-system",
            name="sliceplane",
            identity=self.name,
            rng=Random(self.seed),
            told=lambda about, notice: self.events.append((about, notice)),
            led=self.led.append,
            slowpath=lambda: self.slow.append(now()),
            **cast("Any", self.times),
        )

    async def work(self) -> None:
        self.terms.append(now())
        assert self.elector.leading
        try:
            await self.stopping.wait()
            await asyncio.sleep(self.drain)
        except asyncio.CancelledError:
            # Not even what is cancelled may write.
            self.open_ends += self.elector.may_write()
            raise
        finally:
            self.ends.append(now())

    def start(self) -> "asyncio.Task[None]":
        self.running = asyncio.create_task(self.elector.run(self.work, self.stopping))
        return self.running

    async def stop(self) -> None:
        self.stopping.set()
        await self.running

    def sent(self, *methods: str) -> list[float]:
        """When its requests reached the server."""
        return [at for at, asker, method in self.server.asked if asker == self.name and method in (methods or method)]


class Cluster:
    """Replicas on one server."""

    def __init__(self) -> None:
        self.server = Server()
        self.processes: list[Process] = []

    def start(self, name: str = "a", **given: Any) -> Process:
        process = Process(self.server, name, **given)
        self.processes.append(process)
        process.start()
        return process

    @property
    def writers(self) -> list[str]:
        return [each.name for each in self.processes if each.elector.may_write()]

    async def leader(self, within: float = 60.0) -> Process:
        """Who leads, once somebody does."""
        await until(lambda: bool(self.writers), within)
        [name] = self.writers
        return next(each for each in self.processes if each.name == name)

    async def end(self) -> None:
        for each in self.processes:
            each.running.cancel()
            with suppress(asyncio.CancelledError):
                await each.running


def play(scenario: Callable[[Cluster], Coroutine[Any, Any, T]]) -> T:
    """Runs a scenario in virtual time, and ends what still runs."""

    async def run() -> T:
        cluster = Cluster()
        result = await scenario(cluster)
        await cluster.end()
        return result

    return virtually(run())


# The Lease as it is written.
