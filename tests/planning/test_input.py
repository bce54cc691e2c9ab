"""What is accepted, what is refused and how that is said: no document ever gets a traceback."""

import copy
import gc
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controllers.planning.reading import read
from tests.planning.run import SHOP, at_a_terminal, dump, node, planned, pod, run, service, workload

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: b: c", "standard input: not valid YAML: line 1, column 5", id="syntax"),
        pytest.param("a: [1", "standard input: not valid YAML: line", id="unclosed"),
        pytest.param("a: !!int abc", "document 1: not valid YAML: ValueError", id="tag-lies"),
        pytest.param("a: !!python/object:os.system x", "could not determine a constructor", id="python-tag"),
        pytest.param("a: !!set {x}", "document 1: holds a value that JSON does not know (set)", id="set"),
        pytest.param("? \n: x", "document 1: holds a key that is no text", id="null-key"),
        pytest.param("a: 99999999999999999999", "document 1: holds a number of more than 64 bits", id="huge-number"),
        pytest.param("a: &a [*a]", "document 1: nested too deeply", id="endless"),
        pytest.param(BOMB, "document 1: its aliases (*name) blow it up", id="bomb"),
        pytest.param("[" * 900 + "]" * 900, "nested too deeply", id="deep"),
        pytest.param("- " * 20_000, "not valid YAML", id="deeper"),
        pytest.param("a: \0", "not valid YAML", id="nul"),
        pytest.param(b"\xff\xfe", "standard input: not UTF-8 text (byte 0)", id="not-utf-8"),
        pytest.param("", "standard input: no objects in it", id="empty"),
        pytest.param("# nothing\n---\n---\n", "standard input: no objects in it", id="empty-documents"),
        pytest.param("{apiVersion: v1, kind: List, items: []}", "standard input: no objects in it", id="empty-list"),
        pytest.param(
            "{apiVersion: v1, kind: Servic, metadata: {name: a}}",
            "standard input: nothing to plan with, only 1 Servic (v1). What is read: Service, Pod, Node (v1);",
            id="other-kinds",
        ),
        pytest.param("- 1", "document 1: expected an object, got an array", id="array"),
        pytest.param("text", "document 1: expected an object, got text", id="text"),
        pytest.param("kind: Pod", "document 1: apiVersion not set", id="no-api-version"),
        pytest.param("a: b", "document 1: apiVersion and kind not set", id="no-kind"),
        pytest.param("{apiVersion: 1, kind: Pod}", "apiVersion and kind must be text", id="version-number"),
        pytest.param("{apiVersion: v1, kind: Service}", "Service: metadata: required, but not set", id="no-metadata"),
        pytest.param("{apiVersion: v1, kind: Service, metadata: 5}", "Service: metadata: expected", id="metadata-5"),
        pytest.param(
            "{apiVersion: v1, kind: Pod, metadata: {generateName: a-}}",
            "Pod: metadata.name: required, but not set",
            id="no-name",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Pod, metadata: {name: Web_1}}",
            "Pod default/Web_1: metadata.name: expected `str` matching",
            id="bad-name",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {v: 1.0}}}",
            "Pod default/a: metadata.labels.v: expected `str`, got `float`",
            id="label-number",
        ),
        pytest.param(SERVICE, "Service default/web: spec: required, but not set", id="no-spec"),
        pytest.param(
            SERVICE + "spec: {ports: [{port: 70000}]}", "spec.ports[0].port: expected `int` <= 65535", id="port"
        ),
        pytest.param(
            SERVICE + "spec: {ports: [{port: '80'}]}", "spec.ports[0].port: expected `int`, got", id="port-str"
        ),
        pytest.param(SERVICE + "spec: {ports: [{}]}", "spec.ports[0].port: required, but not set", id="no-port"),
        pytest.param(SERVICE + "spec: {ports: [{port: 1, protocol: tcp}]}", "spec.ports[0].protocol", id="protocol"),
        pytest.param(
            SERVICE + "spec: {ports: [{port: 1}, {port: 2}]}", "spec.ports[0].name: required", id="port-names"
        ),
        pytest.param(
            SERVICE + "spec: {ports: [{name: a, port: 1}, {name: a, port: 2}]}",
            "spec.ports[1].name: duplicate value 'a'",
            id="same-port-name",
        ),
        pytest.param(
            SERVICE + "spec: {selector: [app]}", "spec.selector: expected `object | null`, got `array`", id="selector"
        ),
        pytest.param(SERVICE + "spec: {type: Cluster}", "spec.type: invalid enum value 'Cluster'", id="type"),
        pytest.param(SERVICE + "spec: {clusterIP: here}", "spec.clusterIP: 'here' is neither", id="cluster-ip"),
        pytest.param(
            SERVICE + "spec: {ipFamilies: [IPv5]}", "spec.ipFamilies[0]: invalid enum value 'IPv5'", id="family"
        ),
        pytest.param(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {replicas: 2}}",
            "Deployment default/a: spec.template: required, but not set",
            id="no-template",
        ),
        pytest.param(
            "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a}, addressType: IP}",
            "EndpointSlice default/a: addressType: invalid enum value 'IP'",
            id="address-type",
        ),
        pytest.param(
            "{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.0.0.0/8, 10/x]}}",
            "Node a: spec.podCIDRs[1]: '10/x' is not a range of addresses",
            id="pod-cidr",
        ),
        pytest.param("{apiVersion: v1, kind: List, items: {a: b}}", "List: items: expected an array", id="items"),
        pytest.param("{apiVersion: v1, kind: List, items: [5]}", "document 1, item 1: expected an object", id="item"),
    ],
)
def test_refused(text: str | bytes, expected: str) -> None:
    ran = run("-f", "-", stdin=text)
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert expected in ran.err


