"""`sliceplane ipam show`, `check`, `reserve` and `adopt` on the real API server."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from api.crds import FOLDER, KINDS
from api.v1alpha1.common import API_VERSION
from controllers.ipam_tools.command import ipam_command
from e2e.cluster.kustomize import apply_strictly
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Api, ApiError, Object
from tests.shell.ipam_check_cases import ALONE, BEFORE, CHANGES
from tests.shell.ipaming import Team, refused
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

BASE = f"/apis/{API_VERSION}"
RESERVATION = "servicereservation.ipam.sliceplane.dev"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def run(control_plane: ControlPlane) -> Run:
    """Runs a command with the administrator's kubeconfig, in this process."""

    def running(command: str, *args: str, user: str = "admin") -> Ran:
        kubeconfig = f"--kubeconfig={control_plane.kubeconfig(user)}"
        result = CliRunner().invoke(ipam_command, [command, kubeconfig, *args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return running


def installed(api: Api) -> None:
    for file in sorted(FOLDER.glob("service*.yaml")):
        apply_strictly(api, [yaml.safe_load(file.read_text())])
    for kind in KINDS:
        eventually(partial(api.get, f"{BASE}/{kind.PLURAL}"))


def removed(api: Api) -> None:
    for kind in KINDS:
        name = f"{kind.PLURAL}.ipam.sliceplane.dev"
        try:
            api.delete("CustomResourceDefinition", name)
        except ApiError:
            continue
        eventually(partial(_gone, api, name))
        eventually(partial(_not_served, api, kind.PLURAL))


def _gone(api: Api, name: str) -> None:
    left = [each["metadata"]["name"] for each in api.list("CustomResourceDefinition")]
    assert name not in left


def _not_served(api: Api, plural: str) -> None:
    """What serves the kind learns a moment later that it is gone."""
    with refused(404):
        api.get(f"{BASE}/{plural}")


def pool(name: str, kind: str = "ServiceIPPool", **spec: Any) -> Object:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def service(name: str, namespace: str, **spec: Any) -> Object:
    spec = {"ports": [{"name": "http", "port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """An API server that serves our kinds; their objects are gone at the end."""
    client = control_plane.client()
    installed(client)
    yield client
    for kind in KINDS:
        if not kind.NAMESPACED:
            client.request("DELETE", f"{BASE}/{kind.PLURAL}")
    for each in client.get(f"{BASE}/servicereservations")["items"]:
        meta = each["metadata"]
        client.request("DELETE", f"{BASE}/namespaces/{meta['namespace']}/servicereservations/{meta['name']}")


@pytest.fixture
def payments(api: Api, namespace: str) -> Iterator[str]:
    """A namespace with a pool of addresses and one of ports of its own, and a Service with one of each."""
    own: Object = {"select": {"namespaces": [namespace]}, "exclusive": True, "enforcement": "Enforce"}
    api.request(
        "POST",
        f"{BASE}/serviceippools",
        pool("own", ranges=[{"cidr": "10.96.0.64/28"}], strategy="Sequential", quota={"perNamespace": 3}, **own),
    )
    api.request(
        "POST",
        f"{BASE}/serviceportpools",
        pool("own-ports", "ServicePortPool", ranges=[{"from": 30070, "to": 30079}], **own),
    )
    port = {"name": "http", "port": 80, "nodePort": 30071}
    api.create(service("web", namespace, type="NodePort", clusterIP="10.96.0.65", ports=[port]))
    yield namespace
    # The next test's Service has the same address.
    Team(api, namespace).clear()


def test_without_crds_it_says_what_to_apply(control_plane: ControlPlane, run: Run) -> None:
    removed(control_plane.client())
    shown = run("show")
    assert shown.code == 1
    assert "error: the API server does not know the kind ServiceIPPool" in shown.err
    assert "apply config/crd first" in shown.err
    installed(control_plane.client())


def test_without_a_right_it_says_which(api: Api, run: Run) -> None:
    shown = run("show", user="nobody-special")
    assert shown.code == 1
    assert 'User "nobody-special" cannot list resource "serviceippools"' in shown.err


def test_show(api: Api, run: Run, payments: str) -> None:
    shown = run("show")
    assert shown.code == 0, shown.err
    assert shown.out.startswith(f"ServiceIPPool/own   for namespace {payments}\n")
    assert f"{payments}/web   10.96.0.65" in shown.out
    assert f"{payments}/web   30071" in shown.out
    # The first of the range is free, and lowest.
    assert "IPv4: 10.96.0.64 (Sequential); 15 are free" in shown.out
    assert "port: random among 9" in shown.out

    (only,) = json.loads(run("show", "own", "-o", "json").out)["pools"]
    assert only["capacity"] == [
        {"family": "IPv4", "total": 16, "used": 1, "reserved": 0, "cooling": 0, "free": 15},
    ]
    assert only["drawers"] == [{"namespace": payments, "services": 1, "held": 1, "quota": 3, "after": []}]
    assert yaml.safe_load(run("show", "sip/own", "-o", "yaml").out)["pools"] == [only]

    missing = run("show", "spp/own")
    assert (missing.code, missing.err) == (1, 'error: there is no pool "spp/own"; there are: own, own-ports\n')


def test_show_counts_what_is_reserved(api: Api, run: Run, payments: str) -> None:
    reserved = run("reserve", "absent", "-n", payments, "--address", "10.96.0.70")
    assert reserved.code == 0, reserved.err
    (only,) = json.loads(run("show", "own", "-o", "json").out)["pools"]
    assert only["capacity"][0] == {
        "family": "IPv4",
        "total": 16,
        "used": 1,
        "reserved": 1,
        "cooling": 0,
        "free": 14,
    }
    assert only["reservations"] == [
        {"reservation": f"{payments}/absent", "service": "absent", "phase": "Pending", "numbers": ["10.96.0.70"]}
    ]


def test_check_finds_what_the_api_server_would_refuse(api: Api, run: Run, payments: str, tmp_path: Path) -> None:
    manifest = tmp_path / "collides.yaml"
    wanted = service("thief", payments, clusterIP="10.96.0.65")
    manifest.write_text(yaml.safe_dump(wanted))
    checked = run("check", "-f", str(manifest))
    assert checked.code == 1
    assert checked.out.splitlines() == [
        f"{manifest}:7: Service {payments}/thief: error: 10.96.0.65 is held by Service {payments}/web",
    ]
    with pytest.raises(ApiError, match="provided IP is already allocated"):
        api.create(wanted)


def test_check_knows_pools_quotas_and_reservations(api: Api, run: Run, payments: str, tmp_path: Path) -> None:
    run("reserve", "late", "-n", payments, "--address", "10.96.0.66")
    manifests = [
        service("drawn", payments),
        service("late", payments),
        service("too-much", payments),
        service("stranger", "default", clusterIP="10.96.0.68"),
        service("sneaky", payments, clusterIP="10.96.0.66"),
    ]
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    checked = run("check", "-f", str(tmp_path), "-o", "json")
    assert checked.code == 1
    found = json.loads(checked.out)["findings"]
    told = {each["name"]: (each["severity"], each["reason"], each["message"]) for each in found}
    assert told["drawn"] == ("info", "WouldGet", 'IPv4 address 10.96.0.64 of ServiceIPPool "own"')
    assert told["late"][:2] == ("info", "WouldGet")
    assert told["late"][2].startswith("IPv4 address 10.96.0.66, reserved for it")
    assert told["too-much"][:2] == ("error", "QuotaExceeded")
    assert told["stranger"][:2] == ("error", "NotEntitled")
    assert told["sneaky"][:2] == ("error", "Reserved")


def test_what_is_applied_has_no_errors(api: Api, run: Run, payments: str, tmp_path: Path) -> None:
    live = [*api.list("Service"), *api.get(f"{BASE}/serviceippools")["items"]]
    for each in live:
        each.setdefault("apiVersion", "v1")
        each.setdefault("kind", "Service")
    file = tmp_path / "live.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": live}))
    checked = run("check", "-f", str(file))
    assert (checked.code, checked.out) == (0, ""), checked.out


def test_reserve(api: Api, run: Run, payments: str) -> None:
    at = f"{BASE}/namespaces/{payments}/servicereservations/shop"
    made = ("shop", "-n", payments, "--address", "10.96.0.72", "--node-port", "http=30075", "--ttl", "720h")
    dry = run("reserve", *made, "--dry-run")
    assert (dry.code, dry.out) == (0, f"{RESERVATION}/shop reserved (server dry run)\n")
    with pytest.raises(ApiError, match="NotFound"):
        api.get(at)

    assert run("reserve", *made) == (0, f"{RESERVATION}/shop reserved\n", "")
    assert run("reserve", *made) == (0, f"{RESERVATION}/shop unchanged\n", "")
    assert api.get(at)["spec"] == {
        "serviceName": "shop",
        "addresses": ["10.96.0.72"],
        "nodePorts": [{"portName": "http", "nodePort": 30075}],
        "retain": {"policy": "TTL", "ttl": "720h"},
        "adopt": False,
        "enforcement": "Guard",
    }

    # What is said anew takes the place of the same; all else stays.
    more = run("reserve", "shop", "-n", payments, "--address", "FD00:10:96::0048", "--hold", "--ttl", "forever")
    assert more.code == 0, more.err
    spec = api.get(at)["spec"]
    assert spec["addresses"] == ["fd00:10:96::48", "10.96.0.72"]
    assert (spec["enforcement"], spec["retain"]) == ("Hold", {"policy": "Forever"})
    assert spec["nodePorts"] == [{"portName": "http", "nodePort": 30075}]


def test_reserve_refuses(api: Api, run: Run, payments: str) -> None:
    nothing = run("reserve", "shop", "-n", payments)
    assert nothing.code == 2
    assert f"sliceplane ipam adopt -n {payments} shop" in nothing.err
    absent = run("reserve", "shop", "-n", "not-there", "--address", "10.96.0.72")
    assert (absent.code, absent.err) == (1, 'error: namespace "not-there" not found: create it first\n')
    # The API server's own validation.
    long = run("reserve", "Shop", "-n", payments, "--address", "10.96.0.72")
    assert long.code == 1
    assert "error: " in long.err
    assert "Invalid value" in long.err


def test_adopt(api: Api, run: Run, payments: str) -> None:
    api.create(service("headless", payments, clusterIP="None"))
    adopted = run("adopt", "-n", payments)
    assert (adopted.code, adopted.out) == (0, f"{RESERVATION}/web created\n")
    assert adopted.err == f"note: skipped, headless or ExternalName, without a number: {payments}/headless\n"
    named = run("adopt", "-n", payments, "headless")
    assert named.code == 1
    assert named.err == f"{RESERVATION}/headless refused: it is headless and has no number\n"
    assert run("adopt", "-n", payments, "web") == (0, f"{RESERVATION}/web unchanged\n", "")
    spec = api.get(f"{BASE}/namespaces/{payments}/servicereservations/web")["spec"]
    assert (spec["serviceName"], spec["adopt"]) == ("web", True)

    missing = run("adopt", "-n", payments, "nobody")
    assert (missing.code, missing.err) == (1, f'{RESERVATION}/nobody refused: Service "nobody" not found\n')


def test_adopt_adds_to_a_reservation_that_there_is(api: Api, run: Run, payments: str) -> None:
    run("reserve", "web", "-n", payments, "--address", "10.96.0.65")
    assert run("adopt", "-n", payments, "web") == (0, f"{RESERVATION}/web configured\n", "")
    spec = api.get(f"{BASE}/namespaces/{payments}/servicereservations/web")["spec"]
    assert (spec["addresses"], spec["adopt"]) == (["10.96.0.65"], True)


def test_adopt_everywhere_by_labels(api: Api, run: Run, payments: str) -> None:
    labelled = service("labelled", payments)
    labelled["metadata"]["labels"] = {"adopt-in": payments}
    api.create(labelled)
    adopted = run("adopt", "-A", "-l", f"adopt-in={payments}", "--dry-run")
    assert (adopted.code, adopted.out) == (
        0,
        f"{RESERVATION}/labelled created (namespace {payments}) (server dry run)\n",
    )


@pytest.fixture
def taken(api: Api, namespace: str) -> Iterator[str]:
    """A namespace with a Service that others collide with."""
    port = {"port": 80, "nodePort": 30084}
    api.create(service("taken", namespace, type="NodePort", clusterIP="10.96.0.90", ports=[port]))
    yield namespace
    Team(api, namespace).clear()


def refusal(api: Api, namespace: str, write: Callable[[], object]) -> str:
    """Why the API server refuses a request, "" when it does not. What is left of the last Service is no reason."""
    try:
        Team(api, namespace).insist(write)
    except ApiError as error:
        return str(error)
    return ""


def test_check_and_the_api_server_agree(api: Api, run: Run, taken: str, tmp_path: Path) -> None:
    wrong, refusals = [], 0
    for number, spec in enumerate(ALONE):
        wanted = service("tried", taken, **{"selector": {"app": "a"}, **spec})
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(wanted))
        Team(api, taken).sweep()
        checked = run("check", "-q", "-f", str(file))
        # A dry run would not ask for the numbers.
        why = refusal(api, taken, partial(api.create, wanted))
        refusals += bool(why)
        if not why:
            api.delete("Service", "tried", taken)
        if bool(checked.code) != bool(why):
            wrong.append((spec, checked.out, why))
    assert wrong == []
    assert 0 < refusals < len(ALONE)


def test_check_and_the_api_server_agree_on_changes(api: Api, run: Run, taken: str, tmp_path: Path) -> None:
    wrong, refusals = [], 0
    for number, spec in enumerate(CHANGES):
        assert refusal(api, taken, partial(api.create, service("tried", taken, **BEFORE))) == ""
        wanted = service("tried", taken, **{"selector": {"app": "a"}, **spec})
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(wanted))
        checked = run("check", "-q", "-f", str(file))
        why = refusal(api, taken, partial(api.replace, wanted))
        refusals += bool(why)
        api.delete("Service", "tried", taken)
        if bool(checked.code) != bool(why):
            wrong.append((spec, checked.out, why))
    assert wrong == []
    assert 0 < refusals < len(CHANGES)
