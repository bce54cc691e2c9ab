"""The Endpoints controller's shell: what asks for a sync, what it remembers and says (EP-13 ... EP-24, EP-56)."""

from typing import Any

import pytest
from msgspec.structs import replace

from api.names import (
    LEADER_ANNOTATION,
    REASON_ENDPOINTS_CREATE_FAILED,
    REASON_ENDPOINTS_UPDATE_FAILED,
    REASON_OVER_CAPACITY,
    TRIGGER_TIME_ANNOTATION,
)
from controllers.model.objects import Endpoints, Labels
from controllers.model.plan import Notice, Writes
from controllers.runtime.endpoints_controller import EndpointsController
from controllers.runtime.errors import ApiError, Forbidden, ServerError, Unreachable
from controllers.runtime.events import Regarding
from controllers.runtime.loop import Controller
from controllers.runtime.stores import Stores
from tests.builders import CREATED, existing_endpoints, pod, pods, service, subset
from tests.runtime.clocks import FakeClock

BETWEEN, LATER = "2026-01-01T00:03:00Z", "2026-01-01T00:05:00Z"


class Hands:
    """Takes writes and Events; fails with `error` while it is set, before or `after` a write has been carried out."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.error: ApiError | None = None
        self.after = False
        self.server: dict[str, Endpoints] = {}
        self.sent: list[Writes[Endpoints]] = []
        self.reread_names: list[str] = []
        self.events: list[tuple[Regarding, Notice]] = []

    async def apply(self, writes: Writes[Endpoints]) -> None:
        if writes:
            self.sent.append(writes)
        if self.error is not None and not self.after:
            raise self.error
        for each in (*writes.create, *writes.update):
            version = str(100 + len(self.sent))
            self.server[each.name] = replace(
                each, metadata=replace(each.metadata, uid=f"uid-{each.name}", resource_version=version)
            )
        for each in writes.delete:
            del self.server[each.name]
        if self.error is not None:
            raise self.error
        for each in (*writes.create, *writes.update):
            self._stores.endpoints.written_by_us(self.server[each.name])
        for each in writes.delete:
            self._stores.endpoints.deleted_by_us(each)

    async def reread(self, namespace: str, name: str) -> None:
        self.reread_names.append(f"{namespace}/{name}")
        if self.error is not None:
            raise self.error
        if name in self.server:
            self._stores.endpoints.put(self.server[name])

    def record(self, about: Regarding, notice: Notice) -> None:
        self.events.append((about, notice))

    @property
    def verbs(self) -> list[str]:
        return [
            verb
            for each in self.sent
            for verb, some in (("create", each.create), ("update", each.update), ("delete", each.delete))
            for _ in some
        ]

    @property
    def times(self) -> list[str | None]:
        sent = [each for writes in self.sent for each in (*writes.create, *writes.update)]
        return [(each.metadata.annotations or {}).get(TRIGGER_TIME_ANNOTATION) for each in sent]


@pytest.fixture
def stores() -> Stores:
    made = Stores()
    made.services.put(service())
    made.pods.put(pod(1))
    return made


@pytest.fixture
def hands(stores: Stores) -> Hands:
    return Hands(stores)


def started(stores: Stores, hands: Hands, batch_seconds: float = 0) -> Controller:
    made = EndpointsController(stores, hands, hands, FakeClock(), batch_seconds=batch_seconds)  # type: ignore[arg-type]
    return made.start()


@pytest.fixture
def controller(stores: Stores, hands: Hands) -> Controller:
    return started(stores, hands)


async def asked(controller: Controller) -> list[str]:
    """The keys that wait, which count as done then."""
    found = []
    while len(controller.queue):
        key, _ = await controller.queue.get() or ("", 0.0)
        controller.queue.done(key)
        found.append(key)
    return found


async def work(controller: Controller) -> None:
    """Syncs all that waits."""
    for key in await asked(controller):
        await controller.sync(key)


def held(name: str, **metadata: Any) -> Endpoints:
    return existing_endpoints(subset([pod(9)]), name=name, uid=f"uid-{name}", **metadata)


async def test_start_deletes_endpoints_without_a_service_but_no_locks_ep_t8(stores: Stores, hands: Hands) -> None:
    """Hand-made ones, too (EP-21); those of a Service without a selector stay (EP-25)."""
    stores.services.put(service(name="manual", selector=None))
    for each in (
        held("orphan"),
        held("hand-made", labels=None),
        held("lock", labels=None, annotations={LEADER_ANNOTATION: ""}),
        held("manual", labels=None),
    ):
        hands.server[each.name] = each
        stores.endpoints.put(each)
    controller = started(stores, hands)
    await work(controller)
    assert hands.server.keys() == {"s", "lock", "manual"}
    assert sorted(hands.verbs) == ["create", "delete", "delete"]
    assert await asked(controller) == ["ns/orphan", "ns/hand-made"], "EP-17: whoever has deleted them"


async def test_start_asks_for_each_service_once(stores: Stores, hands: Hands) -> None:
    stores.services.put(service(namespace="other"))
    stores.endpoints.put(held("s"))
    assert await asked(started(stores, hands)) == ["ns/s", "other/s"]


@pytest.mark.parametrize(
    "of",
    [service(), service(labels=Labels(a="1")), service(name="new"), service(name="bare", selector=None)],
    ids=["nothing-read-has-changed", "changed", "new", "without-selector"],
)
async def test_any_news_of_a_service_asks_for_it_ep_14(stores: Stores, controller: Controller, of: Any) -> None:
    await asked(controller)
    stores.services.put(of)
    assert await asked(controller) == [f"ns/{of.name}"]
    stores.services.drop(of)
    assert await asked(controller) == [f"ns/{of.name}"]


async def test_touched_service_mends_its_endpoints_ep_20(stores: Stores, hands: Hands, controller: Controller) -> None:
    """An edit by hand asks for nothing; the Service's next event, whatever it says, puts it right."""
    await work(controller)
    metadata = replace(held("s").metadata, resource_version="500")
    stores.endpoints.put(replace(hands.server["s"], subsets=(), fingerprints=None, metadata=metadata))
    assert await asked(controller) == []
    stores.services.put(service())
    await work(controller)
    assert hands.verbs == ["create", "update"]
    assert hands.server["s"].subsets == (subset([pod(1)]),)


