"""HTTP to the API server: one pool of connections, verified TLS, one error tree, retries for a single request.

Requests are retried here only while nothing was decided: the server said "later" (429), failed (5xx) or did not answer.
Every request that is sent twice is harmless twice: reads; updates and deletes that name the version they mean; creates
under a name of our own choice.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
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
    error_for,
)
from controllers.telemetry import metrics
from controllers.telemetry.logs import bind
from controllers.telemetry.tracing import OUTGOING

JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

_TRANSIENT: Final = (Throttled, ServerError, Unreachable)
_REQUEST_SECONDS: Final = 30.0
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
        self._host = ""
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
        self._host = urlsplit(self._credentials.server).netloc
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=30), headers=self._headers, auto_decompress=True
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
    ) -> bytes:
        """Sends one request and returns the body of its answer.

        Tries up to `attempts` times as long as the answer is "not now". Raises ApiError.
        """
        request = _Request(method, path, query, body, accept, content_type)
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
            async with self._send(request, total=_REQUEST_SECONDS) as response:
                return await response.read()
        except Unauthorized:
            await self._reload()
        async with self._send(request, total=_REQUEST_SECONDS) as response:
            return await response.read()

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, idle_seconds: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        """Opens a watch; reading from it fails with Unreachable when nothing comes for `idle_seconds`."""
        try:
            async with self._send(_Request("GET", path, query), idle=idle_seconds) as response:
                yield response.content
        except Unauthorized:
            await self._reload()
            raise

    @asynccontextmanager
    async def _send(
        self, request: _Request, *, total: float | None = None, idle: float | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """One attempt; answers of 400 and above, and aiohttp's own errors, become ApiErrors."""
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
        # A watch is not compressed: an event is small, and waits for no block to fill.
        headers["Accept-Encoding"] = "gzip" if idle is None else "identity"
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        part_of = OUTGOING.get()
        if part_of:
            headers["traceparent"] = part_of
        counted = False
        try:
            async with self._session.request(
                request.method,
                self._credentials.server + request.path,
                params=request.query,
                data=request.body,
                headers=headers,
                ssl=self._credentials.tls or True,
                server_hostname=self._credentials.server_name,
                proxy=self._credentials.proxy,
                timeout=aiohttp.ClientTimeout(total=total, sock_connect=10.0, sock_read=idle),
                allow_redirects=False,
            ) as response:
                counted = True
                metrics.REST_CLIENT_REQUESTS.labels(str(response.status), self._host, request.method).inc()
                if "Warning" in response.headers:
                    self._warn(response.headers.getall("Warning"))
                if response.status >= 400:
                    retry_after = response.headers.get("Retry-After")
                    raise error_for(response.status, await response.read(), str(request), retry_after)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if not counted:
                metrics.REST_CLIENT_REQUESTS.labels("<error>", self._host, request.method).inc()
            raise Unreachable(f"{request}: {str(error) or type(error).__name__}") from error

    def _warn(self, headers: list[str]) -> None:
        """Logs what the API server warns of (a deprecated API, for example) once for each text, not at every write."""
        for header in headers:
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
