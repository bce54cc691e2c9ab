"""Keeps the generated guards in the API server equal to what pools, reservations and live Services make them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from controllers.ipam.conditions import Enforcement
from controllers.ipam.guard_rules import Facts, Rules, rules
from controllers.ipam.guards import API_VERSION, policies, unsaid
from controllers.ipam.objects import ALLOCATOR, IP_FAMILY_LABEL, IPADDRESS_MANAGED_BY_LABEL
from controllers.ipam.pools import Pool, banned_addresses, banned_ports
from controllers.ipam.ranges import IPV4, IPV6, text_of
from controllers.ipam.webhook_configurations import WebhookClient, webhooks
from controllers.ipam.world import PORT
from controllers.ipam_operator.applying import PLURALS, SELECTOR, Object, apply, delete, labelled, path_of
from controllers.ipam_operator.state import State
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import ApiError, Forbidden, Invalid
from controllers.telemetry.logs import bind

KINDS: Final = tuple(kind for kind in PLURALS if kind.endswith(("Policy", "Binding", "WebhookConfiguration")))
_PROBE: Final = "sliceplane-ipam-probe"
# A policy takes a moment until every API server has compiled it.
_PROBES: Final = 20
_PROBE_PAUSE: Final = 0.5


def facts(state: State, user: str, *, with_holders: bool) -> Facts:
    """What the guards are made from, now. Of the holders those count whose numbers a pool or reservation keeps."""
    world = state.world
    return Facts(
        ip_pools=tuple(world.ip_pools),
        port_pools=tuple(world.port_pools),
        reservations=tuple(each.compiled for each in state.reservations.all()),
        namespaces=tuple(world.namespaces.values()),
        holders=_holders(state) if with_holders else {},
        port_holders=_port_holders(state) if with_holders else {},
        exempt=world.exempt,
        user=user,
        families=world.cluster.families or (IPV4, IPV6),
    )


def _holders(state: State) -> Mapping[str, tuple[str, ...]]:
    world = state.world
    banned = banned_addresses(world.ip_pools)
    return {
        text_of(family, number): tuple(keys)
        for family in (IPV4, IPV6)
        for number, keys in world.holdings(family).holders.items()
        if number in banned.of(family) or world.reserved_for(family, number)
    }


def _port_holders(state: State) -> Mapping[int, tuple[str, ...]]:
    world = state.world
    banned = banned_ports(world.port_pools)
    return {
        number: tuple(keys)
        for number, keys in world.ledger.ports.holders.items()
        if number in banned or world.reserved_for(PORT, number)
    }


class GuardWriter:
    """The leader's work on policies and webhook configurations. `enforcement` says whether they are in force."""

    def __init__(
        self, client: ApiClient, state: State, user: str, webhook_client: Callable[[], WebhookClient], clock: Clock
    ) -> None:
        self._client, self._state, self._user, self._clock = client, state, user, clock
        self._webhook_client = webhook_client
        self._written: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._probed: set[bytes] = set()
        self._log = bind("controllers.ipam_operator.guard_writer")
        self._enforcement = Enforcement()
        self._covered: frozenset[tuple[str, int]] = frozenset()

    def enforcement_of(self, pool: Pool) -> Enforcement:
        """Whether the guards of a pool, as it is now, are in force."""
        if (pool.uid, pool.generation) in self._covered or self._enforcement.active is False:
            return self._enforcement
        return Enforcement(False, "The policies are being written")

    def failed(self, error: ApiError) -> None:
        """What was written last is not all that should be."""
        self._enforcement = Enforcement(False, f"The policies could not be written: {error}")

    async def sync(self, *, full: bool) -> None:
        """Writes what is not as it should be; `full` looks at what others have done to it, too. Raises ApiError.

        What is new comes first, and what is superfluous goes last: no number is unguarded in between.
        """
        current = facts(self._state, self._user, with_holders=True)
        made = rules(current)
        wanted = {(each["kind"], each["metadata"]["name"]): each for each in self._objects(made)}
        if full:
            await self._look(wanted)
        for key, each in wanted.items():
            body = msgspec.json.encode(each)
            if self._written.get(key, (b"", 0))[0] != body:
                applied = await apply(self._client, each)
                self._written[key] = (body, applied.metadata.generation)
        for kind, name in [key for key in self._written if key not in wanted]:
            await delete(self._client, path_of(API_VERSION, kind, name=name))
            del self._written[(kind, name)]
        self._enforcement = await self._probe(made)
        self._covered = frozenset((pool.uid, pool.generation) for pool in (*current.ip_pools, *current.port_pools))

    def _objects(self, made: Rules) -> list[Object]:
        return [*policies(made), *webhooks(made, self._webhook_client())]

    async def _look(self, wanted: Mapping[tuple[str, str], Object]) -> None:
        """Forgets what somebody else has changed or deleted, so that it is written again; finds what is left over."""
        there: dict[tuple[str, str], int] = {}
        for kind in KINDS:
            found = await labelled(self._client, path_of(API_VERSION, kind), SELECTOR)
            there.update({(kind, each.metadata.name): each.metadata.generation for each in found})
        self._written = {key: known for key, known in self._written.items() if key in there and there[key] == known[1]}
        for key in there.keys() - wanted.keys():
            self._written.setdefault(key, (b"", there[key]))

    async def _probe(self, made: Rules) -> Enforcement:
        """Tries, as a dry run, what must be refused: only then are the policies in force."""
        left_out = unsaid(made)
        if left_out:
            return Enforcement(False, f"Too long for the API server: {', '.join(left_out)}")
        bodies = [msgspec.json.encode(each) for each in _forbidden(made)]
        for body in bodies:
            if body not in self._probed and not await self._refused_at_last(body):
                self._log.warning("the policies are not in force", tried=body.decode())
                return Enforcement(False, "A forbidden IPAddress was not refused in a dry run")
        self._probed = set(bodies)
        message = "A forbidden IPAddress was refused in a dry run" if bodies else "The policies are written"
        return Enforcement(True, message)

    async def _refused_at_last(self, body: bytes) -> bool:
        for _ in range(_PROBES):
            if await self._refused(body):
                return True
            await self._clock.sleep(_PROBE_PAUSE)
        return False

    async def _refused(self, body: bytes) -> bool:
        path = path_of("networking.k8s.io/v1", "IPAddress")
        try:
            await self._client.request("POST", path, query={"dryRun": "All"}, body=body, attempts=1)
        except Forbidden as error:
            # RBAC refuses with the same code, but in the words of a right that is missing.
            return "ValidatingAdmissionPolicy" in str(error)
        except Invalid:
            return False
        except ApiError as error:
            # It exists, perhaps, or nobody answers: that says nothing.
            self._log.debug("probe without an answer", error=str(error))
        return False


