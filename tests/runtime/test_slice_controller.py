"""The EndpointSlice controller's shell: what it remembers, says and counts around a plan (D-6, D-7, ES-32, ES-91)."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from api.names import (
    REASON_HINTS_DISABLED,
    REASON_PODS_LEFT_OUT,
    REASON_UPDATE_FAILED,
    SERVICE_NAME_LABEL,
    TRIGGER_TIME_ANNOTATION,
)
from controllers.model.objects import EndpointSlice, Node, Service
from controllers.model.plan import Notice, Writes
from controllers.runtime import slice_controller
from controllers.runtime.errors import ApiError, ServerError
from controllers.runtime.loop import Controller, SyncError
from controllers.runtime.slice_controller import SliceController
from controllers.runtime.stores import Stores
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

    async def apply(self, writes: Writes[EndpointSlice]) -> None:
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


@pytest.fixture
def dual(stores: Stores) -> Service:
    """A dual-stack Service `dual` beside `s`, with the same Pod."""
    made = service(name="dual", ip_families=("IPv4", "IPv6"))
    stores.services.put(made)
    stores.pods.put(pod(1, ipv6=("fd00::1",)))
    return made


async def test_families_are_written_at_the_same_time_es_54(
    controller: Controller, dual: Service, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write returns only when both families' writes have begun."""
    meeting, apply = asyncio.Barrier(2), hands.apply

    async def meet(writes: Writes[EndpointSlice]) -> None:
        await meeting.wait()
        await apply(writes)

    monkeypatch.setattr(hands, "apply", meet)
    async with asyncio.timeout(10):
        await controller.sync("ns/dual")
    assert sorted(each.address_type for each in hands.sent) == ["IPv4", "IPv6"]


async def test_failure_of_one_family_does_not_stop_the_other_es_54(
    controller: Controller, dual: Service, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = hands.apply

    async def refuse(writes: Writes[EndpointSlice]) -> None:
        if any(each.address_type == "IPv4" for each in writes.create):
            raise ServerError("down")
        await apply(writes)

    monkeypatch.setattr(hands, "apply", refuse)
    with pytest.raises(ServerError):
        await controller.sync("ns/dual")
    assert [each.address_type for each in hands.sent] == ["IPv6"]


async def test_failure_is_told_and_counted_d_2(controller: Controller, hands: Hands) -> None:
    counter = metrics.SYNCS.labels(result="error")._value
    before = counter.get()
    controller.failed("ns/s", 1, "no way")
    (event,) = hands.events
    assert (event.type, event.reason) == ("Warning", REASON_UPDATE_FAILED)
    assert event.message.endswith("for Service ns/s: no way")
    assert counter.get() == before + 1


@pytest.mark.parametrize(
    "change", [{"nano_cpu": 9 * 10**9}, {"control_plane": True}], ids=["cpu", "control-plane-label"]
)
async def test_shares_of_cpu_that_change_ask_for_hinted_services(
    controller: Controller, stores: Stores, change: dict[str, Any]
) -> None:
    """Neither readiness nor zone of the Node changes; a Service without hints is not asked for."""
    nodes = [Node(f"node-{zone}", f"zone-{zone}", nano_cpu=10**9) for zone in "ab"]
    for number, each in enumerate((*nodes, *nodes)):
        stores.nodes.put(each)
        stores.pods.put(pod(number, node_name=each.name))
    stores.nodes.drop(Node("node-1", "zone-a"))
    stores.services.put(service(topology_mode="Auto"))
    stores.services.put(service(name="plain"))
    while len(controller.queue):
        key, _ = await controller.queue.get() or ("", 0.0)
        await controller.sync(key)
        controller.queue.done(key)
    stores.nodes.put(replace(nodes[0], **change))
    assert len(controller.queue) == 0
    await controller.sync(slice_controller._NODES)
    assert len(controller.queue) == 1
    assert await controller.queue.get() == ("ns/s", 0.0)


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


async def test_hints_are_announced_when_the_writes_have_succeeded(
    controller: Controller, hands: Hands, stores: Stores
) -> None:
    stores.services.put(service(topology_mode="Auto"))
    hands.error = ServerError("down")
    with pytest.raises(ServerError):
        await controller.sync("ns/s")
    assert hands.events == []
    hands.error = None
    await controller.sync("ns/s")
    await controller.sync("ns/s")
    assert [notice.reason for notice in hands.events] == [REASON_HINTS_DISABLED]
