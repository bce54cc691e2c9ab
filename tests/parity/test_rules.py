"""Which rule a difference is said to break, by how it is told."""

from typing import Any

import pytest

from tests.parity.normal import difference, normal
from tests.parity.rules import RULES, broken, rule

HTTP = {"name": "http", "port": 80, "protocol": "TCP"}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}
TIME = {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z"}


def found(*endpoints: str, ports: Any = (HTTP, DNS), **metadata: Any) -> Any:
    return {
        "addressType": "IPv4",
        "metadata": {"name": "s-1", "labels": {"a": "b"}, **metadata},
        "endpoints": [{"addresses": [address]} for address in endpoints],
        "ports": list(ports),
    }


@pytest.mark.parametrize(
    ("ours", "kind"),
    [
        pytest.param([found("1", "2")], "", id="equal"),
        pytest.param([found("1"), found("2")], "packing", id="packing"),
        pytest.param([found("1")], "endpoints", id="lost"),
        pytest.param([found("1", "3")], "endpoints", id="altered"),
        pytest.param([found("1", "2", ports=(HTTP,))], "ports", id="other-group"),
        pytest.param([found("1", "2", ports=(DNS, HTTP))], "ports order", id="ports-order"),
        pytest.param([found("1", "2", labels={})], "labels", id="labels"),
        pytest.param([found("1", "2", annotations=TIME)], "trigger time", id="trigger-time"),
        pytest.param([found("1", "2", ownerReferences=[{"uid": "x"}])], "owner", id="owner"),
    ],
)
@pytest.mark.parametrize("written", [None, {"s-1"}], ids=["live", "core"])
def test_rule_of_slices(ours: list[Any], kind: str, written: set[str] | None) -> None:
    text = difference(normal(ours, written), normal([found("1", "2")], written))
    assert broken(f"after moment 2 (pods_come):\n{text}") == kind


def test_slice_that_one_side_alone_has_written() -> None:
    text = difference(normal([found("1")], ()), normal([found("1")], {"s-1"}))
    assert rule(text) == f"probably: {RULES['writes']}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("writes: ours Counter({'update': 1}), theirs Counter()", "writes"),
        ("error: ours True, theirs ''", "error"),
        ("events: ours [], theirs [('Normal', 'x', 'IPv4')]", "events"),
        ("IPv4 hints: ours ['pod-1 {}'], theirs []", "hints by distribution"),
        ("IPv6 hints for zones: ours {'zone-a': 1}, theirs {}", "hints in proportion"),
        ("IPv4: ours 'enabled', their events []", "hints in proportion"),
        ("endpoints of hints of IPv4:\n  only ours:   none 1\n  only theirs: none 0", "hints"),
    ],
)
def test_rule_of_the_rest(text: str, kind: str) -> None:
    assert broken(f"step 0, limit 3:\n{text}") == kind
