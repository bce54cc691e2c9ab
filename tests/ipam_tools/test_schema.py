"""What the real API server refuses and accepts (tests/shell/test_crds.py), said without one."""

from typing import Any

import pytest

from api.crds import KINDS, crd
from api.v1alpha1.service_ip_pool import ServiceIPPool
from controllers.ipam_tools.schema import faults
from tests.shell.crd_cases import ACCEPTED, LEAST, REFUSED, STATUSES, Kind, Object


def made(kind: Kind, spec: Object) -> Object:
    changed = {key: value for key, value in (LEAST[kind] | spec).items() if value is not None}
    return {"apiVersion": "ipam.sliceplane.dev/v1alpha1", "kind": kind.__name__, "metadata": {}, "spec": changed}


@pytest.mark.parametrize(
    ("kind", "spec", "message"), REFUSED, ids=[f"{each[0].__name__}-{i}" for i, each in enumerate(REFUSED)]
)
def test_refused(kind: Kind, spec: Object, message: str) -> None:
    found = [str(each) for each in faults(kind, made(kind, spec))]
    assert found
    # The rules are said in the API server's own words.
    rules = _rules(crd(kind))
    if any(message in rule for rule in rules):
        assert any(message in each for each in found), found


def _rules(at: Any) -> list[str]:
    if isinstance(at, list):
        return [rule for each in at for rule in _rules(each)]
    if not isinstance(at, dict):
        return []
    own = [each["message"] for each in at.get("x-kubernetes-validations", [])]
    return own + [rule for each in at.values() for rule in _rules(each)]


@pytest.mark.parametrize(("kind", "spec"), ACCEPTED, ids=[f"{each[0].__name__}-{i}" for i, each in enumerate(ACCEPTED)])
def test_accepted(kind: Kind, spec: Object) -> None:
    assert faults(kind, made(kind, spec)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_as_it_is_read_from_a_cluster(kind: Kind) -> None:
    obj = made(kind, {}) | {"status": STATUSES[kind]}
    obj["metadata"] = {"name": "a", "creationTimestamp": None, "managedFields": [{"manager": "kubectl"}]}
    assert faults(kind, obj) == []


def test_null_is_left_out() -> None:
    assert faults(ServiceIPPool, made(ServiceIPPool, {}) | {"status": None}) == []
    obj = made(ServiceIPPool, {})
    obj["spec"]["ranges"][0]["start"] = None
    assert faults(ServiceIPPool, obj) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"exclusive": "yes"}, 'spec.exclusive: expected a boolean, got "yes"'),
        ({"priority": True}, "spec.priority: expected an integer, got true"),
        ({"ranges": {"cidr": "10.96.0.0/24"}}, 'spec.ranges: expected an array, got {"cidr":"10.96.0.0/24"}'),
        ({"quota": 5}, "spec.quota: expected an object, got 5"),
        ({"priority": 2_000_000}, "spec.priority: must be 1000000 or less, is 2000000"),
    ],
)
def test_messages(spec: Object, expected: str) -> None:
    assert [str(each) for each in faults(ServiceIPPool, made(ServiceIPPool, spec))] == [expected]
