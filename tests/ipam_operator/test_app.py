"""The process as a whole: how it ends before it has begun, and what it says while it cannot begin."""

import asyncio
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

import kopf
import pytest

from api.ipam_config import IPAMConfiguration
from controllers.ipam_operator import app
from controllers.ipam_operator.app import App
from controllers.ipam_operator.server import Certificates
from controllers.runtime.api_client import ApiClient
from controllers.runtime.events import EventRecorder
from e2e.cluster.certs import Authority


class Silent(ApiClient):
    """An API server that never answers; `asked` is set when it should have."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def request(self, method: str, path: str, **more: Any) -> bytes:
        self.asked.set()
        await asyncio.Event().wait()
        return b""


@pytest.fixture
async def made(tmp_path: Path) -> App:
    authority = Authority(tmp_path / "ca")
    pair = authority.serving(["localhost"])
    files = {
        "webhook_cert_file": str(pair.cert),
        "webhook_key_file": str(pair.key),
        "webhook_ca_file": str(authority.ca_file),
    }
    return App(IPAMConfiguration.model_validate(files), Certificates(*files.values()))


async def test_stop_waits_for_nothing_before_there_is_work(made: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither kinds that are missing nor an API server that is away hold up the end: here the wait would be an hour."""
    monkeypatch.setattr(app, "STOP_SECONDS", 3600.0)
    client = Silent()
    working = asyncio.create_task(made._work(client, client, client))
    async with asyncio.timeout(20):
        await client.asked.wait()
        made._stopping.set()
        await working


async def test_stop_waits_for_work(made: App) -> None:
    assert made._patience() == 0.0
    made._at_work = True
    assert made._patience() == app.STOP_SECONDS


async def test_not_ready_says_which_kind_is_not_served(made: App) -> None:
    client = Silent()
    made._reflectors = made._watch(client, EventRecorder(client, made._clock, "test"))
    made._unknown = {"ServiceIPPool": "apply config/crd first", "Service": "of no account: it has synced"}
    for each in made._reflectors:
        if "Pool" not in each.kind:
            each.synced.set()
    assert made._not_ready() == [
        "caches have not synced yet: ServiceIPPool, ServicePortPool",
        "apply config/crd first",
    ]


async def test_signal_that_comes_while_kopf_starts_is_ours(made: App, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    ran = asyncio.Event()

    async def spawn_tasks(**_: Any) -> Collection[asyncio.Task[None]]:
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        return []

    async def run_tasks(tasks: Collection[asyncio.Task[None]], *, ignored: Collection[asyncio.Task[None]]) -> None:
        ran.set()

    monkeypatch.setattr(kopf, "spawn_tasks", spawn_tasks)
    monkeypatch.setattr(kopf, "run_tasks", run_tasks)
    try:
        await made._kopf(kopf.OperatorRegistry(), kopf.OperatorSettings(), asyncio.Event())
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            await made._stopping.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    assert ran.is_set()
