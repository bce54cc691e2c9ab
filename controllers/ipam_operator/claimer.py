"""Takes numbers for requests: from the stash that this replica has claimed, refilled by the batch (claims.py).

The book of a kind is one Lease in our namespace, its claims in an annotation, changed by compare-and-swap.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Collection, Coroutine, Iterable
from random import Random
from typing import Any, Final

import msgspec
from msgspec import Struct

from api import names
from controllers.ipam.admission import Ask, Draw
from controllers.ipam.choose import SEQUENTIAL, free
from controllers.ipam.claims import Book, Stash, decoded, encoded
from controllers.ipam.ledger import numbers_of
from controllers.ipam.objects import Service
from controllers.ipam.ranges import IPV4, IPV6, Spans, number_of
from controllers.ipam.world import PORT, World
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import AlreadyExists, ApiError, Conflict, NotFound
from controllers.telemetry.logs import bind

# Claimed at once where there is plenty; of what is left no replica takes more than one part in so many.
BATCH: Final = 32
_SHARE: Final = 8
# A request waits for a claim so long, then goes on without: the API server's patience with us is 2 s.
_PATIENCE: Final = 1.2
_TRIES: Final = 8
_AGAIN: Final = 0.05
# What is given back may be waited for where little is left.
_TIDY_SOON: Final = 0.05
_TIDY_LATER: Final = 2.0
_SCARCE_SECONDS: Final = 10.0
_HURRIED: Final = 0.25
_WORTH_KEEPING: Final = 4
_DRAWS: Final = 256


class _Meta(Struct, rename="camel"):
    name: str
    namespace: str
    resource_version: str | None = None
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class _Lease(Struct, rename="camel", omit_defaults=True):
    metadata: _Meta
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class ClaimError(Exception):
    """No claim could be made in time; the request goes on without our choice."""


class _Keeper:
    """The stash of one kind of number, and how it is refilled."""

    def __init__(self, client: ApiClient, clock: Clock, namespace: str, kind: str, stash: Stash) -> None:
        self.stash = stash
        self.waiting = 0
        self.tidying = False
        self.scarce_until = 0.0
        # How many numbers of each draw may stay with us when they come back.
        self.shares: dict[Spans, int] = {}
        # Where there was nothing to claim a moment ago: all who wait for that need not look again, each for himself.
        self.dry_until: dict[Spans, float] = {}
        self.refilling = asyncio.Lock()
        self._client, self._clock = client, clock
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._lease = _Lease(_Meta(f"sliceplane-ipam-claims-{kind.lower()}", namespace, labels=names.IPAM_LABELS))
        self._book = Book()

    async def claim(self, wanted: Callable[[], list[int]]) -> list[int]:
        """Claims what `wanted` gives, asked again whenever another replica was quicker. Raises ApiError, ClaimError."""
        read = False
        for _ in range(_TRIES):
            if self._lease.metadata.resource_version is None:
                await self._read()
                read = True
            self.stash.learn(self._book, self._clock.now())
            numbers = wanted()
            if not numbers and (read or not self.stash.others):
                return []
            if not numbers:
                # What others had claimed when we last looked they may have given up: nobody is refused for old news.
                self._lease.metadata.resource_version = None
                continue
            asked_at = self._clock.now()
            book = self.stash.with_claims(self._book, numbers, asked_at)
            try:
                await self._write(book)
            except (Conflict, NotFound):
                self._lease.metadata.resource_version = None
                continue
            self.stash.granted(numbers, asked_at)
            return numbers
        raise ClaimError("other replicas were quicker every time")

    def superfluous(self, now: float) -> bool:
        """Whether the book has claims of ours that we have no use for."""
        return self.stash.superfluous(self._book, now)

    def forget(self) -> None:
        """Makes the next claim read the book first: others may have changed it."""
        self._lease.metadata.resource_version = None

    async def release(self) -> None:
        """Takes such claims out of the book. Raises ApiError, ClaimError."""
        for _ in range(_TRIES):
            if self._lease.metadata.resource_version is None:
                await self._read()
            now = self._clock.now()
            self.stash.learn(self._book, now)
            if not self.superfluous(now):
                return
            try:
                await self._write(self.stash.with_claims(self._book, (), now))
                return
            except (Conflict, NotFound):
                self.forget()
        raise ClaimError("other replicas were quicker every time")

    async def _read(self) -> None:
        meta = self._lease.metadata
        try:
            body = await self._client.request("GET", f"{self._path}/{meta.name}", attempts=2)
        except NotFound:
            meta.resource_version = ""
            self._book = Book()
            return
        found = msgspec.json.decode(body, type=_Lease)
        meta.resource_version = found.metadata.resource_version
        self._book = decoded((found.metadata.annotations or {}).get(names.IPAM_CLAIMS_ANNOTATION, ""))

    async def _write(self, book: Book) -> None:
        meta = self._lease.metadata
        meta.annotations = {names.IPAM_CLAIMS_ANNOTATION: encoded(book)}
        exists = bool(meta.resource_version)
        sent = self._lease if exists else _Lease(msgspec.structs.replace(meta, resource_version=None))
        path = f"{self._path}/{meta.name}" if exists else self._path
        try:
            body = await self._client.request(
                "PUT" if exists else "POST", path, body=msgspec.json.encode(sent), attempts=1
            )
        except AlreadyExists as error:
            raise Conflict(str(error), status=error.status) from error
        except BaseException:
            # Whether it was written is not known: it is read before it is written again.
            meta.resource_version = None
            raise
        meta.resource_version = msgspec.json.decode(body, type=_Lease).metadata.resource_version
        self._book = book


class Claimer:
    """Gives numbers to requests, never one to two of them, whichever replica they ask."""

    def __init__(self, client: ApiClient, clock: Clock, world: World, namespace: str, identity: str) -> None:
        self._clock, self._world = clock, world
        self._random = Random()
        self._log = bind("controllers.ipam_operator.claimer")
        self._keepers = {kind: _Keeper(client, clock, namespace, kind, Stash(identity)) for kind in (IPV4, IPV6, PORT)}
        self._background: set[asyncio.Task[None]] = set()
        self._swept: dict[str, float] = {}
        world.in_flight = self.in_flight

    def in_flight(self, kind: str, namespace: str) -> Iterable[tuple[int, str]]:
        """What requests of a Namespace were given and no cache shows yet, with the Service of each."""
        given = self._keepers[kind].stash.in_flight(namespace, self._world.holdings(kind).__contains__)
        # The key of a create also names its review.
        return [(number, key.partition("#")[0]) for number, key in given]

    async def take(self, ask: Ask, draw: Draw, service: Service, key: str, besides: set[int]) -> int | None:
        """A number of one draw for a request, other than `besides`; None when nothing is free. Raises ClaimError.

        What the request was given before it is given again, though something better be free by now (IP-74): from the
        draw that it is of.
        """
        for given in self._given(ask.kind, key, besides):
            if any(given in spans for spans in draw.parts):
                self._keepers[ask.kind].stash.give(given, key, self._clock.now())
                return given
            if any(given in spans for each in ask.draws for spans in each.parts):
                return None
        for spans in draw.parts:
            number = await self._take(ask.kind, spans, draw, service, key, besides)
            if number is not None:
                return number
        return None

    def peek(self, ask: Ask, draw: Draw, service: Service, besides: Collection[int]) -> int | None:
        """What `take` would probably give, for a dry run: nothing is claimed (IP-60)."""
        for spans in draw.parts:
            found = self._candidates(ask.kind, spans, draw, service, 1, besides)
            if found:
                return found[0]
        return None

    async def _take(
        self, kind: str, spans: Spans, draw: Draw, service: Service, key: str, besides: set[int]
    ) -> int | None:
        keeper = self._keepers[kind]
        number = self._from_stash(kind, spans, draw, service, key, besides)
        if number is None:
            number = await self._after_refill(keeper, kind, spans, draw, service, key, besides)
        if number is not None:
            self._refill_ahead(keeper, kind, spans, draw, service)
        return number

    async def _after_refill(
        self, keeper: _Keeper, kind: str, spans: Spans, draw: Draw, service: Service, key: str, besides: set[int]
    ) -> int | None:
        keeper.waiting += 1
        claimed = False
        try:
            async with asyncio.timeout(_PATIENCE):
                started = self._clock.now()
                while True:
                    # Where nothing else is left, what has settled less must do.
                    hurried = self._clock.now() - started > _PATIENCE / 6
                    if hurried:
                        draw = msgspec.structs.replace(draw, settling=min(draw.settling, _HURRIED))
                    async with keeper.refilling:
                        # Who refilled while we waited did so for us, too.
                        number = self._from_stash(kind, spans, draw, service, key, besides)
                        if number is None and self._clock.now() >= keeper.dry_until.get(spans, -math.inf):
                            await self._refill(keeper, kind, spans, draw, service, besides)
                            number = self._from_stash(kind, spans, draw, service, key, besides)
                            if number is None:
                                keeper.dry_until[spans] = self._clock.now() + _AGAIN
                    claimed = number is None and self._claimed_only(kind, spans, draw, service, besides)
                    if not claimed:
                        return number
                    # What nobody holds is claimed, by us or another replica: some of it comes back at any moment.
                    await self._clock.sleep(_AGAIN)
                    keeper.forget()
        except TimeoutError as error:
            if claimed:
                return None
            raise ClaimError(f"no number could be claimed within {_PATIENCE} s") from error
        except ApiError as error:
            raise ClaimError(f"no number could be claimed: {error}") from error
        finally:
            keeper.waiting -= 1
            if not keeper.waiting:
                keeper.dry_until.clear()

    def _given(self, kind: str, key: str, besides: Collection[int]) -> list[int]:
        """What the request was given before, and nobody has by now."""
        given, holdings = self._keepers[kind].stash.given(key, self._clock.now()), self._world.holdings(kind)
        return [number for number in given if number not in besides and number not in holdings]

    def _from_stash(
        self, kind: str, spans: Spans, draw: Draw, service: Service, key: str, besides: set[int]
    ) -> int | None:
        now, stash, holdings = self._clock.now(), self._keepers[kind].stash, self._world.holdings(kind)
        if now - self._swept.get(kind, -1.0) >= 1.0:
            self._swept[kind] = now
            stash.sweep(now, holdings.__contains__)
        usable: list[int] = []
        for number in stash.fresh(now):
            if number in holdings:
                # Somebody named it: it is free for nobody any more.
                stash.drop(number)
            elif number in spans and number not in besides and not self._kept(kind, number, draw, service, now):
                usable.append(number)
        if not usable:
            return None
        chosen = min(usable) if draw.strategy == SEQUENTIAL else usable[0]
        stash.give(chosen, key, now)
        return chosen

    def _kept(self, kind: str, number: int, draw: Draw, service: Service, now: float) -> bool:
        """Whether a number that nobody holds is kept from this Service all the same."""
        owner = self._world.reserved_for(kind, number)
        if owner is not None and owner != service.key:
            return True
        return self._world.holdings(kind).cooling(number, max(draw.cooldown, draw.settling), now)

    def _candidates(
        self, kind: str, spans: Spans, draw: Draw, service: Service, count: int, besides: Collection[int] = ()
    ) -> list[int]:
        now, stash, holdings = self._clock.now(), self._keepers[kind].stash, self._world.holdings(kind)

        def taken(number: int) -> bool:
            return (
                number in holdings
                or stash.claimed(number)
                or number in besides
                or self._kept(kind, number, draw, service, now)
            )

        return free(spans, taken, count, strategy=draw.strategy, at=self._random.randrange, freed=holdings.freed.get)

    def _claimed_only(self, kind: str, spans: Spans, draw: Draw, service: Service, besides: Collection[int]) -> bool:
        """Whether there would be a number if no replica had a claim on it, and none had to settle."""
        at_once = msgspec.structs.replace(draw, settling=0.0)
        now, holdings = self._clock.now(), self._world.holdings(kind)

        def taken(number: int) -> bool:
            return number in holdings or number in besides or self._kept(kind, number, at_once, service, now)

        return bool(free(spans, taken, 1, strategy=SEQUENTIAL, at=lambda _: 0, freed=lambda _: None))

    def noticed(self, kind: str, old: Any, new: Any) -> None:  # noqa: ANN401 (a record of that kind)
        """To be told of every change: a claim is over when its number is in use, or was given back."""
        now = self._clock.now()
        for which, number in _changed(kind, old, new):
            keeper = self._keepers[which]
            keep = self._keep(keeper, number, now)
            keeper.stash.noticed(number, now, used=number in self._world.holdings(which), keep=keep)
            if not keeper.tidying and keeper.superfluous(now):
                keeper.tidying = True
                self._in_background(self._tidy(keeper))

    def _keep(self, keeper: _Keeper, number: int, now: float) -> int:
        """How many numbers that come back are given again without asking anybody, where little is left.

        The book is what all replicas wait for then. With hardly anything left, it is for whoever asks first.
        """
        if now >= keeper.scarce_until:
            return 0
        share = min((share for spans, share in keeper.shares.items() if number in spans), default=0)
        return max(share, keeper.waiting) if share >= _WORTH_KEEPING else 0

    async def _tidy(self, keeper: _Keeper) -> None:
        """Takes out of the book what we have no use for: soon where there is little, for others may be waiting."""
        try:
            await self._clock.sleep(_TIDY_SOON if self._clock.now() < keeper.scarce_until else _TIDY_LATER)
            async with keeper.refilling:
                await keeper.release()
        except (ApiError, ClaimError) as error:
            self._log.debug("claims not taken back", error=str(error))
        finally:
            keeper.tidying = False

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _batch(self, keeper: _Keeper, kind: str, spans: Spans, draw: Draw) -> int:
        """How many to claim at once: a share of what is left, and never less than those who wait."""
        left = spans.size - self._world.holdings(kind).count(spans)
        if left < _SHARE * BATCH:
            keeper.scarce_until = self._clock.now() + _SCARCE_SECONDS
        most = 4 if draw.strategy == SEQUENTIAL else BATCH
        # What comes back to a replica is what it has been asked for; most of the rest is for the others.
        if len(keeper.shares) >= _DRAWS and spans not in keeper.shares:
            keeper.shares.clear()
        keeper.shares[spans] = left // 3
        return max(1, min(most, left // _SHARE), min(keeper.waiting, left))

    async def _refill(
        self, keeper: _Keeper, kind: str, spans: Spans, draw: Draw, service: Service, besides: Collection[int] = ()
    ) -> None:
        count = self._batch(keeper, kind, spans, draw)
        await keeper.claim(lambda: self._candidates(kind, spans, draw, service, count, besides))

    def _refill_ahead(self, keeper: _Keeper, kind: str, spans: Spans, draw: Draw, service: Service) -> None:
        """Claims more in the background before the stash is empty, where there is plenty."""
        if keeper.refilling.locked():
            return
        left = sum(number in spans for number in keeper.stash.fresh(self._clock.now()))
        if left >= BATCH // 4 or self._batch(keeper, kind, spans, draw) <= left + 1:
            return

        async def refill() -> None:
            try:
                async with keeper.refilling:
                    await self._refill(keeper, kind, spans, draw, service)
            except (ApiError, ClaimError) as error:
                self._log.debug("no claim ahead of need", error=str(error))

        self._in_background(refill())


def _changed(kind: str, old: Any, new: Any) -> Iterable[tuple[str, int]]:  # noqa: ANN401 (a record of that kind)
    """The numbers that a change of a Service or an IPAddress may have put to use, or given back."""
    if kind == "Service":
        before, after = (numbers_of(each) if each is not None else {} for each in (old, new))
        return before.keys() ^ after.keys()
    if kind == "IPAddress" and (old is None) != (new is None):
        with contextlib.suppress(ValueError):
            return [number_of((new or old).name)]
    return ()
