"""Existing slices in the input, Pods that are left out, and the law that a plan carried out leaves nothing to plan."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.run import SHOP, Ran, dump, node, planned, pod, run, service, workload

UNTOUCHED = "0 slices to create, 0 to update, 0 to delete\n"


def carried_out(ran: Ran, existing: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The slices of the cluster after the plan."""
    deleted = {line.removeprefix("# delete ") for line in ran.out.splitlines() if line.startswith("# delete ")}
    slices = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in (*existing, *ran.slices)}
    assert deleted <= slices.keys()
    return [each for key, each in slices.items() if key not in deleted]


def test_output_fed_back_plans_nothing() -> None:
    first = run("-f", str(SHOP))
    again = run("-f", str(SHOP), "-f", "-", stdin=first.out)
    assert (again.code, again.out) == (0, "")
    assert again.err.endswith(UNTOUCHED)


_SERVICES = st.fixed_dictionaries(
    {"ports": st.sampled_from([[{"port": 80}], [{"port": 80, "targetPort": "http"}], []])},
    optional={
        "clusterIP": st.just("None"),
        "ipFamilyPolicy": st.sampled_from(["SingleStack", "PreferDualStack"]),
        "publishNotReadyAddresses": st.booleans(),
    },
)
_PODS = st.lists(
    st.builds(
        pod,
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "127.0.0.1", "bad", ""]),
        node=st.sampled_from(["n1", "n2", "gone"]),
        phase=st.sampled_from(["Running", "Pending", "Failed"]),
    ),
    max_size=6,
)


