"""Kinds that the API server does not know (yet): told once and in words, where its answer is "404 page not found"."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from api.v1alpha1.common import API_VERSION
from controllers.ipam_operator import kinds
from controllers.runtime.api_client import ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.credentials import Credentials
from controllers.runtime.errors import NotFound
from controllers.runtime.watch import Kind, Reflector
from controllers.telemetry.logs import bind

# From one question to the next, whether it knows the kind now; up to half as much again.
_PAUSE: Final = 2.0
_FOLLOWED: Final = {each.path: each for each in kinds.FOLLOWED}


class NotServed(Exception):
    """The API server does not know this kind. No ApiError: a reflector would log each, and ask on by itself."""

    def __init__(self, kind: Kind[Any]) -> None:
        super().__init__(not_served(kind))


def not_served(kind: Kind[Any]) -> str:
    """What that means, and what to do."""
    if API_VERSION in kind.path:
        return (
            f"the API server does not know the kind {kind.name} ({API_VERSION}): apply config/crd first, such as by"
            " kubectl apply -k config/crd"
        )
    return f"the API server does not serve {kind.path}: it takes Kubernetes 1.33 or newer, where {kind.name} is in v1"


class WatchingClient(ApiClient):
    """Raises NotServed, where a collection that we follow is listed or watched, in place of NotFound.

    `unknown` has what is to be said of each kind, by its name, that the API server did not know when last asked.
    """

    def __init__(self, credentials: Credentials, clock: Clock, *, user_agent: str) -> None:
        super().__init__(credentials, clock, user_agent=user_agent)
        self.unknown: dict[str, str] = {}
        self._log = bind("controllers.ipam_operator.served")

    async def request(self, method: str, path: str, **more: Any) -> bytes:  # noqa: ANN401 (as ApiClient's)
        """As ApiClient's; raises NotServed, too."""
        kind = _FOLLOWED.get(path) if method == "GET" else None
        if kind is None:
            return await super().request(method, path, **more)
        try:
            answer = await super().request(method, path, **more)
        except NotFound as error:
            raise self._lacks(kind) from error
        self.unknown.pop(kind.name, None)
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], *, idle_seconds: float
    ) -> AsyncGenerator[aiohttp.StreamReader]:
        """As ApiClient's; raises NotServed, too."""
        kind = _FOLLOWED.get(path)
        try:
            async with super().stream(path, query, idle_seconds=idle_seconds) as content:
                if kind is not None:
                    self.unknown.pop(kind.name, None)
                yield content
        except NotFound as error:
            if kind is None:
                raise
            raise self._lacks(kind) from error

    def _lacks(self, kind: Kind[Any]) -> NotServed:
        """What to raise. Logs it once, until the kind has been there again."""
        found = NotServed(kind)
        if kind.name not in self.unknown:
            self.unknown[kind.name] = str(found)
            self._log.warning("kind not served", kind=kind.name, error=str(found))
        return found


async def follow(reflector: Reflector[Any], clock: Clock) -> None:
    """Runs a reflector until cancelled, also while the API server does not know its kind: that is asked on and on."""
    while True:
        try:
            await reflector.run()
        except NotServed:
            reflector.last_progress = clock.now()
            await clock.sleep(_PAUSE * random.uniform(1.0, 1.5))
