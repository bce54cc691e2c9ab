"""Waiting for what must come: no test depends on how long that takes."""

import asyncio
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


def eventually_true(true: Callable[[], object], why: Callable[[], str] = lambda: "") -> None:
    """Calls `true` until what it returns is; `why` adds to what is said in the end."""

    def check() -> None:
        assert true(), f"it did not become true in time\n{why()}"

    eventually(check, timeout=2 * PATIENCE)


async def until(true: Callable[[], bool], within: float = PATIENCE) -> None:
    """The same on a loop, for what takes no time to ask; by the loop's own clock."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 (what is waited for tells nobody)
            await asyncio.sleep(0.005)
