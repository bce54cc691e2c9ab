"""From the API's JSON to records: whatever may be absent, null or unknown (ES-39, ES-49, ES-93, ES-153, ES-156)."""

import json
from typing import Any

import msgspec
import pytest

from controllers.model.objects import (
    NO_LABELS,
    ContainerPort,
    Labels,
    Node,
    Pod,
    Service,
    ServicePort,
)
from controllers.model.wire import (
    WireNode,
    WirePod,
    WireService,
    _Shared,
    node_from_wire,
    pod_from_wire,
    service_from_wire,
)

META: dict[str, Any] = {"name": "x", "namespace": "ns", "uid": "u"}


def read_pod(spec: Any = None, status: Any = None, **meta: Any) -> Pod:
    document = {"metadata": {**META, **meta}, "spec": spec, "status": status}
    return pod_from_wire(msgspec.json.decode(json.dumps(document), type=WirePod))


def read_service(spec: Any = None, **meta: Any) -> Service:
    document = {"metadata": {**META, **meta}, "spec": spec}
    return service_from_wire(msgspec.json.decode(json.dumps(document), type=WireService))


def read_node(**meta: Any) -> Node:
    return node_from_wire(msgspec.json.decode(json.dumps({"metadata": {**META, **meta}}), type=WireNode))


PORTS = [
    {"name": "web", "containerPort": 8080},
    {"containerPort": 81},
    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
]


def test_whole_pod() -> None:
    found = read_pod(
        {
            "nodeName": "node-1",
            "hostname": "h",
            "subdomain": "s",
            "containers": [{"name": "c", "image": "i", "ports": PORTS}],
        },
        {
            "phase": "Running",
            "podIP": "10.0.0.10",
            "podIPs": [{"ip": "10.0.0.10"}, {"ip": "FD00::1"}, {"ip": "127.0.0.1"}],
            "conditions": [
                {"type": "PodScheduled", "status": "False", "lastTransitionTime": "2026-01-01T00:00:01Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"},
            ],
            "hostIP": "192.0.2.1",
        },
        labels={"app": "s"},
        annotations={"a": "b"},
        managedFields=[{}],
    )
    assert found == Pod(
        namespace="ns",
        name="x",
        uid="u",
        labels=Labels(app="s"),
        node_name="node-1",
        hostname="h",
        subdomain="s",
        ports=(ContainerPort("web", "TCP", 8080), ContainerPort("dns", "UDP", 53)),
        phase="Running",
        first_family="IPv4",
        ipv4=("10.0.0.10",),
        ipv6=("fd00::1",),
        refused_ips=("127.0.0.1",),
        ready=True,
        ready_since="2026-01-01T00:00:02Z",
        terminating=False,
    )


NULL_SPEC = {"containers": None, "initContainers": None, "nodeName": None, "hostname": None, "subdomain": None}
NULL_STATUS = {"phase": None, "conditions": None, "podIP": None, "podIPs": None}


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        pytest.param(None, None, id="no-spec-and-no-status"),
        pytest.param({}, {}, id="empty"),
        pytest.param(NULL_SPEC, NULL_STATUS, id="nulls"),
        pytest.param({"containers": [], "unknown": {"deep": [1]}}, {"conditions": [], "podIPs": []}, id="empty-lists"),
        pytest.param(
            {"containers": [{"ports": None}], "initContainers": [{"restartPolicy": None}]}, None, id="in-lists"
        ),
        pytest.param(
            {"containers": [{"ports": [{"containerPort": 1, "name": None, "protocol": None}]}]},
            {"conditions": [{"type": "Initialized", "status": "True"}], "podIPs": [{}, {"ip": None}]},
            id="null-names",
        ),
    ],
)
def test_pod_without_anything(spec: Any, status: Any) -> None:
    assert read_pod(spec, status, labels=None, annotations=None) == Pod(namespace="ns", name="x", uid="u")


@pytest.mark.parametrize("document", [{"metadata": {"name": "x"}}, {"metadata": {"name": "x", "labels": {}}}])
def test_pod_of_the_barest_manifest(document: Any) -> None:
    found = pod_from_wire(msgspec.json.decode(json.dumps(document), type=WirePod))
    assert found == Pod(namespace="", name="x", labels=NO_LABELS)


