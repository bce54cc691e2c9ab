"""The EndpointSlice controller's shell: what it remembers, says and counts around a plan (D-6, D-7, ES-32, ES-91)."""

from typing import Any

import pytest
from msgspec.structs import replace

from api.names import REASON_PODS_LEFT_OUT, SERVICE_NAME_LABEL, TRIGGER_TIME_ANNOTATION
from controllers.model.objects import EndpointSlice, Node
from controllers.model.plan import Notice, Writes
from controllers.runtime.errors import ApiError, ServerError
from controllers.runtime.loop import Controller, SyncError
from controllers.runtime.slice_controller import SliceController, Stores
from controllers.telemetry import metrics
from tests.builders import CREATED, pod, service
from tests.runtime.clocks import FakeClock

LATER = "2026-01-01T00:05:00Z"


class Hands:
    """Takes writes and Events; refuses to write while `error` is set."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self.error: ApiError | None = None
        self.sent: list[EndpointSlice] = []
        self.events: list[Notice] = []

    async def apply(self, writes: Writes) -> None:
        self.sent += [*writes.create, *writes.update]
        if self.error is not None:
            raise self.error
        for number, each in enumerate((*writes.create, *writes.update)):
            metadata = replace(
                each.metadata, uid=f"uid-{each.name}", resource_version=str(100 + len(self.sent) + number)
            )
            self._stores.slices.written_by_us(replace(each, metadata=metadata))

    def record(self, about: Any, notice: Notice) -> None:
        self.events.append(notice)

    @property
    def times(self) -> list[str | None]:
        return [(each.metadata.annotations or {}).get(TRIGGER_TIME_ANNOTATION) for each in self.sent]


@pytest.fixture
def stores() -> Stores:
    made = Stores()
    made.nodes.put(Node("node-1", "zone-a"))
    made.services.put(service())
    made.pods.put(pod(1))
    return made


@pytest.fixture
def hands(stores: Stores) -> Hands:
    return Hands(stores)


@pytest.fixture
def controller(stores: Stores, hands: Hands) -> Controller:
    made = SliceController(stores, hands, hands, FakeClock(), max_endpoints=100, batch_seconds=0)  # type: ignore[arg-type]
    return made.start()


async def test_trigger_time_waits_for_a_write_that_succeeds_d_6(
    controller: Controller, hands: Hands, stores: Stores
) -> None:
    await controller.sync("ns/s")
    stores.pods.put(pod(1, ready=False, ready_since=LATER))
    hands.error = ServerError("down")
    with pytest.raises(ServerError):
        await controller.sync("ns/s")
    hands.error = None
    await controller.sync("ns/s")
    assert hands.times == [CREATED, LATER, LATER]


async def test_nothing_to_write_moves_the_trigger_time_on_es_91(
    controller: Controller, hands: Hands, stores: Stores
) -> None:
    await controller.sync("ns/s")
    stores.pods.put(pod(1, ready_since=LATER))
    await controller.sync("ns/s")
    stores.services.put(service(labels=pod(1).labels))
    await controller.sync("ns/s")
    assert hands.times == [CREATED, None]


async def test_missing_node_is_an_error_after_the_writes_es_38(
    controller: Controller, hands: Hands, stores: Stores
) -> None:
    stores.pods.put(pod(2, node_name="gone"))
    with pytest.raises(SyncError, match="'gone'"):
        await controller.sync("ns/s")
    assert [len(each.endpoints) for each in hands.sent] == [1]


async def test_refused_address_is_told_once_and_counted(controller: Controller, hands: Hands, stores: Stores) -> None:
    gauge = metrics.PODS_LEFT_OUT.labels(reason="pod_address_refused")._value
    before = gauge.get()
    stores.pods.put(pod(2, ipv4=(), refused_ips=("127.0.0.1",)))
    for _ in range(3):
        await controller.sync("ns/s")
    assert [(notice.type, notice.reason) for notice in hands.events] == [("Warning", REASON_PODS_LEFT_OUT)]
    assert gauge.get() == before + 1
    stores.services.drop(service())
    await controller.sync("ns/s")
    assert gauge.get() == before


async def test_vanished_service_asks_for_nothing_es_t8(controller: Controller, hands: Hands, stores: Stores) -> None:
    await controller.sync("ns/s")
    desired = metrics.ENDPOINTS_DESIRED._value.get()
    hands.sent.clear()
    stores.services.drop(service())
    await controller.sync("ns/s")
    assert hands.sent == []
    assert metrics.ENDPOINTS_DESIRED._value.get() == desired - 1


async def test_own_writes_ask_for_no_sync_others_do(controller: Controller, stores: Stores) -> None:
    taken = await controller.queue.get()
    assert taken is not None
    await controller.sync("ns/s")
    controller.queue.done("ns/s")
    assert controller.queue.idle
    (written,) = stores.slices.of_service("ns", "s")
    assert written.labels[SERVICE_NAME_LABEL] == "s"
    stores.slices.put(replace(written, endpoints=(), metadata=replace(written.metadata, resource_version="999")))
    assert not controller.queue.idle
