"""The page that tells how a process is: /metrics and the probes."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

from aiohttp import web


class Pages(NamedTuple):
    """What is told: why a restart would help, why this replica is not ready (empty lists: all is well), and metrics."""

    not_alive: Callable[[], list[str]]
    not_ready: Callable[[], list[str]]
    metrics: Callable[[], bytes]


@contextlib.asynccontextmanager
async def served(address: str, pages: Pages) -> AsyncGenerator[None]:
    """Serves the pages at HOST:PORT, or nowhere when that is "0". Raises OSError when the port is taken."""
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
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        yield
    finally:
        await runner.cleanup()


def _page(made: Callable[[], web.Response]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return made()

    return answer


def _told(problems: list[str]) -> web.Response:
    return web.Response(status=503, text="\n".join(problems)) if problems else web.Response(body=b"ok")


def _metrics(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
