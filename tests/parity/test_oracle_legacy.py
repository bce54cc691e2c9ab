"""The second oracle gives the answers that the specifications' tables have, so it can be asked for others."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.parity.oracle_client import OracleError
from tests.parity.oracle_legacy_client import LegacyOracle

pytestmark = pytest.mark.server

Object = dict[str, Any]

# The subsets are truncated in the order of their hashes; with these ports that is the order of the table of EP-T28.
EP_T28_PORTS = (8233, 8333, 8433, 8533, 8633)


@pytest.fixture(scope="module")
def oracle() -> Iterator[LegacyOracle]:
    with LegacyOracle() as running:
        yield running


def _service(*ports: Object, **spec: Any) -> Object:
    metadata = {"name": "s", "namespace": "ns", "uid": "uid-s", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {
        "metadata": metadata,
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.1", "ipFamilies": ["IPv4"], "ports": list(ports)} | spec,
    }


def _selecting(*ports: Object) -> Object:
    return _service(*ports, selector={"app": "s"})


def _port(target: int | str, name: str = "", protocol: str = "TCP") -> Object:
    return {"name": name, "port": 80, "targetPort": target, "protocol": protocol}


def _pod(number: int, *ports: Object, ready: bool = True) -> Object:
    address = f"10.0.{number // 200}.{number % 200 + 1}"
    return {
        "metadata": {"name": f"p{number}", "namespace": "ns", "uid": f"uid-{number}", "labels": {"app": "s"}},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": list(ports)}]},
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def _container_port(name: str, number: int) -> Object:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _subset(addresses: list[str], *ports: int) -> Object:
    return {
        "addresses": [{"ip": address} for address in addresses],
        "ports": [{"port": port, "protocol": "TCP"} for port in ports],
    }


def _mirror(*subsets: Object, service: bool = False) -> Object:
    step: Object = {"endpoints": {"metadata": {"name": "s"}, "subsets": list(subsets)}, "endpointsGiven": True}
    return {**step, "service": _service()} if service else step


def _addresses(subset: Object, key: str = "addresses") -> list[str]:
    return [address["ip"] for address in subset.get(key) or []]


def _written(result: Object) -> Counter[str]:
    return Counter(write["verb"] for write in result["writes"] if "error" not in write)


def test_ports_are_in_the_order_of_their_hashes(oracle: LegacyOracle) -> None:
    """EP-T10."""
    service = _selecting(_port(8080), _port(8080, protocol="UDP"))
    (result,) = oracle.endpoints([{"service": service, "pods": [_pod(0)]}])
    (subset,) = result["endpoints"]["subsets"]
    assert [port["protocol"] for port in subset["ports"]] == ["UDP", "TCP"]
    assert _addresses(subset) == ["10.0.0.1"]
    assert result["writes"] == [{"verb": "create", "name": "s"}]


def test_pods_with_different_ports_are_in_different_subsets(oracle: LegacyOracle) -> None:
    """EP-T26, and EP-T27 as the second step."""
    first, second = _port("svc1", "svc1"), _port("svc2", "svc2")
    pods = [_pod(0, _container_port("svc1", 8001)), _pod(1, _container_port("svc2", 8002))]
    before, after = oracle.endpoints(
        [{"service": _selecting(first, second), "pods": pods}, {"service": _selecting(second)}]
    )

    def shape(result: Object) -> list[tuple[list[str], list[tuple[str, int]]]]:
        subsets = result["endpoints"]["subsets"]
        return sorted((_addresses(each), [(port["name"], port["port"]) for port in each["ports"]]) for each in subsets)

    assert shape(before) == [(["10.0.0.1"], [("svc1", 8001)]), (["10.0.0.2"], [("svc2", 8002)])]
    assert shape(after) == [(["10.0.0.2"], [("svc2", 8002)])]
    assert _written(after) == {"update": 1}


def test_not_ready_addresses_are_cut_in_proportion(oracle: LegacyOracle) -> None:
    """EP-T28."""
    ready, not_ready = (90, 110, 50, 10, 20), (101, 200, 200, 201, 298)
    pods: list[Object] = []
    for number, awake, asleep in zip(EP_T28_PORTS, ready, not_ready, strict=True):
        port = _container_port("web", number)
        pods += [_pod(len(pods) + index, port, ready=index < awake) for index in range(awake + asleep)]
    (result,) = oracle.endpoints([{"service": _selecting(_port("web")), "pods": pods}])
    subsets = result["endpoints"]["subsets"]
    assert [each["ports"][0]["port"] for each in subsets] == list(EP_T28_PORTS)
    assert [len(_addresses(each)) for each in subsets] == list(ready)
    assert [len(_addresses(each, "notReadyAddresses")) for each in subsets] == [73, 144, 144, 145, 214]
    assert result["endpoints"]["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"] == "truncated"


def test_repacking_merges_addresses_and_ports(oracle: LegacyOracle) -> None:
    """EP-T47."""
    given = [_subset([f"1.2.3.{last}"], port) for last, port in ((4, 111), (5, 222), (6, 111), (5, 333))]
    packed = oracle.repack(given)
    assert sorted((_addresses(each), sorted(port["port"] for port in each["ports"])) for each in packed) == [
        (["1.2.3.4", "1.2.3.6"], [111]),
        (["1.2.3.5"], [222, 333]),
    ]


def test_a_cache_that_shows_an_old_version_is_stale(oracle: LegacyOracle) -> None:
    """EP-61: the memory of a controller lasts from step to step, but not from line to line."""
    service = _selecting(_port(8080))
    steps: list[Object] = [
        {"service": service, "pods": [_pod(0)]},
        {"pods": [_pod(1)]},
    ]
    created, updated = oracle.endpoints(steps)
    assert _written(updated) == {"update": 1}
    old: Object = {"endpoints": created["endpoints"], "endpointsGiven": True}
    stale = oracle.endpoints([*steps, old])[-1]
    assert "out of date" in stale["error"]
    assert not stale["writes"]
    assert not oracle.endpoints([{"service": service, "pods": [_pod(0)], **old}])[0]["error"]


def test_subsets_with_one_address_become_one_slice(oracle: LegacyOracle) -> None:
    """MI-T14."""
    (result,) = oracle.mirroring({}, [_mirror(_subset(["10.0.0.1"], 80), _subset(["10.0.0.1"], 81), service=True)])
    (made,) = result["slices"]
    assert sorted(port["port"] for port in made["ports"]) == [80, 81]
    assert made["endpoints"] == [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]


def test_each_family_of_a_subset_has_its_slice(oracle: LegacyOracle) -> None:
    """MI-T16."""
    subsets = [_subset([f"10.0.0.{number}", f"fd00::{number}"], 80 + number) for number in (1, 2)]
    (result,) = oracle.mirroring({}, [_mirror(*subsets, service=True)])
    assert sorted((each["addressType"], each["ports"][0]["port"]) for each in result["slices"]) == [
        ("IPv4", 81),
        ("IPv4", 82),
        ("IPv6", 81),
        ("IPv6", 82),
    ]
    assert _written(result) == {"create": 4}


def test_an_invalid_address_after_the_limit_only_counts_as_skipped(oracle: LegacyOracle) -> None:
    """MI-T30."""
    step = _mirror(_subset(["bad1", "10.0.0.1", "10.0.0.2", "10.0.0.3"], 80), service=True)
    (result,) = oracle.mirroring({"maxEndpointsPerSubset": 2, "metrics": True}, [step])
    (made,) = result["slices"]
    assert sorted(each["addresses"][0] for each in made["endpoints"]) == ["10.0.0.1", "10.0.0.2"]
    assert [event["reason"] for event in result["events"]] == ["TooManyAddressesToMirror"]
    assert result["events"][0]["message"].endswith("2 addresses were skipped")
    assert result["metrics"]["addresses_skipped_per_sync"] == {"count": 1, "sum": 2}


def test_slices_of_both_families_are_recycled(oracle: LegacyOracle) -> None:
    """MI-T39; upstream may need more than one attempt (MI-47)."""
    addresses = ["10.0.0.1", "fd00::1"]
    steps = [_mirror(_subset(addresses, 80), service=True), _mirror(_subset(addresses, 81))]
    before, after = oracle.mirroring({}, steps)
    assert _written(after) == {"update": 2}
    assert all(write.get("unconditional") for write in after["writes"] if write["verb"] == "update")
    assert after["attempts"] == len(after["writes"]) - 1
    assert "repaired" not in after
    assert [each["metadata"]["name"] for each in after["slices"]] == [
        each["metadata"]["name"] for each in before["slices"]
    ]
    assert [each["ports"][0]["port"] for each in after["slices"]] == [81, 81]


def test_recycling_that_does_not_succeed_is_repaired(oracle: LegacyOracle) -> None:
    """Two slices of each family: with Go's maps as they are today, MI-47's defect strikes at every attempt."""

    def subsets(offset: int) -> list[Object]:
        return [_subset([f"10.0.0.{number}", f"fd00::{number}"], offset + number) for number in (1, 2)]

    first, changed, steady = oracle.mirroring(
        {}, [_mirror(*subsets(80), service=True), _mirror(*subsets(90)), {"endpointsGiven": False}]
    )
    assert changed["error"] == ""
    assert [each["metadata"]["name"] for each in changed["slices"]] == [
        each["metadata"]["name"] for each in first["slices"]
    ]
    assert sorted(each["ports"][0]["port"] for each in changed["slices"]) == [91, 91, 92, 92]
    assert (steady["attempts"], steady["writes"], steady["error"]) == (1, [], "")


def test_a_refused_line_does_not_end_the_oracle(oracle: LegacyOracle) -> None:
    with pytest.raises(OracleError, match="unknown field"):
        oracle.endpoints([{"service": _service(), "slices": []}])
    (result,) = oracle.endpoints([{"service": _service()}])
    assert (result["endpoints"], result["writes"], result["error"]) == (None, [], "")
