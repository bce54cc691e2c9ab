"""docs/examples/shop.yaml, which the README shows."""

import json
import os
import subprocess
import sys

import pytest

from tests.planning.run import COMMAND, ROOT, SHOP, run


def _process(*args: str, seed: str = "0") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, cwd=ROOT, env=environment, check=True, timeout=60
    )


def test_slices_of_the_example() -> None:
    ran = run("-f", str(SHOP))
    assert ran.code == 0
    db, web4, web6 = ran.slices
    for each in ran.slices:
        assert list(each) == ["apiVersion", "kind", "metadata", "addressType", "endpoints", "ports"]
        assert (each["apiVersion"], each["kind"]) == ("discovery.k8s.io/v1", "EndpointSlice")
        assert each["metadata"]["namespace"] == "shop"
    assert [each["addressType"] for each in ran.slices] == ["IPv4", "IPv4", "IPv6"]
    assert db["ports"] == [{"name": "postgres", "protocol": "TCP", "port": 5432}]
    assert sorted(each["hostname"] for each in db["endpoints"]) == ["db-0", "db-1"]
    assert db["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert web4["ports"] == web6["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    for each in (web4, web6):
        assert sorted(endpoint["zone"] for endpoint in each["endpoints"]) == ["zone-a", "zone-b", "zone-c"]
        assert all(endpoint["conditions"]["ready"] for endpoint in each["endpoints"])
    assert {each["targetRef"]["uid"] for each in web4["endpoints"]} == {
        each["targetRef"]["uid"] for each in web6["endpoints"]
    }


def test_what_is_said_about_the_example() -> None:
    ran = run("-f", str(SHOP))
    assert ran.err == (
        "2 Services, 5 Pods (simulated), 6 Nodes (sample): 3 slices to create, 0 to update, 0 to delete\n"
    )
    titles = [line for line in ran.out.splitlines() if line.startswith("# create")]
    assert titles == [
        f"# create shop/{each['metadata']['name']} ({each['addressType']}, {len(each['endpoints'])} endpoints)"
        for each in ran.slices
    ]


@pytest.mark.parametrize("output", ["yaml", "json", "table"])
def test_same_bytes_whatever_the_hash_seed(output: str) -> None:
    outputs = {
        _process("-c", COMMAND, "-f", str(SHOP), "-o", output, "--explain", seed=seed).stdout
        for seed in ("0", "1", "7")
    }
    assert outputs == {run("-f", str(SHOP), "-o", output, "--explain").out}


def test_table_has_one_line_per_slice() -> None:
    header, *lines = run("-f", str(SHOP), "-o", "table").out.splitlines()
    assert header.split() == ["NAMESPACE", "SERVICE", "ACTION", "SLICE", "ADDRESSTYPE", "PORTS", "ENDPOINTS"]
    assert [line.split()[1:3] for line in lines] == [["db", "create"], ["web", "create"], ["web", "create"]]
    assert [line.split()[4:6] for line in lines] == [["IPv4", "5432"], ["IPv4", "8080"], ["IPv6", "8080"]]


def test_json_holds_the_same_slices() -> None:
    found = json.loads(run("-f", str(SHOP), "-o", "json").out)
    assert found["create"] == run("-f", str(SHOP)).slices
    assert {key: found[key] for key in found if key != "create"} == {
        "update": [],
        "delete": [],
        "leftOut": [],
        "notSynced": [],
    }


def test_nothing_heavy_is_imported() -> None:
    script = f"import sys; sys.argv[1:] = ['-f', {str(SHOP)!r}]\ntry:\n    exec({COMMAND!r})\nfinally:\n"
    script += "    print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    names = _process("-c", script).stderr.splitlines()[-1]
    for heavy in (
        "aiohttp",
        "asyncio",
        "kubernetes",
        "kopf",
        "prometheus_client",
        "pydantic",
        "opentelemetry",
        "uvloop",
    ):
        assert f"'{heavy}'" not in names


def test_editing_one_workload_leaves_the_others_alone() -> None:
    text = SHOP.read_text()
    before = run("-f", "-", stdin=text).slices
    more = run("-f", "-", stdin=text.replace("replicas: 3", "replicas: 5")).slices
    assert more[0] == before[0]
    assert [len(each["endpoints"]) for each in more] == [2, 5, 5]
    old = [each["targetRef"]["name"] for each in before[1]["endpoints"]]
    assert set(old) < {each["targetRef"]["name"] for each in more[1]["endpoints"]}
