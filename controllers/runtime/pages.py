"""The page that tells how a process is: /metrics and the probes."""

import contextlib
import errno
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, NamedTuple

from aiohttp import web

_REMEDIES: Final = {
    errno.EADDRINUSE: "the port is taken: end the process that has it, or give another port",
    errno.EADDRNOTAVAIL: "this machine has no such address: give one that it has, or 127.0.0.1, or 0.0.0.0 for all",
    errno.EACCES: "no right to listen on this port: give one of 1024 or above",
}


class AddressError(OSError):
    """An address at which nothing can be served; the message names its flag and says what is wrong and what to do."""


class Pages(NamedTuple):
    """What is told: why a restart would help, why this replica is not ready (empty lists: all is well), and metrics."""

    not_alive: Callable[[], list[str]]
    not_ready: Callable[[], list[str]]
    metrics: Callable[[], bytes]


@contextlib.asynccontextmanager
async def served(address: str, pages: Pages, *, flag: str = "--metrics-bind-address") -> AsyncGenerator[None]:
    """Serves the pages at HOST:PORT, the value of `flag`, or nowhere when that is "0". Raises AddressError."""
    if address == "0":
        yield
        return
    host, _, port = address.rpartition(":")
    application = web.Application()
    application.router.add_get("/healthz", _page(lambda: web.Response(body=b"ok")))
    application.router.add_get("/livez", _page(lambda: _told(pages.not_alive())))
    application.router.add_get("/readyz", _page(lambda: _told(pages.not_ready())))
    application.router.add_get("/metrics", _page(lambda: _metrics(pages.metrics())))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host.strip("[]") or None, int(port))
        try:
            await site.start()
        except (OSError, ValueError) as error:
            raise AddressError(f"{flag}={address}: {_why(error)}") from error
        yield
    finally:
        await runner.cleanup()


def _why(error: OSError | ValueError) -> str:
    """Why nothing can be served there, and what to do; ValueError is what a host gets that cannot even be looked up."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
        known = _REMEDIES.get(error.errno or 0)
        return known or (os.strerror(error.errno) if error.errno else str(error)).lower()
    reason = f" ({error.strerror.lower()})" if isinstance(error, OSError) and error.strerror else ""
    return f"there is no such host{reason}: give HOST:PORT with an address of this machine, such as 127.0.0.1:8080"


def _page(made: Callable[[], web.Response]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return made()

    return answer


def _told(problems: list[str]) -> web.Response:
    return web.Response(status=503, text="\n".join(problems)) if problems else web.Response(body=b"ok")


def _metrics(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
