"""What `ipam check` finds, and where it says that it is."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from controllers.ipam.objects import ServiceCIDR
from controllers.ipam_tools.check import check
from tests.ipam_tools.builders import (
    Object,
    facts,
    ip_pool,
    manifest,
    manifests,
    run,
    told,
    wanted,
)
from tests.ipam_tools.check_cases import CASES, ENFORCED, node, pool
from tests.planning.run import run as plan


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str) -> None:
    live, applied, expected = CASES[case]
    assert told(check(manifests(*applied), facts(*live))) == expected


def test_lines() -> None:
    text = Path(__file__).with_name("lines.yaml")
    ran = run("check", "--offline", "--service-cidr=10.96.0.0/16", "-f", str(text))
    assert ran.code == 1
    at = [line.removeprefix(f"{text}:").split(":")[0] for line in ran.out.splitlines()]
    marked = [str(number) for number, line in enumerate(text.read_text().splitlines(), 1) if "# here" in line]
    assert at == marked


def test_lines_are_found_out_only_for_what_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing a large file once more for its lines takes ten times as long as its JSON."""
    composed: list[bool] = []

    def compose_all(*args: Any, **more: Any) -> Any:
        composed.append(True)
        return [yaml.compose(*args, **more)]

    monkeypatch.setattr("controllers.ipam_tools.manifests.yaml.compose_all", compose_all)
    assert told(check(manifests(wanted()), facts())) == []
    assert composed == []
    assert told(check(manifests(wanted(type=5)), facts())) != []
    assert composed == [True]


def test_a_list_of_json(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text(
        '{"apiVersion": "v1", "kind": "ServiceList", "items": [\n'
        '  {"metadata": {"name": "a", "namespace": "x"}, "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 1}]}},\n'
        '  {"metadata": {"name": "b", "namespace": "x"}, "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 80}]}}\n'
        "]}"
    )
    ran = run("check", "--offline", "-f", str(file))
    assert ran.out == f"{file}:3: Service x/b: error: 10.96.0.5 is also named by Service x/a at {file}:2\n"


def test_offline_without_ranges_says_what_it_assumes() -> None:
    ran = run("check", "--offline", "-f", "-", stdin=yaml.safe_dump(wanted(clusterIP="192.168.0.1")))
    assert (ran.code, ran.out) == (0, "")
    assert "note: no ServiceCIDR is known" in ran.err
    assert ran.err.endswith("1 Service: 0 errors, 0 warnings\n")


@pytest.mark.parametrize(
    ("flags", "refused"),
    [
        ((), ["ours"]),
        (("--exempt-namespaces=kube-system, ours",), []),
        # As the operator has it: who names others does not name kube-system.
        (("--exempt-namespaces=ours",), ["kube-system"]),
        (("--exempt-namespaces=",), ["kube-system", "ours"]),
    ],
)
def test_exempt_namespaces_are_the_operators(flags: tuple[str, ...], refused: list[str]) -> None:
    """IP-67: nothing there is refused, and nothing drawn from a pool."""
    kept = manifest("ServiceIPPool", "kept", ranges=[{"cidr": "10.96.0.32/28"}], **ENFORCED)
    services = [wanted("a", each, clusterIP=f"10.96.0.{at}") for at, each in ((33, "kube-system"), (34, "ours"))]
    text = yaml.safe_dump_all([kept, *services])
    ran = run("check", "--offline", "--service-cidr=10.96.0.0/16", "-o", "json", "-f", "-", *flags, stdin=text)
    found = [(each["namespace"], each["reason"]) for each in ran.json["findings"] if each["severity"] == "error"]
    assert found == [(each, "NotEntitled") for each in refused]


def test_namespaces_by_label() -> None:
    selecting = ip_pool("own", "10.96.0.32/28", select={"namespaceSelector": {"matchLabels": {"team": "new"}}})
    there = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fresh", "labels": {"team": "new"}}}
    known = check(manifests(there, wanted(namespace="fresh")), facts(selecting))
    assert told(known) == ['web: info WouldGet: IPv4 address at random of 16 free in ServiceIPPool "own"']
    assert known.notes == ()
    unknown = check(manifests(wanted(namespace="fresh")), facts(selecting))
    assert unknown.findings == ()
    assert unknown.notes == (
        "fresh: not among the namespaces, so taken to have no labels, which the pools own select by",
    )


def test_what_the_samples_need() -> None:
    samples = Path(__file__).parents[2] / "config" / "samples" / "service-ip-pools.yaml"
    ran = run("check", "--offline", "--service-cidr=10.96.0.0/16,fd00:10:96::/112", "-f", str(samples))
    assert (ran.code, ran.out) == (0, ""), ran.out


def test_a_cluster_of_one_family() -> None:
    single = ServiceCIDR(name="kubernetes", cidrs=("10.96.0.0/16",))
    (only,) = told(check(manifests(wanted(ipFamilyPolicy="RequireDualStack")), facts(single)))
    assert only.startswith("web: error Invalid: the API server would refuse")
    assert told(check(manifests(wanted(ipFamilyPolicy="PreferDualStack")), facts(single))) == []


def test_generated_names_are_told_apart() -> None:
    generated = [wanted(clusterIP="10.96.0.5") for _ in range(2)]
    for each in generated:
        del each["metadata"]["name"]
        each["metadata"]["generateName"] = "web-"
    (only,) = check(manifests(*generated), facts()).findings
    assert (only.reason, only.line) == ("Collision", 18)


def test_json() -> None:
    ran = run("check", "--offline", "-f", "-", "-o", "json", stdin=yaml.safe_dump(node(1000)))
    assert ran.code == 1
    assert ran.json["findings"] == [
        {
            "file": "standard input",
            "line": 9,
            "severity": "error",
            "reason": "OutOfReach",
            "message": "node port 1000 is outside --service-node-port-range=30000-32767",
            "kind": "Service",
            "namespace": "shop",
            "name": "web",
        }
    ]
    assert ran.json["summary"] == {"errors": 1, "warnings": 0, "lookedAt": {"Service": 1}, "ignored": {}}


def test_quiet() -> None:
    text = yaml.safe_dump_all([pool("own", "10.96.0.32/28"), wanted()])
    assert "info" in run("check", "--offline", "-f", "-", stdin=text).out
    quiet = run("check", "--offline", "-q", "-f", "-", stdin=text)
    assert (quiet.code, quiet.out) == (0, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "standard input:1: error: not valid YAML: column 5: mapping values are not allowed"),
        ("---\nb: c: d", "standard input:2: error: not valid YAML: column 5: mapping values are not allowed"),
        ("a: !!int abc", "standard input: error: document 1: not valid YAML: ValueError"),
        ("- 1", "standard input:1: error: expected an object with apiVersion and kind"),
        ("---\nkind: Service\n", "standard input:2: error: apiVersion not set, or not text"),
        (
            "apiVersion: v1\nkind: Service\nspec: {}\n",
            "standard input:1: Service default/: error: metadata.name: required, but not set",
        ),
        (
            "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: a}\nspec: {cidrs: [ten]}\n",
            "standard input:4: ServiceCIDR a: error: spec.cidrs[0]: 'ten' does not appear to be an IPv4",
        ),
    ],
)
def test_what_cannot_be_read(text: str, expected: str) -> None:
    ran = run("check", "--offline", "-f", "-", stdin=text)
    assert ran.code == 1
    assert ran.out.startswith(expected)