@pytest.mark.parametrize("phase", ["Pending", "Unknown", "Succeeded", "Frozen", ""])
def test_phase_is_kept_as_it_is(phase: str) -> None:
    assert read_pod(status={"phase": phase}).phase == phase


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        pytest.param({"type": "Ready", "status": "True", "lastTransitionTime": "T"}, (True, "T"), id="ready"),
        pytest.param({"type": "Ready", "status": "False", "lastTransitionTime": "T"}, (False, "T"), id="not-ready"),
        pytest.param({"type": "Ready", "status": "Unknown", "lastTransitionTime": "T"}, (False, "T"), id="unknown"),
        pytest.param({"type": "Ready", "status": "True"}, (True, ""), id="ES-87-no-time"),
        pytest.param({"type": "Ready", "status": "True", "lastTransitionTime": None}, (True, ""), id="ES-87-null-time"),
        pytest.param({"type": "ContainersReady", "status": "True", "lastTransitionTime": "T"}, (False, ""), id="other"),
    ],
)
def test_ready_condition(ready: Any, expected: tuple[bool, str]) -> None:
    found = read_pod(status={"conditions": [ready]})
    assert (found.ready, found.ready_since) == expected


@pytest.mark.parametrize(
    ("status", "first_family", "ipv4"),
    [
        pytest.param({"podIP": "10.0.0.1"}, "IPv4", (), id="ES-39-never-podIP"),
        pytest.param({"podIP": "", "podIPs": None}, "", (), id="ES-36-no-ip"),
        pytest.param({"podIPs": [{"ip": "10.0.0.1"}]}, "IPv4", ("10.0.0.1",), id="ES-36-podIPs-alone"),
        pytest.param(
            {"podIPs": [{"ip": "10.0.0.9"}, {"ip": "10.0.0.10"}]}, "IPv4", ("10.0.0.10", "10.0.0.9"), id="two"
        ),
        pytest.param(
            {"podIP": "fd00::1", "podIPs": [{"ip": "10.0.0.1"}]}, "IPv6", ("10.0.0.1",), id="EP-30-ipv6-first"
        ),
        pytest.param({"podIPs": [{"ip": "10.0.0.1"}] * 2}, "IPv4", ("10.0.0.1",) * 2, id="duplicated"),
    ],
)
def test_pod_ips(status: Any, first_family: str, ipv4: tuple[str, ...]) -> None:
    found = read_pod(status=status)
    assert (found.first_family, found.ipv4) == (first_family, ipv4)


def test_terminating_pod() -> None:
    assert read_pod(deletionTimestamp="2026-01-01T00:00:00Z").terminating
    assert not read_pod(deletionTimestamp=None).terminating


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        pytest.param({"containers": [{"ports": [{"name": "p", "containerPort": 1}]}]}, [1], id="one-container"),
        pytest.param(
            {"containers": [{"ports": [{"name": "p", "containerPort": 1}]}, {"ports": None}, {"ports": PORTS}]},
            [1, 8080, 53],
            id="containers-in-order",
        ),
        pytest.param(
            {
                "containers": [{"ports": [{"name": "p", "containerPort": 1}]}],
                "initContainers": [
                    {"ports": [{"name": "p", "containerPort": 2}]},
                    {"restartPolicy": "Always", "ports": [{"name": "p", "containerPort": 3}]},
                    {"restartPolicy": "Never", "ports": [{"name": "p", "containerPort": 4}]},
                ],
            },
            [1, 3],
            id="ES-49-sidecars-after-containers",
        ),
        pytest.param(
            {"initContainers": [{"restartPolicy": "Always", "ports": [{"name": "p", "containerPort": 3}]}]},
            [3],
            id="sidecar-alone",
        ),
        pytest.param(
            {"initContainers": [{"ports": [{"name": "p", "containerPort": 2}]}], "containers": [{}]},
            [],
            id="ES-T48-ordinary-init-container",
        ),
    ],
)
def test_named_ports(spec: Any, numbers: list[int]) -> None:
    assert [port.number for port in read_pod(spec).ports] == numbers


@pytest.mark.parametrize(("count", "shared"), [(50, True), (5_000, False)])
def test_many_labels_and_shared_ones(count: int, shared: bool) -> None:
    labels = {f"key-{number}": str(number) for number in range(count)}
    one, other = read_pod(labels=labels), read_pod(labels=labels, uid="other")
    assert one.labels == labels
    assert (one.labels is other.labels) is shared
    assert read_pod(labels={**labels, "key-0": "changed"}).labels["key-0"] == "changed"


def test_sharing_is_bounded_and_costs_no_correctness() -> None:
    made: list[bytes] = []

    def make(text: bytes) -> bytes:
        made.append(text)
        return text

    shared = _Shared(make, limit=2)
    texts = [b"1", b"2", b"1", b"3", b"1", b"3"]
    assert [shared(msgspec.Raw(text)) for text in texts] == texts
    # The third distinct text makes it forget the first two.
    assert made == [b"1", b"2", b"3", b"1"]


