"""docs/ipam.md says what `sliceplane ipam run` is: fields, flags, metrics, conditions, Events, log lines, alerts."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from api import names
from api.ipam_config import IPAMConfiguration
from api.settings import settings_of
from api.v1alpha1.common import Base, wire_name
from api.v1alpha1.service_ip_pool import ServiceIPPool, ServiceIPPoolSpec
from api.v1alpha1.service_port_pool import ServicePortPoolSpec
from api.v1alpha1.service_reservation import ServiceReservationSpec
from controllers.ipam import admission, compiled, conditions, reservation_status, validation
from controllers.ipam.audit import Kind
from controllers.ipam.webhook_configurations import STRICT_LABEL, TIMEOUT_SECONDS
from controllers.ipam_operator import kinds
from controllers.ipam_operator.applying import PLURALS
from controllers.ipam_operator.guard_writer import KINDS
from controllers.ipam_operator.served import not_served
from controllers.runtime import health
from controllers.telemetry.ipam_metrics import MOST, PHASES
from tests.config.test_monitoring import RULES, ipam_published
from tests.ipam.worlds import world
from tests.test_operations import PLACEHOLDER, ROOT, SOURCES, code, logged, rows, section, texts

DOCUMENT = ROOT / "docs/ipam.md"
TEXT = DOCUMENT.read_text()
SETTINGS = settings_of(IPAMConfiguration)


def table(title: str, width: int) -> dict[str, list[str]]:
    """The rows of the tables in a section, by each name in backticks in their first cell."""
    found = (cells for cells in rows(section(title, TEXT)) if len(cells) == width)
    return {name: cells for cells in found for name in code(cells[0])}


FLAGS = table("Flags", 4)
METRICS = table("Metrics", 5)
EVENTS = table("Events", 5)
CONDITIONS = table("Conditions", 4)
RESERVATIONS = table("Conditions", 3)


def test_all_flags_are_there_and_no_others() -> None:
    assert sorted(FLAGS) == sorted(f"--{setting.flag}" for setting in SETTINGS.values())


@pytest.mark.parametrize("field", SETTINGS)
def test_flag_has_its_default_and_limits(field: str) -> None:
    setting = SETTINGS[field]
    _, default, accepts, _ = FLAGS[f"--{setting.flag}"]
    assert default == (f"`{shown}`" if (shown := setting.kind.show(setting.default)) else "none")
    assert accepts == setting.limits or not setting.limits


def test_all_metrics_are_there_with_their_types_and_labels() -> None:
    told = {name: (cells[1], tuple(code(cells[2]))) for name, cells in METRICS.items()}
    assert told == ipam_published()


@pytest.mark.parametrize(
    ("title", "spec"),
    [
        ("ServiceIPPool", ServiceIPPoolSpec),
        ("ServicePortPool", ServicePortPoolSpec),
        ("ServiceReservation", ServiceReservationSpec),
    ],
)
def test_all_fields_are_there_with_their_defaults(title: str, spec: type[Base]) -> None:
    told = table(title, 3)
    assert told.keys() == set(map(wire_name, spec.model_fields))
    for name, info in spec.model_fields.items():
        plain = isinstance(info.default, str | int) and len(code(told[wire_name(name)][0])) == 1
        shown = str(info.default).lower() if isinstance(info.default, bool) else str(info.default)
        assert not plain or told[wire_name(name)][1] == f"`{shown}`", name


def test_all_events_are_there() -> None:
    findings = {"".join(part.capitalize() for part in kind.split("_")) for kind in Kind}
    told = {*findings, *PHASES, names.REASON_MALFORMED, names.REASON_LEADER_ELECTION}
    assert told == EVENTS.keys()
    assert names.EVENT_COMPONENT_IPAM in code(section("Events", TEXT))


@pytest.mark.parametrize("reason", EVENTS)
def test_text_of_an_event_is_the_programs(reason: str) -> None:
    _, _, kind, shown, do = EVENTS[reason]
    assert kind in ("Normal", "Warning")
    assert do
    found = texts()
    parts = [part.strip(" :;,'()") for text in code(shown) for part in PLACEHOLDER.split(text)]
    parts = [part for part in parts if len(part) > 3]
    assert parts or reason in (*PHASES, names.REASON_MALFORMED)
    assert [part for part in parts if not any(part in text for text in found)] == []


def reasons(module: Any, made: str, at: int) -> set[str]:
    """The reasons that a module gives, as the argument at this place of what it makes."""
    tree = SOURCES[Path(module.__file__).relative_to(ROOT)]
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == made)
    constants = (node for call in calls if len(call.args) > at for node in ast.walk(call.args[at]))
    return {node.value for node in constants if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_all_conditions_are_there_with_their_reasons() -> None:
    types = {value for name, value in vars(conditions).items() if name.isupper() and isinstance(value, str)}
    types = {each for each in types if re.fullmatch(r"[A-Z]\w+", each) and each not in ("IPv4", "IPv6")}
    assert len(types) == 7
    assert types == CONDITIONS.keys()
    # The last two are worked out where no call shows them.
    given = reasons(conditions, "Verdict", 2) | {"Effective", "NotEffective"}
    assert {"NoConflict", "PoolOverlap", "RangeNotReady", "Audit"} <= given
    told = {each for name in types for cell in CONDITIONS[name][1:3] for each in code(cell)}
    assert told - types - {"serviceCIDR.mode"} == given - types


def test_all_reasons_of_reservations_are_there() -> None:
    assert set(PHASES) == RESERVATIONS.keys()
    told = {each for phase in PHASES for each in code(RESERVATIONS[phase][1])}
    assert told == reasons(reservation_status, "Judgement", 1)
    assert len(told) > 8


def test_all_refusals_are_there() -> None:
    told = table("A Service is refused", 3).keys() - {"reason"}
    assert told == {
        admission.NOT_ENTITLED,
        admission.RESERVED,
        admission.QUOTA_EXCEEDED,
        admission.POOL_EXHAUSTED,
    }


def test_log_lines_are_the_programs() -> None:
    told = {
        (level, message) for cell, level, *_ in rows(section("Logs", TEXT)) for message in code(cell) if level in "DIWE"
    }
    assert told == logged(ipam=True)
    assert ("W", "no claim") in told


def test_every_alert_is_there() -> None:
    alerts = {rule["alert"] for rule in RULES if rule["annotations"]["runbook_url"].startswith("docs/ipam.md")}
    assert len(alerts) > 7
    assert {title for title in re.findall(r"^### (\w+)$", section("Alerts", TEXT), re.MULTILINE)} == alerts


def test_all_that_is_written_is_removed() -> None:
    """By its label: policies, webhook configurations, and what is in the namespace."""
    removed = section("Switch it off", TEXT)
    assert [PLURALS[kind] for kind in KINDS if PLURALS[kind] not in removed] == []
    assert len(KINDS) == 6
    ((key, value),) = names.IPAM_LABELS.items()
    for title in ("Switch it off", "Uninstall"):
        assert f"-l {key}={value}" in section(title, TEXT)


def test_limits_are_the_programs() -> None:
    assert f"{health.WATCH_SECONDS:.0f} s" in section("Flags", TEXT)
    assert f"a timeout of {TIMEOUT_SECONDS} s" in TEXT
    assert f"At most {MOST} pools" in section("Metrics", TEXT)
    assert f"`{STRICT_LABEL}=true`" in TEXT
    assert {"/healthz", "/livez", "/readyz"} <= set(code(section("Flags", TEXT)))


def test_refusal_by_which_an_installation_is_checked_is_the_programs() -> None:
    install = section("Install", TEXT)
    (block,) = re.findall(r"^```yaml\n(.*?)^```", install, re.MULTILINE | re.DOTALL)
    pool = compiled.ip_pool(ServiceIPPool.model_validate(yaml.safe_load(block)))
    (said,) = validation.ip_pool_objections(pool, None, world(), forced=False)
    (quoted,) = (each for each in code(install) if "ServiceCIDR" in each and "192.0.2." in each)
    assert quoted.endswith("…")
    assert said.startswith(quoted.removesuffix("…"))


def test_what_is_promised_of_sticky_pools_is_not_the_same_moment() -> None:
    """A leader's round makes the reservations: whoever is quicker with a deletion keeps nothing."""
    row = table("ServiceIPPool", 3)["sticky"][2]
    for told in (row, section("Two teams", TEXT)):
        assert "next round" in told
        assert re.search(r"deleted before,\s+nothing is kept", told)
        assert "from the moment" not in told
        assert not re.search(r"for each\s+Service, at once", told)


def test_kind_that_is_not_served_is_told_of_as_the_program_does() -> None:
    (quoted,) = (each for each in code(section("Flags", TEXT)) if "does not know" in each)
    assert not_served(kinds.IP_POOLS).startswith(quoted.removesuffix("…"))
