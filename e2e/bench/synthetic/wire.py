"""HTTP/1.1 as far as clients of an API server speak it: requests with a length, answers, and watches in chunks.

Not aiohttp.web: measured here, that takes 150 µs of CPU for a PUT over TLS before anything is done with it, and this
server shares two cores with what it measures.
"""

import asyncio
import itertools
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import parse_qsl, unquote

# As kube-apiserver does it: a list that is larger than this is compressed, at level 1, for those who ask.
_GZIP_ABOVE: Final = 128 * 1024
# And net/http: what does not fit its buffer is sent in chunks, without a length.
_CHUNKED_ABOVE: Final = 2048
_CHUNK: Final = 32 * 1024
_LONGEST: Final = 4 * 1024 * 1024

_audits: Final = itertools.count()


@dataclass(slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Answer:
    """A status and a JSON body; `sent` is called when it has been handed to the connection."""

    status: int
    body: bytes
    warning: bytes = b""
    sent: Callable[[], None] | None = None


# Answers at once, or takes the connection over (a watch) and returns None.
Handler = Callable[[Request, "Connection"], Answer | None]


def _head(status: int, more: bytes) -> bytes:
    phrase = HTTPStatus(status).phrase
    return (
        (
            f"HTTP/1.1 {status} {phrase}\r\nAudit-Id: 5eed0000-0000-4000-8000-{next(_audits):012x}\r\n"
            "Cache-Control: no-cache, private\r\nContent-Type: application/json\r\n"
        ).encode()
        + more
        + (
            b"X-Kubernetes-Pf-Flowschema-Uid: 5eed0000-0000-4000-8000-00000000000f\r\n"
            b"X-Kubernetes-Pf-Prioritylevel-Uid: 5eed0000-0000-4000-8000-000000000010\r\n"
            b"Date: %b\r\n" % formatdate(usegmt=True).encode()
        )
    )


def chunk(data: bytes) -> bytes:
    """One chunk of an answer without a length."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def parse_head(head: bytes) -> Request:
    """A request without its body. Raises ValueError when it is none."""
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.decode().split(" ")
    path, _, query = target.partition("?")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    if b"transfer-encoding" in headers:
        raise ValueError("bodies need a length")
    return Request(method, unquote(path), dict(parse_qsl(query)) if query else {}, headers, b"")


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._data = b""
        self._request: Request | None = None
        self._needed = 0
        self._taken = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport | None = None
        self.closed: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's, over TLS, is none by its class.
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        if self.closed is not None:
            self.closed()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._transport is not None and not self._taken:
            if self._request is None and not self._begin():
                return
            if self._request is None or len(self._data) < self._needed:
                return
            request, self._request = self._request, None
            request.body, self._data = self._data[: self._needed], self._data[self._needed :]
            self._answer(request)

    def _begin(self) -> bool:
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return False
        try:
            request = parse_head(head)
            self._needed = int(request.headers.get(b"content-length", b"0"))
        except ValueError:
            self._needed = _LONGEST + 1
        if self._needed > _LONGEST:
            self.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.close()
            return False
        self._request, self._data = request, rest
        return True

    def _answer(self, request: Request) -> None:
        answer = self._handle(request, self)
        if answer is None:
            self._taken = True
            return
        body = answer.body
        more = b"Warning: %b\r\n" % answer.warning if answer.warning else b""
        if (
            request.method == "GET"
            and len(body) > _GZIP_ABOVE
            and b"gzip" in request.headers.get(b"accept-encoding", b"")
        ):
            packer = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = packer.compress(body) + packer.flush()
            more += b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        head = _head(answer.status, more)
        if len(body) <= _CHUNKED_ABOVE:
            self.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            parts = [chunk(body[start : start + _CHUNK]) for start in range(0, len(body), _CHUNK)]
            self.write(b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (head, b"".join(parts)))
        if answer.sent is not None:
            answer.sent()

    def begin_stream(self, warning: bytes = b"") -> None:
        """Answers 200 and goes on in chunks, for as long as the watch lasts."""
        more = b"Warning: %b\r\n" % warning if warning else b""
        self.write(_head(200, more) + b"Transfer-Encoding: chunked\r\n\r\n")

    def end_stream(self) -> None:
        """The watch is over; the connection may be used again."""
        self.write(b"0\r\n\r\n")
        self._taken = False
        self.closed = None
        self.data_received(b"")

    def write(self, data: bytes) -> None:
        """Sends as much as it can, keeps the rest; nothing when the client has gone."""
        if self._transport is not None:
            self._transport.write(data)

    async def drain(self) -> None:
        """Returns when more may be sent without keeping much."""
        await self._writable.wait()

    @property
    def open(self) -> bool:
        """Whether the client is still there."""
        return self._transport is not None

    @property
    def behind(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        """Ends the connection."""
        if self._transport is not None:
            self._transport.close()
