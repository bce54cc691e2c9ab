"""Waiting for a cluster to become as it should be: no test depends on how long that takes."""

import time
from collections.abc import Callable
from typing import TypeVar

import urllib3

from e2e.cluster.rest import ApiError

T = TypeVar("T")

PATIENCE = 60.0


def eventually(check: Callable[[], T], timeout: float = PATIENCE) -> T:
    """Calls `check` until its assertions hold, and returns what it returns; the last failure is raised in the end.

    An API server that is away, or an object that is not there yet, is a reason to wait.
    """
    until = time.monotonic() + timeout
    while True:
        try:
            return check()
        except (AssertionError, LookupError, ValueError, ApiError, urllib3.exceptions.HTTPError):
            if time.monotonic() > until:
                raise
        time.sleep(0.1)