def test_all_errors_are_shown() -> None:
    spec = "spec: {type: A, selector: 5, ports: [{port: 0, protocol: x}, {port: 1}]}"
    ran = run("-f", "-", stdin=f"{SERVICE}{spec}\n---\nkind: Pod\n---\na: b: c")
    assert ran.code == 1
    for expected in (
        "spec.type",
        "spec.selector",
        "spec.ports[0].port",
        "spec.ports[0].protocol",
        "document 2",
        "YAML",
    ):
        assert expected in ran.err
    assert all(line.startswith("error: standard input") for line in ran.err.splitlines())


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, ["IPv4"], id="default"),
        pytest.param({"ipFamilyPolicy": "SingleStack"}, ["IPv4"], id="single"),
        pytest.param({"ipFamilies": ["IPv6"]}, ["IPv6"], id="ipv6"),
        pytest.param({"clusterIP": "fd00::1"}, ["IPv6"], id="ipv6-address"),
        pytest.param({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], id="prefer"),
        pytest.param({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, ["IPv4", "IPv6"], id="require"),
        pytest.param({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "None"}, ["IPv4", "IPv6"], id="headless-dual"),
        pytest.param({"clusterIP": "None"}, ["IPv4"], id="headless"),
        pytest.param(
            {"ipFamilyPolicy": "PreferDualStack", "clusterIPs": ["10.0.0.1", "fd00::1"]},
            ["IPv4", "IPv6"],
            id="addresses",
        ),
    ],
)
def test_ip_families(spec: dict[str, Any], expected: list[str]) -> None:
    """IP-27 ... IP-33 on a dual-stack cluster."""
    ran = planned(dump(service(**spec), workload("Deployment")))
    assert [each["addressType"] for each in ran.slices] == expected
    headless = "service.kubernetes.io/headless" in ran.slices[0]["metadata"]["labels"]
    assert headless == (spec.get("clusterIP") == "None")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"ipFamilies": ["IPv4", "IPv6"]}, id="two-families-single"),
        pytest.param({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv4"]}, id="same-twice"),
        pytest.param({"clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"]}, id="other-family"),
        pytest.param({"ipFamilyPolicy": "PreferDualStack", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}, id="same-family"),
        pytest.param({"clusterIPs": ["10.0.0.1"], "clusterIP": "10.0.0.2"}, id="two-minds"),
        pytest.param({"clusterIPs": ["10.0.0.1", "fd00::1"]}, id="two-addresses-single"),
    ],
)
def test_ip_families_refused(spec: dict[str, Any]) -> None:
    ran = run("-f", "-", stdin=dump(service(**spec)))
    assert ran.code == 1
    assert "Service default/web: spec." in ran.err


