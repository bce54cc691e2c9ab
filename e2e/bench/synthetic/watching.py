"""Watches: who follows a kind, and the last events, for those who come back."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from e2e.bench.synthetic.wire import Connection, chunk

_KEPT: Final = 10_000
_BOOKMARK_SECONDS: Final = 60.0
# A client that is so far behind is not waited for: the API server too ends such a watch.
_FARTHEST_BEHIND: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Wanted:
    """What a watch asks for; empty means any."""

    namespace: str = ""
    name: str = ""

    def matches(self, namespace: str, name: str) -> bool:
        return self.namespace in ("", namespace) and self.name in ("", name)


@dataclass(eq=False)
class _Watcher:
    connection: Connection
    wanted: Wanted
    # What happens while the initial state is still being sent comes after it.
    waiting: list[bytes] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, frame: bytes) -> None:
        if self.waiting is not None:
            self.waiting.append(frame)
        elif self.connection.behind > _FARTHEST_BEHIND:
            self.ended.set()
        else:
            self.connection.write(frame)


def event(kind: str, text: bytes) -> bytes:
    """A line of a watch."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), text)


def expired(version: int, oldest: int) -> bytes:
    """The end of a watch that wants to know what is not known any more."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"too old resource version: {version} ({oldest})",
        "reason": "Expired",
        "code": 410,
    }
    return event("ERROR", json.dumps(status, separators=(",", ":")).encode())


class Channel:
    """The events of one kind, in order."""

    def __init__(self, bookmark: Callable[[bool], bytes], first: int) -> None:
        """`bookmark` makes one at the present version, as the end of the initial events or not."""
        self._bookmark = bookmark
        self._events: deque[tuple[int, str, str, bytes]] = deque(maxlen=_KEPT)
        self._oldest = first
        self._watchers: set[_Watcher] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def followed(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def publish(self, version: int, namespace: str, name: str, line: bytes) -> None:
        """Tells everybody who wants to know."""
        frame = chunk(line)
        if len(self._events) == _KEPT:
            self._oldest = self._events[0][0]
        self._events.append((version, namespace, name, frame))
        for watcher in self._watchers:
            if watcher.wanted.matches(namespace, name):
                watcher.send(frame)

    def follow(
        self,
        connection: Connection,
        wanted: Wanted,
        *,
        since: int | None,
        initial: Iterable[bytes] = (),
        bookmarks: bool,
        marked: bool,
        seconds: float,
    ) -> None:
        """Serves a watch from a version on, or (`since` None) after the `initial` lines, `marked` at their end."""
        watcher = _Watcher(connection, wanted)
        if since is None:
            watcher.waiting = []
        elif since < self._oldest:
            connection.write(chunk(expired(since, self._oldest)))
            connection.end_stream()
            return
        else:
            for version, namespace, name, frame in self._events:
                if version > since and wanted.matches(namespace, name):
                    connection.write(frame)
        self._watchers.add(watcher)
        connection.closed = watcher.ended.set
        task = asyncio.create_task(self._serve(watcher, initial, bookmarks, marked, seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(
        self, watcher: _Watcher, initial: Iterable[bytes], bookmarks: bool, marked: bool, seconds: float
    ) -> None:
        try:
            if watcher.waiting is not None:
                await self._begin(watcher, initial, marked)
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            while not watcher.ended.is_set() and loop.time() < until:
                try:
                    async with asyncio.timeout(min(_BOOKMARK_SECONDS, until - loop.time())):
                        await watcher.ended.wait()
                except TimeoutError:
                    if bookmarks and loop.time() < until:
                        watcher.send(chunk(self._bookmark(False)))
        finally:
            self._watchers.discard(watcher)
            watcher.connection.end_stream()

    async def _begin(self, watcher: _Watcher, initial: Iterable[bytes], marked: bool) -> None:
        """Sends what exists, no faster than the client takes it; then what has happened meanwhile."""
        # Each on its own, as the API server flushes them: what wakes the client how often is part of what is measured.
        for line in initial:
            watcher.connection.write(chunk(line))
            await asyncio.sleep(0)
            await watcher.connection.drain()
            if not watcher.connection.open:
                return
        if marked:
            watcher.connection.write(chunk(self._bookmark(True)))
        waiting, watcher.waiting = watcher.waiting or [], None
        for frame in waiting:
            watcher.send(frame)
