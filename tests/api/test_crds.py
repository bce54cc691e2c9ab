"""The CRDs that are made from the models: what the API server asks of a schema, and what people read in it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from api.crds import FOLDER, KINDS, crd, crds, files, main, structural
from api.v1alpha1.common import MAX_COUNT, Condition, Counts, Resource, Select, seconds, wire_name
from api.v1alpha1.service_ip_pool import AddressRange, ServiceIPPool, ServiceIPPoolSpec
from api.v1alpha1.service_port_pool import PortRange, ServicePortPool
from api.v1alpha1.service_reservation import ServiceReservation

SAMPLES = FOLDER.parent / "samples"

Schema = dict[str, Any]


def schema(kind: type[Resource]) -> Schema:
    found: Schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def nodes(at: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema within one, with its place."""
    yield path, at
    for name, each in at.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in at:
            yield from nodes(at[key], f"{path}[]")


NODES = [(path, node) for kind in KINDS for path, node in nodes(schema(kind), kind.__name__)]
IN_SPEC = [(path, node) for path, node in NODES if path.split(".")[1:2] == ["spec"]]


def sample_objects() -> list[Schema]:
    return [each for path in sorted(SAMPLES.glob("*.yaml")) for each in yaml.safe_load_all(path.read_text())]


def test_files_are_what_the_models_say() -> None:
    found = {path.name: path.read_text() for path in FOLDER.glob("*.yaml")}
    listed = yaml.safe_load(found.pop("kustomization.yaml"))["resources"]
    assert found == files(), "run: python -m api.crds"
    assert listed == list(files())


def test_writing_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.crds.FOLDER", tmp_path / "crd")
    main()
    assert {path.name: path.read_text() for path in (tmp_path / "crd").iterdir()} == files()


def test_nothing_is_shared() -> None:
    # Whoever changes what is given to them changes nothing else.
    assert "&id" not in "".join(files().values())
    spec = crd(ServiceIPPool)["spec"]
    spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["kind"].clear()
    spec["names"]["categories"].clear()
    assert crd(ServiceIPPool) == yaml.safe_load(files()["serviceippools.yaml"])


def test_names() -> None:
    names = [each["spec"]["names"] for each in crds()]
    assert [(each["kind"], each["plural"], each["shortNames"]) for each in names] == [
        ("ServiceIPPool", "serviceippools", ["sip"]),
        ("ServicePortPool", "serviceportpools", ["spp"]),
        ("ServiceReservation", "servicereservations", ["srsv"]),
    ]
    assert {tuple(each["categories"]) for each in names} == {("sliceplane", "ipam")}
    assert [each["spec"]["scope"] for each in crds()] == ["Cluster", "Cluster", "Namespaced"]


def test_every_field_is_described() -> None:
    fields = [(path, node) for path, node in NODES if not path.endswith((".metadata", "[]"))]
    assert [path for path, node in fields if not node.get("description", "").endswith(".")] == []
    assert len(fields) > 100


def test_every_node_is_structural() -> None:
    assert [path for path, node in NODES if node["type"] not in TYPES] == []
    assert [path for path, node in NODES if ("items" in node) != (node["type"] == "array")] == []
    known = {"minProperties", "maxProperties", "additionalProperties", "properties", "required"}
    assert [path for path, node in NODES if known & node.keys() and node["type"] != "object"] == []


TYPES = {"object", "array", "string", "integer", "number", "boolean"}


def test_all_that_users_write_is_bounded() -> None:
    # Without bounds the API server takes the worst for granted, and refuses CEL rules for their cost.
    bounds = {"array": {"maxItems"}, "string": {"maxLength", "enum"}, "integer": {"maximum"}}
    for path, node in IN_SPEC:
        assert node["type"] not in bounds or bounds[node["type"]] & node.keys(), path
        assert "additionalProperties" not in node or "maxProperties" in node, path


def test_lists_say_how_they_merge() -> None:
    assert [path for path, node in NODES if node["type"] == "array" and "x-kubernetes-list-type" not in node] == []
    for path, node in NODES:
        for key in node.get("x-kubernetes-list-map-keys", []):
            entry = node["items"]
            assert key in entry["required"] or "default" in entry["properties"][key], path


def test_a_status_has_no_defaults_that_would_be_claims() -> None:
    said = {path: node["default"] for path, node in NODES if ".status" in path and "default" in node}
    assert set(said.values()) == {""}


def test_no_number_that_a_float_does_not_hold() -> None:
    # The API server keeps bounds as floats: it would show others than were applied.
    limits = [node[key] for _, node in NODES for key in ("minimum", "maximum") if key in node]
    assert limits
    assert [limit for limit in limits if int(float(limit)) != limit] == []


