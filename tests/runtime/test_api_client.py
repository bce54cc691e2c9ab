"""One request: what is tried again, for how long, and which error it ends with."""

import asyncio
import json
import socket
import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey

from controllers.runtime import api_client
from controllers.runtime.api_client import ApiClient, RateLimiter
from controllers.runtime.credentials import Credentials
from controllers.runtime.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    ServerError,
    Throttled,
    Unauthorized,
    Unreachable,
    error_for,
)
from tests.runtime.api_server import ApiServer, client_of, cut, refuse, say, status, stream, write_kubeconfig
from tests.runtime.clocks import FakeClock


async def test_request_as_it_is_sent(server: ApiServer, client: ApiClient) -> None:
    server.will("PUT", say({"kind": "Thing"}))
    answer = await client.request("PUT", "/a/b", query={"q": "1&2"}, body=b'{"x": 1}')
    [asked] = server.asked
    assert answer == b'{"kind": "Thing"}'
    assert (asked.path, asked.query, asked.body) == ("/a/b", {"q": "1&2"}, {"x": 1})
    headers = {"User-Agent": "test", "Authorization": "Bearer secret", "Content-Type": "application/json"}
    assert headers.items() <= asked.headers.items()


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", ApiError),
        (401, "Unauthorized", Unauthorized),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Expired),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Throttled),
        (500, "InternalError", ServerError),
        (504, "Timeout", ServerError),
    ],
)
def test_error_tree(code: int, reason: str, kind: type[ApiError]) -> None:
    error = error_for(code, b'{"reason": "%s", "message": "no", "code": 999}' % reason.encode(), "GET /x")
    assert type(error) is kind
    assert (error.code, str(error)) == (code, f"GET /x: {code} no")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"<html>bad gateway</html>", b'{"code": "x"}', b"\xff\xfe"])
def test_answer_that_is_no_status_is_an_error_all_the_same(body: bytes) -> None:
    error = error_for(502, body, "GET /x")
    assert (type(error), error.code, error.namespace_terminating) == (ServerError, 502, False)


@pytest.mark.parametrize(
    ("header", "details", "expected"),
    [
        ("7", None, 7.0),
        (None, 5, 5.0),
        ("7", 5, 7.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 5, 5.0),
        (None, None, 0.0),
    ],
)
def test_retry_after_by_header_or_status(header: str | None, details: int | None, expected: float) -> None:
    body = b"{}" if details is None else b'{"details": {"retryAfterSeconds": %d}}' % details
    assert error_for(429, body, "GET /x", header).retry_after == expected


def test_terminating_namespace_is_told_by_its_cause() -> None:
    causes = {"causes": [{"reason": "NamespaceTerminating", "message": "…", "field": "metadata.namespace"}]}
    body = json.dumps(status(403, "Forbidden", "no", **causes)).encode()
    assert error_for(403, body, "POST /x").namespace_terminating
    assert not error_for(403, b'{"details": {"causes": [{"reason": "Else"}]}}', "POST /x").namespace_terminating


@pytest.mark.parametrize(
    "obstacle",
    [refuse(429), refuse(500), refuse(503), cut],
    ids=["throttled", "failed", "unavailable", "cut"],
)
async def test_not_now_is_asked_again(server: ApiServer, client: ApiClient, clock: FakeClock, obstacle: object) -> None:
    server.will("POST", obstacle, obstacle, say({"ok": 1}))  # type: ignore[arg-type]
    assert await client.request("POST", "/x", body=b'{"n": 1}') == b'{"ok": 1}'
    assert [each.body for each in server.asked] == [{"n": 1}] * 3
    assert len(clock.slept) == 2
    assert clock.slept[0] >= 0.1


async def test_a_body_is_heard_while_it_comes_until_that_is_enough(server: ApiServer, client: ApiClient) -> None:
    """Again from the start when it is asked for again; a refusal is no body."""
    heard: list[bytes] = []

    def began(head: bytes) -> bool:
        heard.append(head)
        return head.endswith(b"b\n")

    async def slowly(request: web.Request) -> web.StreamResponse:
        heard.clear()
        response = web.StreamResponse()
        await response.prepare(request)
        for number, part in enumerate((b"a\n", b"b\n", b"c\n"), 1):
            await response.write(part)
            async with asyncio.timeout(10):
                while len(heard) < min(number, 2):  # noqa: ASYNC110 (whatever it is that is waited for)
                    await asyncio.sleep(0.001)
        return response

    server.will("GET", refuse(500), stream(b"a\n", then="cut"), slowly)
    assert await client.request("GET", "/x", began=began) == b"a\nb\nc\n"
    assert heard == [b"a\n", b"a\nb\n"]


