"""A fake API server in virtual time, and the client of one process: they lose, refuse, delay and reorder what they may.

Every delay and fault belongs to one request and is drawn from a generator of its own, seeded with who asks for what for
the how manieth time: so what else happens at the same moment changes nothing of it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any, Final, NamedTuple

from controllers.runtime import watch
from controllers.runtime.api_client import JSON, METADATA_ONLY
from controllers.runtime.errors import ApiError, NotLeading, ServerError, Throttled, Unreachable, error_for
from e2e.cluster.rest import Object
from tests.runtime.clocks import LoopClock

Key = tuple[str, str]

KINDS: Final[dict[str, watch.Kind[Any]]] = {
    kind.path: kind for kind in (watch.PODS, watch.SERVICES, watch.NODES, watch.SLICES, watch.ENDPOINTS)
}
# What the API server writes first of an object's metadata: its own resourceVersion, before those that it refers to.
_FIRST: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_CREATED: Final = "2026-01-01T00:00:00Z"


def dumped(what: Object) -> bytes:
    """JSON as the API server writes it, without spaces."""
    return json.dumps(what, separators=(",", ":")).encode()


class Event(NamedTuple):
    """A line of a watch, and the version from which on it is known."""

    version: int
    line: bytes


class Page(NamedTuple):
    """What a continue token stands for: the rest of a list as it was at a version, and how much of it is one page."""

    version: int
    items: list[Object]
    size: int


class Target(NamedTuple):
    """What a path names: a collection, and in it a Namespace's objects or one of them."""

    collection: str
    namespace: str
    name: str | None


class Server:
    """The objects, by kind; what has happened to them; and how often what is asked goes wrong."""

    def __init__(self, seed: int) -> None:
        self.seed, self.version, self.writes = seed, 10, 0
        self.objects: dict[str, dict[Key, Object]] = {path: {} for path in KINDS}
        # The share of requests and watches that go wrong, and the longest delay of an answer in seconds.
        self.faults, self.slowest = 0.0, 0.1
        self._events: dict[str, list[Event]] = {path: [] for path in KINDS}
        self._compacted = dict.fromkeys(KINDS, 0)
        self._news = {path: asyncio.Event() for path in KINDS}
        self._pages: dict[str, Page] = {}
        self._uids = count(1)
        self._asked: Counter[str] = Counter()

    def chance(self, what: str) -> Random:
        """The generator for what happens to one request."""
        self._asked[what] += 1
        return Random(f"{self.seed} {what} {self._asked[what]}")

    def save(self, path: str, key: Key, given: Object) -> Object:
        """Creates or replaces an object; one that would stay as it is is not written."""
        old = self.objects[path].get(key)
        kept = old["metadata"] if old else {"uid": f"u{next(self._uids)}", "creationTimestamp": _CREATED}
        own = {field: kept[field] for field in ("uid", "resourceVersion", "creationTimestamp") if field in kept}
        new = {**given, "metadata": {**given["metadata"], **own}}
        if new == old:
            return new
        self.version += 1
        saved = self.objects[path][key] = _stamped(new, self.version)
        self._tell(path, "MODIFIED" if old else "ADDED", saved)
        return saved

    def remove(self, path: str, key: Key) -> None:
        """Deletes an object, if there is one."""
        old = self.objects[path].pop(key, None)
        if old is not None:
            self.version += 1
            self._tell(path, "DELETED", _stamped(old, self.version))

    def compact(self, path: str) -> None:
        """Forgets what has happened: who has not seen it yet must list anew (410)."""
        self._compacted[path] = self.version

    def collect_garbage(self) -> None:
        """Deletes the slices whose owners have all gone (ES-32.2, MI-57)."""
        owners = {each["metadata"]["uid"] for kind in (watch.SERVICES, watch.ENDPOINTS) for each in self.all(kind.path)}
        for key, found in sorted(self.objects[watch.SLICES.path].items()):
            references = found["metadata"].get("ownerReferences")
            if references and not any(each["uid"] in owners for each in references):
                self.remove(watch.SLICES.path, key)

    def all(self, path: str) -> list[Object]:
        """The objects of a kind, in the order of their names."""
        return [found for _, found in sorted(self.objects[path].items())]

    def since(self, path: str, version: int) -> list[Event] | None:
        """What has happened after a version; None when that is not known any more."""
        if version < self._compacted[path]:
            return None
        events = self._events[path]
        begin = len(events)
        while begin and events[begin - 1].version > version:
            begin -= 1
        return events[begin:]

    def news(self, path: str) -> asyncio.Event:
        """Set when something happens after now."""
        return self._news[path]

    def _tell(self, path: str, kind: str, found: Object) -> None:
        self._events[path].append(Event(self.version, dumped({"type": kind, "object": found}) + b"\n"))
        self._news[path].set()
        self._news[path] = asyncio.Event()

    def page(self, path: str, token: str, chance: Random) -> bytes | ApiError:
        """A page of a list, the same each time that its token is given."""
        if token and (token not in self._pages or chance.random() < self.faults / 2):
            return refused(410, "Expired", path)
        page = self._pages[token] if token else Page(self.version, self.all(path), chance.choice((1, 3, 500)))
        meta = {"resourceVersion": str(page.version)}
        rest = page.items[page.size :]
        if rest:
            meta["continue"] = f"{path} {page.version} {page.size} {len(rest)}"
            self._pages.setdefault(meta["continue"], Page(page.version, rest, page.size))
        return dumped({"kind": "List", "metadata": meta, "items": page.items[: page.size]})

    def read(self, target: Target) -> bytes | ApiError:
        """One object."""
        found = self.objects[target.collection].get((target.namespace, target.name or ""))
        kind = KINDS[target.collection].name
        return dumped({"kind": kind, **found}) if found else refused(404, "NotFound", str(target))

    def create(self, target: Target, given: Object) -> bytes | ApiError:
        """A new object under a name of the client's choice."""
        key = (target.namespace, given["metadata"]["name"])
        assert not {"resourceVersion", "uid"} & set(given["metadata"]), given
        if key in self.objects[target.collection]:
            return refused(409, "AlreadyExists", str(key))
        return self._written(target, key, given)

    def update(self, target: Target, given: Object) -> bytes | ApiError:
        """An object replaced, if it is still the one that was meant."""
        key = (target.namespace, target.name or "")
        return self._not_meant(target, key, given["metadata"]) or self._written(target, key, given)

    def delete(self, target: Target, options: Object) -> bytes | ApiError:
        """An object deleted, if it is still the one that was meant."""
        key = (target.namespace, target.name or "")
        failure = self._not_meant(target, key, options["preconditions"])
        if failure is not None:
            return failure
        self.remove(target.collection, key)
        self.writes += 1
        return dumped({"kind": "Status", "status": "Success"})

    def _not_meant(self, target: Target, key: Key, meant: Object) -> ApiError | None:
        found = self.objects[target.collection].get(key)
        if found is None:
            return refused(404, "NotFound", str(key))
        same = all(meant[field] == found["metadata"][field] for field in ("uid", "resourceVersion"))
        return None if same else refused(409, "Conflict", str(key))

    def _written(self, target: Target, key: Key, given: Object) -> bytes:
        own = {field: value for field, value in given.items() if field not in ("kind", "apiVersion")}
        self.writes += 1
        saved = self.save(target.collection, key, own)
        return dumped({"kind": "PartialObjectMetadata", "metadata": saved["metadata"]})


