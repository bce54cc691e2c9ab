"""Requests to the API server: one for each slice that changes, however many Pods did; none when nothing changed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from controllers.model.objects import EndpointSlice
from controllers.runtime.api_client import ApiClient
from controllers.runtime.events import EventRecorder
from controllers.runtime.loop import Loop
from controllers.runtime.slice_controller import QUEUE_NAME, SliceController
from controllers.runtime.stores import Stores
from controllers.runtime.writer import WRITABLE_SLICES, Writer
from tests.builders import NODE, pods, service
from tests.runtime.api_server import ApiServer, client_of
from tests.runtime.clocks import FakeClock
from tests.shell.waiting import until

PODS = 20
FAMILIES = 2


class Accepting(ApiServer):
    """Writes down what it is asked, and accepts it."""

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.script[request.method].append(accept)
        return await super()._answer(request)


async def accept(request: web.Request) -> web.Response:
    """The metadata of what was sent, under its next version."""
    metadata = (await request.json())["metadata"]
    version = str(int(metadata.get("resourceVersion") or 0) + 1)
    answer = {"metadata": {**metadata, "uid": f"uid-{metadata['name']}", "resourceVersion": version}}
    return web.json_response(answer)


class Running:
    """A controller at work on stores that a test changes."""

    def __init__(self, server: ApiServer, stores: Stores, controller: SliceController) -> None:
        self.server, self.stores = server, stores
        self._controller = controller.start()
        self.loop = Loop(self._controller, FakeClock(), QUEUE_NAME)

    async def settled(self) -> list[str]:
        """The verbs of what was asked since the last time, once nothing is left to do."""
        await until(lambda: self._controller.queue.idle)
        verbs = self.server.verbs
        self.server.asked.clear()
        return verbs

    def ask_again(self) -> None:
        self._controller.queue.add("ns/s")


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    clock, stores, stopping = FakeClock(), Stores(), asyncio.Event()
    stores.nodes.put(NODE)
    stores.services.put(service(ip_families=("IPv4", "IPv6")))
    for number, each in enumerate(pods(PODS, ipv6=("fd00::1",))):
        stores.pods.put(each if number else pods(1, ipv6=("fd00::2",))[0])
    async with Accepting().serving() as server, client_of(server.url, tmp_path, clock) as client:
        made = Running(server, stores, controller(client, stores, clock))
        task = asyncio.create_task(made.loop.run(4, stopping))
        yield made
        stopping.set()
        await task


def controller(client: ApiClient, stores: Stores, clock: FakeClock) -> SliceController:
    writer: Writer[EndpointSlice] = Writer(client, WRITABLE_SLICES, stores.slices, clock)
    recorder = EventRecorder(client, clock, "test")
    return SliceController(stores, writer, recorder, clock, max_endpoints=100, batch_seconds=0.0)


async def test_one_request_for_each_slice_that_changes(running: Running) -> None:
    assert await running.settled() == ["POST"] * FAMILIES
    for ready in (False, True):
        running.stores.pods.put(pods(1, ipv6=("fd00::2",), ready=ready)[0])
        assert await running.settled() == ["PUT"] * FAMILIES


async def test_changes_of_many_pods_are_one_request_for_each_slice(running: Running) -> None:
    await running.settled()
    for each in pods(PODS, ipv6=("fd00::1",), ready=False):
        running.stores.pods.put(each)
    assert await running.settled() == ["PUT"] * FAMILIES


async def test_no_request_when_nothing_changed(running: Running) -> None:
    """Neither for what is not read of a Pod, nor for a sync that finds all as it should be: no read before a write."""
    await running.settled()
    for each in list(running.stores.pods.all()):
        running.stores.pods.put(each)
    running.ask_again()
    assert await running.settled() == []


async def test_change_and_change_back_before_the_sync_is_no_request(running: Running) -> None:
    await running.settled()
    for ready in (False, True):
        running.stores.pods.put(pods(1, ipv6=("fd00::2",), ready=ready)[0])
    assert await running.settled() == []
