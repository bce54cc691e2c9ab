"""From documents to typed objects: lists flattened, kinds told apart, every error with its place.

The same decoding as in front of a real API server (`model/wire.py`), behind the shapes that an API server would insist
on.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from controllers.model.objects import EndpointSlice, Node, Service
from controllers.model.wire import (
    WireNode,
    WirePod,
    WireService,
    WireSlice,
    node_from_wire,
    service_from_wire,
    slice_from_wire,
)
from controllers.planning.decoding import decode, misfits
from controllers.planning.defaults import Refused, complete_service, pod_networks
from controllers.planning.reading import Document, Problem
from controllers.planning.shapes import NodeShape, PodShape, ServiceShape, SliceShape, WorkloadShape

_T = TypeVar("_T")
_K = TypeVar("_K", str, tuple[str, str], tuple[str, str, str])
_Content = dict[str, Any]
Key = tuple[str, str]

_CORES: Final = 4
WORKLOADS: Final = ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")
# What each kind must decode as; the API version tells a Service from, say, a Knative one.
_TYPES: Final[dict[tuple[str, str], tuple[type[Struct], ...]]] = {
    ("v1", "Service"): (ServiceShape, WireService),
    ("v1", "Pod"): (PodShape, WirePod),
    ("v1", "Node"): (NodeShape, WireNode),
    ("discovery.k8s.io/v1", "EndpointSlice"): (SliceShape, WireSlice),
    **{("apps/v1", kind): (WorkloadShape,) for kind in WORKLOADS},
}

# For people.
READ: Final = "; ".join(
    f"{', '.join(kind for version, kind in _TYPES if version == group)} ({group})"
    for group in dict.fromkeys(version for version, _ in _TYPES)
)


class GivenPod(Struct, frozen=True, gc=False):
    """A Pod of the input; `live` when it has a status, and is not a mere wish."""

    shape: PodShape
    content: _Content
    live: bool


class GivenNode(Struct, frozen=True, gc=False):
    record: Node
    shape: NodeShape


class Workload(Struct, frozen=True, gc=False, kw_only=True):
    kind: str
    namespace: str
    shape: WorkloadShape
    content: _Content

    @property
    def name(self) -> str:
        return self.shape.metadata.name


class Manifests(Struct, gc=False):
    """Everything that was understood, by (namespace, name); of two objects with one name the last counts, as with
    `kubectl apply`.
    """

    services: dict[Key, Service]
    pods: dict[Key, GivenPod]
    nodes: dict[str, GivenNode]
    slices: dict[Key, EndpointSlice]
    workloads: dict[tuple[str, str, str], Workload]
    ignored: Counter[str]
    replaced: list[str]
    problems: list[Problem]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to plan with."""
        return not (self.services or self.pods or self.nodes or self.slices or self.workloads)


def load(documents: Iterable[Document], namespace: str = "default") -> Manifests:
    """All objects of the documents; those without a Namespace are in `namespace`."""
    into = Manifests({}, {}, {}, {}, {}, Counter(), [], [])
    for document in documents:
        for each in _flat(document, into):
            _load_one(each, namespace, into)
    return into


def _flat(document: Document, into: Manifests) -> Iterator[Document]:
    """The document itself, or the items of a List; an empty document is nothing."""
    where, content = document
    if content is None:
        return
    if not isinstance(content, dict):
        into.problems.append(Problem(where, "", f"expected an object, got {_kind_of(content)}"))
        return
    kind = content.get("kind")
    if not (isinstance(kind, str) and kind.endswith("List") and "items" in content):
        yield document
        return
    items = content["items"]
    if not isinstance(items, list | None):
        into.problems.append(Problem(where, kind, f"items: expected an array, got {_kind_of(items)}"))
        return
    # Items of a ServiceList and the like carry neither kind nor apiVersion when they come from the API itself.
    inherited = {"apiVersion": content.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
    for number, item in enumerate(items or (), 1):
        inner = {**inherited, **item} if isinstance(item, dict) else item
        yield from _flat(Document(f"{where}, item {number}", inner), into)


def _kind_of(value: object) -> str:
    names = {list: "an array", dict: "an object", str: "text", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


def _load_one(document: Document, namespace: str, into: Manifests) -> None:
    where, content = document
    version, kind = content.get("apiVersion"), content.get("kind")
    missing = [name for name, value in (("apiVersion", version), ("kind", kind)) if not value]
    if missing or not isinstance(version, str) or not isinstance(kind, str):
        reason = f"{' and '.join(missing)} not set" if missing else "apiVersion and kind must be text"
        into.problems.append(Problem(where, "", reason))
        return
    types = _TYPES.get((version, kind))
    if types is None:
        into.ignored[f"{kind} ({version})"] += 1
        return
    meta = content.get("metadata")
    if kind != "Node" and isinstance(meta, dict) and not meta.get("namespace"):
        content = {**content, "metadata": {**meta, "namespace": namespace}}
    found = [str(each) for each in misfits(content, types)]
    if not found:
        try:
            _add(kind, content, into)
        except Refused as error:
            found = [str(error)]
    into.problems += [Problem(where, _about(kind, content), message) for message in found]


def _about(kind: str, content: _Content) -> str:
    meta = content.get("metadata")
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        return kind
    namespace = meta.get("namespace")
    return f"{kind} {namespace}/{meta['name']}" if isinstance(namespace, str) else f"{kind} {meta['name']}"


def brought_up(node: Node) -> Node:
    """A Node that no kubelet has reported on yet, as if one had: ready, with four cores."""
    return replace(node, ready=True, nano_cpu=_CORES * 10**9)


def _add(kind: str, content: _Content, into: Manifests) -> None:
    if kind == "Node":
        record, node = node_from_wire(decode(content, WireNode)), decode(content, NodeShape)
        pod_networks(node)
        if node.status is None:
            record = brought_up(record)
        _put(into.nodes, record.name, GivenNode(record, node), kind, into)
        return
    meta = content["metadata"]
    key = (meta["namespace"], meta["name"])
    if kind == "Service":
        service = service_from_wire(decode(content, WireService))
        _put(into.services, key, complete_service(service, decode(content, ServiceShape)), kind, into)
    elif kind == "Pod":
        # `kubectl run --dry-run=client -o yaml` writes an empty status; a Pod in a cluster always has a phase.
        _put(into.pods, key, GivenPod(decode(content, PodShape), content, bool(content.get("status"))), kind, into)
    elif kind == "EndpointSlice":
        _put(into.slices, key, slice_from_wire(decode(content, WireSlice)), kind, into)
    else:
        shape = decode(content, WorkloadShape)
        workload = Workload(kind=kind, namespace=key[0], shape=shape, content=content)
        _put(into.workloads, (kind, *key), workload, kind, into)


def _put(where: dict[_K, _T], key: _K, value: _T, kind: str, into: Manifests) -> None:
    if key in where:
        into.replaced.append(f"{kind} {key if isinstance(key, str) else '/'.join(key[-2:])}")
    where[key] = value
