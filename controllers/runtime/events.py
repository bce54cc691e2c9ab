"""Events on objects, recorded as well as can be and never in the way (ES-143).

The same message again raises a count instead of making a second Event; an object gets 25 at once and then one every
five minutes; when the API server is slow, Events are dropped and counted.
"""

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import msgspec

from controllers.model.plan import Notice
from controllers.runtime.api_client import MERGE_PATCH, ApiClient
from controllers.runtime.clock import Clock
from controllers.runtime.errors import AlreadyExists, ApiError, NotFound
from controllers.telemetry import metrics
from controllers.telemetry.logs import bind

_REMEMBERED: Final = 4096
_WAITING: Final = 1000
_BURST: Final = 25
_REFILL_SECONDS: Final = 300.0
_LONGEST_MESSAGE: Final = 1024
# A name may have 253 characters; the time takes 17 of them.
_LONGEST_STEM: Final = 236


@dataclass(frozen=True)
class Regarding:
    """The object that an Event is about."""

    kind: str
    namespace: str
    name: str
    uid: str
    api_version: str = "v1"


@dataclass
class _Recorded:
    name: str
    count: int


@dataclass
class _Budget:
    tokens: float
    at: float


class EventRecorder:
    """Records core/v1 Events for one component, in the background."""

    def __init__(self, client: ApiClient, clock: Clock, component: str) -> None:
        self._client, self._clock, self._component = client, clock, component
        self._queue: asyncio.Queue[tuple[Regarding, Notice]] = asyncio.Queue(_WAITING)
        self._recorded: OrderedDict[tuple[Regarding, Notice], _Recorded] = OrderedDict()
        self._budgets: OrderedDict[Regarding, _Budget] = OrderedDict()
        self._log = bind("controllers.runtime.events")

    def record(self, about: Regarding, notice: Notice) -> None:
        """Asks for an Event; returns at once."""
        message = notice.message
        if len(message) > _LONGEST_MESSAGE:
            notice = Notice(notice.type, notice.reason, message[: _LONGEST_MESSAGE - 1] + "…")
        if self._allowed(about):
            try:
                self._queue.put_nowait((about, notice))
                return
            except asyncio.QueueFull:
                pass
        metrics.EVENTS_DROPPED.inc()

    def _allowed(self, about: Regarding) -> bool:
        now = self._clock.now()
        budget = self._budgets.pop(about, None) or _Budget(_BURST, now)
        budget.tokens = min(_BURST, budget.tokens + (now - budget.at) / _REFILL_SECONDS)
        budget.at = now
        self._budgets[about] = budget
        if len(self._budgets) > _REMEMBERED:
            self._budgets.popitem(last=False)
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        return True

    async def run(self) -> None:
        """Writes Events until cancelled."""
        while True:
            about, notice = await self._queue.get()
            # What a replica sees that does not lead is kept until it does: it is the leader's to tell.
            while not self._client.may_write():
                await self._clock.sleep(1.0)
            try:
                await self._write(about, notice)
            except ApiError as error:
                metrics.EVENTS_DROPPED.inc()
                self._log.info("Event not recorded", reason=notice.reason, error=str(error))

    async def _write(self, about: Regarding, notice: Notice) -> None:
        now = self._clock.wall()
        time = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        path = f"/api/v1/namespaces/{about.namespace or 'default'}/events"
        known = self._recorded.get((about, notice))
        if known is not None:
            patch = msgspec.json.encode({"count": known.count + 1, "lastTimestamp": time})
            try:
                await self._client.request(
                    "PATCH", f"{path}/{known.name}", body=patch, content_type=MERGE_PATCH, attempts=2
                )
            except NotFound:
                # It has expired: a new one takes its place.
                del self._recorded[(about, notice)]
            else:
                known.count += 1
                self._recorded.move_to_end((about, notice))
                return
        name = f"{about.name[:_LONGEST_STEM].rstrip('-.')}.{int(now.timestamp() * 1e9):x}"
        body = msgspec.json.encode(self._event(name, about, notice, time))
        # There already: the answer to a first attempt was lost.
        with contextlib.suppress(AlreadyExists):
            await self._client.request("POST", path, body=body, attempts=2)
        self._recorded[(about, notice)] = _Recorded(name, 1)
        if len(self._recorded) > _REMEMBERED:
            self._recorded.popitem(last=False)

    def _event(self, name: str, about: Regarding, notice: Notice, time: str) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": about.namespace or "default"},
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "type": notice.type,
            "reason": notice.reason,
            "message": notice.message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
