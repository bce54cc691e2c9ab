"""What is known of the cluster: records by Namespace and name, and the indexes that make finding them cheap.

Each store is the sink of one reflector. Who wants to know of changes subscribes; an update that changes nothing that is
read is no change. All of it runs on one event loop: no locks.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from controllers.model.objects import Labels, Node, Pod, Service
from controllers.model.selectors import matches


class Record(Protocol):
    """Anything with a name; cluster-scoped records have no Namespace."""

    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Record)


def namespace_of(record: object) -> str:
    """The record's Namespace, "" when it has none."""
    return getattr(record, "namespace", "")


class Store(Generic[R]):
    """Records of one kind. Subclasses keep their indexes in `_reindex`."""

    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[str, R]] = {}
        self._subscribers: list[Callable[[R | None, R | None], None]] = []
        self._touched: list[Callable[[R], None]] = []
        self._listed: dict[str, set[str]] | None = None
        self._count = 0
        self.own_versions: set[bytes] = set()

    def __len__(self) -> int:
        return self._count

    def subscribe(self, changed: Callable[[R | None, R | None], None]) -> None:
        """`changed(old, new)` is called after each change; old or new is None when the object came or went."""
        self._subscribers.append(changed)

    def subscribe_touched(self, touched: Callable[[R], None]) -> None:
        """`touched(record)` is called when an object was updated and nothing that is read has changed."""
        self._touched.append(touched)

    def unsubscribe_all(self) -> None:
        """Nobody is told of changes any more."""
        self._subscribers.clear()
        self._touched.clear()

    def get(self, namespace: str, name: str) -> R | None:
        """The record, or None."""
        return self._by_namespace.get(namespace, {}).get(name)

    def all(self) -> Iterable[R]:
        """Every record; the store must not change meanwhile."""
        return (record for names in self._by_namespace.values() for record in names.values())

    def names(self, namespace: str) -> Collection[str]:
        """The names in use in a Namespace."""
        return self._by_namespace.get(namespace, {}).keys()

    def put(self, record: R) -> None:
        """Takes over the object as it now is."""
        namespace, name = self._key(record)
        if self._listed is not None:
            self._listed.setdefault(namespace, set()).add(name)
        names = self._by_namespace.get(namespace)
        if names is None:
            names = self._by_namespace[namespace] = {}
        old = names.get(name)
        if old == record:
            for touched in self._touched:
                touched(record)
            return
        names[name] = record
        self._count += old is None
        self._changed(old, record)

    def drop(self, record: R) -> None:
        """Forgets the object."""
        self.drop_named(*self._key(record))

    def drop_named(self, namespace: str, name: str, uid: str = "") -> None:
        """Forgets the object of this name; where names are used again, only if it is the one with this uid."""
        names = self._by_namespace.get(namespace)
        old = names.pop(name, None) if names is not None else None
        if names is not None and not names:
            del self._by_namespace[namespace]
        if old is not None:
            self._count -= 1
            self._changed(old, None)

    def begin_list(self) -> None:
        """A new list starts; see `end_list`."""
        self._listed = {}

    def end_list(self, resource_version: int) -> None:
        """Drops what the list did not name."""
        listed, self._listed = self._listed or {}, None
        for namespace, names in list(self._by_namespace.items()):
            for name in sorted(names.keys() - listed.get(namespace, set())):
                record = names[name]
                if self._older(record, resource_version):
                    self.drop(record)

    def _key(self, record: R) -> tuple[str, str]:
        return namespace_of(record), record.name

    def _older(self, record: R, resource_version: int) -> bool:
        """Whether a list of this version would name the record, if it still existed."""
        return True

    def _changed(self, old: R | None, new: R | None) -> None:
        self._reindex(old, new)
        for changed in self._subscribers:
            changed(old, new)

    def _reindex(self, old: R | None, new: R | None) -> None:
        """Brings the indexes up to date, before anybody is told."""


class Replicas(Struct, eq=False, gc=False):
    """The Pods of a Namespace with the same labels, by name."""

    namespace: str
    labels: Labels
    # A dict has a third of the size of a set, and there is an entry for each Pod.
    names: dict[str, None]


