"""What makes a process start sooner, and end without noise when it is told to before it has started."""

import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

# aiohttp reads the system's certificates when it is imported, for connections that bring no TLS context. Ours do.
_CERTIFICATES: Final = "SSL_CERT_FILE"
# What a shell says of a command that Ctrl-C has ended.
INTERRUPTED: Final = 128 + signal.SIGINT

_under_way = 0


def ends_quietly(*, until_stopped: bool) -> None:
    """From now on, until somebody else handles them, signals end the process without a word.

    SIGINT with INTERRUPTED; of a command that runs until it is stopped, SIGINT and SIGTERM with 0.
    """
    status = 0 if until_stopped else INTERRUPTED

    def end(number: int, frame: FrameType | None) -> None:
        if _under_way:
            # Nothing is held yet, and an exception could be swallowed or told of by what is being imported.
            os._exit(status)
        raise SystemExit(status)

    for number in (signal.SIGINT, signal.SIGTERM) if until_stopped else (signal.SIGINT,):
        # Who starts us in the background of a shell has SIGINT ignored.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)


@contextmanager
def importing() -> Iterator[None]:
    """While it lasts, modules are imported in three quarters of the time: none of what they make is garbage.

    Who connects with aiohttp's own TLS context may find that it trusts nobody.
    """
    global _under_way
    before = os.environ.get(_CERTIFICATES)
    os.environ[_CERTIFICATES] = os.devnull
    collecting = gc.isenabled()
    gc.disable()
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1
        if collecting:
            gc.enable()
        if before is None:
            del os.environ[_CERTIFICATES]
        else:
            os.environ[_CERTIFICATES] = before