async def test_retry_after_is_honoured(server: ApiServer, client: ApiClient, clock: FakeClock) -> None:
    server.will("GET", refuse(429, Retry_After="7"), refuse(429, Retry_After="5"), say({}))
    await client.request("GET", "/x")
    assert clock.slept == [7.0, 5.0]


async def test_retry_after_is_not_obeyed_for_ever(server: ApiServer, client: ApiClient, clock: FakeClock) -> None:
    server.will("GET", refuse(429, Retry_After="86400"), say({}))
    await client.request("GET", "/x")
    assert clock.slept == [30.0]


@pytest.mark.parametrize("attempts", [1, 2, 4])
async def test_attempts_are_bounded(server: ApiServer, client: ApiClient, attempts: int) -> None:
    server.will("GET", *[refuse(500, message="broken")] * 9)
    with pytest.raises(ServerError, match=r"GET /x: 500 broken"):
        await client.request("GET", "/x", attempts=attempts)
    assert len(server.asked) == attempts


@pytest.mark.parametrize("code", [400, 403, 404, 409, 410, 422])
async def test_decided_is_decided(server: ApiServer, client: ApiClient, code: int) -> None:
    server.will("GET", refuse(code))
    with pytest.raises(ApiError) as caught:
        await client.request("GET", "/x")
    assert (caught.value.code, len(server.asked)) == (code, 1)


async def test_redirect_is_not_followed(server: ApiServer, client: ApiClient) -> None:
    """The token must not go to whoever a redirect names."""
    server.will("GET", say(b"", 302, Location="/elsewhere"))
    await client.request("GET", "/x")
    assert [each.path for each in server.asked] == ["/x"]


async def test_nobody_listens(server: ApiServer, clock: FakeClock, tmp_path: Path) -> None:
    async with client_of("http://127.0.0.1:1", tmp_path, clock) as client:
        with pytest.raises(Unreachable) as caught:
            await client.request("GET", "/x", attempts=2)
    assert caught.value.code == 0
    assert str(caught.value) == "GET /x: cannot connect to 127.0.0.1:1: connection refused"


async def test_proxy_that_nobody_is_at(clock: FakeClock, tmp_path: Path) -> None:
    cluster = {"proxy-url": "http://127.0.0.1:1"}
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://api.invalid:6443", cluster=cluster)
    async with ApiClient(Credentials(str(kubeconfig)), clock, user_agent="test") as client:
        with pytest.raises(Unreachable, match=r"cannot connect to the proxy 127\.0\.0\.1:1: connection refused$"):
            await client.request("GET", "/x", attempts=1)


async def test_name_that_nobody_knows(clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    async with client_of("http://api.invalid:6443", tmp_path, clock) as client:
        with pytest.raises(Unreachable) as caught:
            await client.request("GET", "/x", attempts=1)
    told = "cannot connect to api.invalid:6443: its name is not known (name or service not known)"
    assert str(caught.value) == f"GET /x: {told}"


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")])
@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (9, "certificate is not yet valid", "is of another time (certificate is not yet valid): renew it, or"),
        (10, "certificate has expired", "is of another time (certificate has expired): renew it, or"),
        (18, "self-signed certificate", "is not signed by the kubeconfig's own (self-signed certificate): is this the"),
        (62, "Hostname mismatch, for 'a'.", "is for other names (Hostname mismatch, for 'a'): use one of its"),
        (64, "IP address mismatch, for '::1'.", "is for other names (IP address mismatch, for '::1'): use one of its"),
    ],
)
def test_certificate_that_cannot_be_trusted(code: int, said: str, told: str, host: str, shown: str) -> None:
    reason = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    reason.verify_code, reason.verify_message = code, said
    key = ConnectionKey(host, 6443, True, True, None, None, None)
    error = aiohttp.ClientConnectorCertificateError(key, reason)
    text = api_client._untrusted(error, "the kubeconfig's own")
    assert text.startswith(f"the certificate of the API server at {shown}:6443 {told}")


