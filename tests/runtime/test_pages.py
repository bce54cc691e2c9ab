"""Where the pages are served, and what is said when they cannot be."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest
import uvloop

from controllers.runtime import pages
from controllers.runtime.pages import AddressError, Pages, served
from e2e.cluster.process import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody else listens."""
    with socket.create_server(("127.0.0.1", free_port())) as server:
        yield server.getsockname()[1]


def page(address: str) -> AbstractAsyncContextManager[None]:
    return served(address, Pages(list, lambda: ["starting"], lambda: b"metric 1\n"))


async def refusal(address: str) -> str:
    with pytest.raises(AddressError) as caught:
        async with page(address):
            pass
    assert isinstance(caught.value, OSError), "whoever runs it expects one"
    return str(caught.value)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_taken_port_is_named_with_what_to_do(taken: int, loop: str) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        told = runner.run(refusal(f"127.0.0.1:{taken}"))
    remedy = "the port is taken: end the process that has it, or give another port"
    assert told == f"--metrics-bind-address=127.0.0.1:{taken}: {remedy}"


async def test_address_of_somebody_else() -> None:
    # Of a network for documents (RFC 5737).
    told = await refusal("192.0.2.1:8080")
    assert told.startswith("--metrics-bind-address=192.0.2.1:8080: this machine has no such address: give one")


REMEDY = "give HOST:PORT with an address of this machine, such as 127.0.0.1:8080"


async def test_host_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    told = "--metrics-bind-address=256.1.1.1:80: there is no such host (name or service not known): "
    assert await refusal("256.1.1.1:80") == told + REMEDY


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "a\0b"])
async def test_host_that_there_cannot_be(host: str) -> None:
    assert await refusal(f"{host}:80") == f"--metrics-bind-address={host}:80: there is no such host: {REMEDY}"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied"), "no right to listen on this port: give one of 1024 or above"),
        (OSError(24, "error while attempting to bind"), "too many open files"),
        (OSError("Odd"), "odd"),
    ],
)
def test_other_errors_are_told_in_the_systems_words(error: OSError, told: str) -> None:
    assert pages._why(error) == told


async def test_pages_are_served() -> None:
    port = free_port()
    answers = {}
    async with page(f"127.0.0.1:{port}"), aiohttp.ClientSession() as session:
        for path in ("healthz", "livez", "readyz", "metrics"):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                answers[path] = (answer.status, await answer.text())
    assert answers == {
        "healthz": (200, "ok"),
        "livez": (200, "ok"),
        "readyz": (503, "starting"),
        "metrics": (200, "metric 1\n"),
    }


async def test_switched_off() -> None:
    async with page("0"):
        pass
