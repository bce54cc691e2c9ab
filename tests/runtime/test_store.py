"""Stores and their indexes: whatever happened before, they find what a look at every object would find."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from api.names import TOPOLOGY_MODE_ANNOTATION
from controllers.model.objects import Labels, Node, Pod, Service
from controllers.model.selectors import matches
from controllers.model.wire import WireService, service_from_wire
from controllers.runtime.store import NodeStore, PodStore, Replicas, ServiceStore, Store
from tests.builders import pod, service

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3).map(Labels)
NAMESPACES = st.sampled_from(["ns", "other"])
NAMES = st.sampled_from(["p", "q", "r", "s"])
PODS = st.builds(
    Pod,
    namespace=NAMESPACES,
    name=NAMES,
    labels=LABELS,
    node_name=st.sampled_from(["", "n1", "n2"]),
    ready=st.booleans(),
)
SERVICES = st.builds(Service, namespace=NAMESPACES, name=NAMES, selector=st.none() | LABELS.filter(bool))
SELECTORS = LABELS.filter(bool)
# What an API server may tell: objects that come, change and go, and at times the whole list.
Change = tuple[str, Any]


def histories(records: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Change]]:
    unique = st.lists(records, max_size=6, unique_by=lambda each: (each.namespace, each.name))
    one = st.tuples(st.sampled_from(["put", "drop"]), records)
    return st.lists(one | st.tuples(st.just("list"), unique), max_size=25)


class Mirror:
    """Follows a history in a plain dict, and what subscribers are told in another."""

    def __init__(self, store: Store[Any]) -> None:
        self.store = store
        self.objects: dict[tuple[str, str], Any] = {}
        self.told: dict[tuple[str, str], Any] = {}
        store.subscribe(self._changed)

    def _changed(self, old: Any, new: Any) -> None:
        known = new or old
        key = (known.namespace, known.name)
        assert old != new, "a change that changes nothing"
        assert self.told.get(key) == old
        assert self.store.get(*key) == new, "told before it was stored"
        self.told.pop(key, None)
        if new is not None:
            self.told[key] = new

    def play(self, history: list[Change]) -> "Mirror":
        for what, value in history:
            if what == "list":
                self.store.begin_list()
                for each in value:
                    self.store.put(each)
                self.store.end_list(1)
                self.objects = {(each.namespace, each.name): each for each in value}
            elif what == "put":
                self.store.put(value)
                self.objects[value.namespace, value.name] = value
            else:
                self.store.drop(value)
                self.objects.pop((value.namespace, value.name), None)
        assert self.told == self.objects
        assert {(each.namespace, each.name): each for each in self.store.all()} == self.objects
        assert len(self.store) == len(self.objects)
        return self


def names(found: Any) -> list[tuple[str, str]]:
    """Sorted and with duplicates: an index must not find an object twice."""
    return sorted((each.namespace, each.name) for each in found)


@given(histories(PODS), SELECTORS, NAMESPACES)
def test_law_pods_by_selector(history: list[Change], selector: Labels, namespace: str) -> None:
    store = PodStore()
    objects = Mirror(store).play(history).objects.values()
    expected = [each for each in objects if each.namespace == namespace and matches(selector, each.labels)]
    assert names(store.selected_by(namespace, selector)) == names(expected)


@given(histories(PODS), st.sampled_from(["n1", "n2"]))
def test_law_pods_by_node(history: list[Change], node: str) -> None:
    store = PodStore()
    objects = Mirror(store).play(history).objects.values()
    found = Counter((each.namespace, each.labels) for each in store.on_node(node))
    assert found == Counter((each.namespace, each.labels) for each in objects if each.node_name == node)
    assert all(set(each.names) >= {pod.name for pod in objects if _of(each, pod)} for each in store.on_node(node))


def _of(replicas: Replicas, pod: Pod) -> bool:
    return (pod.namespace, pod.labels) == (replicas.namespace, replicas.labels)


@given(histories(SERVICES), LABELS, NAMESPACES)
def test_law_services_by_labels(history: list[Change], labels: Labels, namespace: str) -> None:
    store = ServiceStore()
    objects = Mirror(store).play(history).objects.values()
    expected = [each for each in objects if each.namespace == namespace and matches(each.selector, labels)]
    assert names(store.selecting(namespace, labels)) == names(expected)


@given(histories(PODS))
def test_law_nothing_is_left_behind(history: list[Change]) -> None:
    """An index that forgets nothing would grow for ever."""
    store = PodStore()
    mirror = Mirror(store).play(history)
    mirror.play([("list", [])])
    internals = {name: value for name, value in vars(store).items() if isinstance(value, dict)}
    assert internals
    assert {name: value for name, value in internals.items() if value} == {}


@given(histories(PODS))
def test_law_names_in_use(history: list[Change]) -> None:
    store = PodStore()
    objects = Mirror(store).play(history).objects
    assert sorted(store.names("ns")) == sorted(name for namespace, name in objects if namespace == "ns")


def test_no_selector_selects_nothing() -> None:
    """An empty selector would select a whole Namespace (ES-35)."""
    store = PodStore()
    store.put(pod())
    assert store.selected_by("ns", Labels()) == []


def test_update_of_what_nobody_reads_is_no_event() -> None:
    store, told = PodStore(), []
    store.put(pod())
    store.subscribe(lambda old, new: told.append((old, new)))
    store.put(pod())
    assert told == []
    changed = replace(pod(), ready=False)
    store.put(changed)
    assert told == [(pod(), changed)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}, 0, id="status"),
        pytest.param({"annotations": {"example.com/note": "new"}}, 0, id="annotations"),
        pytest.param({"managedFields": [{"manager": "m"}], "resourceVersion": "8"}, 0, id="bookkeeping"),
        pytest.param({"annotations": {TOPOLOGY_MODE_ANNOTATION: "Auto"}}, 1, id="annotation-that-is-read"),
        pytest.param({"labels": {"team": "shop"}}, 1, id="labels"),
    ],
)
def test_service_that_changes_nothing_that_is_read_is_no_event(change: dict[str, Any], told: int) -> None:
    def read(status: Any = None, **meta: Any) -> Service:
        metadata = {"name": "s", "namespace": "ns", "uid": "u", "resourceVersion": "7", **meta}
        document = {"metadata": metadata, "spec": {"selector": {"app": "s"}}, "status": status}
        return service_from_wire(msgspec.json.decode(msgspec.json.encode(document), type=WireService))

    store, changes = ServiceStore(), []
    store.put(read())
    store.subscribe(lambda old, new: changes.append((old, new)))
    store.put(read(**change))
    assert len(changes) == told


def test_subscribers_see_the_indexes_of_after() -> None:
    store, found = PodStore(), []
    store.subscribe(lambda old, new: found.append(names(store.selected_by("ns", Labels(app="s")))))
    store.put(pod(1))
    store.put(replace(pod(1), labels=Labels(app="other")))
    assert found == [[("ns", "pod-001")], []]


def test_list_that_breaks_off_drops_nothing() -> None:
    store = PodStore()
    for number in range(3):
        store.put(pod(number))
    store.begin_list()
    store.put(pod(0))
    assert len(store) == 3
    store.begin_list()
    store.put(pod(1))
    store.end_list(9)
    assert names(store.all()) == [("ns", "pod-001")]


def test_drop_of_the_unknown_is_no_event() -> None:
    store, told = ServiceStore(), []
    store.subscribe(lambda old, new: told.append((old, new)))
    store.drop(service())
    assert (told, len(store)) == ([], 0)


def test_nodes_by_name_is_a_live_view() -> None:
    store = NodeStore()
    store.put(Node("n1", "zone-a"))
    view = store.by_name()
    store.put(Node("n1", "zone-b"))
    assert view["n1"].zone == "zone-b"


@pytest.mark.parametrize("namespace", ["ns", ""])
def test_names_of_an_unknown_namespace(namespace: str) -> None:
    assert list(PodStore().names(namespace)) == []