def test_immutable_fields() -> None:
    rules = {kind.__name__: [rule["rule"] for rule in _rules(kind)] for kind in KINDS}
    assert "self.use == oldSelf.use" in rules["ServiceIPPool"]
    assert "self.serviceName == oldSelf.serviceName" in rules["ServiceReservation"]


def _rules(kind: type[Resource]) -> list[Schema]:
    return list(schema(kind)["properties"]["spec"]["x-kubernetes-validations"])


def test_columns() -> None:
    columns = {kind.__name__: [column.name for column in kind.COLUMNS if not column.priority] for kind in KINDS}
    assert columns == {
        "ServiceIPPool": ["Use", "Ready", "Total", "Used", "Free%", "Exhausts", "Age"],
        "ServicePortPool": ["Ready", "Total", "Used", "Free%", "Exhausts", "Age"],
        "ServiceReservation": ["Service", "Phase", "Addresses", "Age"],
    }


def test_samples_are_what_the_models_read() -> None:
    kinds: dict[str, type[Resource]] = {kind.__name__: kind for kind in KINDS}
    found = [kinds[each["kind"]].model_validate(each) for each in sample_objects()]
    assert {type(each) for each in found} == set(KINDS)


class Either(BaseModel):
    """A field of two types."""

    value: int | str


class Loose(BaseModel):
    """A field of any type."""

    value: object


class Exact(BaseModel):
    """A field whose schema has what CRDs have not."""

    value: tuple[int, str]


@pytest.mark.parametrize("model", [Either, Loose, Exact])
def test_what_no_crd_can_say(model: type[BaseModel]) -> None:
    with pytest.raises(ValueError, match="not for a CRD"):
        structural(model.model_json_schema(), {})


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("service_cidr", "serviceCIDR"),
        ("bound_uid", "boundUID"),
        ("cidr", "cidr"),
        ("uid", "uid"),
        ("on_exhausted", "onExhausted"),
        ("health_check_node_port", "healthCheckNodePort"),
    ],
)
def test_wire_names(name: str, wire: str) -> None:
    assert wire_name(name) == wire


@pytest.mark.parametrize(
    ("text", "length"), [("0s", 0), ("10m", 600), ("1h30m", 5400), ("1h1m1s1ms", 3661.001), ("500ms", 0.5)]
)
def test_durations(text: str, length: float) -> None:
    assert seconds(text) == pytest.approx(length)


def test_what_is_stored_is_read() -> None:
    stored = {
        "apiVersion": "ipam.sliceplane.dev/v1alpha1",
        "kind": "ServiceIPPool",
        "metadata": {
            "name": "a",
            "uid": "1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-25T04:00:00Z",
            "managedFields": [],
        },
        "spec": {"ranges": [{"cidr": "10.96.0.0/24"}], "serviceCIDR": {"mode": "Create"}, "fieldOfTomorrow": 1},
        "status": {"observedGeneration": 2},
    }
    pool = ServiceIPPool.model_validate(stored)
    assert pool.metadata.resource_version == "7"
    assert pool.metadata.creation_timestamp == datetime(2026, 11, 25, 4, tzinfo=UTC)
    assert (pool.spec.service_cidr.mode, pool.spec.priority, pool.spec.thresholds.warn_percent) == ("Create", 100, 80)
    assert pool.status.observed_generation == 2
    with pytest.raises(ValidationError, match="frozen"):
        pool.spec.priority = 1


def test_python_names_make_what_the_api_reads() -> None:
    assert PortRange(first=30000, last=30010).wire() == {"from": 30000, "to": 30010}
    assert AddressRange(cidr="10.96.0.0/24").wire() == {"cidr": "10.96.0.0/24"}
    spec = ServiceIPPoolSpec(ranges=(AddressRange(cidr="10.96.0.0/24"),), select=Select(namespaces=("a",)))
    assert ServiceIPPoolSpec.model_validate(spec.wire()) == spec
    ports = ServicePortPool.model_validate({"spec": {"ranges": [{"from": 1, "to": 2}]}})
    assert ports.spec.purposes == ("NodePort", "HealthCheck")
    assert ServiceReservation.model_validate({"spec": {"serviceName": "web"}}).spec.retain.policy == "Forever"


def test_conditions_on_the_wire() -> None:
    when = datetime(2026, 11, 25, 4, 30, 1, tzinfo=UTC)
    condition = Condition(type="Ready", status="True", last_transition_time=when, reason="AsItShouldBe")
    assert condition.wire() == {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": "2026-11-25T04:30:01Z",
        "reason": "AsItShouldBe",
        "message": "",
    }


def test_counts_of_a_large_network_are_capped() -> None:
    assert Counts(total=2**64 - 1, used=1, reserved=0, free=2**64 - 2).free == MAX_COUNT
