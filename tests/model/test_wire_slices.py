"""EndpointSlices as they are read and as they are sent (ES-77, ES-78, ES-153)."""

import json
from typing import Any

import msgspec
import pytest

from controllers.model.objects import (
    Conditions,
    EndpointPort,
    EndpointSlice,
)
from controllers.model.wire import (
    WireSlice,
    slice_from_wire,
)
from tests.builders import existing, labelled, pod, service


def read_slice(document: Any) -> EndpointSlice:
    return slice_from_wire(msgspec.json.decode(json.dumps(document), type=WireSlice))


def test_slice_comes_back_as_it_was_sent() -> None:
    sent = existing("s-a", [pod(1), pod(2)], annotations={"a": "b"}, finalizers=("f",))
    assert read_slice(json.loads(msgspec.json.encode(sent))) == sent


@pytest.mark.parametrize("lists", [{}, {"endpoints": None, "ports": None}, {"endpoints": [], "ports": []}])
def test_lists_of_a_slice_may_be_null_es_153(lists: Any) -> None:
    found = read_slice({"metadata": {"name": "s-a", "labels": None}, "addressType": "IPv4", **lists})
    assert (found.endpoints, found.ports, found.labels) == ((), (), {})


def test_nulls_inside_a_slice() -> None:
    found = read_slice(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "s-a",
                "creationTimestamp": None,
                "annotations": None,
                "ownerReferences": None,
                "finalizers": None,
                "managedFields": [{"manager": "m"}],
            },
            "addressType": "FQDN",
            "endpoints": [
                {"addresses": ["a.example"], "conditions": {"ready": None}, "targetRef": None, "hints": None},
                {"addresses": ["b.example"], "conditions": {}, "hints": {"forZones": None}, "zone": None},
            ],
            "ports": [{"name": None, "port": None}],
        }
    )
    assert [each.conditions for each in found.endpoints] == [Conditions()] * 2
    assert found.ports == (EndpointPort(),)
    assert (found.address_type, found.metadata.owner_references) == ("FQDN", None)


def test_request_carries_exactly_the_fields_of_es_77_and_78() -> None:
    sent = json.loads(msgspec.json.encode(existing("s-a", [pod(1)])))
    (endpoint,) = sent["endpoints"]
    assert sorted(sent) == ["addressType", "endpoints", "metadata", "ports"]
    assert sorted(endpoint) == ["addresses", "conditions", "nodeName", "targetRef", "zone"]
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert endpoint["targetRef"] == {"kind": "Pod", "namespace": "ns", "name": "pod-001", "uid": "uid-pod-1"}
    assert sent["metadata"]["labels"] == labelled()
    assert sent["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": service().name,
            "uid": service().uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    empty = json.loads(msgspec.json.encode(existing("s-a", ports=())))
    assert (empty["endpoints"], empty["ports"]) == ([], [])
