"""The admission handlers: what the API server asks, put to the pure core, and its answer carried out."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar

import kopf
import msgspec

from api.v1alpha1.common import GROUP, VERSION, Resource
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_port_pool import ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation
from controllers.ipam import compiled, guards, validation
from controllers.ipam.admission import Ask, Choice, Refusal, decide, exhausted, shown
from controllers.ipam.objects import Service, address_from_object, service_from_object
from controllers.ipam.patching import patched
from controllers.ipam.pools import IPPool, PortPool
from controllers.ipam.ranges import number_of
from controllers.ipam.snapshot import HOLD_MANAGER
from controllers.ipam.world import PORT, World
from controllers.ipam_operator.claimer import Claimer, ClaimError
from controllers.ipam_operator.guard_writer import facts
from controllers.ipam_operator.server import REVIEW, Review
from controllers.ipam_operator.state import State
from controllers.runtime.api_client import ApiClient
from controllers.runtime.errors import ApiError
from controllers.telemetry import ipam_metrics
from controllers.telemetry.logs import bind

R = TypeVar("R", bound=Resource)
P = TypeVar("P", IPPool, PortPool)
P_contra = TypeVar("P_contra", IPPool, PortPool, contravariant=True)

FORBIDDEN: Final = 403
ALREADY_EXISTS: Final = 409
INVALID: Final = 422


class _Objections(Protocol[P_contra]):
    """What is to be said against a new or changed pool."""

    def __call__(self, new: P_contra, old: P_contra | None, world: World, *, forced: bool) -> list[str]: ...


class _Denied(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Webhooks:
    """Answers for Services, IPAddresses and our own kinds. Needs no leadership: every replica serves."""

    def __init__(self, state: State, claimer: Claimer, client: ApiClient, user: str) -> None:
        """`client` may write on a replica that does not lead: a hold is given up by whoever is asked for it.

        `user` is who we are for the API server.
        """
        self._user = user
        self._rules_now: guards.Rules | None = None
        self._state, self._claimer, self._client = state, claimer, client
        self._world = state.world
        self._log = bind("controllers.ipam_operator.webhooks")

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Tells kopf which reviews we answer, and under which path each comes."""
        kopf.on.mutate("", "v1", "services", id="services", registry=registry)(self.services)
        kopf.on.validate("networking.k8s.io", "v1", "ipaddresses", id="ipaddresses", registry=registry)(
            self.ipaddresses
        )
        for plural, handler in (
            (ServiceIPPool.PLURAL, self.ip_pools),
            (ServicePortPool.PLURAL, self.port_pools),
            (ServiceReservation.PLURAL, self.reservations),
        ):
            kopf.on.validate(GROUP, VERSION, plural, id=plural, registry=registry)(handler)

    def noticed(self, kind: str, old: object, new: object) -> None:
        """To be told of every change: rules are worked out anew when something that they are made of has changed."""
        if kind in ("Namespace", "ServiceIPPool", "ServiceReservation"):
            self._rules_now = None

    def _rules(self) -> guards.Rules:
        if self._rules_now is None:
            self._rules_now = guards.rules(facts(self._state, self._user, with_holders=False))
        return self._rules_now

    async def services(self, dryrun: bool, warnings: list[str], **_: Any) -> None:  # noqa: ANN401
        """Chooses the numbers of a Service, or refuses it."""
        with self._fail_open("Service"):
            await self._services(dryrun, warnings)

    @contextlib.contextmanager
    def _fail_open(self, kind: str) -> Iterator[None]:
        """A fault of ours is no reason to refuse: the request goes on as if we had not been asked."""
        try:
            yield
        except kopf.AdmissionError:
            raise
        except Exception as error:
            self._count("left", "InternalError")
            self._log.error("review not answered", kind=kind, exc_info=error)

    async def _services(self, dryrun: bool, warnings: list[str]) -> None:
        review = REVIEW.get()
        new, old = _service(review.request["object"], review), _service(review.request.get("oldObject"), review)
        if new is None:
            return
        decision = decide(new, old, self._world)
        try:
            if isinstance(decision, Refusal):
                raise _Denied(decision)
            if decision is None:
                return
            warnings += decision.warnings
            # A create is asked for once; an update may be asked for again, and must be given the same (IP-74).
            key = f"{new.key}#{review.uid}" if old is None else new.key
            review.patch = await self._chosen(new, decision, key, review.request["object"], dryrun, warnings)
        except _Denied as denied:
            self._count("denied", denied.refusal.reason)
            self._log.info("Service refused", service=new.key, reason=denied.refusal.reason, pool=denied.refusal.pool)
            raise kopf.AdmissionError(denied.refusal.message, code=FORBIDDEN) from denied
        self._count("filled" if review.patch else "left", "")

    def _count(self, decision: str, reason: str) -> None:
        ipam_metrics.ADMISSION_DECISIONS.labels(decision=decision, reason=reason).inc()

    async def _chosen(
        self, service: Service, choice: Choice, key: str, body: Mapping[str, Any], dryrun: bool, warnings: list[str]
    ) -> list[dict[str, Any]]:
        taken: dict[str, set[int]] = {}
        pools: dict[str, None] = {}

        async def chosen(ask: Ask | None) -> int | None:
            if ask is None:
                return None
            number = await self._number(service, ask, key, dryrun, taken.setdefault(ask.kind, set()), pools)
            if number is not None:
                taken[ask.kind].add(number)
                if dryrun and ask.kind in self._world.cluster.many:
                    # The API server's dry run might ask the wrong ServiceCIDR, and refuse what is right (IP-24).
                    warnings.append(f"{shown(ask.kind, number)} would be chosen")
                    return None
            return number

        for kind, number in map(number_of, choice.needs.given_addresses):
            # Named by the user, or filled in by our policy.
            if not dryrun and self._world.reserved_for(kind, number) == service.key:
                await self._release_hold(kind, number)
        addresses = [await chosen(ask) for ask in choice.addresses]
        ports = [await chosen(ask) for ask in choice.ports]
        health = await chosen(choice.health)
        texts = tuple(
            "" if ask is None or number is None else shown(ask.kind, number)
            for ask, number in zip(choice.addresses, addresses, strict=True)
        )
        numbers = tuple(number or 0 for number in ports)
        return patched(body, choice.needs, texts, numbers, health or 0, next(iter(pools), ""))

    async def _number(
        self, service: Service, ask: Ask, key: str, dryrun: bool, besides: set[int], pools: dict[str, None]
    ) -> int | None:
        if ask.reserved is not None:
            if not dryrun:
                await self._release_hold(ask.kind, ask.reserved)
            return ask.reserved
        for draw in ask.draws:
            try:
                number = (
                    self._claimer.peek(ask, draw, service, besides)
                    if dryrun
                    else await self._claimer.take(ask, draw, service, key, besides)
                )
            except ClaimError as error:
                # As if we had not been asked: the API server chooses (and its choice is guarded all the same).
                self._log.warning("no claim", service=service.key, error=str(error))
                self._count("unclaimed", "")
                return None
            if number is not None:
                if draw.pool is not None:
                    pools[draw.pool.name] = None
                    ipam_metrics.ALLOCATIONS.labels(pool=draw.pool.name, result="chosen").inc()
                return number
            if draw.pool is not None:
                ipam_metrics.ALLOCATIONS.labels(pool=draw.pool.name, result="exhausted").inc()
        if ask.denies is not None:
            raise _Denied(exhausted(ask.denies, ask.kind, self._world))
        return None

    async def _release_hold(self, kind: str, number: int) -> None:
        """Gives up the IPAddress that holds a reserved address, so that the API server can make its own."""
        if kind == PORT:
            return
        name = shown(kind, number)
        held = self._state.addresses.get("", name)
        if held is None or held.manager != HOLD_MANAGER:
            return
        body = msgspec.json.encode({"preconditions": {"uid": held.uid}})
        try:
            await self._client.request(
                "DELETE", f"/apis/networking.k8s.io/v1/ipaddresses/{name}", body=body, attempts=1
            )
        except ApiError as error:
            self._log.info("hold not released", address=name, error=str(error))

    async def ipaddresses(self, **_: Any) -> None:  # noqa: ANN401
        """Keeps dynamic picks out of exclusive ranges: AlreadyExists makes the allocator try the next (IP-61)."""
        with self._fail_open("IPAddress"):
            self._judge_address()

    def _judge_address(self) -> None:
        review = REVIEW.get()
        address = address_from_object(review.request["object"])
        user = review.request.get("userInfo", {}).get("username", "")
        objection = guards.violation(address, self._rules(), user, self._world.ledger.holders)
        if objection is not None:
            self._count("skipped", "NotEntitled")
            raise kopf.AdmissionError(objection, code=ALREADY_EXISTS)

    async def ip_pools(self, **_: Any) -> None:  # noqa: ANN401
        """Refuses a ServiceIPPool that makes no sense beside the others."""
        self._judge_pool(ServiceIPPool, compiled.ip_pool, validation.ip_pool_objections)

    async def port_pools(self, **_: Any) -> None:  # noqa: ANN401
        """Refuses a ServicePortPool that makes no sense beside the others."""
        self._judge_pool(ServicePortPool, compiled.port_pool, validation.port_pool_objections)

    def _judge_pool(self, model: type[R], compile_: Callable[[R], P], objections: "_Objections[P]") -> None:
        new, old = _both(model)
        forced = _forced(new or old)
        if new is None and old is not None:
            _refuse(validation.deletion_objections(compile_(old), self._world, forced=forced))
        elif new is not None and not new.metadata.deletion_timestamp:
            before = compile_(old) if old is not None else None
            _refuse(objections(compile_(new), before, self._world, forced=forced))

    async def reservations(self, **_: Any) -> None:  # noqa: ANN401
        """Refuses a ServiceReservation of what somebody else has."""
        new, old = _both(ServiceReservation)
        if new is None or new.metadata.deletion_timestamp:
            return
        before = compiled.reservation(old) if old is not None else None
        _refuse(validation.reservation_objections(compiled.reservation(new), before, self._world))


def _service(body: Any, review: Review) -> Service | None:  # noqa: ANN401 (decoded JSON)
    """The Service of a review; with `generateName` the name does not exist yet, the Namespace always does (IP-2)."""
    if not body:
        return None
    found = service_from_object(body)
    return found if found.namespace else msgspec.structs.replace(found, namespace=review.request.get("namespace", ""))


def _both(model: type[R]) -> tuple[R | None, R | None]:
    """The new and the old object of the review of a custom resource."""
    request = REVIEW.get().request
    new, old = (request.get(key) for key in ("object", "oldObject"))
    return (model.model_validate(new) if new else None, model.model_validate(old) if old else None)


def _forced(resource: Resource | None) -> bool:
    return resource is not None and resource.metadata.annotations.get(validation.FORCE_ANNOTATION) == "true"


def _refuse(objections: list[str]) -> None:
    """Refuses a custom resource, with everything that is wrong with it."""
    if objections:
        raise kopf.AdmissionError("; ".join(objections), code=INVALID)
