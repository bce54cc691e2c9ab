"""docs/operations.md says what the program is: flags, metrics, Events, log lines, limits; and its links lead on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase
from pydantic.alias_generators import to_camel

from api import names
from api.settings import SETTINGS, Setting
from controllers import app
from controllers.model.reasons import Reason
from controllers.runtime import endpoints_controller, health, mirroring_controller, slice_controller
from controllers.runtime.causes import What
from controllers.telemetry import metrics
from tests.config.test_kind import kcm_controllers

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs/operations.md"
TEXT = DOCUMENT.read_text()
SOURCES = {
    path.relative_to(ROOT): ast.parse(path.read_text())
    for top in ("api", "controllers")
    for path in sorted((ROOT / top).rglob("*.py"))
}
# A placeholder in the text of an Event, or what is left out of it.
PLACEHOLDER = re.compile(r"<\w+>|…")
LEVELS = {"debug": "D", "info": "I", "warning": "W", "error": "E"}


def section(title: str, text: str = TEXT) -> str:
    """What stands under a heading, with the sections below it."""
    lines = text.splitlines()
    (start,) = (number for number, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(title)}", line))
    depth = len(lines[start].split(" ")[0])
    ends = (number for number in range(start + 1, len(lines)) if re.match(rf"#{{1,{depth}}} ", lines[number]))
    return "\n".join(lines[start + 1 : next(ends, len(lines))])


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of tables, heads and rules too; `\\|` does not end a cell."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))]


def code(text: str) -> list[str]:
    """What is in backticks, fences aside."""
    return re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def texts() -> set[str]:
    """Every text constant in the program; those of an f-string between its values."""
    nodes = (node for tree in SOURCES.values() for node in ast.walk(tree))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def of_ipam(path: Path) -> bool:
    """Whether a source is of address management alone: docs/ipam.md is about that."""
    return path.parts[0] == "controllers" and path.parts[1].startswith("ipam")


def logged(*, ipam: bool = False) -> set[tuple[str, str]]:
    """(level, message) of every log line whose message is written where it is logged."""
    found = set()
    trees = [tree for path, tree in SOURCES.items() if of_ipam(path) == ipam]
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Call(func=ast.Attribute(attr=level), args=[ast.Constant(value=str(message))]) if level in LEVELS:
                found.add((LEVELS[level], message))
    return found


FLAGS = {cells[0]: cells for cells in rows(section("Flags")) if cells[0].startswith("`--")}
METRICS = {code(cells[0])[0]: cells for cells in rows(section("Metrics")) if len(cells) == 5 and code(cells[0])}
EVENTS = {code(cells[0])[0]: cells for cells in rows(section("Events")) if len(cells) == 5 and code(cells[0])}


def published() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of every metric of the page, by its name there."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics.render().decode(), re.MULTILINE))
    by_name = {name.removesuffix("_total"): name for name in types}
    instruments = (each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase))
    labels = {by_name[next(iter(each.collect())).name]: tuple(each._labelnames) for each in instruments}
    # What is said of the process comes from a collector, without labels.
    return {name: (kind, () if name.startswith("process_") else labels[name]) for name, kind in types.items()}


def test_all_flags_are_there_and_no_others() -> None:
    assert sorted(FLAGS) == sorted(f"`--{setting.flag}`" for setting in SETTINGS.values())


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda setting: str(setting.flag))
def test_flag_has_its_key_default_and_limits(setting: Setting) -> None:
    flag, *cells = FLAGS[f"`--{setting.flag}`"]
    *sections, key = setting.path
    if sections:
        assert cells.pop(0) == f"`{key}`"
        before = TEXT[: TEXT.index(f"\n| {flag} ")]
        assert re.findall(r"^Under `(\w+):`$", before, re.MULTILINE)[-1:] == sections
    else:
        assert key == to_camel(setting.flag.replace("-", "_"))
    default, accepts, _ = cells
    assert default == (f"`{shown}`" if (shown := setting.kind.show(setting.default)) else "none")
    if setting.limits:
        assert accepts == setting.limits


def test_all_metrics_are_there_with_their_types_and_labels() -> None:
    told = {name: (cells[1], tuple(code(cells[2]))) for name, cells in METRICS.items()}
    assert told == published()


def test_all_events_are_there() -> None:
    reasons = {value for name, value in vars(names).items() if name.startswith("REASON_")}
    assert len(reasons) > 8
    assert EVENTS.keys() == reasons


@pytest.mark.parametrize("reason", EVENTS)
def test_text_of_an_event_is_the_programs(reason: str) -> None:
    _, _, kind, shown, do = EVENTS[reason]
    assert kind in ("Normal", "Warning")
    assert do
    found = texts()
    parts = [part.strip(" :;,'()") for text in code(shown) for part in PLACEHOLDER.split(text)]
    parts = [part for part in parts if len(part) > 3]
    assert parts or reason == names.REASON_MALFORMED
    assert [part for part in parts if not any(part in text for text in found)] == []


def test_event_components_are_named() -> None:
    components = {value for name, value in vars(names).items() if name.startswith("EVENT_COMPONENT_")}
    components.remove(names.EVENT_COMPONENT_IPAM)
    assert components <= set(code(section("Events")))


def test_causes_queues_and_reasons_are_named() -> None:
    assert {code(cells[0])[0] for cells in rows(section("Causes")) if code(cells[0])} == {"cause", *What}
    queues = {module.QUEUE_NAME for module in (slice_controller, endpoints_controller, mirroring_controller)}
    assert queues <= set(code(section("Metrics")))
    told = {code(cells[0])[0] for cells in rows(section("Why a Pod is left out")) if code(cells[0])}
    about_pods = {reason.value for reason in Reason if reason.value.startswith("pod_")}
    assert told == {"reason", Reason.NODE_NOT_FOUND.value, *about_pods}


def test_log_lines_are_the_programs() -> None:
    told = {(level, message) for cell, level, *_ in rows(section("Logs")) for message in code(cell) if level in "DIWE"}
    assert {(level, message) for level, message in logged() if level != "D"} <= told
    assert {message for _, message in told} <= texts()


def test_log_lines_are_found() -> None:
    """That none is missing would be easy to say if none were found."""
    assert ("W", "sync failed") in logged()
    assert len(logged()) > 15


def test_limits_are_the_programs() -> None:
    probes = section("Probes")
    assert f"{health.WATCH_SECONDS:.0f} s" in probes
    assert f"{health.WORK_SECONDS:.0f} s" in probes
    assert {"/healthz", "/livez", "/readyz"} <= set(code(probes))
    available = section("High availability")
    assert f"{app.STOP_SECONDS:.0f} s at most" in available
    for field in ("leader_elect_lease_duration", "leader_elect_renew_deadline", "leader_elect_retry_period"):
        assert f"({SETTINGS[field].kind.show(SETTINGS[field].default)})" in available


def test_flag_of_kcm_is_that_of_the_kind_cluster() -> None:
    assert f"\n--controllers={','.join(kcm_controllers())}\n" in section("Switching over")


def test_sizes_are_the_readmes() -> None:
    """Measured figures are in one place; here they are quoted."""
    readme = (ROOT / "README.md").read_text()
    figures = re.findall(r"\d[\d.,]* (?:m?s|MB)\b", section("Size"))
    assert len(figures) >= 6
    assert [figure for figure in figures if figure not in readme] == []
    assert "10,000 Pods behind 500 dual-stack Services" in readme
