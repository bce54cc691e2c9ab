"""How the floor talks to the API server: one session of the product's HTTP client, and nothing around it.

Imports nothing of the product's: what that takes is no part of the floor's start.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import click
import uvloop
from msgspec import Struct

_OPTIONS: Final = {"server": str, "ca": str, "cert": str, "key": str, "accept": str, "in-flight": int}

Work = Callable[[aiohttp.ClientSession], Awaitable[None]]


def headers(accept: str) -> dict[str, str]:
    """Those of a write."""
    return {"Content-Type": "application/json", "Accept": accept}


class Meta(Struct, rename="camel"):
    """What the floor reads of an object's metadata."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] = {}


def options(command: Callable[..., None]) -> Callable[..., None]:
    """The server's URL, PEM files, what a write asks for as its answer, and how many writes there are at a time."""
    for name, kind in _OPTIONS.items():
        command = click.option(f"--{name}", type=kind, required=True)(command)
    return command


def run(work: Work, server: str, ca: str, cert: str, key: str) -> None:
    """Does the work with a session of its own. Raises aiohttp.ClientError."""

    async def working() -> None:
        tls = ssl.create_default_context(cafile=ca)
        tls.load_cert_chain(cert, key)
        connector, jar = aiohttp.TCPConnector(limit=0, ssl=tls), aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(server, connector=connector, cookie_jar=jar, raise_for_status=True) as session:
            await work(session)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(working())
