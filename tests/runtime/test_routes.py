"""Which Services a change concerns (ES-23, ES-25, ES-27, D-7)."""

import pytest
from msgspec.structs import replace

from api.names import ENDPOINTSLICE_MANAGED_BY, MANAGED_BY_LABEL, SERVICE_NAME_LABEL
from controllers.endpointslice.slices import managed
from controllers.model.objects import EndpointSlice, Labels, Node, Pod
from controllers.runtime import routes
from controllers.runtime.store import PodStore, ServiceStore
from tests.builders import existing, pod, service

AB, BC = Labels(a="1", b="1"), Labels(b="1", c="1")
BEFORE, AFTER = replace(pod(), labels=AB), replace(pod(), labels=BC)
NOBODY = replace(pod(), labels=Labels(d="1"))


@pytest.fixture
def services() -> ServiceStore:
    """`a`, `b` and `c` select one label each, `both` two; `other/a` is in another Namespace, `none` has no selector."""
    store = ServiceStore()
    for name in "abc":
        store.put(service(name=name, selector=Labels({name: "1"})))
    store.put(service(name="both", selector=AB))
    store.put(service(name="a", namespace="other", selector=Labels(a="1")))
    store.put(service(name="none", selector=None))
    return store


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(None, BEFORE, "a b both", id="add"),
        pytest.param(BEFORE, None, "a b both", id="delete"),
        pytest.param(BEFORE, AFTER, "a both c", id="ES-T64-labels-alone"),
        pytest.param(BEFORE, replace(AFTER, ready=False), "a b both c", id="ES-T65-labels-and-readiness"),
        pytest.param(BEFORE, replace(BEFORE, ready=False), "a b both", id="readiness"),
        pytest.param(BEFORE, replace(BEFORE, terminating=True), "a b both", id="terminating"),
        pytest.param(BEFORE, replace(BEFORE, ipv4=("10.9.9.9",)), "a b both", id="address"),
        pytest.param(BEFORE, replace(BEFORE, node_name="node-2"), "a b both", id="node"),
        pytest.param(BEFORE, replace(BEFORE, phase="Succeeded"), "a b both", id="phase"),
        pytest.param(BEFORE, NOBODY, "a b both", id="leaves-all"),
        pytest.param(None, NOBODY, "", id="selected-by-none"),
        pytest.param(None, replace(BEFORE, labels=Labels(a="2")), "", id="other-value"),
        pytest.param(None, None, "", id="nothing"),
    ],
)
def test_services_of_pod(services: ServiceStore, old: Pod | None, new: Pod | None, expected: str) -> None:
    assert routes.services_of_pod(old, new, services) == {f"ns/{name}" for name in expected.split()}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(None, Node("node-1", "zone-a"), "a b both", id="appears"),
        pytest.param(Node("node-1", "zone-a"), None, "a b both", id="vanishes"),
        pytest.param(Node("node-1", ""), Node("node-1", "zone-a"), "a b both", id="zone-label"),
        pytest.param(Node("node-1", "zone-a"), Node("node-1", "zone-a"), "", id="same-zone"),
        pytest.param(None, Node("node-2", "zone-a"), "", id="no-pods"),
    ],
)
def test_services_of_node(services: ServiceStore, old: Node | None, new: Node | None, expected: str) -> None:
    pods = PodStore()
    pods.put(BEFORE)
    assert routes.services_of_node(old, new, pods, services) == {f"ns/{name}" for name in expected.split()}


def labelled(manager: str | None, of: str | None) -> EndpointSlice:
    labels = {MANAGED_BY_LABEL: manager, SERVICE_NAME_LABEL: of}
    return existing("s-1", labels={key: value for key, value in labels.items() if value is not None})


OURS, THEIRS = ENDPOINTSLICE_MANAGED_BY, "somebody"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(None, labelled(OURS, "s"), {"ns/s"}, id="add"),
        pytest.param(labelled(OURS, "s"), None, {"ns/s"}, id="delete"),
        pytest.param(labelled(OURS, "s"), labelled(OURS, "s"), {"ns/s"}, id="update"),
        pytest.param(labelled(OURS, "s"), labelled(OURS, "t"), {"ns/s", "ns/t"}, id="service-label-moves"),
        pytest.param(labelled(OURS, "s"), labelled(THEIRS, "s"), {"ns/s"}, id="ES-T61-taken-from-us"),
        pytest.param(labelled(THEIRS, "s"), labelled(OURS, "s"), {"ns/s"}, id="given-to-us"),
        pytest.param(None, labelled(THEIRS, "s"), set(), id="somebody-elses"),
        pytest.param(None, labelled(None, "s"), set(), id="no-manager"),
        pytest.param(None, labelled(OURS, None), set(), id="ES-24-no-service-label"),
        pytest.param(None, labelled(OURS, ""), set(), id="ES-24-empty-service-label"),
        pytest.param(None, replace(labelled(OURS, "s"), endpoints=()), {"ns/s"}, id="placeholder"),
    ],
)
def test_services_of_slice(old: EndpointSlice | None, new: EndpointSlice | None, expected: set[str]) -> None:
    assert routes.services_of_slice(old, new, managed) == expected


def test_service_concerns_itself() -> None:
    assert routes.service_of_service(service(), None) == {"ns/s"}
    assert routes.service_of_service(service(), service(cluster_ip="None")) == {"ns/s"}


def test_keys_are_there_and_back() -> None:
    assert routes.split_key(routes.key_of("ns", "s")) == ("ns", "s")


def test_only_our_slices_are_ours() -> None:
    found = [labelled(OURS, "s"), labelled(THEIRS, "s"), labelled(None, "s")]
    assert [each for each in found if managed(each)] == found[:1]
