"""Histories of Endpoints written by hand, and what is told when their outcomes differ; no server."""

from collections import Counter
from typing import Any

import pytest

from tests.parity.live import Moment, history
from tests.parity.manual import mirrorable
from tests.parity.normal import difference, normal, normal_endpoints
from tests.parity.outcome import Rules
from tests.parity.rules import broken

Object = dict[str, Any]
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
HTTPS = {"name": "https", "port": 443, "protocol": "TCP"}
H2C = {"name": "h2", "port": 8080, "appProtocol": "kubernetes.io/h2c"}


def subset(*ips: str, ports: tuple[Object, ...] = (HTTP,)) -> Object:
    return {"addresses": [{"ip": ip} for ip in ips], "ports": list(ports)}


def endpoints(*subsets: Object, canonical: bool = True, **metadata: Any) -> Object:
    given = {"metadata": {"name": "s", "labels": {"a": "b"}, **metadata}}
    return {"Endpoints": normal_endpoints({**given, "subsets": list(subsets), "canonical": canonical})}


ONE, OTHER = subset("10.0.0.1"), subset("10.0.0.2", ports=(HTTPS,))


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        pytest.param(endpoints(ONE, OTHER), "", id="equal"),
        pytest.param(endpoints(OTHER, ONE), "", id="canonical-order-depends-on-uids"),
        pytest.param(endpoints(ONE, OTHER, canonical=False), "subsets", id="order"),
        pytest.param(endpoints(ONE), "subsets", id="lost"),
        pytest.param(endpoints(ONE, OTHER, labels={}), "labels of Endpoints", id="labels"),
        pytest.param(endpoints(ONE, OTHER, annotations={"x": ""}), "annotations of Endpoints", id="annotations"),
        pytest.param(endpoints(ONE, OTHER, ownerReferences=[{}]), "owner of Endpoints", id="owner"),
        pytest.param({"Endpoints": normal_endpoints(None)}, "presence of Endpoints", id="none"),
    ],
)
def test_rule_of_endpoints(ours: Object, kind: str) -> None:
    assert broken(f"after moment 2:\n{difference(ours, endpoints(ONE, OTHER))}") == kind


def test_rule_of_what_is_mirrored_and_told() -> None:
    slices = normal([{"addressType": "IPv4", "metadata": {"labels": {}}, "endpoints": [], "ports": [HTTP]}])
    mirrored = {f"mirrored {group}": parts for group, parts in slices.items()}
    assert broken(difference(mirrored, {})) == "mirrored"
    assert broken(difference({"Warnings": {"reasons": ["x"]}}, {"Warnings": {"reasons": []}})) == "told"


@pytest.mark.parametrize(
    ("subsets", "certain"),
    [
        pytest.param([ONE, OTHER], True, id="two"),
        pytest.param([ONE, subset("10.0.0.1", ports=(HTTPS,))], True, id="two-ports-of-one-address"),
        pytest.param([ONE, subset("10.0.0.1", ports=({**HTTP, "port": 81},))], False, id="a-name-twice"),
        pytest.param(
            [subset("10.0.0.1", ports=(H2C,)), subset("10.0.0.2", ports=(H2C,))], False, id="a-protocol-twice"
        ),
    ],
)
def test_what_is_compared_has_a_certain_outcome(subsets: list[Object], certain: bool) -> None:
    assert mirrorable(subsets) is certain


def told(moments: list[Moment]) -> str:
    return str([(each.what, each.edit, vars(each.world) | {"rng": None}) for each in moments])


def test_histories_hold_what_an_api_server_takes_and_all_that_is_asked() -> None:
    happened: Counter[str] = Counter()
    for seed in range(200):
        moments = history(str(seed), Rules("mirroring"))
        assert told(moments) == told(history(str(seed), Rules("mirroring")))
        happened.update(moment.edit.what if moment.edit else moment.what for moment in moments)
        found = [moment.world.endpoints for moment in moments if moment.world.endpoints]
        subsets = [each for one in found for each in one["subsets"]]
        assert all(each.get("addresses") or each.get("notReadyAddresses") for each in subsets)
    assert len(happened) == 23
    assert min(happened.values()) >= 5, happened
