"""`ipam show`: figures, holders, who is next, and how it is put."""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml

from controllers.ipam_tools import show
from controllers.ipam_tools.bars import ASCII, BLOCKS
from controllers.ipam_tools.errors import ToolError
from controllers.ipam_tools.show import Style
from controllers.ipam_tools.views import PoolView, views
from tests.ipam_tools.builders import facts, ip_pool, port_pool, reservation, service

ALL = ((3, "kube-system"), (4, "shop"), (5, "tools"))
OWN = {"select": {"namespaces": ["payments"]}, "exclusive": True}
CONDITION = {
    "type": "Ready",
    "status": "True",
    "lastTransitionTime": "2026-11-25T04:00:00Z",
    "reason": "Ready",
    "message": "All is well",
}
OBSERVED = {
    "observedGeneration": 1,
    "conditions": [CONDITION],
    "capacity": [{"family": "IPv4", "total": 12, "used": 2, "reserved": 1, "cooling": 2, "free": 7}],
}
OBJECTS = (
    ip_pool(
        "payments",
        "10.96.0.32/28",
        exclude=[{"start": "10.96.0.44", "end": "10.96.0.47"}],
        strategy="Sequential",
        cooldown="10m",
        quota={"perNamespace": 2},
        onExhausted="Deny",
        status=OBSERVED,
        **OWN,
    ),
    port_pool("ingress", 30000, 30015),
    service("payments/web", "10.96.0.32", ports=(30000, 30001)),
    service("payments/db", "10.96.0.34"),
    reservation("payments/late", "10.96.0.33", status={"phase": "Held"}),
)

TEXT = """\
ServiceIPPool/payments   for namespace payments
  priority 100, exclusive, enforcement Audit, strategy Sequential, cooldown 10m, when exhausted Deny, \
quota 2 per namespace

  RANGE                                              TOTAL   USED   RESERVED   COOLING   FREE   BAND   CELL
  10.96.0.32/28   #r#.........xxxx                   12      2      1          ?         9      16     1
  IPv4 in all                                        12      2      1          2         7
  excluded: 10.96.0.44-10.96.0.47

  Held by: payments 2
    HOLDER         NUMBER
    payments/web   10.96.0.32
    payments/db    10.96.0.34

  Reserved:
    RESERVATION     SERVICE   PHASE   NUMBERS
    payments/late   late      Held    10.96.0.33

  Conditions:
    TYPE    STATUS   REASON   MESSAGE
    Ready   True     Ready    All is well

  The next one:
    IPv4: 10.96.0.35 (Sequential), unless it is one of the 2 that cool down; 7 are free

  Who draws from it:
    NAMESPACE   SERVICES   HOLDS   QUOTA         AFTER
    payments    2          2       2 (used up)   <none>

ServicePortPool/ingress   for every Service
  priority 100, shared, enforcement Audit, for NodePort and HealthCheck ports, when exhausted NextPool

  RANGE                                             TOTAL   USED   RESERVED   COOLING   FREE   BAND   CELL
  30000-30015    ##..............                   16      2      0          0         14     16     1
  ports in all                                      16      2      0          0         14

  Held by: payments 2
    HOLDER         NUMBER
    payments/web   30000
    payments/web   30001

  No conditions: no operator has looked at it (sliceplane ipam run)

  The next one:
    port: random among 14

  Who draws from it:
    NAMESPACE   SERVICES   HOLDS   QUOTA    AFTER
    payments    1          2       <none>   <none>
    shop        0          0       <none>   <none>

- to # used, by share of the cell   r reserved   c cooling   . free   x excluded   ? cannot be given: in no ready \
ServiceCIDR, or outside the node port range
BAND: how many the API server picks last by itself   CELL: how many one character stands for
"""


def only(*objects: Any) -> PoolView:
    (found,) = views(facts(*objects))
    return found


def test_text() -> None:
    text = show.as_text(views(facts(*OBJECTS)), Style(ASCII))
    assert text == TEXT


def test_json_and_yaml_say_the_same() -> None:
    found = views(facts(*OBJECTS))
    content = json.loads(show.as_json(found))
    assert yaml.safe_load(show.as_yaml(found)) == content
    pool = content["pools"][0]
    assert pool["next"][0]["number"] == "10.96.0.35"
    assert pool["consumers"] == [{"namespace": "payments", "count": 2}]
    assert "cells" not in pool["ranges"][0]


def test_colour_changes_no_text() -> None:
    found = views(facts(*OBJECTS))
    plain, coloured = (show.as_text(found, Style(BLOCKS, coloured)) for coloured in (False, True))
    assert "\x1b[" not in plain
    import click

    assert click.unstyle(coloured) == plain


def test_long_lists_are_cut() -> None:
    services = [service(f"shop/s{each:02}", f"10.96.0.{each + 32}") for each in range(14)]
    found = views(facts(ip_pool("own", "10.96.0.32/27"), *services))
    text = show.as_text(found, Style(ASCII))
    assert "and 4 more (--all)" in text
    assert "shop/s09" in text
    assert "shop/s13" not in text
    assert "shop/s13" in show.as_text(found, Style(ASCII, every=True))


