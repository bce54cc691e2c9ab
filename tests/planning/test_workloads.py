"""Which Pods each workload stands for."""

import re
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.planning.run import Ran, dump, node, planned, pod, service, workload

ALPHABET = "[bcdfghjklmnpqrstvwxz2456789]"


def names(ran: Ran) -> list[str]:
    return sorted(each["targetRef"]["name"] for each in ran.endpoints)


def on(ran: Ran) -> list[str]:
    return sorted(each["nodeName"] for each in ran.endpoints)


def test_deployment() -> None:
    ran = planned(dump(service(), workload("Deployment", replicas=4)))
    assert len(set(names(ran))) == 4
    assert all(re.fullmatch(f"web-{ALPHABET}{{10}}-{ALPHABET}{{5}}", name) for name in names(ran))
    (prefix,) = {name.rpartition("-")[0] for name in names(ran)}
    by_hash = service(selector={"app": "web", "pod-template-hash": prefix.removeprefix("web-")})
    assert names(planned(dump(by_hash, workload("Deployment", replicas=4)))) == names(ran)


def test_deployment_with_another_template_has_other_pods() -> None:
    old = planned(dump(service(), workload("Deployment")))
    new = planned(dump(service(), workload("Deployment", template={"containers": [{"name": "c", "image": "x"}]})))
    assert names(old) != names(new)


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet"])
@pytest.mark.parametrize(("replicas", "expected"), [({}, 1), ({"replicas": None}, 1), ({"replicas": 0}, 0)])
def test_replicas(kind: str, replicas: dict[str, Any], expected: int) -> None:
    assert len(planned(dump(service(), workload(kind, **replicas))).endpoints) == expected


def test_replica_set() -> None:
    for name in names(planned(dump(service(), workload("ReplicaSet", replicas=2)))):
        assert re.fullmatch(f"web-{ALPHABET}{{5}}", name)


def test_stateful_set() -> None:
    spec: dict[str, Any] = {"replicas": 2, "serviceName": "web", "ordinals": {"start": 5}}
    ran = planned(dump(service(clusterIP="None"), workload("StatefulSet", "db", **spec)))
    assert names(ran) == ["db-5", "db-6"]
    assert sorted(each["hostname"] for each in ran.endpoints) == ["db-5", "db-6"]


@pytest.mark.parametrize(
    "selector", [{"statefulset.kubernetes.io/pod-name": "db-1"}, {"apps.kubernetes.io/pod-index": "1"}]
)
def test_stateful_set_labels(selector: dict[str, str]) -> None:
    ran = planned(dump(service(selector=selector), workload("StatefulSet", "db", replicas=3)))
    assert names(ran) == ["db-1"]
    assert "hostname" not in ran.endpoints[0]


def test_daemon_set_is_on_every_eligible_node() -> None:
    nodes = [
        node("a", labels={"disk": "ssd"}),
        node("b"),
        node("c", labels={"disk": "ssd"}, taints=[{"key": "dedicated", "effect": "NoSchedule"}]),
        node("d", labels={"disk": "ssd"}, unschedulable=True),
    ]
    daemon = workload("DaemonSet", template={"nodeSelector": {"disk": "ssd"}})
    assert on(planned(dump(service(), *nodes, daemon))) == ["a", "d"]
    tolerant = workload("DaemonSet", template={"tolerations": [{"operator": "Exists"}]})
    assert on(planned(dump(service(), *nodes, tolerant))) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"key": "dedicated", "value": "db"}, True),
        ({"key": "dedicated", "value": "web"}, False),
        ({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], tolerated: bool) -> None:
    tainted = node("a", taints=[{"key": "dedicated", "value": "db", "effect": "NoSchedule"}])
    ran = planned(dump(service(), tainted, workload("Deployment", template={"tolerations": [toleration]})))
    assert len(ran.endpoints) == tolerated


def test_daemon_set_on_the_sample_nodes() -> None:
    ran = planned(dump(service(), workload("DaemonSet")))
    assert on(ran) == ["node-a1", "node-a2", "node-b1", "node-b2", "node-c1", "node-c2"]


@pytest.mark.parametrize("count", [3, 6, 7])
def test_zones_are_served_in_turn(count: int) -> None:
    ran = planned(dump(service(), workload("Deployment", replicas=count)))
    zones = [each["zone"] for each in ran.endpoints]
    sizes = [zones.count(zone) for zone in ("zone-a", "zone-b", "zone-c")]
    assert max(sizes) - min(sizes) <= 1


