"""One API server's answers: what it is asked for by path, and which of its kinds answers."""

import base64
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from e2e.bench.synthetic.flips import Tracker
from e2e.bench.synthetic.population import FIRST_VERSION, Key, Nodes, Pods, PodState, Scale, Services
from e2e.bench.synthetic.statuses import Resource, bad_request, failure, not_found
from e2e.bench.synthetic.stored import Stored, Write
from e2e.bench.synthetic.watching import Channel, Wanted, event
from e2e.bench.synthetic.wire import Answer, Connection, Request

PODS: Final = Resource("", "v1", "pods", "Pod")
SERVICES: Final = Resource("", "v1", "services", "Service")
NODES: Final = Resource("", "v1", "nodes", "Node")
ENDPOINTS: Final = Resource("", "v1", "endpoints", "Endpoints")
EVENTS: Final = Resource("", "v1", "events", "Event")
SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

_RESOURCES: Final = {each.plural: each for each in (PODS, SERVICES, NODES, ENDPOINTS, EVENTS, SLICES, LEASES)}
_WARNINGS: Final = {ENDPOINTS: b'299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'}
# What a bookmark has beside its version, as Go encodes an empty object of the kind.
_NO_NODE: Final = b"".join(
    (
        b',"spec":{},"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":{"machineID":"",',
        b'"systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"",',
        b'"kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}}',
    )
)
_EMPTY: Final = {
    PODS: b',"spec":{"containers":null},"status":{}',
    SERVICES: b',"spec":{},"status":{"loadBalancer":{}}',
    NODES: _NO_NODE,
    SLICES: b',"addressType":"","endpoints":null,"ports":null',
    LEASES: b',"spec":{}',
}
_METADATA_ONLY: Final = b"as=PartialObjectMetadata"
_WATCH_SECONDS: Final = 1800.0


class _Condition(Struct, rename="camel"):
    type: str
    status: str
    last_transition_time: str


class _Status(Struct):
    conditions: list[_Condition]


class _StatusPatch(Struct):
    status: _Status


class _Continue(Struct):
    v: str
    rv: int
    start: str