@given(before=_SERVICES, after=_SERVICES, pods=_PODS, later=_PODS, replicas=st.integers(0, 5), limit=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_law_carried_out_plan_leaves_nothing_to_plan(
    before: dict[str, Any],
    after: dict[str, Any],
    pods: list[dict[str, Any]],
    later: list[dict[str, Any]],
    replicas: int,
    limit: int,
) -> None:
    fixed = [node("n1", "zone-a"), node("n2"), workload("ReplicaSet", replicas=replicas)]
    options = ("--max-endpoints-per-slice", str(limit))
    slices: list[dict[str, Any]] = []
    for spec, those in ((before, pods), (after, later)):
        objects = [service(**spec), *fixed, *those]
        slices = carried_out(planned(dump(*objects, *slices), *options), slices)
        assert all(len(each["endpoints"]) <= limit for each in slices)
        again = planned(dump(*objects, *slices), *options)
        assert (again.out, again.err.endswith(UNTOUCHED)) == ("", True)


@given(order=st.permutations(list(yaml.safe_load_all(SHOP.read_text()))))
@settings(max_examples=20, deadline=None)
def test_law_order_of_documents_does_not_matter(order: list[dict[str, Any]]) -> None:
    assert planned(dump(*order)).out == run("-f", str(SHOP)).out


def test_existing_slices_are_updated_and_deleted() -> None:
    old = planned(dump(service(), workload("Deployment", replicas=5)), "--max-endpoints-per-slice", "2").slices
    assert len(old) == 3
    for number, each in enumerate(old):
        each["metadata"] |= {"uid": f"u{number}", "resourceVersion": str(number + 1)}
    ran = planned(dump(service(), workload("Deployment", replicas=1), *old), "--max-endpoints-per-slice", "2")
    assert ran.err.endswith("0 slices to create, 1 to update, 2 to delete\n")
    assert ran.out.count("# delete default/web-") == 2
    found = json.loads(planned(dump(service(), workload("Deployment", replicas=1), *old), "-o", "json").out)
    assert all(each["namespace"] == "default" for each in found["delete"])


def test_update_is_the_whole_object() -> None:
    (old,) = planned(dump(service(), workload("Deployment", replicas=1))).slices
    old["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    ran = planned(dump(service(), workload("Deployment", replicas=2), old))
    (new,) = ran.slices
    assert new["metadata"] == old["metadata"]
    assert ran.out.startswith(f"# update default/{old['metadata']['name']} (IPv4, 2 endpoints)\n")
    assert new["endpoints"][0] == old["endpoints"][0]


def test_manifest_adopts_the_slices_of_the_live_service() -> None:
    """A manifest has no UID; applied, it is the Service that the slices belong to."""
    (old,) = planned(dump(service(), workload("Deployment"))).slices
    old["metadata"]["ownerReferences"][0]["uid"] = "the-live-one"
    assert planned(dump(service(), workload("Deployment"), old)).err.endswith(UNTOUCHED)
    replaced = service()
    replaced["metadata"]["uid"] = "a-new-one"
    assert planned(dump(replaced, workload("Deployment"), old)).err.endswith(
        "1 slice to create, 0 to update, 1 to delete\n"
    )


def test_slices_of_others_are_left_alone() -> None:
    (foreign,) = planned(dump(service(), workload("Deployment"))).slices
    foreign["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "somebody"
    ran = planned(dump(service(), workload("Deployment"), foreign))
    assert ran.err.endswith("1 slice to create, 0 to update, 0 to delete\n")
    assert ran.slices[0]["metadata"]["name"] != foreign["metadata"]["name"]


def test_unchanged_slices_are_in_the_table() -> None:
    objects = dump(service(), workload("Deployment", replicas=5))
    table = run("-f", "-", "-o", "table", stdin=objects + "---\n" + planned(objects).out).out
    assert [line.split()[2] for line in table.splitlines()[1:]] == ["unchanged"]
    assert table.rstrip().endswith(" + 2 more...")


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [
        pytest.param(pod("p", phase="Succeeded"), "the Pod has finished", id="finished"),
        pytest.param(pod("p", ip="", phase="Pending"), "the Pod has no IP yet", id="no-ip"),
        pytest.param(pod("p", node="gone"), "the Pod's Node does not exist", id="node"),
        pytest.param(pod("p", ip="fd00::1"), "the Pod has no address of this family", id="family"),
        pytest.param(pod("p", ip="127.0.0.1"), "the Pod's address is not an IP that", id="refused"),
    ],
)
def test_left_out_pods_are_named_with_their_reason(left_out: dict[str, Any], reason: str) -> None:
    text = dump(service(), node("n1"), left_out)
    assert f"warning: Service default/web: 1 Pod left out: {reason}" in planned(text).err
    assert f"warning: Service default/web: Pod p left out: {reason}" in planned(text, "--explain").err
    table = planned(text, "-o", "table")
    assert reason in table.out
    assert "left out" not in table.err
    (entry,) = json.loads(planned(text, "-o", "json").out)["leftOut"]
    assert (entry["service"], entry["pod"]) == ("web", "p")
    assert entry["message"].startswith(reason)


def test_family_is_named_when_a_pod_is_left_out_of_one() -> None:
    dual = service(ipFamilyPolicy="PreferDualStack")
    ran = planned(dump(dual, node("n1"), pod("p")))
    assert "the Pod has no address of this family (IPv6): p" in ran.err


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"type": "ExternalName", "externalName": "example.org"}, "is of type ExternalName", id="external"),
        pytest.param({"selector": None}, "has no selector", id="no-selector"),
        pytest.param({"selector": {}}, "has no selector", id="empty-selector"),
    ],
)
def test_services_that_are_not_synced(spec: dict[str, Any], reason: str) -> None:
    text = dump(service(**spec), workload("Deployment"))
    ran = planned(text)
    assert ran.out == ""
    assert f"warning: Service default/web: no slices: the Service {reason}" in ran.err
    assert json.loads(planned(text, "-o", "json").out)["notSynced"][0]["service"] == "web"
    assert planned(text, "-o", "table").out.splitlines()[1].split() == ["default", "web", "none", *["<none>"] * 4]


