"""
What can go wrong when the API server is asked, each with one consequence. aiohttp's exceptions stop at `api_client.py`.

ApiError
  Unreachable        no answer came: the request may or may not have been carried out; asked again with back-off
    Untrusted        whoever answers cannot show that it is the API server; the text says what to do
  Unauthorized       401: the credentials are read anew, once
  Forbidden          403: shown to the user, tried again with back-off (`namespace_terminating` tells the harmless case)
  NotFound           404
  Conflict           409: somebody else wrote; read again, then plan again
    AlreadyExists    409 on a create
  Expired            410: a watch or list is too old; list anew
  Invalid            422: the object is refused as it is
  NotLeading         a write that was not sent, because this replica does not lead (any more)
  Throttled          429: asked again after `retry_after` seconds
  ServerError        5xx
"""

from typing import Final

import msgspec


class _Cause(msgspec.Struct):
    reason: str = ""


class _Details(msgspec.Struct, rename="camel"):
    causes: list[_Cause] | None = None
    retry_after_seconds: int = 0


class Status(msgspec.Struct):
    """meta.v1 Status, as far as it is read."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


class ApiError(Exception):
    """The API server's refusal, or its silence; `code` is the HTTP status, 0 when there was no answer."""

    def __init__(self, message: str, *, status: Status | None = None, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status or Status()
        self.code = self.status.code
        asked = self.status.details.retry_after_seconds if self.status.details else 0
        self.retry_after = max(retry_after or float(asked), 0.0)

    @property
    def version_from_the_future(self) -> bool:
        """Whether the server does not know a resourceVersion yet that it has told us: its history went back."""
        details = self.status.details
        return details is not None and any(cause.reason == "ResourceVersionTooLarge" for cause in details.causes or ())

    @property
    def namespace_terminating(self) -> bool:
        """Whether a create was refused because its Namespace is being deleted (ES-73)."""
        details = self.status.details
        return details is not None and any(cause.reason == "NamespaceTerminating" for cause in details.causes or ())


class NotLeading(ApiError):
    """A write that was not sent: another replica may lead by now, or soon."""


class Unreachable(ApiError): ...


class Untrusted(Unreachable): ...


class Unauthorized(ApiError): ...


class Forbidden(ApiError): ...


class NotFound(ApiError): ...


class Conflict(ApiError): ...


class AlreadyExists(Conflict): ...


class Expired(ApiError): ...


class Invalid(ApiError): ...


class Throttled(ApiError): ...


class ServerError(ApiError): ...


_BY_CODE: Final[dict[int, type[ApiError]]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    422: Invalid,
    429: Throttled,
}


def error_for(code: int, body: bytes, about: str, retry_after: str | None = None) -> ApiError:
    """The error for an answer; `about` is what was asked ("PUT /apis/…"), `retry_after` the header of that name."""
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        status = Status(message=body[:200].decode(errors="replace"))
    status.code = code
    kind = _BY_CODE.get(code, ServerError if code >= 500 else ApiError)
    if kind is Conflict and status.reason == "AlreadyExists":
        kind = AlreadyExists
    seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else 0.0
    return kind(f"{about}: {code} {status.message or status.reason}".rstrip(), status=status, retry_after=seconds)