def test_an_update_that_changes_nothing_we_read_is_no_event() -> None:
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]}
    assert read_pod(None, status, resourceVersion="1") == read_pod(
        None, {**status, "message": "m"}, resourceVersion="2"
    )


def test_whole_service() -> None:
    found = read_service(
        {
            "type": "NodePort",
            "selector": {"app": "s"},
            "ports": [
                {
                    "name": "a",
                    "protocol": "UDP",
                    "port": 53,
                    "targetPort": "dns",
                    "appProtocol": "x",
                    "nodePort": 30000,
                },
                {"port": 80, "targetPort": 8080},
                {"name": None, "protocol": None, "port": 443, "targetPort": None, "appProtocol": None},
            ],
            "clusterIP": "10.96.0.10",
            "ipFamilies": ["IPv4", "IPv6"],
            "publishNotReadyAddresses": True,
            "trafficDistribution": "PreferClose",
        },
        labels={"team": "a"},
        creationTimestamp="2026-01-01T00:00:00Z",
        deletionTimestamp="2026-01-02T00:00:00Z",
    )
    assert found == Service(
        namespace="ns",
        name="x",
        uid="u",
        labels=Labels(team="a"),
        created="2026-01-01T00:00:00Z",
        terminating=True,
        type="NodePort",
        selector=Labels(app="s"),
        ports=(
            ServicePort("a", "UDP", "dns", "x"),
            ServicePort("", "TCP", 8080, None),
            ServicePort("", "TCP", 443, None),  # ES-156: the target is the port itself
        ),
        cluster_ip="10.96.0.10",
        ip_families=("IPv4", "IPv6"),
        publish_not_ready=True,
        traffic_distribution="PreferClose",
    )


NULL_SERVICE = {
    "type": None,
    "selector": None,
    "ports": None,
    "clusterIP": None,
    "ipFamilies": None,
    "publishNotReadyAddresses": None,
    "trafficDistribution": None,
}


@pytest.mark.parametrize("spec", [None, {}, NULL_SERVICE, {"selector": {}, "unknown": 1}])
def test_service_without_anything(spec: Any) -> None:
    found = read_service(spec, labels=None, annotations=None, creationTimestamp=None)
    assert found == Service(namespace="ns", name="x", uid="u", type="ClusterIP", selector=None)


HINTS, MODE = "service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, ""),
        ({"other": "x"}, ""),
        ({MODE: "Auto"}, "Auto"),
        ({HINTS: "auto"}, "auto"),
        ({HINTS: "disabled", MODE: "Auto"}, "disabled"),
        ({HINTS: "", MODE: "Auto"}, ""),
    ],
)
def test_topology_mode_es_93(annotations: dict[str, str], expected: str) -> None:
    assert read_service(annotations=annotations).topology_mode == expected


ADAPTIVE, FLOOR = "sliceplane.dev/topology-mode", "sliceplane.dev/topology-floor"


@pytest.mark.parametrize(
    ("annotations", "expected", "refused"),
    [
        ({}, (False, 1), []),
        ({ADAPTIVE: "Adaptive"}, (True, 1), []),
        ({ADAPTIVE: "Adaptive", FLOOR: "100"}, (True, 100), []),
        ({FLOOR: "2"}, (False, 2), []),
        ({ADAPTIVE: "adaptive", MODE: "Auto"}, (False, 1), [ADAPTIVE]),
        ({ADAPTIVE: ""}, (False, 1), [ADAPTIVE]),
        *(
            ({ADAPTIVE: "Adaptive", FLOOR: floor}, (True, 1), [FLOOR])
            for floor in ("", "0", "101", "-1", "01", "1.5", " 1", "1\n", "\u0661", "x" * 10_000)
        ),
        ({ADAPTIVE: "Auto", FLOOR: "many"}, (False, 1), [ADAPTIVE, FLOOR]),
    ],
)
def test_adaptive_topology(annotations: dict[str, str], expected: tuple[bool, int], refused: list[str]) -> None:
    found = read_service(annotations=annotations)
    assert (found.adaptive, found.topology_floor) == expected
    assert [text.partition(":")[0] for text in found.refused_annotations] == refused
    assert all("valid is" in text and len(text) < 250 for text in found.refused_annotations)


@pytest.mark.parametrize(
    ("labels", "zone"),
    [
        (None, ""),
        ({}, ""),
        ({"topology.kubernetes.io/zone": "a"}, "a"),
        ({"topology.kubernetes.io/zone": ""}, ""),
        ({"failure-domain.beta.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r"}, ""),
    ],
)
def test_zone_of_a_node_es_8(labels: dict[str, str] | None, zone: str) -> None:
    assert read_node(labels=labels) == Node("x", zone, ready=False)
