"""What a sync is for, how long it takes from there to its last write, and its trace."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from controllers.model.plan import Writes
from controllers.runtime.api_client import ApiClient
from controllers.runtime.causes import Causes, What, of_pod
from controllers.runtime.errors import ServerError
from controllers.runtime.loop import Controller, Loop
from controllers.runtime.queue import WorkQueue
from controllers.runtime.syncs import planning, tell, writing
from controllers.runtime.writer import WRITABLE_SLICES, Writer
from controllers.runtime.written_store import SliceStore
from controllers.telemetry import metrics
from controllers.telemetry.tracing import Tracing
from tests.builders import existing, pod, service
from tests.runtime.api_server import ApiServer, refuse, say
from tests.runtime.clocks import FakeClock, LoopClock, virtually

READY = pod(ready=True)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (None, READY, What.POD_ADDED),
        (READY, None, What.POD_GONE),
        (READY, pod(ready=True, terminating=True), What.POD_GONE),
        (pod(ready=True, terminating=True), pod(ready=False, terminating=True), What.POD_READY),
        (READY, pod(ready=False), What.POD_READY),
        (READY, pod(ready=True, node_name="other"), What.POD_OTHER),
    ],
)
def test_what_has_happened_to_a_pod(old: Any, new: Any, expected: What) -> None:
    assert of_pod(old, new) is expected


def observed(cause: What) -> tuple[float, float]:
    """How often, and for how many seconds together."""
    child: Any = metrics.WATCH_TO_WRITE_SECONDS.labels("test", cause.value)
    return sum(bucket.get() for bucket in child._buckets), child._sum.get()


Step = Callable[[], Awaitable[None]]


async def played(queue: WorkQueue, causes: Causes, *steps: Step) -> None:
    """Syncs of one key: each does one step, and the queue rests after the last."""
    script, over = list(steps), asyncio.Event()

    async def sync(_: str) -> None:
        try:
            await script.pop(0)()
        finally:
            if not script:
                over.set()

    controller = Controller("test", queue, causes, sync, lambda *_: None)
    stopping = asyncio.Event()
    running = asyncio.create_task(Loop(controller, LoopClock(), "test").run(1, stopping))
    await over.wait()
    stopping.set()
    await running


def test_time_counts_from_the_first_change_to_the_write_that_succeeds() -> None:
    async def scenario() -> None:
        clock = LoopClock()
        queue = WorkQueue(clock)
        causes = Causes(clock, queue)

        async def fails() -> None:
            await asyncio.sleep(1)
            # A change meanwhile is not the first.
            causes.note("ns/s", What.NODE, "Node", None)
            raise ServerError("no")

        async def writes() -> None:
            await asyncio.sleep(2)
            with writing("update", "EndpointSlice", "s-a"):
                pass

        causes.note("ns/s", What.POD_GONE, "Pod", READY)
        queue.add_after("ns/s", 4)
        await played(queue, causes, fails, writes)

    before = observed(What.POD_GONE)
    virtually(scenario())
    count, seconds = observed(What.POD_GONE)
    # 4 s of batching, 1 s until it failed, 50 ms of back-off, 2 s until the write.
    assert (count - before[0], round(seconds - before[1], 2)) == (1, 7.05)


def test_sync_that_writes_nothing_is_no_latency() -> None:
    async def scenario() -> None:
        clock = LoopClock()
        queue = WorkQueue(clock)
        causes = Causes(clock, queue)

        async def nothing() -> None:
            with planning():
                pass

        causes.note("ns/s", What.SERVICE, "Service", service())
        queue.add("ns/s")
        await played(queue, causes, nothing)
        assert causes.take("ns/s") is None

    before = observed(What.SERVICE)
    virtually(scenario())
    assert observed(What.SERVICE) == before


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


async def traced_once(client: ApiClient, tracing: Tracing | None, *, waited: float = 0.0) -> None:
    """One sync of a Service that updates a slice, for a Pod that has gone."""
    clock = FakeClock()
    store = SliceStore()
    store.put(existing("s-a", resource_version="7"))
    writer = Writer(client, WRITABLE_SLICES, store, clock)
    queue, stopping = WorkQueue(clock), asyncio.Event()
    causes = Causes(clock, queue)

    async def sync(_: str) -> None:
        with planning():
            pass
        tell(families=("IPv4",), reasons=("pod_no_ip",))
        stopping.set()
        await writer.apply(Writes(update=(existing("s-a", resource_version="7"),)))

    causes.note("ns/s", What.POD_GONE, "Pod", READY)
    queue.add("ns/s")
    clock.time += waited
    controller = Controller("test", queue, causes, sync, lambda *_: None)
    await Loop(controller, clock, "test", tracing).run(1, stopping)


def tree(spans: tuple[ReadableSpan, ...]) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans}


async def test_a_trace_leads_from_the_change_to_the_request(
    server: ApiServer, client: ApiClient, exported: InMemorySpanExporter
) -> None:
    server.will("PUT", say({"kind": "PartialObjectMetadata", "metadata": {"name": "s-a", "resourceVersion": "8"}}))
    tracing = Tracing("", 1_000_000, exported)
    await traced_once(client, tracing, waited=3)
    tracing.close()
    spans = tree(exported.get_finished_spans())
    assert sorted(spans) == ["queue", "reconcile", "sync", "update EndpointSlice"]
    root, queued, update = spans["sync"], spans["queue"], spans["update EndpointSlice"]
    assert root.context
    assert update.context
    assert root.attributes == {
        "sliceplane.controller": "test",
        "sliceplane.namespace": "ns",
        "sliceplane.service": "s",
        "sliceplane.cause": "pod_gone",
        "sliceplane.cause_object": f"Pod ns/{READY.name}",
        "sliceplane.families": ("IPv4",),
        "sliceplane.reasons": ("pod_no_ip",),
        "sliceplane.writes": 1,
    }
    assert root.parent is None
    assert {span.parent.span_id for span in spans.values() if span.parent} == {root.context.span_id}
    assert queued.end_time
    assert queued.start_time
    assert 2.9e9 < queued.end_time - queued.start_time < 3.2e9
    [asked] = server.of("PUT")
    version, trace, parent, flags = asked.headers["traceparent"].split("-")
    assert (version, trace, parent) == ("00", f"{root.context.trace_id:032x}", f"{update.context.span_id:016x}")
    assert int(flags, 16) & 1, "sampled"


async def test_failed_write_fails_its_span_and_its_sync(
    server: ApiServer, client: ApiClient, exported: InMemorySpanExporter
) -> None:
    server.will("PUT", refuse(500, "InternalError", "no"))
    tracing = Tracing("", 1_000_000, exported)
    await traced_once(client, tracing)
    tracing.close()
    spans = tree(exported.get_finished_spans())
    assert not spans["sync"].status.is_ok
    assert not spans["update EndpointSlice"].status.is_ok
    assert "500 no" in str(spans["sync"].status.description)
    assert spans["reconcile"].status.is_unset


async def test_what_is_not_sampled_leaves_no_trace(
    server: ApiServer, client: ApiClient, exported: InMemorySpanExporter
) -> None:
    answer = say({"kind": "PartialObjectMetadata", "metadata": {"name": "s-a", "resourceVersion": "8"}})
    server.will("PUT", answer, answer)
    tracing = Tracing("", 0, exported)
    await traced_once(client, tracing)
    await traced_once(client, None)
    tracing.close()
    assert exported.get_finished_spans() == ()
    assert all("traceparent" not in asked.headers for asked in server.asked)


class Stuck(SpanExporter):
    """An exporter whose collector never answers."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def export(self, spans: object) -> SpanExportResult:
        self.released.wait()
        return SpanExportResult.FAILURE


async def test_stuck_exporter_holds_nobody_up() -> None:
    """More spans than its queue holds are dropped, and the end of the process does not wait for it."""
    exporter = Stuck()
    tracing = Tracing("", 1_000_000, exporter)
    for _ in range(10_000):
        span = tracing.begin("sync")
        assert span is not None
        span.end()
    tracing.close()
    exporter.released.set()