def test_a_large_range_has_figures_that_json_can_say() -> None:
    view = only(ip_pool("large", "fd00::/64"))
    assert json.loads(show.as_json([view]))["pools"][0]["ranges"][0]["figures"]["total"] == 2**63 - 1
    assert "???" in show.as_text([view], Style(ASCII))
    assert view.next[0].text == "none is free: the next pool is asked (onExhausted NextPool)"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "random among 14"),
        ({"strategy": "Sequential"}, "10.96.0.33 (Sequential); 14 are free"),
        (
            {"strategy": "LeastRecentlyUsed"},
            "10.96.0.33 (LeastRecentlyUsed), unless the operator remembers it in use; 14 are free",
        ),
    ],
)
def test_next(spec: dict[str, Any], expected: str) -> None:
    view = only(
        ip_pool("own", "10.96.0.32/28", **spec),
        service("shop/a", "10.96.0.32"),
        reservation("shop/b", "10.96.0.40"),
    )
    assert [each.text for each in view.next] == [expected]


@pytest.mark.parametrize(
    ("on_exhausted", "expected"),
    [
        ("NextPool", "none is free: the next pool is asked (onExhausted NextPool)"),
        ("ClusterDefault", "none is free: the API server chooses (onExhausted ClusterDefault)"),
        ("Deny", "none is free: the Service is refused (onExhausted Deny)"),
    ],
)
def test_next_of_a_full_pool(on_exhausted: str, expected: str) -> None:
    view = only(ip_pool("own", "10.96.0.32/32", onExhausted=on_exhausted), service("shop/a", "10.96.0.32"))
    assert [each.text for each in view.next] == [expected]


def test_who_is_asked_before() -> None:
    first = ip_pool("first", "10.96.1.0/24", priority=1, select={"namespaces": ["shop"]})
    picky = ip_pool("picky", "10.96.2.0/24", priority=2, select={"serviceSelector": {"matchLabels": {"a": "b"}}})
    last = ip_pool("last", "10.96.3.0/24")
    other = ip_pool("other", "fd00:10:96::/120", priority=1)
    found = {each.name: each for each in views(facts(first, picky, last, other))}
    assert list(found) == ["first", "other", "picky", "last"]
    after = {each.namespace: each.after for each in found["last"].drawers}
    # A pool that selects by the Service's labels is not asked for every Service, and one of IPv6 has no IPv4.
    assert after == {"payments": (), "shop": ("first",)}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, "every Service"),
        ({"namespaces": ["b", "a"]}, "namespace a or b"),
        ({"namespaceSelector": {"matchLabels": {"team": "shop"}}}, "namespaces with team=shop"),
        ({"serviceSelector": {}}, "Services with any labels"),
        (
            {
                "namespaces": ["a"],
                "serviceSelector": {
                    "matchExpressions": [
                        {"key": "a", "operator": "In", "values": ["x", "y"]},
                        {"key": "b", "operator": "NotIn", "values": ["x"]},
                        {"key": "c", "operator": "Exists"},
                        {"key": "d", "operator": "DoesNotExist"},
                    ]
                },
            },
            "namespace a and Services with a in (x,y),b notin (x),c,!d",
        ),
    ],
)
def test_select_in_words(select: dict[str, Any] | None, expected: str) -> None:
    assert only(ip_pool("own", "10.96.0.32/28", **({"select": select} if select else {}))).select == expected


def test_choosing_pools() -> None:
    same = views(facts(ip_pool("a", "10.96.0.32/28"), port_pool("a", 30000, 30001), ip_pool("b", "10.96.1.0/24")))
    assert [each.kind for each in show.chosen(same, ["a"])] == ["ServiceIPPool", "ServicePortPool"]
    assert [each.kind for each in show.chosen(same, ["spp/a", "a", "sip/b"])] == [
        "ServicePortPool",
        "ServiceIPPool",
        "ServiceIPPool",
    ]
    with pytest.raises(ToolError, match='there is no pool "sip/c"; there are: a, b'):
        show.chosen(same, ["sip/c"])
    with pytest.raises(ToolError, match="the kind is serviceippool"):
        show.chosen(same, ["pod/a"])
    assert show.as_text([], Style()) == "No pools found.\n"


def test_glyphs_for_the_terminal() -> None:
    assert show.glyphs_for("utf-8") is BLOCKS
    assert [show.glyphs_for(each) for each in ("ascii", "latin-1", None, "nonsense")] == [ASCII] * 4


@pytest.mark.parametrize(
    ("environment", "terminal", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
    ],
)
def test_colour(environment: dict[str, str], terminal: bool, expected: bool) -> None:
    assert show.coloured_for(environment, terminal=terminal) is expected


@pytest.mark.parametrize(
    ("exempt", "expected"),
    [
        ({"kube-system"}, ["shop", "tools"]),
        ({"tools", "kube-system"}, ["shop"]),
        (set(), ["kube-system", "shop", "tools"]),
    ],
)
def test_exempt_namespaces_draw_from_no_pool(exempt: set[str], expected: list[str]) -> None:
    """IP-67; by the operator's own flag."""
    objects = (ip_pool("all", "10.96.0.32/28"), *(service(f"{each}/web", f"10.96.0.3{at}") for at, each in ALL))
    known = replace(facts(*objects, namespaces=tuple(each for _, each in ALL)), exempt=frozenset(exempt))
    (view,) = views(known)
    assert [(each.namespace, each.services) for each in view.drawers] == [(name, 1) for name in expected]
