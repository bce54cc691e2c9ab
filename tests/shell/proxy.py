"""A proxy between Sliceplane and the real API server that does what no real server would when asked to.

It ends TLS under an authority of its own, and is Sliceplane towards the API server.
"""

import asyncio
import base64
import json
import random
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from e2e.cluster.certs import Authority
from e2e.cluster.process import free_port

_HOP = {"transfer-encoding", "content-length", "connection", "date", "server"}
_EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}


@dataclass
class Faults:
    """How likely each fault is, and how often it has happened; `seed` decides when."""

    seed: int
    refuse: float = 0.0  # a write is answered 429, 500 or 503, and not carried out
    swallow: float = 0.0  # a write is carried out, and its answer is lost
    expire: float = 0.0  # a watch is told that its version is too old
    cut: float = 0.0  # a watch loses its connection after some events
    delay: float = 0.0  # what a watch has to tell comes late, by up to so many seconds
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)

    def strike(self, name: str) -> bool:
        struck: bool = self.dice.random() < getattr(self, name)
        self.happened[name] += struck
        return struck

    def heal(self) -> None:
        self.refuse = self.swallow = self.expire = self.cut = self.delay = 0.0


class _Proxy:
    def __init__(self, faults: Faults, upstream: str, trust: ssl.SSLContext) -> None:
        self._faults, self._upstream, self._trust = faults, upstream, trust
        # What is too old stays too old until it is listed anew.
        self._expired: set[str] = set()

    async def serve(self, port: int, identity: ssl.SSLContext, ready: threading.Event, over: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=identity).start()
            ready.set()
            await over.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        faults, writes = self._faults, request.method != "GET"
        if writes and faults.strike("refuse"):
            code = faults.dice.choice((429, 500, 503))
            return web.json_response({"kind": "Status", "code": code, "message": "a fault"}, status=code)
        watches = "watch" in request.query
        if not writes and not watches:
            self._expired.discard(request.path)
        if watches and (request.path in self._expired or faults.strike("expire")):
            self._expired.add(request.path)
            return web.Response(text=json.dumps(_EXPIRED) + "\n", content_type="application/json")
        headers = {key: value for key, value in request.headers.items() if key.lower() not in {"host", "authorization"}}
        body = await request.read()
        url = self._upstream + request.path_qs
        try:
            async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
                if writes and answer.status < 400 and faults.strike("swallow"):
                    await answer.read()
                    return self._cut(request)
                return await self._pass_on(request, answer)
        except aiohttp.ClientError:
            return self._cut(request)

    async def _pass_on(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            if "watch" in request.query:
                await asyncio.sleep(self._faults.dice.uniform(0, self._faults.delay))
                if self._faults.strike("cut"):
                    # In the middle of an event, perhaps.
                    await response.write(chunk[: self._faults.dice.randrange(len(chunk))])
                    return self._cut(request)
            await response.write(chunk)
        return response

    @staticmethod
    def _cut(request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


@contextmanager
def faulty(faults: Faults, kubeconfig: Path, folder: Path) -> Iterator[Path]:
    """Runs a proxy in front of the API server of `kubeconfig`; gives the kubeconfig to use instead."""
    config: dict[str, Any] = yaml.safe_load(kubeconfig.read_text())
    [cluster], [user] = config["clusters"], config["users"]
    trust = ssl.create_default_context(cadata=_decoded(cluster["cluster"]["certificate-authority-data"]))
    pair = folder / "user.pem"
    user = user["user"]
    pair.write_text(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
    trust.load_cert_chain(pair)
    authority = Authority(folder / "pki")
    serving = authority.serving()
    identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    identity.load_cert_chain(serving.cert, serving.key)

    port, ready = free_port(), threading.Event()
    proxy = _Proxy(faults, cluster["cluster"]["server"], trust)
    loop, over = asyncio.new_event_loop(), asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(proxy.serve(port, identity, ready, over))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(30), "the proxy does not start"
        data = base64.b64encode(authority.ca_file.read_bytes()).decode()
        cluster["cluster"] = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": data}
        config["users"][0]["user"] = {"token": "none"}
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield path
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)


def _decoded(data: str) -> str:
    return base64.b64decode(data).decode()
