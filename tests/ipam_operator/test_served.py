"""A kind that the API server does not know is told of once, asked for on and on, and followed when it is there."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controllers.ipam_operator import kinds
from controllers.ipam_operator.served import WatchingClient, follow
from controllers.runtime.credentials import Credentials
from controllers.runtime.errors import NotFound
from controllers.runtime.store import Store
from controllers.runtime.watch import Kind, Malformed, Reflector
from tests.runtime.api_server import ApiServer, say, stream, write_kubeconfig
from tests.runtime.clocks import FakeClock, Over

NOBODY = say(b"404 page not found\n", 404)
EMPTY = say({"metadata": {"resourceVersion": "5"}, "items": []})
APPLY = (
    "the API server does not know the kind ServiceIPPool (ipam.sliceplane.dev/v1alpha1): apply config/crd first,"
    " such as by kubectl apply -k config/crd"
)


@pytest.fixture
async def client(server: ApiServer, clock: FakeClock, tmp_path: Path) -> AsyncIterator[WatchingClient]:
    credentials = Credentials(str(write_kubeconfig(tmp_path / "kubeconfig", server.url)))
    made = WatchingClient(credentials, clock, user_agent="test")
    async with made:
        yield made


def reflector(client: WatchingClient, clock: FakeClock, kind: Kind[Any] = kinds.IP_POOLS) -> Reflector[Any]:
    def never(found: Malformed) -> None:
        raise AssertionError(found)

    return Reflector(client, kind, Store(), clock, never)


@asynccontextmanager
async def following(server: ApiServer, followed: Reflector[Any], clock: FakeClock) -> AsyncIterator[None]:
    """It has asked for all that the server has to answer, and follows until the block has ended."""
    task = asyncio.create_task(follow(followed, clock))
    async with asyncio.timeout(20):
        await server.finished.wait()
    yield
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """(message, error) of what was said to the user."""
    records = [each for each in caplog.records if each.levelno >= logging.INFO]
    return [(each.getMessage(), vars(each)["values"].get("error", "")) for each in records]


async def test_told_once_and_followed_when_it_is_there(
    server: ApiServer, client: WatchingClient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "controllers")
    server.will("LIST", NOBODY, NOBODY, NOBODY, EMPTY)
    followed = reflector(client, clock)
    async with following(server, followed, clock):
        assert server.verbs == ["LIST"] * 4 + ["WATCH"]
        assert followed.synced.is_set()
        assert told(caplog) == [("kind not served", APPLY)]
        assert client.unknown == {}
        # Soon after config/crd is applied, and never a storm.
        assert len(clock.slept) == 3
        assert all(2.0 <= each <= 3.0 for each in clock.slept)


async def test_meanwhile_it_is_known_as_unknown_and_the_watch_is_alive(
    server: ApiServer, client: WatchingClient, clock: FakeClock
) -> None:
    server.will("LIST", NOBODY, NOBODY)
    followed = reflector(client, clock)
    clock.stop_after = 1
    with pytest.raises(Over):
        await follow(followed, clock)
    assert client.unknown == {"ServiceIPPool": APPLY}
    assert not followed.synced.is_set()
    assert followed.last_progress == clock.now() > 0


async def test_kind_that_goes_again_is_told_of_again(
    server: ApiServer, client: WatchingClient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "controllers")
    server.will("LIST", NOBODY, EMPTY).will("WATCH", NOBODY, NOBODY, stream())
    async with following(server, reflector(client, clock), clock):
        assert server.verbs == ["LIST", "LIST", "WATCH", "WATCH", "WATCH", "WATCH"]
        assert client.unknown == {}
        assert told(caplog) == [("kind not served", APPLY)] * 2


async def test_what_kubernetes_itself_lacks_is_told_of_as_its_version(
    server: ApiServer, client: WatchingClient, clock: FakeClock
) -> None:
    server.will("LIST", NOBODY)
    clock.stop_after = 0
    with pytest.raises(Over):
        await follow(reflector(client, clock, kinds.SERVICE_CIDRS), clock)
    assert "it takes Kubernetes 1.33 or newer, where ServiceCIDR is in v1" in client.unknown["ServiceCIDR"]


async def test_an_object_that_is_not_there_is_no_missing_kind(server: ApiServer, client: WatchingClient) -> None:
    server.will("GET", NOBODY).will("POST", NOBODY)
    with pytest.raises(NotFound):
        await client.request("GET", f"{kinds.IP_POOLS.path}/none")
    with pytest.raises(NotFound):
        await client.request("POST", kinds.ADDRESSES.path, body=b"{}")
    assert client.unknown == {}
