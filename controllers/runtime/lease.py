"""Which replica works: leader election on a coordination.k8s.io/v1 Lease, by client-go's rules.

Why no two write at a time: the leader writes nothing later than `renew_seconds` after it has *sent* the last renewal
that succeeded. The others let `leaseDurationSeconds` pass since they have *seen* that renewal, which is later. Each
measures with its own monotonic clock: dates of different machines are never compared. And a write of the Lease names
the resourceVersion that it was decided from: of two that want it, one gets it.

Two things are quicker than in client-go: who waits is woken by a watch, and at the moment that the lease ends.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Struct

from api import names
from controllers.model.plan import Notice
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError, NotFound, Unreachable
from controllers.runtime.events import Regarding
from controllers.telemetry.logs import bind

JITTER_FACTOR: Final = 1.2
API_VERSION: Final = "coordination.k8s.io/v1"
# By so much an API server that does not answer delays the end of the process.
RELEASE_SECONDS: Final = 2.0
# A timer may be early by its resolution: who waits for the end of a lease looks so much later.
_LATE_SECONDS: Final = 0.01

Lead = Callable[[], Coroutine[Any, Any, None]]


class _Meta(Struct, rename="camel"):
    # A write without it would be one without a condition.
    resource_version: Annotated[str, msgspec.Meta(min_length=1)]
    uid: str = ""


class _Spec(Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    lease_transitions: int | None = None


class _Lease(Struct):
    metadata: _Meta
    spec: _Spec | None = None


class Elector:
    """Takes part in one election, under an identity that no other process may have.

    `leading` is whether it holds the lease, as far as it knows. Whether it may still write tells `may_write` alone.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        identity: str,
        lease_seconds: float = 15.0,
        renew_seconds: float = 10.0,
        retry_seconds: float = 2.0,
        rng: Random | None = None,
        told: Callable[[Regarding, Notice], None] = lambda about, notice: None,
        led: Callable[[float], None] = lambda leading: None,
        slowpath: Callable[[], None] = lambda: None,
    ) -> None:
        """`client` must let its writes through while it does not lead.

        `told` gets the Events on the Lease, `led` 1 or 0 as leading begins and ends; `slowpath` is called when a Lease
        that is ours had to be read to be renewed. Raises ValueError when the seconds do not fit each other.
        """
        _check(identity, lease_seconds, renew_seconds, retry_seconds)
        self._client, self._clock, self._rng = client, clock, rng or Random()
        self._namespace, self._name, self._identity = namespace, name, identity
        # Rounded up: nobody may wait for less than was meant.
        self._lease_seconds = math.ceil(lease_seconds)
        self._renew_seconds, self._retry_seconds = renew_seconds, retry_seconds
        self._told, self._led, self._slowpath = told, led, slowpath
        self._path = f"/apis/{API_VERSION}/namespaces/{namespace}/leases"
        self._log = bind("controllers.runtime.lease", lease=f"{namespace}/{name}", identity=identity)
        # The Lease as it was last seen, and since when its spec has been so.
        self._lease: dict[str, Any] = {}
        self._spec, self._uid, self._since = _Spec(), "", -math.inf
        self._renewed = -math.inf
        self._claimed = False
        self._work: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.leading = False
        led(0)

    @property
    def holder(self) -> str:
        """Whom the Lease named when it was last seen; "" for nobody."""
        return self._spec.holder_identity or ""

    @property
    def writable_until(self) -> float:
        """The time on the monotonic clock from which on nothing may be written; -inf when not leading."""
        return self._renewed + self._renew_seconds if self.leading else -math.inf

    def may_write(self) -> bool:
        """Whether nobody else can be the leader yet."""
        return self._clock.now() < self.writable_until

    async def run(self, lead: Lead, stopping: asyncio.Event) -> None:
        """Runs for the lease, and runs `lead` whenever it holds it, until `stopping` is set; then gives the lease up.

        `lead` is cancelled when the lease is lost, and called anew in the next term. When `stopping` is set it must
        end by itself: until then the lease is renewed. If it ends at another time so does this, with its exception.
        Cancelled, this cancels `lead`, waits for its end, and gives the lease up (RELEASE_SECONDS at most).
        """
        try:
            while not stopping.is_set():
                acquiring = asyncio.create_task(self._acquire())
                await _first(acquiring, asyncio.create_task(stopping.wait()))
                if stopping.is_set():
                    return
                acquiring.result()
                if not await self._lead(lead):
                    return
        finally:
            await self._release()

    async def _acquire(self) -> None:
        """Returns when the lease is ours, and not about to end."""
        self._log.info("attempting to acquire the lease")
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch())
            while not await self._attempt() or self._clock.now() >= self._renewed + self._renew_seconds:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._patience()):
                        await self._changed.wait()
                self._changed.clear()
            watching.cancel()

    async def _lead(self, lead: Lead) -> bool:
        """One term. Returns whether the lease was lost; otherwise `lead` has ended by itself."""
        self.leading = True
        self._tell("became leader")
        self._work, renewing = asyncio.create_task(lead()), asyncio.create_task(self._renew())
        try:
            await _first(self._work, renewing)
        finally:
            self.leading = False
            self._tell("stopped leading")
        for task in (renewing, self._work):
            if not task.cancelled():
                task.result()
        return not renewing.cancelled()

    async def _renew(self) -> None:
        """Renews the lease until it is lost: to another, or because that has not succeeded for too long."""
        while (left := self.writable_until - self._clock.now()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._clock.sleep(self._retry_seconds)
                    if not await self._attempt() and self.holder not in ("", self._identity):
                        break
        # Closes the fence before the workers are cancelled.
        self.leading = False
        self._log.warning("lost the lease", holder=self.holder)

    async def _attempt(self) -> bool:
        """Tries once to acquire or renew the lease; returns whether it is ours."""
        try:
            if self.leading and self.holder == self._identity:
                with suppress(ApiError):
                    return await self._claim()
            try:
                await self._ask("GET")
            except NotFound:
                return await self._claim(absent=True)
            if self._taken() > 0:
                return False
            if self.holder == self._identity:
                self._slowpath()
            return await self._claim()
        except ApiError as error:
            self._log.warning("neither acquired nor renewed the lease", error=str(error))
            return False

    async def _claim(self, *, absent: bool = False) -> Literal[True]:
        """Writes us into the Lease as its holder, new or old, or makes one that is absent. Raises ApiError."""
        ours, known, now = self.holder == self._identity and not absent, self._spec, self._date()
        # The answer may be late: what counts is from when on the others may have seen it.
        sent, self._claimed = self._clock.now(), True
        await self._ask(
            "POST" if absent else "PUT",
            holderIdentity=self._identity,
            leaseDurationSeconds=self._lease_seconds,
            acquireTime=(known.acquire_time if ours else None) or now,
            renewTime=now,
            leaseTransitions=0 if absent else (known.lease_transitions or 0) + (not ours),
        )
        self._renewed = sent
        return True

    async def _release(self) -> None:
        """Leaves the lease to nobody, so that another leads at once; if that fails, they wait until it ends."""
        # Cancelled twice, the work may not have ended yet.
        if self._claimed and (self._work is None or self._work.done()):
            with suppress(TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    while not await self._released():
                        await self._clock.sleep(0.1)

    async def _released(self) -> bool:
        """Whether nothing is left to give up. Reads first: a write of ours that got no answer may have been done."""
        now = self._date()
        try:
            await self._ask("GET")
            if self.holder == self._identity:
                await self._ask("PUT", holderIdentity="", leaseDurationSeconds=1, acquireTime=now, renewTime=now)
        except ApiError as error:
            self._log.info("did not release the lease", error=str(error))
            return isinstance(error, NotFound)
        return True

    async def _ask(self, method: str, **spec: str | int) -> None:
        """Sends the Lease as it was last seen, with these fields of its spec changed; takes note of what is answered.

        Raises ApiError, also when no answer comes in time, or one that is no Lease: as in client-go, what cannot be
        read is not taken.
        """
        path = self._path if method == "POST" else f"{self._path}/{self._name}"
        new = {"metadata": {"name": self._name, "namespace": self._namespace}}
        lease = new if method == "POST" else self._lease
        body = {"apiVersion": API_VERSION, "kind": "Lease", **lease, "spec": {**(lease.get("spec") or {}), **spec}}
        encoded = msgspec.json.encode(body) if spec else None
        try:
            # One request that hangs must not cost the lease.
            async with asyncio.timeout(max(1.0, self._renew_seconds / 2)):
                answer = await self._client.request(method, path, body=encoded, attempts=1)
            found = msgspec.json.decode(answer, type=dict[str, Any])
            typed = msgspec.convert(found, _Lease)
        except TimeoutError as error:
            raise Unreachable(f"{method} {path}: no answer in time") from error
        except msgspec.MsgspecError as error:
            raise ApiError(f"{method} {path}: the answer is no Lease: {error}") from error
        if not self._lease or found.get("spec") != self._lease.get("spec"):
            self._since = self._clock.now()
        before = self.holder
        self._lease, self._spec, self._uid = found, typed.spec or _Spec(), typed.metadata.uid
        if self.holder != before:
            self._log.info("the lease has a new holder", holder=self.holder)

    async def _watch(self) -> None:
        """Wakes who waits when anything happens to the Lease; if it cannot be watched, there are the retries."""
        query = {"watch": "true", "fieldSelector": f"metadata.name={self._name}"}
        while True:
            try:
                async with self._client.stream(self._path, query, idle_seconds=4.0 * self._lease_seconds) as stream:
                    async for _ in stream.iter_any():
                        self._changed.set()
            except ApiError as error:
                self._log.debug("cannot watch the lease", error=str(error))
            await self._clock.sleep(self._jittered())

    def _taken(self) -> float:
        """For how many seconds more somebody else may count on the lease; without a duration for none."""
        others = self.holder not in ("", self._identity)
        return self._since + (self._spec.lease_duration_seconds or 0) - self._clock.now() if others else 0.0

    def _patience(self) -> float:
        """Seconds until the next attempt."""
        left = self._taken()
        return min(self._jittered(), left + _LATE_SECONDS if left > 0 else math.inf)

    def _jittered(self) -> float:
        return self._rng.uniform(self._retry_seconds, self._retry_seconds * (1 + JITTER_FACTOR))

    def _date(self) -> str:
        return f"{self._clock.wall():%Y-%m-%dT%H:%M:%S.%fZ}"

    def _tell(self, what: str) -> None:
        self._log.info(what)
        self._led(self.leading)
        about = Regarding("Lease", self._namespace, self._name, self._uid, API_VERSION)
        self._told(about, Notice("Normal", names.REASON_LEADER_ELECTION, f"{self._identity} {what}"))


def _check(identity: str, lease: float, renew: float, retry: float) -> None:
    """client-go's conditions."""
    if not identity:
        raise ValueError("leader election needs an identity")
    if not retry > 0:
        raise ValueError(f"the retry period ({retry:g} s) must be positive")
    if not renew > JITTER_FACTOR * retry:
        raise ValueError(f"the renew deadline ({renew:g} s) must exceed {JITTER_FACTOR} retry periods ({retry:g} s)")
    if not lease > renew:
        raise ValueError(f"the lease duration ({lease:g} s) must exceed the renew deadline ({renew:g} s)")


async def _first(*tasks: asyncio.Task[Any]) -> None:
    """Waits until one has ended, then cancels the others and waits for these."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