class PodStore(Store[Pod]):
    """Pods, by selector and by Node.

    Replicas have equal labels, so the indexes hold label *sets*: a pair leads to the sets that hold it, a set to its
    Pods, and a Node to the sets that its Pods belong to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._of_labels: dict[str, dict[Labels, Replicas]] = {}
        # Most pairs are those of one workload only, and a set of one takes as much as a Pod.
        self._sets_of_pair: dict[str, dict[tuple[str, str], Labels | set[Labels]]] = {}
        # An entry for each Pod: a Node has few enough to look for one.
        self._on_node: dict[str, list[Replicas]] = {}

    def selected_by(self, namespace: str, selector: Labels) -> list[Pod]:
        """The Pods that a Service's selector selects; costs their number, not that of all Pods."""
        sets = self._sets_of_pair.get(namespace, {})
        candidates = [sets.get(pair) for pair in selector.items()]
        if not candidates or any(found is None for found in candidates):
            return []
        fewest = min((_as_set(found) for found in candidates if found is not None), key=len)
        pods = self._by_namespace[namespace]
        of_labels = self._of_labels[namespace]
        return [pods[name] for labels in fewest if matches(selector, labels) for name in of_labels[labels].names]

    def on_node(self, node: str) -> Iterable[Replicas]:
        """The replicas that a Pod of a Node is one of: once for each of its Pods."""
        return self._on_node.get(node, ())

    def _reindex(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and new is not None and old.labels == new.labels and old.node_name == new.node_name:
            return
        if old is not None:
            self._remove(old)
        if new is not None:
            self._add(new)

    def _add(self, pod: Pod) -> None:
        of_labels = self._of_labels.setdefault(pod.namespace, {})
        replicas = of_labels.get(pod.labels)
        if replicas is None:
            replicas = of_labels[pod.labels] = Replicas(pod.namespace, pod.labels, {})
            sets = self._sets_of_pair.setdefault(pod.namespace, {})
            for pair in pod.labels.items():
                before = sets.setdefault(pair, pod.labels)
                if isinstance(before, set):
                    before.add(pod.labels)
                elif before is not pod.labels:
                    sets[pair] = {before, pod.labels}
        replicas.names[pod.name] = None
        if pod.node_name:
            self._on_node.setdefault(pod.node_name, []).append(replicas)

    def _remove(self, pod: Pod) -> None:
        of_labels = self._of_labels[pod.namespace]
        replicas = of_labels[pod.labels]
        if pod.node_name:
            on_node = self._on_node[pod.node_name]
            on_node.remove(replicas)
            if not on_node:
                del self._on_node[pod.node_name]
        del replicas.names[pod.name]
        if replicas.names:
            return
        del of_labels[pod.labels]
        sets = self._sets_of_pair[pod.namespace]
        for pair in pod.labels.items():
            found = sets[pair]
            if isinstance(found, set):
                found.discard(pod.labels)
            if not isinstance(found, set) or not found:
                del sets[pair]
        if not of_labels:
            del self._of_labels[pod.namespace]
            self._sets_of_pair.pop(pod.namespace, None)


def _as_set(found: Labels | set[Labels]) -> set[Labels]:
    return found if isinstance(found, set) else {found}


class ServiceStore(Store[Service]):
    """Services, found by the labels of a Pod: each stands under one pair of its selector."""

    def __init__(self) -> None:
        super().__init__()
        self._of_pair: dict[str, dict[tuple[str, str], tuple[str, ...]]] = {}

    def selecting(self, namespace: str, labels: Labels) -> list[Service]:
        """The Services that select Pods with these labels; costs the number of labels, not of Services."""
        of_pair = self._of_pair.get(namespace)
        if not of_pair:
            return []
        services = self._by_namespace[namespace]
        found = (services[name] for pair in labels.items() for name in of_pair.get(pair, ()))
        return [service for service in found if matches(service.selector, labels)]

    def _reindex(self, old: Service | None, new: Service | None) -> None:
        if old is not None and new is not None and old.selector == new.selector:
            return
        if old is not None and old.selector:
            discard(self._of_pair, old.namespace, min(old.selector.items()), old.name)
        if new is not None and new.selector:
            include(self._of_pair, new.namespace, min(new.selector.items()), new.name)


class NodeStore(Store[Node]):
    """Nodes, by name."""

    def by_name(self) -> Mapping[str, Node]:
        """A live view."""
        return self._by_namespace.get("", {})


K1 = TypeVar("K1")
K2 = TypeVar("K2")
V = TypeVar("V")


def include(index: dict[K1, dict[K2, tuple[V, ...]]], outer: K1, inner: K2, value: V) -> None:
    """Puts one value into a two-level index; most places have one, and a tuple of one has a quarter of a set's size."""
    level = index.setdefault(outer, {})
    values = level.get(inner, ())
    if value not in values:
        level[inner] = (*values, value)


def discard(index: dict[K1, dict[K2, tuple[V, ...]]], outer: K1, inner: K2, value: V) -> None:
    """Takes one value out of a two-level index, and what is empty with it."""
    level = index.get(outer)
    values = level.get(inner) if level is not None else None
    if level is None or values is None:
        return
    left = tuple(each for each in values if each != value)
    if left:
        level[inner] = left
        return
    del level[inner]
    if not level:
        del index[outer]
