"""Where the webhooks are served: whether that can be, asked before anything else is done, and told as its flag."""

import contextlib
import errno
import socket
from typing import Any, Final, NamedTuple

_FLAG: Final = "--webhook-bind-address"


class Place(NamedTuple):
    """An address to listen at; `host` "" is every interface."""

    host: str
    port: int


def place_of(address: str) -> Place:
    """HOST:PORT, as it has been checked; an IPv6 address may be in brackets."""
    host, _, port = address.rpartition(":")
    return Place(host.strip("[]"), int(port))


def try_out(address: str) -> None:
    """Binds the address for a moment, as the server will, and not exclusively: replicas may share it.

    Raises OSError, in words for who has given the flag.
    """
    host, port = place_of(address)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        lacking: OSError | None = None
        tried = 0
        for family, kind, protocol, _, where in dict.fromkeys(found):
            try:
                made = socket.socket(family, kind, protocol)
            except OSError as error:
                # A kernel without IPv6: the server goes on without it, too.
                lacking = error
                continue
            with contextlib.closing(made):
                _bind(made, where)
            tried += 1
        if lacking is not None and not tried:
            raise lacking
    except (OSError, UnicodeError) as error:
        raise told(address, error) from error


def _bind(made: socket.socket, where: Any) -> None:  # noqa: ANN401 (each family's own)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(where)


def told(address: str, error: OSError | UnicodeError) -> OSError:
    """What is wrong with the address, and what to do about it. UnicodeError is what no name can be."""
    host, port = place_of(address)
    if isinstance(error, socket.gaierror | UnicodeError):
        what = "this host is not known: give an address of this machine, or leave it out for all of them"
    elif error.errno == errno.EADDRINUSE:
        what = "another program has this port: give another one, or end that program"
    elif error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        what = "this machine has no such address: " + (
            "give one that it has, or leave it out for all of them" if host else f"without IPv6, give 0.0.0.0:{port}"
        )
    elif error.errno == errno.EACCES:
        what = "this port takes more rights: give one from 1024 on"
    else:
        what = f"the webhooks cannot be served there: {(error.strerror or str(error)).lower()}"
    return OSError(f"{_FLAG}={address}: {what}")
