"""HTTP to the API server: one pool of connections, verified TLS, one error tree, retries for a single request.

Requests are retried here only while nothing was decided: the server said "later" (429), failed (5xx) or did not answer.
Every request that is sent twice is harmless twice: reads; updates and deletes that name the version they mean; creates
under a name of our own choice.
"""

import asyncio
import functools
import os
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from prometheus_client import Counter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from controllers.runtime.clock import Clock
from controllers.runtime.credentials import Credentials, CredentialsError
from controllers.runtime.errors import (
    ApiError,
    NotLeading,
    ServerError,
    Throttled,
    Unauthorized,
    Unreachable,
    Untrusted,
    error_for,
)
from controllers.telemetry import metrics
from controllers.telemetry.logs import bind
from controllers.telemetry.tracing import OUTGOING

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

_TRANSIENT: Final = (Throttled, ServerError, Unreachable)
_ANSWER: Final = aiohttp.ClientTimeout(total=30.0, sock_connect=10.0)
_BROKEN: Final = (aiohttp.ClientError, TimeoutError, OSError)
_LONGEST_RETRY_AFTER: Final = 30.0
_RELOAD_SECONDS: Final = 5.0
# RFC 7234: a code, an agent, and the text in quotes.
_WARNING: Final = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')
_REMEMBERED_WARNINGS: Final = 1000
_BACKOFF: Final = wait_random_exponential(multiplier=0.2, max=3.0)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: bytes | None = None
    accept: str = JSON
    content_type: str = JSON
    began: Callable[[bytes], bool] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RateLimiter:
    """A token bucket, as client-go's: `burst` requests at once, then `qps` a second (`--kube-api-qps`, ES-16)."""

    def __init__(self, qps: float, burst: int, clock: Clock) -> None:
        self._qps, self._burst, self._clock = qps, max(1, burst), clock
        self._tokens = float(self._burst)
        self._at = clock.now()

    async def wait(self) -> None:
        """Returns when the next request may be sent."""
        now = self._clock.now()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._qps) - 1
        self._at = now
        if self._tokens < 0:
            await self._clock.sleep(-self._tokens / self._qps)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ApiError) else 0.0
    return max(min(asked, _LONGEST_RETRY_AFTER), _BACKOFF(state))