class Path(Struct):
    """What a path names: a collection (no name), an object, or a part of one."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse_path(path: str) -> Path | None:
    """The resource that a path names, or None when there is none of it here."""
    parts = path.strip("/").split("/")
    front = 2 if parts[0] == "api" else 3
    group, rest = ("" if front == 2 else "/".join(parts[1:2])), parts[front:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource = _RESOURCES.get(rest[0]) if rest else None
    if resource is None or resource.group != group or len(rest) > 3:
        return None
    return Path(resource, namespace, *rest[1:])


class World:
    """Everything that one address serves."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._version = FIRST_VERSION
        # By "VERB Kind": what was asked for, and carried out if it was a write.
        self.counts: Counter[str] = Counter()
        self.last_write = 0.0
        self.pods, self.services, self.nodes = Pods(scale), Services(scale), Nodes(scale)
        self._numbered: dict[Resource, Pods | Services | Nodes] = {
            PODS: self.pods,
            SERVICES: self.services,
            NODES: self.nodes,
        }
        self.channels = {each: self._channel(each) for each in _RESOURCES.values() if each is not EVENTS}
        self.stored = {
            SLICES: self._stored(SLICES, ("addressType", "endpoints", "ports"), generations=True),
            ENDPOINTS: self._stored(ENDPOINTS, ("subsets",)),
            LEASES: self._stored(LEASES, ("spec",)),
        }
        self.tracker = Tracker(("IPv4", "IPv6") if scale.dual else ("IPv4",))

    def handle(self, request: Request, connection: Connection) -> Answer | None:
        """Answers a request, or serves a watch on the connection from now on."""
        if request.path in ("/livez", "/readyz", "/healthz"):
            return Answer(200, b"ok")
        path = parse_path(request.path)
        if path is None:
            return failure(404, "NotFound", "the server could not find the requested resource", {})
        if request.query.get("watch") in ("true", "1"):
            return self._watch(path, request, connection)
        self.counts[f"{request.method} {path.resource.kind}"] += 1
        if path.resource is EVENTS:
            # Nobody reads them: they are only counted.
            return Answer(201 if request.method == "POST" else 200, request.body or b"{}")
        if request.method == "GET":
            answer = self._get(path) if path.name else self._list(path, request)
        elif path.resource in self._numbered:
            answer = self._change(path, request)
        else:
            answer = self._write(path, request, self.stored[path.resource])
        answer.warning = _WARNINGS.get(path.resource, b"")
        return answer

    def flip(self, number: int) -> None:
        """Turns a Pod's readiness over, as its kubelet would."""
        self._set_ready(number, not self.pods.ready(number), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def _set_ready(self, number: int, ready: bool, since: str) -> None:
        state = PodState(self._next(), ready, since)
        self.pods.change(number, state)
        namespace, name = self.pods.key(number)
        line = event("MODIFIED", PODS.head + self.pods.render(number)[1:])
        self.channels[PODS].publish(state.version, namespace, name, line)
        self.tracker.changed(name, ready)

    def _next(self) -> int:
        self._version += 1
        return self._version

    def _channel(self, resource: Resource) -> Channel:
        def bookmark(end: bool) -> bytes:
            marks = b',"annotations":{"k8s.io/initial-events-end":"true"}' if end else b""
            metadata = b'"metadata":{"resourceVersion":"%d"%b}' % (self._version, marks)
            return event("BOOKMARK", b"%b%b%b}" % (resource.head, metadata, _EMPTY.get(resource, b"")))

        return Channel(bookmark, FIRST_VERSION)

    def _stored(self, resource: Resource, fields: tuple[str, ...], *, generations: bool = False) -> Stored:
        return Stored(resource, fields, self.channels[resource], self._next, generations=generations)

    def _get(self, path: Path) -> Answer:
        stored = self.stored.get(path.resource)
        if stored is not None:
            return stored.get(path.namespace, path.name)
        number = self._number(path)
        if number is None:
            return not_found(path.resource, path.name)
        text = self._numbered[path.resource].render(number)
        return Answer(200, b"%b%b\n" % (path.resource.head, text[1:]))

    def _number(self, path: Path) -> int | None:
        kind = self._numbered[path.resource]
        digits = path.name.rpartition("-")[2]
        number = int(digits) if digits.isdecimal() and len(digits) < 10 else -1
        return number if kind.has(number) and kind.key(number) == (path.namespace, path.name) else None

    def _list(self, path: Path, request: Request) -> Answer:
        after: Key | None = None
        version = self._version
        token = request.query.get("continue")
        if token:
            try:
                decoded = msgspec.json.decode(base64.urlsafe_b64decode(token + "=="), type=_Continue)
            except (ValueError, msgspec.MsgspecError) as error:
                return bad_request(f"invalid continue token: continue key is not valid: {error}")
            # The version of the first page: what has changed since comes again on the watch.
            version = decoded.rv
            namespace, _, name = decoded.start.strip("\0").rpartition("/")
            after = (namespace.strip("/"), name)
        limit = int(request.query.get("limit") or 0)
        last, more, texts = self._page(path, after, limit)
        meta: dict[str, Any] = {"resourceVersion": str(version)}
        if more and last is not None:
            start = f"/{last[0]}/{last[1]}\0" if last[0] else f"/{last[1]}\0"
            following = msgspec.json.encode(_Continue("meta.k8s.io/v1", version, start))
            meta["continue"] = base64.urlsafe_b64encode(following).decode().rstrip("=")
            meta["remainingItemCount"] = more
        resource = path.resource
        head = f'{{"kind":"{resource.kind}List","apiVersion":"{resource.api_version}","metadata":'.encode()
        return Answer(200, b'%b%b,"items":[%b]}\n' % (head, msgspec.json.encode(meta), b",".join(texts)))

    def _page(self, path: Path, after: Key | None, limit: int) -> tuple[Key | None, int, Iterable[bytes]]:
        """The last key of a page, how many objects come after it, and the page's objects."""
        stored = self.stored.get(path.resource)
        if stored is not None:
            keys, more = stored.page(after, limit, path.namespace)
            return (keys[-1] if keys else None), more, stored.items(keys)
        kind = self._numbered[path.resource]
        numbers, more = kind.page(after, limit, path.namespace)
        return (kind.key(numbers[-1]) if numbers else None), more, map(kind.render, numbers)

    def _watch(self, path: Path, request: Request, connection: Connection) -> Answer | None:
        query = request.query
        channel = self.channels.get(path.resource)
        field, _, name = query.get("fieldSelector", "").partition("=")
        if channel is None or field not in ("", "metadata.name"):
            return bad_request("this server does not watch that")
        initially = query.get("sendInitialEvents") == "true"
        if initially and query.get("resourceVersionMatch") != "NotOlderThan":
            return failure(422, "Invalid", "resourceVersionMatch is required when sendInitialEvents is set")
        since = None if initially or query.get("resourceVersion", "0") in ("", "0") else int(query["resourceVersion"])
        wanted = Wanted(path.namespace, name)
        connection.begin_stream(_WARNINGS.get(path.resource, b""))
        channel.follow(
            connection,
            wanted,
            since=since,
            initial=self._initial(path, wanted) if since is None else (),
            bookmarks=query.get("allowWatchBookmarks") == "true",
            marked=initially,
            seconds=float(query.get("timeoutSeconds") or _WATCH_SECONDS),
        )
        return None

    def _initial(self, path: Path, wanted: Wanted) -> Iterator[bytes]:
        """What exists, as ADDED events."""
        _, _, texts = self._page(path, None, 0)
        named = f'{{"metadata":{{"name":"{wanted.name}",'.encode()
        for text in texts:
            if not wanted.name or text.startswith(named):
                yield event("ADDED", path.resource.head + text[1:])

    def _change(self, path: Path, request: Request) -> Answer:
        """A patch of a Pod's status, which is all that clients may change of what is not stored."""
        number = self._number(path)
        if path.resource is not PODS or request.method != "PATCH" or path.subresource != "status":
            return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if number is None:
            return not_found(PODS, path.name)
        try:
            (ready,) = msgspec.json.decode(request.body, type=_StatusPatch).status.conditions
        except (ValueError, msgspec.MsgspecError) as error:
            return bad_request(f"this server knows only patches of the Ready condition: {error}")
        if ready.type != "Ready":
            return bad_request("this server knows only patches of the Ready condition")
        self._set_ready(number, ready.status == "True", ready.last_transition_time)
        return self._get(path)

    def _write(self, path: Path, request: Request, stored: Stored) -> Answer:
        before = self._version
        answer = self._written(path, request, stored)
        if self._version != before:
            self.last_write = time.monotonic()
            self.counts[f"written {path.resource.kind}"] += 1
        return answer

    def _written(self, path: Path, request: Request, stored: Stored) -> Answer:
        if request.method == "DELETE":
            if path.name:
                return stored.delete(path.namespace, path.name, request.body)
            stored.delete_all(path.namespace)
            return self._list(path, request)
        write = stored.parse(path.namespace, path.name, request.body)
        if isinstance(write, Answer):
            return write
        manager = request.headers.get(b"user-agent", b"unknown").decode().partition("/")[0]
        only = _METADATA_ONLY in request.headers.get(b"accept", b"")
        answer = (stored.update if request.method == "PUT" else stored.create)(write, manager, only)
        if path.resource is SLICES and answer.status < 300:
            answer.sent = self._shown(write)
        return answer

    def _shown(self, write: Write) -> Callable[[], None] | None:
        address_type = write.fields["addressType"]
        return self.tracker.written(bytes(address_type).decode().strip('"'), bytes(write.fields["endpoints"]))