async def test_pods_ask_for_the_services_that_select_them_ep_16(stores: Stores, controller: Controller) -> None:
    stores.services.put(service(name="twin"))
    stores.services.put(service(name="stranger", selector=Labels(app="other")))
    stores.services.put(service(name="s", namespace="other"))
    await asked(controller)
    for each in (pod(1, ready=False), pod(2), pod(2, labels=Labels(app="x"))):
        stores.pods.put(each)
        assert await asked(controller) == ["ns/s", "ns/twin"]
    stores.pods.put(pod(1, ready=False))
    assert await asked(controller) == [], "nothing that is read has changed (EP-15)"
    stores.pods.drop(pod(1))
    assert await asked(controller) == ["ns/s", "ns/twin"]


async def test_pods_wait_for_the_batch_period_services_do_not_ep_t41(stores: Stores, hands: Hands) -> None:
    controller = started(stores, hands, batch_seconds=1)
    await asked(controller)
    stores.pods.put(pod(2))
    assert await asked(controller) == []
    assert not controller.queue.idle
    stores.services.put(service())
    assert await asked(controller) == ["ns/s"]


async def test_of_endpoints_only_the_end_asks_for_a_sync_ep_17(
    stores: Stores, hands: Hands, controller: Controller
) -> None:
    await work(controller)
    assert await asked(controller) == [], "our own write is news for others (EP-18)"
    stores.endpoints.put(held("foreign"))
    stores.endpoints.put(held("foreign", resource_version="8"))
    assert await asked(controller) == []
    stores.endpoints.drop(held("foreign"))
    assert await asked(controller) == ["ns/foreign"]


async def test_deleted_endpoints_come_back_ep_t39(stores: Stores, hands: Hands, controller: Controller) -> None:
    await work(controller)
    stores.endpoints.drop(hands.server["s"])
    await work(controller)
    assert hands.verbs == ["create", "create"]


async def test_only_pods_that_the_service_selects_ep_t13(stores: Stores, hands: Hands, controller: Controller) -> None:
    stores.pods.put(pod(2, namespace="other"))
    stores.pods.put(pod(3, labels=Labels(app="other")))
    await controller.sync("ns/s")
    assert hands.server["s"].subsets == (subset([pod(1)]),)


async def test_service_that_went_takes_its_endpoints_with_it_ep_24(
    stores: Stores, hands: Hands, controller: Controller
) -> None:
    await work(controller)
    stores.services.drop(service())
    await work(controller)
    assert (hands.verbs, hands.server) == (["create", "delete"], {})
    await work(controller)
    assert hands.verbs == ["create", "delete"]
    stores.pods.put(pod(1, ready_since=BETWEEN))
    stores.services.put(service(created=LATER))
    await work(controller)
    assert hands.times == [CREATED, LATER], "what was seen of the one before is forgotten"
    assert hands.reread_names == []