def unscheduled(name: str, node: str = "") -> dict[str, Any]:
    """A Pod as `kubectl run --dry-run=client` writes it."""
    return {**pod(name, node=node), "status": {}}


def test_pods_without_any_nodes() -> None:
    ran = planned(dump(service(), pod("p", node="worker-7")))
    assert [each["nodeName"] for each in ran.endpoints] == ["worker-7"]
    assert "note: no Nodes given, taken to exist, without a zone: worker-7\n" in ran.err
    assert "1 Service, 1 Pod, 1 Node (taken to exist): " in ran.err


def test_sample_nodes_are_for_pods_that_name_none() -> None:
    ran = planned(dump(service(), pod("p", node="worker-7"), unscheduled("wish"), unscheduled("other", "worker-8")))
    assert "note: no Nodes given, taken to exist, without a zone: worker-7, worker-8\n" in ran.err
    assert "3 Pods (2 simulated), 8 Nodes (6 sample, 2 taken to exist): " in ran.err
    zones = {each["targetRef"]["name"]: each.get("zone", "") for each in ran.endpoints}
    assert zones.pop("wish").startswith("zone-")
    assert zones == {"p": "", "other": ""}


def test_pods_on_sample_nodes_need_no_others() -> None:
    """The Pods of a plan without Nodes, given back: its Nodes are the sample ones."""
    ran = planned(dump(service(), pod("p", node="node-b1")))
    assert "note: no Nodes" not in ran.err
    assert "6 Nodes (sample)" in ran.err
    assert [each["zone"] for each in ran.endpoints] == ["zone-b"]


@pytest.mark.parametrize(
    "absent",
    [
        pytest.param(unscheduled("p", "gone"), id="pod"),
        pytest.param(workload("Deployment", template={"nodeName": "gone"}), id="template"),
        pytest.param(workload("Deployment", template={"nodeName": "gone", "hostNetwork": True}), id="host-network"),
    ],
)
def test_node_that_is_not_there(absent: dict[str, Any]) -> None:
    """ES-38: a Pod that has not run yet stands for a ready one, so what is wrong is its Node, and not its address."""
    ran = planned(dump(service(), node("n1"), absent))
    assert ran.endpoints == []
    assert "1 Pod left out: the Pod's Node does not exist" in ran.err
    assert "1 Node: " in ran.err
    anyway = planned(dump(service(publishNotReadyAddresses=True), node("n1"), absent))
    assert [each["nodeName"] for each in anyway.endpoints] == ["gone"]


def test_trigger_time_only_when_the_service_has_a_creation_time() -> None:
    assert "annotations" not in planned(dump(service(), workload("Deployment"))).slices[0]["metadata"]
    text = dump(service(), workload("Deployment")).replace(
        "name: web\n", "name: web\n  creationTimestamp: 2026-01-02T03:04:05Z\n", 1
    )
    annotations = planned(text).slices[0]["metadata"]["annotations"]
    assert annotations == {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-02T03:04:05Z"}


def test_hints_are_planned_and_refusals_told() -> None:
    """Sample Nodes are ready and equal: three Pods in three zones serve their own zones, four are refused."""
    of = service()
    of["metadata"]["annotations"] = {"service.kubernetes.io/topology-mode": "Auto"}
    three, four = (planned(dump(of, workload("Deployment", replicas=count))) for count in (3, 4))
    assert three.out.count("forZones") == 3
    assert "TopologyAwareHintsDisabled" in four.err
    assert "forZones" not in four.out


def test_annotations_that_count_as_not_set_are_told() -> None:
    """As the controller tells them by an Event: a value in another case is the likeliest mistake."""
    of = service()
    of["metadata"]["annotations"] = {"sliceplane.dev/topology-mode": "adaptive"}
    ran = planned(dump(of, workload("Deployment", replicas=3)))
    assert "warning: Service default/web: InvalidTopologyAnnotation: sliceplane.dev/topology-mode: " in ran.err
    assert "forZones" not in ran.out
