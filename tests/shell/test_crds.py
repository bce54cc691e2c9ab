"""The CRDs on the real API server: what it accepts, what it refuses and in which words, what it adds, what it shows."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from api.crds import FOLDER, KINDS, crd
from api.v1alpha1.common import API_VERSION, GROUP
from api.v1alpha1.service_ip_pool import ServiceIPPool
from api.v1alpha1.service_reservation import ServiceReservation
from e2e.cluster.kustomize import apply_strictly
from e2e.cluster.local import ControlPlane
from e2e.cluster.rest import Api, ApiError
from tests.shell.crd_cases import ACCEPTED, CELLS, COUNTS, DEFAULTS, LEAST, READY, REFUSED, STATUSES, WIDE, Kind, Object
from tests.shell.waiting import eventually

pytestmark = pytest.mark.server

SAMPLES = FOLDER.parent / "samples"
MADE_BY = "test-crds"


def path(kind: Kind, name: str = "", subresource: str = "", *, group: str = GROUP) -> str:
    space = "namespaces/default" if kind.NAMESPACED else ""
    parts = ("apis", group, "v1alpha1", space, kind.PLURAL, name, subresource)
    return "/" + "/".join(part for part in parts if part)


def made(kind: Kind, spec: Object, name: str = "under-test") -> Object:
    """The least object of a kind, with a spec that is changed; None takes a field away."""
    metadata = {"name": name, "labels": {"made-by": MADE_BY}}
    changed = {key: value for key, value in (LEAST[kind] | spec).items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": kind.__name__, "metadata": metadata, "spec": changed}


def tried(api: Api, obj: Object, kind: Kind) -> Object:
    """What would be stored. Raises ApiError if it is refused."""
    return api.request("POST", path(kind), obj, params={"dryRun": "All", "fieldValidation": "Strict"})


def patched(api: Api, at: str, spec: Object) -> Object:
    """The object with its spec changed. Raises ApiError if that is refused."""
    return api.request("PATCH", at, {"spec": spec}, content_type="application/merge-patch+json")


def established(api: Api, definition: Object) -> None:
    """Apply a CRD and wait until its objects are served."""
    apply_strictly(api, [definition])
    spec = definition["spec"]

    def served() -> None:
        found = api.read("CustomResourceDefinition", definition["metadata"]["name"])
        conditions = {each["type"]: each["status"] for each in found["status"]["conditions"] or []}
        assert (conditions.get("NamesAccepted"), conditions.get("Established")) == ("True", "True"), conditions
        # Some rules of structural schemas are no refusal but a condition.
        assert conditions.get("NonStructuralSchema", "False") == "False"
        served_now = api.get(f"/apis/{spec['group']}/v1alpha1")["resources"]
        assert f"{spec['names']['plural']}/status" in [each["name"] for each in served_now]
        api.get(f"/apis/{spec['group']}/v1alpha1/{spec['names']['plural']}")

    eventually(served)


@pytest.fixture(scope="module")
def api(control_plane: ControlPlane) -> Iterator[Api]:
    """An API server that serves our kinds. Objects of them are gone at the end: to other tests they would be pools."""
    client = control_plane.client()
    for name in sorted(FOLDER.glob("service*.yaml")):
        established(client, yaml.safe_load(name.read_text()))
    yield client
    for kind in KINDS:
        client.request("DELETE", path(kind), params={"labelSelector": f"made-by={MADE_BY}"})


def test_what_is_served_is_what_was_applied(api: Api) -> None:
    # A GitOps tool compares them, and would apply for ever what the API server keeps in another form.
    for kind in KINDS:
        wanted = crd(kind)
        stored = api.read("CustomResourceDefinition", wanted["metadata"]["name"])["spec"]
        assert stored == wanted["spec"] | {"conversion": {"strategy": "None"}}


@pytest.mark.parametrize("file", sorted(SAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_samples_are_accepted(api: Api, file: Path) -> None:
    objects = list(yaml.safe_load_all(file.read_text()))
    spaces = sorted({each["metadata"].get("namespace", "default") for each in objects})
    api.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}} for space in spaces])
    # Strictly: an unknown or repeated field is an error.
    assert len(apply_strictly(api, objects, dry_run=True)) == len(objects)


@pytest.mark.parametrize(
    ("kind", "spec", "message"), REFUSED, ids=[f"{each[0].__name__}-{i}" for i, each in enumerate(REFUSED)]
)
def test_refused(api: Api, kind: Kind, spec: Object, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        tried(api, made(kind, spec), kind)
    assert message in str(caught.value)
    assert (caught.value.status, caught.value.reason) in [(422, "Invalid"), (400, "BadRequest")]


@pytest.mark.parametrize(("kind", "spec"), ACCEPTED, ids=[f"{each[0].__name__}-{i}" for i, each in enumerate(ACCEPTED)])
def test_accepted(api: Api, kind: Kind, spec: Object) -> None:
    obj = made(kind, spec)
    stored = tried(api, obj, kind)
    assert kind.model_validate(stored) == kind.model_validate(obj | {"metadata": stored["metadata"]})


def test_every_rule_is_tried() -> None:
    rules = {rule["message"] for kind in KINDS for rule in _rules(crd(kind))}
    refusals = [message for _, _, message in REFUSED]
    untried = {rule for rule in rules if not any(rule in refusal or refusal in rule for refusal in refusals)}
    # What these say of an update is tried below.
    assert untried == {"use cannot be changed", "serviceName cannot be changed"}


def _rules(at: object) -> list[Object]:
    """All CEL rules in an object, wherever they are."""
    if isinstance(at, list):
        return [rule for each in at for rule in _rules(each)]
    if not isinstance(at, dict):
        return []
    return [*at.get("x-kubernetes-validations", []), *(rule for each in at.values() for rule in _rules(each))]


@pytest.mark.parametrize("kind", KINDS)
def test_defaults(api: Api, kind: Kind) -> None:
    assert tried(api, made(kind, {}), kind)["spec"] == LEAST[kind] | DEFAULTS[kind]


def test_defaults_within_what_is_given(api: Api) -> None:
    given = {"thresholds": {"warnPercent": 50}, "sticky": {"ttl": "1h"}, "serviceCIDR": {}}
    assert (
        tried(api, made(ServiceIPPool, given), ServiceIPPool)["spec"].items()
        >= {
            "thresholds": {"warnPercent": 50, "criticalPercent": 95},
            "sticky": {"mode": "None", "ttl": "1h"},
            "serviceCIDR": {"mode": "Require"},
        }.items()
    )
    ports = made(ServiceReservation, {"nodePorts": [{"nodePort": 30000}]})
    assert tried(api, ports, ServiceReservation)["spec"]["nodePorts"] == [{"portName": "", "nodePort": 30000}]


def test_a_reservation_stays_with_its_service(api: Api) -> None:
    api.request("POST", path(ServiceReservation), made(ServiceReservation, {}, "immutable"))
    with pytest.raises(ApiError, match="serviceName cannot be changed"):
        patched(api, path(ServiceReservation, "immutable"), {"serviceName": "other"})
    patched(api, path(ServiceReservation, "immutable"), {"addresses": ["10.96.1.1"]})


def test_a_pool_keeps_its_use(api: Api) -> None:
    # There is one use yet. So that of two, under another group: a version to come must not forget the rule.
    later = "later.sliceplane.dev"
    definition = copy.deepcopy(crd(ServiceIPPool))
    definition["metadata"]["name"] = f"serviceippools.{later}"
    definition["spec"]["group"] = later
    properties = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    properties["spec"]["properties"]["use"]["enum"] = ["ClusterIP", "LoadBalancer"]
    established(api, definition)
    pool = made(ServiceIPPool, {}) | {"apiVersion": f"{later}/v1alpha1"}
    api.request("POST", path(ServiceIPPool, group=later), pool)
    with pytest.raises(ApiError, match="use cannot be changed"):
        patched(api, path(ServiceIPPool, "under-test", group=later), {"use": "LoadBalancer"})
    api.delete("CustomResourceDefinition", definition["metadata"]["name"])


@pytest.mark.parametrize("kind", KINDS)
def test_status_and_columns(api: Api, kind: Kind) -> None:
    name = "observed"
    created = api.request("POST", path(kind), made(kind, {}, name) | {"status": STATUSES[kind]})
    assert "status" not in created
    # As the controller writes it: through the subresource, which leaves the spec and the generation alone.
    status = kind.model_validate(created | {"status": STATUSES[kind]}).wire()["status"]
    written = api.request("PUT", path(kind, name, "status"), created | {"spec": {}, "status": status})
    assert written["status"] == STATUSES[kind]
    assert (written["spec"], written["metadata"]["generation"]) == (created["spec"], 1)
    assert kind.model_validate(written).wire()["status"] == status

    columns, cells = _table(api, path(kind, name))
    assert {each["name"] for each in columns if each["priority"]} == WIDE & set(CELLS[kind])
    shown = dict(zip((each["name"] for each in columns), cells, strict=True))
    assert shown.pop("Name") == name
    assert shown.pop("Age")
    assert shown == CELLS[kind]
    assert [each["name"] for each in columns[1:]] == [column.name for column in kind.COLUMNS]


def _table(api: Api, at: str) -> tuple[list[Object], list[object]]:
    """What `kubectl get` would print of one object: the columns, and its cells."""
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    # The test client has no other way to say what it accepts.
    table = api._pool.request("GET", api.url + at, headers=accept).json()
    return table["columnDefinitions"], table["rows"][0]["cells"]


def test_statuses_are_checked(api: Api) -> None:
    created = api.request("POST", path(ServiceIPPool), made(ServiceIPPool, {}, "checked"))
    for status, message in (
        ({"conditions": [READY, READY]}, 'Duplicate value: {"type":"Ready"}'),
        ({"capacity": [{**COUNTS, "family": "IPv5", "cooling": 0}]}, 'Unsupported value: "IPv5"'),
        ({"topConsumers": [{"namespace": f"n{each}", "count": 1} for each in range(11)]}, "at most 10 items"),
    ):
        with pytest.raises(ApiError, match="Invalid") as caught:
            api.request("PUT", path(ServiceIPPool, "checked", "status"), created | {"status": status})
        assert message in str(caught.value)


def test_counts_of_a_large_network_are_stored_exactly(api: Api) -> None:
    created = api.request("POST", path(ServiceIPPool), made(ServiceIPPool, {}, "large"))
    counts = {**COUNTS, "family": "IPv6", "cooling": 0, "total": 2**64 - 1}
    status = ServiceIPPool.model_validate(created | {"status": {"capacity": [counts]}}).status.wire()
    written = api.request("PUT", path(ServiceIPPool, "large", "status"), created | {"status": status})
    assert written["status"]["capacity"][0]["total"] == 2**63 - 1