async def test_trigger_time_waits_for_a_write_that_succeeds_d_6(
    stores: Stores, hands: Hands, controller: Controller
) -> None:
    """KCM loses it (EP-27)."""
    await controller.sync("ns/s")
    stores.pods.put(pod(1, ready=False, ready_since=LATER))
    hands.error = ServerError("down")
    with pytest.raises(ServerError):
        await controller.sync("ns/s")
    hands.error = None
    await controller.sync("ns/s")
    stores.pods.put(pod(1, ready_since=LATER))
    await controller.sync("ns/s")
    assert hands.times == [CREATED, LATER, LATER, None]


async def test_failed_create_is_told_on_the_endpoints_ep_56(hands: Hands, controller: Controller) -> None:
    """In their own Namespace: KCM's is in `default` (EP-57)."""
    controller.failed("ns/s", 1, "no way")
    text = "Failed to create endpoint for service ns/s: no way"
    assert hands.events == [
        (Regarding("Endpoints", "ns", "s", ""), Notice("Warning", REASON_ENDPOINTS_CREATE_FAILED, text))
    ]


async def test_failed_update_is_told_on_the_endpoints_ep_56(
    stores: Stores, hands: Hands, controller: Controller
) -> None:
    stores.endpoints.put(held("s"))
    controller.failed("ns/s", 1, "no way")
    text = "Failed to update endpoint ns/s: no way"
    assert hands.events == [
        (Regarding("Endpoints", "ns", "s", "uid-s"), Notice("Warning", REASON_ENDPOINTS_UPDATE_FAILED, text))
    ]


async def test_more_than_1000_addresses_are_told_once_on_the_service(
    stores: Stores, hands: Hands, controller: Controller
) -> None:
    for each in pods(1001):
        stores.pods.put(each)
    hands.error = ServerError("down")
    with pytest.raises(ServerError):
        await controller.sync("ns/s")
    assert hands.events == []
    hands.error = None
    await controller.sync("ns/s")
    stores.pods.put(pod(2000))
    await controller.sync("ns/s")
    ((about, notice),) = hands.events
    assert about == Regarding("Service", "ns", "s", "uid-s")
    assert (notice.type, notice.reason) == ("Warning", REASON_OVER_CAPACITY)
    assert hands.verbs == ["create", "create", "update"]


@pytest.mark.parametrize("error", [ServerError("?"), Unreachable("?")], ids=["5xx", "no-answer"])
async def test_create_without_an_answer_is_looked_for_when_the_service_has_gone(
    stores: Stores, hands: Hands, controller: Controller, error: ApiError
) -> None:
    """Nobody else would delete it: Endpoints have no owner (EP-12, EP-24)."""
    hands.error, hands.after = error, True
    with pytest.raises(type(error)):
        await controller.sync("ns/s")
    assert hands.server.keys() == {"s"}
    stores.services.drop(service())
    with pytest.raises(type(error)):
        await controller.sync("ns/s")
    hands.error = None
    await controller.sync("ns/s")
    assert (hands.server, hands.verbs) == ({}, ["create", "delete"])
    await controller.sync("ns/s")
    assert hands.reread_names == ["ns/s", "ns/s"], "until it was answered, and not again"


async def test_create_without_an_answer_is_made_again_while_the_service_lives(
    stores: Stores, hands: Hands, controller: Controller
) -> None:
    hands.error = Unreachable("?")
    with pytest.raises(Unreachable):
        await controller.sync("ns/s")
    hands.error = None
    await controller.sync("ns/s")
    stores.services.drop(service())
    await controller.sync("ns/s")
    assert (hands.reread_names, hands.verbs) == ([], ["create", "create", "delete"])


async def test_create_that_was_refused_is_not_looked_for(stores: Stores, hands: Hands, controller: Controller) -> None:
    hands.error = Forbidden("no")
    with pytest.raises(Forbidden):
        await controller.sync("ns/s")
    hands.error = None
    stores.services.drop(service())
    await controller.sync("ns/s")
    assert (hands.reread_names, hands.verbs) == ([], ["create"])


async def test_update_without_an_answer_is_not_looked_for(stores: Stores, hands: Hands, controller: Controller) -> None:
    """It can have left nothing that is not known."""
    await controller.sync("ns/s")
    stores.pods.put(pod(2))
    hands.error = Unreachable("?")
    with pytest.raises(Unreachable):
        await controller.sync("ns/s")
    hands.error = None
    stores.services.drop(service())
    await controller.sync("ns/s")
    assert (hands.reread_names, hands.verbs) == ([], ["create", "update", "delete"])