class ApiClient:
    """Asks one API server. An async context manager; everything raised is an ApiError."""

    def __init__(
        self, credentials: Credentials, clock: Clock, *, user_agent: str, qps: float = 0.0, burst: int = 0
    ) -> None:
        """`may_write` can be replaced: while it says no, nothing but reads is sent."""
        self.may_write: Callable[[], bool] = lambda: True
        self._credentials = credentials
        self._clock = clock
        self._limiter = RateLimiter(qps, burst, clock) if qps > 0 else None
        self._headers = {"User-Agent": user_agent}
        self._session: aiohttp.ClientSession | None = None
        self._reloading = asyncio.Lock()
        self._reloaded = -_RELOAD_SECONDS
        self._warned: set[str] = set()
        self._warnings: set[str] = set()
        self._requests: Callable[[str, str], Counter]
        self._log = bind("controllers.runtime.api_client")

    @property
    def credentials(self) -> Credentials:
        """What we prove ourselves with."""
        return self._credentials

    @property
    def server_url(self) -> str:
        """The API server's URL; known once the client is open."""
        return self._credentials.server

    async def __aenter__(self) -> "ApiClient":
        await self._credentials.load()
        host = urlsplit(self._credentials.server).netloc
        self._requests = functools.cache(lambda code, method: metrics.REST_CLIENT_REQUESTS.labels(code, host, method))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._credentials.close()
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: str = JSON,
        content_type: str = JSON,
        attempts: int = 4,
        began: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """Sends one request and returns the body of its answer.

        Tries up to `attempts` times as long as the answer is "not now". While a body is on its way, `began` is given
        what has come of it so far, until it says that it knows enough. Raises ApiError.
        """
        request = _Request(method, path, query, body, accept, content_type, began)
        try:
            return await self._once(request)
        except _TRANSIENT as error:
            if attempts <= 1:
                raise
            first = error
        # The first attempt runs without tenacity: almost all do, and its bookkeeping costs as much as a small request.
        await self._clock.sleep(max(min(first.retry_after, _LONGEST_RETRY_AFTER), 0.1))
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TRANSIENT),
            stop=stop_after_attempt(attempts - 1),
            wait=_wait,
            sleep=self._clock.sleep,
            reraise=True,
        )
        answer: bytes = await retrying(self._once, request)
        return answer

    async def _once(self, request: _Request) -> bytes:
        if self._limiter is not None:
            await self._limiter.wait()
        try:
            return await self._exchange(request)
        except Unauthorized:
            await self._reload()
        return await self._exchange(request)

    async def _exchange(self, request: _Request) -> bytes:
        """One attempt of a request whose answer is read as a whole."""
        asked = await self._asked(request, "gzip", _ANSWER)
        counted = False
        try:
            async with asked as response:
                counted = self._count(request, response)
                if request.began is not None and response.status < 400:
                    body = await _heard(response.content, request.began)
                else:
                    body = await response.read()
        except _BROKEN as error:
            raise self._unreachable(request, error, counted) from error
        if response.status >= 400:
            raise error_for(response.status, body, str(request), response.headers.get("Retry-After"))
        return body

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, idle_seconds: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        """Opens a watch; reading from it fails with Unreachable when nothing comes for `idle_seconds`."""
        request = _Request("GET", path, query)
        # A watch is not compressed: an event is small, and waits for no block to fill.
        limits = aiohttp.ClientTimeout(sock_connect=10.0, sock_read=idle_seconds)
        counted = False
        try:
            async with await self._asked(request, "identity", limits) as response:
                counted = self._count(request, response)
                if response.status >= 400:
                    retry_after = response.headers.get("Retry-After")
                    raise error_for(response.status, await response.read(), str(request), retry_after)
                yield response.content
        except Unauthorized:
            await self._reload()
            raise
        except _BROKEN as error:
            raise self._unreachable(request, error, counted) from error

    async def _asked(
        self, request: _Request, encoding: str, limits: aiohttp.ClientTimeout
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The request, ready to be sent: that is done by whoever enters it. Raises Unauthorized or NotLeading."""
        if self._session is None:
            raise RuntimeError("the ApiClient is not open: use it as an async context manager")
        try:
            headers = await self._credentials.headers()
        except CredentialsError as error:
            raise Unauthorized(str(error)) from error
        # Last of all: what was asked for before may have waited.
        if request.method != "GET" and not self.may_write():
            raise NotLeading(f"{request}: not sent, this replica does not lead")
        headers["Accept"] = request.accept
        headers["Accept-Encoding"] = encoding
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        part_of = OUTGOING.get()
        if part_of:
            headers["traceparent"] = part_of
        return self._session.request(
            request.method,
            self._credentials.server + request.path,
            params=request.query,
            data=request.body,
            headers=headers,
            ssl=self._credentials.tls or True,
            server_hostname=self._credentials.server_name,
            proxy=self._credentials.proxy,
            timeout=limits,
            allow_redirects=False,
        )

    def _count(self, request: _Request, response: aiohttp.ClientResponse) -> bool:
        self._requests(str(response.status), request.method).inc()
        if "Warning" in response.headers:
            self._warn(response.headers.getall("Warning"))
        return True

    def _unreachable(self, request: _Request, error: Exception, counted: bool) -> Unreachable:
        if not counted:
            self._requests("<error>", request.method).inc()
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return Untrusted(f"{request}: {_untrusted(error, self._credentials.authority)}")
        return Unreachable(f"{request}: {_silence(error)}")

    def _warn(self, headers: list[str]) -> None:
        """Logs what the API server warns of (a deprecated API, for example) once for each text, not at every write."""
        for header in headers:
            if header in self._warnings:
                continue
            if len(self._warnings) < _REMEMBERED_WARNINGS:
                self._warnings.add(header)
            for text in _WARNING.findall(header):
                if text not in self._warned and len(self._warned) < _REMEMBERED_WARNINGS:
                    self._warned.add(text)
                    self._log.info("warning from the API server", warning=text.replace("\\", ""))

    async def _reload(self) -> None:
        """Reads the credentials anew after a 401, but not again within seconds: who is refused stays so."""
        async with self._reloading:
            if self._clock.now() < self._reloaded + _RELOAD_SECONDS:
                return
            self._reloaded = self._clock.now()
            try:
                await self._credentials.load()
            except CredentialsError as error:
                raise Unauthorized(f"refused (401), and the credentials cannot be read anew: {error}") from error


def _silence(error: Exception) -> str:
    """Why no answer came."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    reason = error.os_error
    where = f"the proxy {_at(error)}" if isinstance(error, aiohttp.ClientProxyConnectionError) else _at(error)
    if isinstance(reason, ssl.SSLError):
        said = (reason.reason or str(reason)).replace("_", " ").lower()
        return f"no TLS with {where}: {said}"
    if isinstance(reason, socket.gaierror):
        return f"cannot connect to {where}: its name is not known ({(reason.strerror or str(reason)).lower()})"
    return f"cannot connect to {where}: {os.strerror(reason.errno).lower() if reason.errno else reason}"


def _untrusted(error: aiohttp.ClientConnectorCertificateError, authority: str) -> str:
    """What is wrong with the certificate of whoever answers, and what to do. The numbers are OpenSSL's (x509_vfy.h)."""
    found = error.certificate_error
    code = found.verify_code if isinstance(found, ssl.SSLCertVerificationError) else 0
    said = found.verify_message if isinstance(found, ssl.SSLCertVerificationError) else str(found)
    whose = f"the certificate of the API server at {_at(error)}"
    if code in (62, 64):
        told = f"is for other names ({said.rstrip('.')}): use one of its names as server, or as tls-server-name"
    elif code in (9, 10):
        told = f"is of another time ({said}): renew it, or set the clock right"
    else:
        told = f"is not signed by {authority} ({said}): is this the right server, and the authority up to date?"
    return f"{whose} {told}"


def _at(error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError) -> str:
    return f"[{error.host}]:{error.port}" if ":" in error.host else f"{error.host}:{error.port}"


async def _heard(content: aiohttp.StreamReader, began: Callable[[bytes], bool]) -> bytes:
    parts: list[bytes] = []
    enough = False
    async for part in content.iter_any():
        parts.append(part)
        enough = enough or began(b"".join(parts))
    return b"".join(parts)