def test_addresses_are_those_of_the_node() -> None:
    dual = service(ipFamilyPolicy="RequireDualStack")
    ran = planned(dump(dual, node("n1"), node("n2"), workload("Deployment", replicas=300)))
    addresses = [each["addresses"][0] for each in ran.endpoints]
    assert len(set(addresses)) == 600
    for each in ran.endpoints:
        number = int(each["nodeName"].removeprefix("n"))
        networks = [ip_network(f"10.244.{number}.0/24"), ip_network(f"fd00:10:244:{number}::/64")]
        assert any(ip_address(each["addresses"][0]) in network for network in networks)


def test_more_pods_than_addresses_of_one_node() -> None:
    ran = planned(dump(service(ipFamilyPolicy="RequireDualStack"), node("n1"), workload("Deployment", replicas=700)))
    assert len({each["addresses"][0] for each in ran.endpoints}) == 1400


def test_pod_cidrs_of_the_node_are_used() -> None:
    single = node("n1", podCIDRs=["192.168.7.0/24"])
    ran = planned(dump(service(ipFamilyPolicy="PreferDualStack"), single, workload("Deployment", replicas=2)))
    assert all(ip_address(each["addresses"][0]) in ip_network("192.168.7.0/24") for each in ran.endpoints)
    assert "2 Pods left out: the Pod has no address of this family (IPv6)" in ran.err


def test_host_network_pods_have_the_addresses_of_their_node() -> None:
    given = {**node("n1"), "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.7"}]}}
    ran = planned(dump(service(), given, workload("DaemonSet", template={"hostNetwork": True})))
    assert [each["addresses"] for each in ran.endpoints] == [["192.0.2.7"]]


def test_node_name_and_selector_of_the_template() -> None:
    assert (
        on(planned(dump(service(), workload("Deployment", replicas=2, template={"nodeName": "node-b2"}))))
        == ["node-b2"] * 2
    )
    chosen = {"nodeSelector": {"topology.kubernetes.io/zone": "zone-c"}}
    assert on(planned(dump(service(), workload("Deployment", replicas=2, template=chosen)))) == ["node-c1", "node-c2"]


def test_workload_that_fits_nowhere_has_pending_pods() -> None:
    ran = planned(dump(service(), workload("Deployment", template={"nodeSelector": {"no": "where"}})))
    assert ran.endpoints == []
    assert "1 Pod left out: the Pod has no IP yet" in ran.err


def test_pod_without_status_is_brought_up() -> None:
    wish = {**pod("solo", node=""), "status": {}, "spec": {"containers": [{"name": "c"}]}}
    ran = planned(dump(service(), wish))
    assert names(ran) == ["solo"]


def test_named_ports_of_sidecars_are_found() -> None:
    template = {
        "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}],
        "initContainers": [
            {"name": "s", "restartPolicy": "Always", "ports": [{"name": "metrics", "containerPort": 9090}]}
        ],
    }
    ports = [{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81, "targetPort": "metrics"}]
    (made,) = planned(dump(service(ports=ports), workload("Deployment", template=template))).slices
    assert sorted((port["name"], port["port"]) for port in made["ports"]) == [("a", 8080), ("b", 9090)]


def _owner(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": True}]


def test_what_a_workload_made_stands_for_it() -> None:
    replica_set = workload("ReplicaSet", "web-abc", replicas=2)
    replica_set["metadata"]["ownerReferences"] = _owner("Deployment", "web")
    live = pod("web-abc-1", ownerReferences=_owner("ReplicaSet", "web-abc"))
    ran = planned(dump(service(), node("n1"), workload("Deployment", replicas=2), replica_set, live))
    assert names(ran) == ["web-abc-1"]
    assert "note: not expanded, what they made is given: Deployment default/web, ReplicaSet default/web-abc" in ran.err


def test_pods_stand_for_a_deployment_without_its_replica_set() -> None:
    labels = {"app": "web", "pod-template-hash": "abc"}
    live = pod("web-abc-1", ownerReferences=_owner("ReplicaSet", "web-abc"), labels=labels)
    assert names(planned(dump(service(), node("n1"), workload("Deployment", replicas=2), live))) == ["web-abc-1"]


def test_jobs_are_not_expanded() -> None:
    job = {**workload("Job"), "apiVersion": "batch/v1"}
    ran = planned(dump(service(), job))
    assert ran.endpoints == []
    assert "note: ignored: 1 Job (batch/v1)" in ran.err
    assert "warning: Service default/web: no Pod has the labels app=web" in ran.err
