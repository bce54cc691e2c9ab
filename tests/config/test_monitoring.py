"""Alerts and dashboard ask for what is on our page, and every alert says where to read what to do."""

import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from controllers.telemetry import ipam_metrics, metrics
from tests.config.overlay import ROOT
from tests.test_operations import anchors, published

FOLDER = ROOT / "config/monitoring"
RULES: list[Any] = [
    rule
    for file in ("alerts.yaml", "ipam-alerts.yaml")
    for group in yaml.safe_load((FOLDER / file).read_text())["groups"]
    for rule in group["rules"]
]
PANELS: list[Any] = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
EXPRESSIONS = {f"{rule['alert']}": str(rule["expr"]) for rule in RULES} | {
    f"{panel['title']} {target['refId']}": str(target["expr"]) for panel in PANELS for target in panel["targets"]
}
# What Prometheus itself adds to whatever it scrapes, and the one label of docs/operations.md's scrape configuration.
TARGET = {"instance", "job", "pod"}
WORDS = {"and", "or", "unless", "bool", "offset", "group_left", "group_right"}
FUNCTIONS = {"absent", "changes", "count", "histogram_quantile", "increase", "max", "min", "rate", "sum"}
NAME = r"[a-zA-Z_:][\w:]*"
GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
MATCHER = re.compile(rf'({NAME})\s*(?:=~|!~|!=|=)\s*"(?:[^"\\]|\\.)*"')
CLOSES = {")": "(", "]": "[", "}": "{"}


def ipam_published() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of every metric of address management, by its name on its page."""
    page = metrics.render(ipam_metrics.REGISTRY).decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    by_name = {name.removesuffix("_total"): name for name in types}
    instruments = (each for each in vars(ipam_metrics).values() if isinstance(each, MetricWrapperBase))
    labels = {by_name[next(iter(each.collect())).name]: tuple(each._labelnames) for each in instruments}
    return {name: (kind, labels[name]) for name, kind in types.items()}


def series() -> dict[str, set[str]]:
    """The labels of each series that our pages may have, by its name in an expression; and of Prometheus' own `up`."""
    found = {"up": set(TARGET)}
    for name, (kind, labels) in [*published().items(), *ipam_published().items()]:
        if kind == "histogram":
            found |= {f"{name}{end}": {*labels, *TARGET} for end in ("_sum", "_count")}
            found[f"{name}_bucket"] = {*labels, *TARGET, "le"}
        else:
            found[name] = {*labels, *TARGET}
    return found


def grouped(expression: str) -> set[str]:
    """The labels that an expression groups by."""
    return {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",") if label.strip()}


def selected(expression: str) -> list[tuple[str, set[str]]]:
    """Each metric of an expression, with the labels that it is selected by."""
    found = [
        (match[1], set(MATCHER.findall(match[2]))) for match in re.finditer(rf"({NAME})\s*\{{(.*?)\}}", expression)
    ]
    rest = re.sub(rf"{NAME}\s*\{{.*?\}}|\[.*?\]", " ", GROUPING.sub(" ", expression))
    bare = (match[1] for match in re.finditer(rf"(?<![\w.])({NAME})\b(?!\s*\()", rest))
    return found + [(name, set()) for name in bare if name not in WORDS]


def wrong(expression: str) -> list[str]:
    """What an expression asks for that there is not, or how it is not one."""
    known, metrics = series(), selected(expression)
    plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    found = [f"no function {name}" for name in re.findall(rf"({NAME})\s*\(", GROUPING.sub("", plain))]
    found = [each for each in found if each.rpartition(" ")[2] not in FUNCTIONS | WORDS]
    found += [f"no metric {name}" for name, _ in metrics if name not in known]
    found += [
        f"{name} has no {label}" for name, labels in metrics for label in labels if label not in known.get(name, label)
    ]
    possible = {label for name, _ in metrics for label in known.get(name, ())}
    found += [f"nothing has {label}" for label in sorted(grouped(expression) - possible)]
    if not metrics:
        found.append("no metric at all")
    return found + (["unbalanced"] if not balanced(plain) else [])


def balanced(plain: str) -> bool:
    """Whether all brackets are closed by their own kind."""
    open_: list[str] = []
    for character in plain:
        if character in CLOSES.values():
            open_.append(character)
        elif character in CLOSES and (not open_ or open_.pop() != CLOSES[character]):
            return False
    return not open_


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_asks_for_what_is_there(name: str) -> None:
    assert wrong(EXPRESSIONS[name]) == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('sum by (kind) (rate(sliceplane_write_seconds_count{verb="update"}[5m])) > 1e3', []),
        ('up{job="a{b"} == 1', []),
        ("sliceplane_write_seconds", ["no metric sliceplane_write_seconds"]),
        ("endpoint_slice_controller_syncs_total", ["no metric endpoint_slice_controller_syncs_total"]),
        ('workqueue_depth{queue="endpoint"}', ["workqueue_depth has no queue"]),
        ("sum by (le) (workqueue_depth)", ["nothing has le"]),
        ("summ(workqueue_depth)", ["no function summ"]),
        ("sum(workqueue_depth", ["unbalanced"]),
        ("sum(workqueue_depth[5m)", ["unbalanced"]),
        ("1", ["no metric at all"]),
    ],
)
def test_a_mistake_is_noticed(expression: str, expected: list[str]) -> None:
    assert wrong(expression) == expected


def test_alerts_on_address_management_are_checked() -> None:
    assert {"SliceplaneIpamDrift", "SliceplaneIpamPoolCritical"} <= EXPRESSIONS.keys()
    assert wrong("max by (kind) (sliceplane_ipam_drift) > 0") == []
    assert wrong("sum(sliceplane_ipam_drifts)") == ["no metric sliceplane_ipam_drifts"]
    assert wrong("sum(sliceplane_ipam_failopen)") == ["no metric sliceplane_ipam_failopen"]


def test_alerts_have_names_of_their_own() -> None:
    alerts = [rule["alert"] for rule in RULES]
    assert len(alerts) > 10
    assert len(set(alerts)) == len(alerts)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_alert_says_how_bad_it_is_and_what_to_do(rule: Any) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    annotations = rule["annotations"]
    assert annotations.keys() == {"summary", "description", "runbook_url"}
    path, _, anchor = annotations["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    # What is there to be read, that is: docs/ipam.md comes with the rest of address management.
    assert path != "docs/operations.md" or anchor in anchors(ROOT / path)
    assert path != "docs/ipam.md" or not (ROOT / path).exists() or anchor in anchors(ROOT / path)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_alert_shows_only_labels_that_it_has(rule: Any) -> None:
    shown = {label for text in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    assert shown <= grouped(str(rule["expr"])) - {"le"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_legend_shows_only_labels_that_it_has(panel: Any) -> None:
    for target in panel["targets"]:
        expression = str(target["expr"])
        names = grouped(expression) if grouped(expression) or "(" in expression else TARGET
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= names - {"le"}


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in PANELS
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