def _forbidden(made: Rules) -> Iterator[dict[str, Any]]:
    """For each region whose IPAddresses a policy judges, one that it must refuse."""
    for region in made.address_regions:
        if any(each.namespaces is None for each in region.entitled):
            continue
        family = region.addresses.families[0]
        number = region.addresses.of(family).spans[-1].last
        yield {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": {
                "name": text_of(family, number),
                "labels": {IPADDRESS_MANAGED_BY_LABEL: ALLOCATOR, IP_FAMILY_LABEL: family},
            },
            "spec": {"parentRef": {"resource": "services", "namespace": _PROBE, "name": _PROBE}},
        }


async def whoami(client: ApiClient) -> str:
    """The user that the API server takes us for. Raises ApiError."""

    class _Info(msgspec.Struct):
        username: str = ""

    class _Status(msgspec.Struct, rename="camel"):
        user_info: _Info

    class _Review(msgspec.Struct):
        status: _Status

    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await client.request(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=msgspec.json.encode(body)
    )
    return msgspec.json.decode(answer, type=_Review).status.user_info.username


async def run(writer: GuardWriter, dirty: asyncio.Event, clock: Clock, period: float, done: Callable[[], None]) -> None:
    """Writes after every change, gathered for a moment, and looks at everything once in a while, until cancelled.

    `done` is called after each time.
    """
    log = bind("controllers.ipam_operator.guard_writer")
    looked = -period
    while True:
        dirty.clear()
        full = clock.now() - looked >= period
        try:
            await writer.sync(full=full)
            looked = clock.now() if full else looked
        except ApiError as error:
            looked = -period
            writer.failed(error)
            log.warning("guards not written", error=str(error))
            await clock.sleep(2.0)
            dirty.set()
        done()
        try:
            async with asyncio.timeout(max(0.1, looked + period - clock.now())):
                await dirty.wait()
        except TimeoutError:
            continue
        await clock.sleep(0.3)