def test_live_service_keeps_its_families() -> None:
    """IP-35: what PreferDualStack got on a single-stack cluster stays."""
    live = service(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4"], clusterIP="10.0.0.1")
    live["metadata"]["uid"] = "u1"
    assert [each["addressType"] for each in planned(dump(live)).slices] == ["IPv4"]


@pytest.mark.parametrize("target", [None, 0, ""])
def test_target_port_defaults_to_the_port(target: object) -> None:
    ran = planned(dump(service(ports=[{"port": 81, "targetPort": target}]), workload("Deployment")))
    assert ran.slices[0]["ports"] == [{"name": "", "protocol": "TCP", "port": 81}]


def test_lists_are_flattened() -> None:
    inner = {"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"metadata": {"name": "web"}}]}
    inner["items"][0]["spec"] = workload("Deployment")["spec"]  # type: ignore[index]
    ran = planned(dump({"apiVersion": "v1", "kind": "List", "items": [service(), inner]}))
    assert len(ran.endpoints) == 1


def test_other_kinds_are_counted() -> None:
    knative = {**service(), "apiVersion": "serving.knative.dev/v1"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    ran = planned(dump(service(), knative, config, config))
    assert "note: ignored: 2 ConfigMap (v1), 1 Service (serving.knative.dev/v1)\n" in ran.err
    assert "1 Service, 0 Pods, 6 Nodes (sample)" in ran.err


def test_last_of_two_objects_counts() -> None:
    ran = planned(dump(service(), workload("Deployment"), workload("Deployment", replicas=3)))
    assert len(ran.endpoints) == 3
    assert "note: given twice, the last one counts: Deployment default/web\n" in ran.err


def test_namespace() -> None:
    elsewhere = workload("Deployment", "other", replicas=2)
    elsewhere["metadata"]["namespace"] = "elsewhere"
    ran = planned(dump(service(), workload("Deployment"), elsewhere), "-n", "shop")
    assert len(ran.endpoints) == 1
    assert ran.slices[0]["metadata"]["namespace"] == "shop"


def test_directory(tmp_path: Path) -> None:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "b.yml").write_text(dump(service()))
    (tmp_path / "deeper" / "a.json").write_text(json.dumps(workload("Deployment", replicas=2)))
    (tmp_path / "notes.txt").write_text("not: [a manifest")
    ran = run("-f", str(tmp_path))
    assert ran.code == 0
    assert len(ran.endpoints) == 2


def test_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"a":' * 5_000)
    (tmp_path / "empty").mkdir()
    ran = run("-f", str(tmp_path / "no.yaml"), "-f", str(tmp_path / "empty"), "-f", str(tmp_path / "bad.json"))
    assert ran.code == 1
    no_file, no_manifest, bad_json = ran.err.splitlines()
    assert no_file == f"error: {tmp_path}/no.yaml: no such file or directory"
    assert no_manifest == f"error: {tmp_path}/empty: no files that end in .json, .yaml, .yml"
    assert bad_json.startswith(f"error: {tmp_path}/bad.json: not valid JSON: ")


LIMIT = "--max-endpoints-per-slice"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        pytest.param([], "Missing option '-f'", id="nothing"),
        pytest.param(["-o", "xml"], "'xml' is not one of", id="output"),
        pytest.param([LIMIT, "0"], "0 is not a whole number from 1 to 1000", id="limit-0"),
        pytest.param([LIMIT, "1001"], "1001 is not a whole number from 1 to 1000", id="limit-1001"),
        pytest.param([LIMIT, "abc"], "abc is not a whole number from 1 to 1000", id="limit-text"),
        pytest.param(["-f", "-", "-f", "-"], "standard input can be read only once", id="stdin-twice"),
        pytest.param(["-f", ""], "'-f' / '--filename': the name is empty", id="empty-name"),
        pytest.param(["-n", "BAD NS"], "'-n' / '--namespace': 'BAD NS' is no name of a namespace", id="namespace"),
        pytest.param(["-n", ""], "'' is no name of a namespace", id="empty-namespace"),
        pytest.param(["-n", "a" * 64], "63 at most", id="long-namespace"),
    ],
)
def test_usage(args: list[str], expected: str) -> None:
    ran = run(*(["-f", str(SHOP)] if args and args[0] != "-f" else []), *args)
    assert ran.code == 2
    assert expected in ran.err


def test_no_garbage_is_looked_for_while_a_file_is_read() -> None:
    """For each of its values it would be, and it takes twice as long as the reading itself."""
    looked: list[str] = []

    def look(phase: str, _: dict[str, int]) -> None:
        looked.append(phase)

    values = b"a: [" + b"{b: [c]}, " * 20_000
    gc.callbacks.append(look)
    try:
        whole, broken = read("a.yaml", values + b"]"), read("b.yaml", values + b"}")
    finally:
        gc.callbacks.remove(look)
    assert len(whole.found[0].content["a"]) == 20_000
    assert broken.problems
    # Once or twice at the end, when it may look again; thousands of values make hundreds.
    assert len(looked) < 10
    assert gc.isenabled()


def test_a_large_file_is_told_of_at_a_terminal(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "x" * 2_000_000}}
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [large, service()]}))
    assert "reading" not in run("-f", str(file)).err
    shown = at_a_terminal("-f", str(file), "-f", str(SHOP))
    assert shown.startswith(f"reading {file} (2 MB)\r\n")
    assert shown.count("reading ") == 1


_JUNK: st.SearchStrategy[object] = st.sampled_from(
    [None, 0, -1, 2**40, 1.5, True, "", "x", "None", "::/0", "fe80::1%eth0", [], {}, [None], [5]]
)
_MANIFESTS = [
    *yaml.safe_load_all(SHOP.read_text()),
    node("n1", "zone-a", podCIDRs=["10.1.0.0/24"], taints=[{"key": "a", "effect": "NoSchedule"}]),
    pod("p", ownerReferences=[{"kind": "ReplicaSet", "name": "r", "controller": True}]),
    *planned(SHOP.read_text()).slices,
]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a tree of objects and arrays."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, each in items for found in ((value, key), *_places(each))]


@given(number=st.integers(min_value=0), junk=_JUNK, output=st.sampled_from(["yaml", "json", "table"]))
@settings(max_examples=200, deadline=None)
def test_law_one_wrong_field_never_gets_a_traceback(number: int, junk: object, output: str) -> None:
    documents = copy.deepcopy(_MANIFESTS)
    places = _places(documents)
    where, key = places[number % len(places)]
    where[key] = junk
    ran = run("-f", "-", "-o", output, stdin=dump(*documents))
    assert ran.code in (0, 1)
    assert (ran.code == 1) == ran.err.startswith("error: ")
