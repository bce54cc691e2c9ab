"""Replicas that take numbers in virtual time: an API server with the Leases, lines to it that fail, caches that lag."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from controllers.ipam.admission import Ask, Draw
from controllers.ipam.objects import Service
from controllers.ipam.ranges import IPV4, Span, text_of
from controllers.ipam.world import World, cluster_of
from controllers.ipam_operator.claimer import Claimer
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError, Unreachable, error_for
from tests.ipam.snapshots import DEFAULT_CIDR, ip_pool, service
from tests.runtime.clocks import LoopClock

NAMESPACE = "sliceplane"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
ANNOTATION = "ipam.sliceplane.dev/claims"


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """What an API server does with Leases: names are taken once, and writes name the version that they change."""

    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.version = 0

    def answer(self, method: str, path: str, body: bytes | None) -> bytes:
        self.asked.append(method)
        sent = json.loads(body) if body else {}
        name = sent["metadata"]["name"] if method == "POST" else path.removeprefix(f"{PATH}/")
        there = self.leases.get(name)
        if method == "POST" and there is not None:
            raise error_for(409, b'{"reason": "AlreadyExists"}', method)
        if method != "POST" and there is None:
            raise error_for(404, b"", method)
        if (
            method == "PUT"
            and there is not None
            and there["metadata"]["resourceVersion"] != (sent["metadata"]["resourceVersion"])
        ):
            raise error_for(409, b'{"reason": "Conflict"}', method)
        if method != "GET":
            self.version += 1
            sent["metadata"]["resourceVersion"] = str(self.version)
            self.leases[name] = sent
        return json.dumps(self.leases[name]).encode()

    def book(self, kind: str = "ipv4") -> dict[str, Any]:
        """What is claimed."""
        found = self.leases[f"sliceplane-ipam-claims-{kind}"]["metadata"]["annotations"][ANNOTATION]
        return dict(json.loads(found))

    def annotate(self, text: str, kind: str = "ipv4") -> None:
        """Somebody spoils it."""
        self.version += 1
        meta = self.leases[f"sliceplane-ipam-claims-{kind}"]["metadata"]
        meta["annotations"], meta["resourceVersion"] = {ANNOTATION: text}, str(self.version)


class Line(ApiClient):
    """The way to the server. What was sent arrives, even if nobody waits for the answer any more."""

    def __init__(self, server: Server, awake: asyncio.Event) -> None:
        self.server, self.awake = server, awake
        self.fault = ""
        self.delay: Callable[[], float] = lambda: 0.001
        self._travelling: set[asyncio.Task[bytes]] = set()

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
        journey = asyncio.get_running_loop().create_task(self._travel(method, path, body))
        self._travelling.add(journey)
        journey.add_done_callback(self._over)
        await asyncio.wait({journey})
        # A process that is stopped reads no answer.
        await self.awake.wait()
        return journey.result()

    def _over(self, journey: asyncio.Task[bytes]) -> None:
        self._travelling.discard(journey)
        if not journey.cancelled():
            journey.exception()

    async def _travel(self, method: str, path: str, body: bytes | None) -> bytes:
        fault = self.fault
        await asyncio.sleep(self.delay())
        if fault == "hang":
            await asyncio.sleep(30)
        if fault in ("hang", "cut"):
            raise Unreachable(method)
        if fault == "refuse":
            raise error_for(503, b"", method)
        try:
            answer: bytes | ApiError = self.server.answer(method, path, body)
        except ApiError as error:
            answer = error
        await asyncio.sleep(self.delay())
        if fault == "lose":
            raise Unreachable(method)
        if isinstance(answer, ApiError):
            raise answer
        return answer


@dataclass
class Skewed(LoopClock):
    """A machine's own idea of when time began."""

    origin: float = 0.0

    def now(self) -> float:
        return super().now() + self.origin


@dataclass(eq=False)
class Replica:
    """One process: its cache, its line, its claimer."""

    server: Server
    name: str
    origin: float = 0.0
    seed: int = 0
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.awake.set()
        self.line = Line(self.server, self.awake)
        self.clock = Skewed(self.origin)
        self.world = World(Span(30000, 32767), cluster=cluster_of([DEFAULT_CIDR]))
        self.claimer = Claimer(self.line, self.clock, self.world, NAMESPACE, self.name)
        self.claimer._random = Random(self.seed)

    def sees(self, old: Service | None, new: Service | None) -> None:
        """Its cache shows a change."""
        self.world.ledger.service_changed(old, new, self.clock.now())
        self.claimer.noticed("Service", old, new)

    async def take(self, key: str, ask: Ask, besides: set[int] | None = None) -> int | None:
        """As the webhook does: each draw in turn."""
        for draw in ask.draws:
            found = await self.claimer.take(ask, draw, owner(key), key, besides or set())
            if found is not None:
                return found
        return None


def pool_of(size: int, strategy: str = "Random", net: int = 0, **fields: Any) -> Ask:
    """For one of the first addresses after 10.96.0.31, or of another third octet."""
    pool = ip_pool("p", f"10.96.{net}.32-10.96.{net}.{31 + size}", strategy=strategy, **fields)
    return Ask(IPV4, draws=(Draw((pool.addresses.ipv4,), pool),))


def owner(key: str, *numbers: int) -> Service:
    """The Service of a key, with numbers or without yet."""
    return service(key.partition("#")[0], *(text_of(IPV4, number) for number in numbers))