@pytest.mark.parametrize("ask", ["request", "stream"])
async def test_silent_server_is_unreachable(
    server: ApiServer, client: ApiClient, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    monkeypatch.setattr(api_client, "_ANSWER", aiohttp.ClientTimeout(total=0.05))
    server.will("WATCH", stream(then="stay"))

    async def asked() -> None:
        if ask == "request":
            await client.request("GET", "/x", attempts=1)
        else:
            async with client.stream("/x", {"watch": "true"}, idle_seconds=0.05) as content:
                await content.read()

    with pytest.raises(Unreachable, match=r"GET /x: (no answer in time|Timeout on reading data from socket)"):
        await asked()


async def test_unauthorized_reads_the_credentials_anew_once(
    server: ApiServer, client: ApiClient, tmp_path: Path
) -> None:
    server.will("GET", refuse(401), say({}), refuse(401), refuse(401))
    write_kubeconfig(tmp_path / "kubeconfig", server.url, "rotated")
    await client.request("GET", "/x")
    assert [each.headers["Authorization"] for each in server.asked] == ["Bearer secret", "Bearer rotated"]
    with pytest.raises(Unauthorized):
        await client.request("GET", "/x")
    assert len(server.asked) == 4


async def test_watch_reads_the_credentials_anew(server: ApiServer, client: ApiClient, tmp_path: Path) -> None:
    server.will("WATCH", refuse(401), stream())
    write_kubeconfig(tmp_path / "kubeconfig", server.url, "rotated")
    with pytest.raises(Unauthorized):
        async with client.stream("/x", {"watch": "true"}, idle_seconds=5):
            pass
    async with client.stream("/x", {"watch": "true"}, idle_seconds=5):
        pass
    assert [each.headers["Authorization"] for each in server.asked] == ["Bearer secret", "Bearer rotated"]


@pytest.mark.parametrize("left", ["", "nonsense: [", None], ids=["empty", "half-written", "missing"])
async def test_credentials_that_cannot_be_read_just_now_are_an_api_error(
    server: ApiServer, client: ApiClient, tmp_path: Path, left: str | None
) -> None:
    """While somebody rotates the file it may be missing or cut short: a reason to wait, not to die."""
    server.will("GET", refuse(401), refuse(401))
    if left is None:
        (tmp_path / "kubeconfig").unlink()
    else:
        (tmp_path / "kubeconfig").write_text(left)
    with pytest.raises(ApiError):
        await client.request("GET", "/x")


async def test_limited_client_waits(server: ApiServer, clock: FakeClock, tmp_path: Path) -> None:
    server.will("GET", *[say({})] * 4)
    async with client_of(server.url, tmp_path, clock, qps=2.0, burst=2) as client:
        for _ in range(4):
            await client.request("GET", "/x")
    assert clock.slept == pytest.approx([0.5, 0.5])


async def test_rate_limiter_fills_up_again_but_not_beyond_the_burst(clock: FakeClock) -> None:
    limiter = RateLimiter(10.0, 3, clock)
    for _ in range(3):
        await limiter.wait()
    assert clock.slept == []
    await limiter.wait()
    assert clock.slept == pytest.approx([0.1])
    clock.time += 3600
    for _ in range(4):
        await limiter.wait()
    assert len(clock.slept) == 2


async def test_closed_client_says_so(clock: FakeClock, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="context manager"):
        await client_of("http://127.0.0.1:1", tmp_path, clock).request("GET", "/x")


async def test_warning_of_the_server_is_logged_once(
    server: ApiServer, client: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Every request for Endpoints is answered with one."""
    old, odd = '299 - "v1 Endpoints is deprecated"', '299 - "say \\"no\\"", 299 - "two"'
    server.will("PUT", say({}, Warning=old), say({}, Warning=old), refuse(409, "Conflict", Warning=odd))
    with caplog.at_level("INFO", "controllers"):
        await client.request("PUT", "/a")
        await client.request("PUT", "/a")
        with pytest.raises(Conflict):
            await client.request("PUT", "/a")
    told = [record.__dict__["values"]["warning"] for record in caplog.records]
    assert told == ["v1 Endpoints is deprecated", 'say "no"', "two"]