def refused(code: int, reason: str, about: str) -> ApiError:
    """The error that an answer of this code becomes."""
    return error_for(code, dumped({"kind": "Status", "code": code, "reason": reason, "message": reason}), about)


def _stamped(found: Object, version: int) -> Object:
    """An object at a version, its metadata in the API server's order."""
    metadata = {**found["metadata"], "resourceVersion": str(version)}
    first = {field: metadata[field] for field in _FIRST if field in metadata}
    return {
        "metadata": {**first, **metadata},
        **{field: value for field, value in found.items() if field != "metadata"},
    }


def target_of(path: str) -> Target | None:
    """What a path names; None for what this server does not keep, which are Events."""
    for collection in KINDS:
        group, _, plural = collection.rpartition("/")
        if path == collection:
            return Target(collection, "", None)
        if path.startswith(f"{group}/namespaces/"):
            namespace, kind, *name = path.removeprefix(f"{group}/namespaces/").split("/")
            if kind == plural:
                return Target(collection, namespace, name[0] if name else None)
    return None


class Client:
    """Asks the server for one process, as `ApiClient` does: what is only "not now" is asked again."""

    def __init__(self, server: Server, process: str) -> None:
        self.may_write: Callable[[], bool] = lambda: True
        self._server, self._process = server, process
        # Requests that have been sent are carried out, whether or not somebody still waits for the answer.
        self._sent: set[asyncio.Task[bytes | ApiError]] = set()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        accept: str = JSON,
        content_type: str = JSON,
        attempts: int = 4,
        began: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        for left in range(attempts - 1, -1, -1):
            try:
                return await self._once(method, path, query or {}, body, accept, began)
            except (Unreachable, ServerError, Throttled):
                if not left:
                    raise
                await asyncio.sleep(0.2)
        raise AssertionError("no attempt was left")

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None,
        accept: str,
        began: Callable[[bytes], bool] | None,
    ) -> bytes:
        server, about = self._server, f"{method} {path}"
        if method != "GET" and not self.may_write():
            raise NotLeading(about)
        target = target_of(path)
        if target is None:
            return b"{}"
        token = query.get("continue", "")
        chance = server.chance(f"{self._process} {about} {token}")
        carried_out = asyncio.create_task(self._carried_out(method, target, token, body, chance))
        self._sent.add(carried_out)
        carried_out.add_done_callback(self._sent.discard)
        answer = await asyncio.shield(carried_out)
        await self._lag(chance)
        if isinstance(answer, bytes) and began is not None:
            await self._begin(answer, began, chance)
        if chance.random() < server.faults:
            raise Unreachable(f"{about}: the answer was lost")
        if isinstance(answer, ApiError):
            raise answer
        assert method not in ("POST", "PUT") or accept == METADATA_ONLY
        return answer

    async def _carried_out(
        self, method: str, target: Target, token: str, body: bytes | None, chance: Random
    ) -> bytes | ApiError:
        server = self._server
        await self._lag(chance)
        if chance.random() < server.faults:
            about = f"{method} {target}"
            failures = Unreachable(about), refused(500, "InternalError", about), refused(429, "TooManyRequests", about)
            return chance.choice(failures)
        if method == "GET":
            return server.page(target.collection, token, chance) if target.name is None else server.read(target)
        deed = {"POST": server.create, "PUT": server.update, "DELETE": server.delete}[method]
        return deed(target, json.loads(body or b"{}"))

    async def _begin(self, answer: bytes, began: Callable[[bytes], bool], chance: Random) -> None:
        """Says how an answer begins while the rest is on its way."""
        for end in sorted(chance.randrange(1, len(answer)) for _ in range(3)):
            if began(answer[:end]):
                break
            await self._lag(chance)

    async def _lag(self, chance: Random) -> None:
        await asyncio.sleep(chance.uniform(0.001, chance.choice((0.002, 0.01, 0.05, self._server.slowest))))

    @asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, str], *, idle_seconds: float) -> AsyncGenerator["Stream"]:
        chance = self._server.chance(f"{self._process} watch {path}")
        await self._lag(chance)
        if chance.random() < self._server.faults:
            raise Unreachable(f"watch {path}")
        version = int(query["resourceVersion"])
        if self._server.since(path, version) is None and chance.random() < 0.5:
            raise refused(410, "Expired", path)
        yield Stream(self._server, path, version, chance)

    async def settled(self) -> None:
        """Waits for what has been sent."""
        await asyncio.gather(*self._sent)


