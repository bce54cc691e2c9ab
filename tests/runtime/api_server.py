"""A scripted HTTP server, for answers that a real API server will not give when asked to."""

import asyncio
import json
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.credentials import Credentials

Object = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def say(body: object, code: int = 200, **headers: str) -> Answer:
    """An answer of JSON (or of bytes as they are); `Retry_After="3"` is the header Retry-After."""

    async def answer(_: web.Request) -> web.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=data, status=code, headers={key.replace("_", "-"): v for key, v in headers.items()})

    return answer


def status(code: int, reason: str = "", message: str = "", **details: object) -> Object:
    """meta.v1 Status."""
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def refuse(code: int, reason: str = "", message: str = "", **headers: str) -> Answer:
    return say(status(code, reason, message), code, **headers)


async def cut(request: web.Request) -> web.StreamResponse:
    """No answer: the connection ends."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def stream(*lines: object, then: str = "end") -> Answer:
    """A watch: JSON lines (or bytes as they are), and then an end, a cut, or silence ("stay")."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            # Without spaces, as the API server writes it.
            text = line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode() + b"\n"
            await response.write(text)
        if then == "stay":
            await request.app[RELEASED].wait()
        if then == "cut":
            await cut(request)
        return response

    return answer


RELEASED = web.AppKey("released", asyncio.Event)


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class ApiServer:
    """Gives the answers of a script, verb by verb (LIST and WATCH are GETs of a collection).

    A request that the script does not foresee is held, and `finished` tells that it came.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.finished = asyncio.Event()
        self._came = asyncio.Condition()
        self.url = ""
        self._released = asyncio.Event()

    def will(self, verb: str, *answers: Answer) -> "ApiServer":
        self.script[verb].extend(answers)
        return self

    def of(self, verb: str) -> list[Asked]:
        return [each for each in self.asked if each.verb == verb]

    async def requests(self, number: int) -> list[Asked]:
        """All requests, once there are so many."""
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(lambda: len(self.asked) >= number)
        return self.asked

    @property
    def verbs(self) -> list[str]:
        return [each.verb for each in self.asked]

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["ApiServer"]:
        app = web.Application()
        app[RELEASED] = self._released
        app.router.add_route("*", "/{path:.*}", self._answer)
        server = TestServer(app)
        await server.start_server(ssl=tls)
        async with server:
            self.url = str(server.make_url("")).rstrip("/")
            try:
                yield self
            finally:
                self._released.set()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        verb = request.method
        if verb == "GET" and "watch" in request.query:
            verb = "WATCH"
        elif verb == "GET" and "limit" in request.query:
            verb = "LIST"
        text = await request.text()
        body = json.loads(text) if text else None
        self.asked.append(Asked(verb, request.path, dict(request.query), dict(request.headers), body))
        async with self._came:
            self._came.notify_all()
        if not self.script[verb]:
            self.finished.set()
            await self._released.wait()
            return web.Response(status=500)
        return await self.script[verb].popleft()(request)


def write_kubeconfig(
    path: Path, url: str, token: str = "secret", *, cluster: Object | None = None, user: Object | None = None
) -> Path:
    """One context; `cluster` adds to what is said of the server, `user` replaces the token."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": token} if user is None else user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return path


def client_of(url: str, folder: Path, clock: Clock, **kwargs: Any) -> ApiClient:
    kubeconfig = write_kubeconfig(folder / "kubeconfig", url)
    return ApiClient(Credentials(str(kubeconfig)), clock, user_agent="test", **kwargs)
