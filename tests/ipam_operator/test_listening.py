"""Where the webhooks cannot be served: told as the flag, what is wrong, and what to do, without a traceback."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controllers.ipam_operator import app, listening
from controllers.ipam_operator.server import Certificates, WebhookServer
from e2e.cluster.certs import Authority
from e2e.cluster.process import free_port


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", free_port()))
        made.listen()
        yield f"127.0.0.1:{made.getsockname()[1]}"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    authority = Authority(tmp_path / "ca")
    pair = authority.serving(["localhost"])
    return Certificates(str(pair.cert), str(pair.key), str(authority.ca_file))


def test_taken_port(taken: str) -> None:
    with pytest.raises(OSError, match=f"^--webhook-bind-address={taken}: another program has this port: give another"):
        listening.try_out(taken)


def test_port_that_another_replica_shares_is_not_taken() -> None:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", free_port()))
        made.listen()
        listening.try_out(f"127.0.0.1:{made.getsockname()[1]}")


def test_free_port_stays_free() -> None:
    for host in ("127.0.0.1", "localhost", ""):
        address = f"{host}:{free_port()}"
        listening.try_out(address)
        listening.try_out(address)


def test_address_of_another_machine() -> None:
    with pytest.raises(OSError, match=r"^--webhook-bind-address=192\.0\.2\.1:9443: this machine has no such address"):
        listening.try_out("192.0.2.1:9443")


@pytest.mark.parametrize("host", ["nowhere", "a" * 70])
def test_unknown_host(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    look_up = socket.getaddrinfo

    def unknown(name: str, *more: Any, **told: Any) -> Any:
        if name == "nowhere":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(name, *more, **told)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match=f"^--webhook-bind-address={host}:9443: this host is not known: give an address"):
        listening.try_out(f"{host}:9443")


@pytest.mark.parametrize("lacking", [{socket.AF_INET6}, {socket.AF_INET, socket.AF_INET6}])
def test_kernel_without_a_family(monkeypatch: pytest.MonkeyPatch, lacking: set[int]) -> None:
    """The server goes on with the other one, and so do we."""
    made, port = socket.socket, free_port()

    def without(family: int = -1, *more: Any) -> socket.socket:
        if family in lacking:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *more)

    def both(*_: Any, **__: Any) -> Any:
        return [(each, socket.SOCK_STREAM, 6, "", (host, port)) for each, host in families]

    families = ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0"))
    monkeypatch.setattr(socket, "getaddrinfo", both)
    monkeypatch.setattr(socket, "socket", without)
    if len(lacking) == 1:
        listening.try_out(f":{port}")
    else:
        with pytest.raises(OSError, match=f"without IPv6, give 0.0.0.0:{port}"):
            listening.try_out(f":{port}")


@pytest.mark.parametrize(
    ("address", "number", "said"),
    [
        (":443", errno.EACCES, "this port takes more rights: give one from 1024 on"),
        (":9443", errno.EAFNOSUPPORT, "this machine has no such address: without IPv6, give 0.0.0.0:9443"),
        (":9443", errno.EMFILE, "the webhooks cannot be served there: too many open files"),
    ],
)
def test_other_errors(address: str, number: int, said: str) -> None:
    error = OSError(number, os.strerror(number))
    assert str(listening.told(address, error)) == f"--webhook-bind-address={address}: {said}"


@pytest.mark.parametrize(
    ("address", "place"),
    [(":9443", ("", 9443)), ("127.0.0.1:1", ("127.0.0.1", 1)), ("[::1]:9443", ("::1", 9443)), ("::1:2", ("::1", 2))],
)
def test_place(address: str, place: tuple[str, int]) -> None:
    assert listening.place_of(address) == place


async def test_port_that_is_taken_later_is_told_without_a_traceback(
    taken: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the trial and the service: what kopf's server raises reaches us, and not kopf, which would log it."""
    caplog.set_level(logging.INFO)
    server = WebhookServer(*listening.place_of(taken), certificates)

    async def serve() -> None:
        async for _ in server(None):
            pass

    operator = asyncio.create_task(serve())
    with pytest.raises(OSError, match=f"^--webhook-bind-address={taken}: another program has this port"):
        await app._first(operator, server, taken)
    assert not operator.done()
    operator.cancel()
    with pytest.raises(asyncio.CancelledError):
        await operator
    assert [each for each in caplog.records if each.exc_info] == []


async def test_server_that_listens_has_not_failed(certificates: Certificates) -> None:
    address = f"127.0.0.1:{free_port()}"
    server = WebhookServer(*listening.place_of(address), certificates)

    async def serve() -> None:
        async for _ in server(None):
            pass

    operator = asyncio.create_task(serve())
    await app._first(operator, server, address)
    assert (server.listening.is_set(), server.failed.done()) == (True, False)
    operator.cancel()
    with pytest.raises(asyncio.CancelledError):
        await operator
    assert not server.listening.is_set()