class Stream:
    """A watch: events in their order, in chunks that begin and end anywhere, late, with bookmarks, cut off."""

    def __init__(self, server: Server, path: str, version: int, chance: Random) -> None:
        self._server, self._path, self._version, self._chance = server, path, version, chance
        self._clock = LoopClock()

    async def iter_any(self) -> AsyncIterator[bytes]:
        server, chance = self._server, self._chance
        until = self._clock.now() + (chance.choice((5, 60, 300)) if server.faults else 300)
        while self._clock.now() < until:
            news = server.news(self._path)
            ready = server.since(self._path, self._version)
            if ready is None:
                gone = {"kind": "Status", "metadata": {}, "code": 410, "reason": "Expired"}
                yield dumped({"type": "ERROR", "object": gone}) + b"\n"
                return
            if ready:
                await asyncio.sleep(chance.choice((0, 0.001, 0.01, 0.2)))
                data = self._chunk(ready[: chance.randint(1, len(ready))])
                cut = chance.randrange(len(data))
                yield data[:cut]
                if chance.random() < server.faults:
                    raise Unreachable(f"watch {self._path}: cut off")
                yield data[cut:]
            else:
                await _within(until - self._clock.now(), news.wait())

    def _chunk(self, events: list[Event]) -> bytes:
        self._version = events[-1].version
        data = b"".join(event.line for event in events)
        if self._chance.random() < 0.2 and self._server.faults:
            metadata = {"resourceVersion": str(self._version)}
            kind = KINDS[self._path].name
            data += dumped({"type": "BOOKMARK", "object": {"kind": kind, "metadata": metadata}}) + b"\n"
        return data


async def _within(seconds: float, waiting: Coroutine[Any, Any, Any]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await waiting
    except TimeoutError:
        return
