"""What makes a process start sooner."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# aiohttp reads the system's certificates when it is imported, for connections that bring no TLS context. Ours do.
_CERTIFICATES: Final = "SSL_CERT_FILE"


@contextmanager
def importing() -> Iterator[None]:
    """While it lasts, modules are imported in three quarters of the time: none of what they make is garbage.

    Who connects with aiohttp's own TLS context may find that it trusts nobody.
    """
    before = os.environ.get(_CERTIFICATES)
    os.environ[_CERTIFICATES] = os.devnull
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        if before is None:
            del os.environ[_CERTIFICATES]
        else:
            os.environ[_CERTIFICATES] = before