def test_what_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.yml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n")
    (tmp_path / "kustomization.yaml").write_text("resources: [deep/a.yml]\n")
    (tmp_path / "notes.txt").write_text("no manifest")
    args = ("check", "--offline", "--service-cidr=10.96.0.0/16", "-f", str(tmp_path))
    alone = run(*args)
    assert (alone.code, alone.out) == (0, "")
    assert alone.err == "note: not looked at: 1 Deployment (apps/v1)\nnothing to check: 0 errors, 0 warnings\n"
    (tmp_path / "b.yml").write_text(yaml.safe_dump(wanted()))
    ran = run(*args)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "note: not looked at: 1 Deployment (apps/v1)\n1 Service: 0 errors, 0 warnings\n"


@pytest.mark.parametrize("text", ["", "# nothing\n---\n", "{apiVersion: v1, kind: List, items: []}"])
def test_nothing_to_check(text: str) -> None:
    ran = run("check", "--offline", "-o", "json", "-f", "-", stdin=text)
    assert ran.code == 1
    (only,) = ran.json["findings"]
    assert (only["file"], only["severity"], only["reason"]) == ("standard input", "error", "NothingToCheck")
    assert only["message"].startswith("no objects in it. What is read: Service")


def test_the_words_of_plan(tmp_path: Path) -> None:
    """The same fields are wrong in the same words, whoever reads the manifest; all of them are told."""
    file = tmp_path / "wrong.yaml"
    spec: Object = {"selector": {"app": 5}, "type": "NodePrt", "ports": [{"port": 0}, {}]}
    file.write_text(yaml.safe_dump(wanted(**spec), sort_keys=False))
    checked = run("check", "--offline", "-f", str(file))
    told_by_check = [line.partition("Service shop/web: error: ")[2] for line in checked.out.splitlines()]
    told_by_plan = [line.partition("Service shop/web: ")[2] for line in plan("-f", str(file)).err.splitlines()]
    assert "spec.selector.app: expected `str`, got `int`" in told_by_plan
    assert len(told_by_plan) > 2
    assert sorted(told_by_check) == sorted(told_by_plan)
    assert f"{file}:11: Service shop/web: error: spec.selector.app: " in checked.out


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), "Missing option '-f'"),
        (("-f", ""), "the name is empty"),
        (("-f", "-", "-n", "BAD NS"), "'BAD NS' is no name of a namespace"),
        (("-f", "-", "-f", "-"), "standard input can be read only once"),
        (("-f", "-", "--service-cidr=10.0.0.0/8"), "--service-cidr goes with --offline"),
        (("-f", "-", "--offline", "--service-cidr=ten"), "--service-cidr ten: not a CIDR"),
        (("-f", "-", "--service-node-port-range=9-1"), "9-1 is no range of ports"),
    ],
)
def test_usage(args: tuple[str, ...], expected: str) -> None:
    ran = run("check", *args, stdin="")
    assert ran.code == 2
    assert expected in ran.err
